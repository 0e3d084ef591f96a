/**
 * Takeover between gateways: a client that connects here is told to the others, which end the older
 * connection that it left there, as a takeover on one gateway does [MQTT-3.1.4-3]: a client of
 * MQTT 5 is told 0x8E, its will is due, one with a delay is not published if the session goes on.
 *
 * Who is older is judged by durations: a connection ends if it was there more than
 * {@link TIE_MS} before the one that the notice tells of. Within that, both stay, and the keepalive
 * ends the dead one. A notice that took longer than that to arrive may end a newer connection: its
 * device comes again.
 *
 * What was told while a gateway had no connection to the others is lost. So whoever is connected
 * again tells all its connects again (retelling.ts), and whoever hears of one that is older than its
 * own of that client answers with its own: so it need not know when the others are back.
 *
 * Not here: the way of the bytes (ports/notices.ts), their form (notice.ts).
 */
import { randomBytes } from 'node:crypto'
import type { NoticeBus } from '../../ports/notices.ts'
import type { Reports } from '../reports.ts'
import type { NeighborStats } from '../stats.ts'
import type { LocalClients } from './local-clients.ts'
import { clientIdHash, decodeNotice, encodeNotice, type Sender } from './notice.ts'
import { Retelling } from './retelling.ts'

/** Connects are collected for so long: one message for all that came within. */
const COLLECT_MS = 5
/** In one message: 21 KB, far below what any server takes. More go at once. */
const MAX_CONNECTS = 1_000
/** Two connections so close together cannot be told apart. */
const TIE_MS = 200
/** Connects of clients that are gone are swept when there are so many of them. */
const SPARE_CONNECTS = 1_000

/** The last connect of a client here. */
interface Connect {
  readonly clientId: string
  readonly hash: string
  /** Monotonic ms. */
  readonly sinceMs: number
  /** It asked for the session that it had. */
  readonly goesOn: boolean
}

export class Neighbors {
  readonly #bus: NoticeBus
  readonly #clients: LocalClients
  readonly #monotonicMs: () => number
  readonly #reports: Pick<Reports, 'gatewayIdShared'>
  readonly #sender: Sender
  readonly #stats = { told: 0, untold: 0, again: 0, heard: 0, ended: 0, malformed: 0 }
  /** By hash: of clients that are here, or have a will that waits, and of some that are gone. */
  readonly #connects = new Map<string, Connect>()
  readonly #retelling: Retelling<Connect>
  #untold: Connect[] = []
  /** The others told of an older connect of the same client. */
  #answers: Connect[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(
    bus: NoticeBus,
    clients: LocalClients,
    name: string,
    monotonicMs: () => number,
    reports: Pick<Reports, 'gatewayIdShared'>,
  ) {
    this.#bus = bus
    this.#clients = clients
    this.#monotonicMs = monotonicMs
    this.#reports = reports
    this.#sender = { tag: randomBytes(8), name }
    this.#retelling = new Retelling(this.#connects, (connects) => this.#tellAgain(connects))
    bus.onReceived((bytes) => this.#receive(bytes))
    bus.onConnected(() => this.#retelling.begin())
  }

  get stats(): NeighborStats {
    const { isConnected, detail } = this.#bus
    return { ...this.#stats, isConnected, detail }
  }

  /** A client holds its id here from now on. `goesOn`: it asked for the session that it had. */
  connected(clientId: string, goesOn: boolean): void {
    const hash = clientIdHash(clientId)
    const connect = { clientId, hash, sinceMs: this.#monotonicMs(), goesOn }
    this.#connects.set(hash, connect)
    this.#sweep()
    this.#untold.push(connect)
    this.#collect()
  }

  /** Tells what is not told yet. */
  stop(): void {
    this.#retelling.stop()
    this.#send()
  }

  #collect(): void {
    if (this.#untold.length + this.#answers.length >= MAX_CONNECTS) this.#send()
    else this.#timer ??= setTimeout(() => this.#send(), COLLECT_MS)
  }

  #send(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const untold = this.#untold
    const answers = this.#answers
    this.#untold = []
    this.#answers = []
    if (untold.length > 0) this.#stats[this.#tell(untold) ? 'told' : 'untold'] += untold.length
    if (answers.length > 0) this.#tellAgain(answers)
  }

  /** False: there is no connection, and {@link Retelling} begins anew when there is one. */
  #tellAgain(connects: readonly Connect[]): boolean {
    const known = connects.filter(({ clientId }) => this.#clients.knows(clientId))
    if (known.length === 0) return true
    const isSent = this.#tell(known)
    if (isSent) this.#stats.again += known.length
    return isSent
  }

  #tell(connects: readonly Connect[]): boolean {
    const nowMs = this.#monotonicMs()
    const entries = connects.map(({ hash, sinceMs, goesOn }) => ({
      hash,
      ageMs: nowMs - sinceMs,
      goesOn,
    }))
    return this.#bus.send(encodeNotice(this.#sender, entries))
  }

  #receive(bytes: Uint8Array): void {
    const notice = decodeNotice(bytes)
    if (notice === null) {
      this.#stats.malformed += 1
      return
    }
    const { sender, entries } = notice
    if (sender.tag.equals(this.#sender.tag)) return
    if (sender.name === this.#sender.name) this.#reports.gatewayIdShared(sender.name)
    const nowMs = this.#monotonicMs()
    this.#stats.heard += entries.length
    for (const { hash, ageMs, goesOn } of entries) {
      const own = this.#connects.get(hash)
      if (own === undefined) continue
      const { clientId } = own
      const sinceMs = nowMs - ageMs
      if (own.sinceMs > sinceMs + TIE_MS) {
        this.#answer(own)
        continue
      }
      const beforeMs = sinceMs - TIE_MS
      if (!this.#clients.end({ clientId, beforeMs, goesOn, gateway: sender.name })) continue
      this.#stats.ended += 1
      // It is not there again, and a notice that says the same finds nothing to end.
      this.#connects.delete(hash)
    }
  }

  #answer(own: Connect): void {
    if (!this.#clients.knows(own.clientId)) return
    this.#answers.push(own)
    this.#collect()
  }

  /** Clients that are gone leave theirs behind until there are as many of those as of others. */
  #sweep(): void {
    if (this.#connects.size <= 2 * this.#clients.count + SPARE_CONNECTS) return
    for (const [hash, { clientId }] of this.#connects)
      if (!this.#clients.knows(clientId)) this.#connects.delete(hash)
  }
}
