/**
 * Takeover between gateways: a client that connects here is told to the others, which end the older
 * connection that it left there, as a takeover on one gateway does [MQTT-3.1.4-3]: a client of
 * MQTT 5 is told 0x8E, its will is due, one with a delay is not published if the session goes on.
 *
 * Who is older is judged by durations: a connection ends if it was there more than
 * {@link TIE_MS} before the one that the notice tells of. Within that, both stay, and the keepalive
 * ends the dead one. A notice that took longer than that to arrive may end a newer connection: its
 * device comes again. A notice is told once, at the connect: what is lost is left to the keepalive.
 *
 * Not here: the way of the bytes (ports/notices.ts), their form (notice.ts).
 */
import { randomBytes } from 'node:crypto'
import type { NoticeBus } from '../../ports/notices.ts'
import type { NeighborStats } from '../stats.ts'
import type { LocalClients } from './local-clients.ts'
import { clientIdHash, decodeNotice, encodeNotice, type Sender } from './notice.ts'

/** Arrivals are collected for so long: one message for all that came within. */
const COLLECT_MS = 5
/** In one message: 21 KB, far below what any server takes. More go at once. */
const MAX_ARRIVALS = 1_000
/** Two connections so close together cannot be told apart. */
const TIE_MS = 200
/** Hashes of ids that nobody holds any more are swept when there are so many of them. */
const SPARE_HASHES = 1_000

interface Told {
  readonly hash: string
  readonly sinceMs: number
  readonly goesOn: boolean
}

export class Neighbors {
  readonly #bus: NoticeBus
  readonly #clients: LocalClients
  readonly #monotonicMs: () => number
  readonly #sender: Sender
  readonly #stats = { told: 0, untold: 0, heard: 0, ended: 0, malformed: 0 }
  /** Of clients that are here, or have a will that waits. */
  readonly #clientIds = new Map<string, string>()
  #untold: Told[] = []
  #timer: NodeJS.Timeout | null = null

  constructor(bus: NoticeBus, clients: LocalClients, name: string, monotonicMs: () => number) {
    this.#bus = bus
    this.#clients = clients
    this.#monotonicMs = monotonicMs
    this.#sender = { tag: randomBytes(8), name }
    bus.onReceived((bytes) => this.#receive(bytes))
  }

  get stats(): NeighborStats {
    const { isConnected, detail } = this.#bus
    return { ...this.#stats, isConnected, detail }
  }

  /** A client holds its id here from now on. `goesOn`: it asked for the session that it had. */
  connected(clientId: string, goesOn: boolean): void {
    const hash = clientIdHash(clientId)
    this.#clientIds.set(hash, clientId)
    this.#sweep()
    this.#untold.push({ hash, sinceMs: this.#monotonicMs(), goesOn })
    if (this.#untold.length >= MAX_ARRIVALS) this.#send()
    else this.#timer ??= setTimeout(() => this.#send(), COLLECT_MS)
  }

  /** Tells what is not told yet. */
  stop(): void {
    if (this.#untold.length > 0) this.#send()
  }

  #send(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    const nowMs = this.#monotonicMs()
    const arrivals = this.#untold.map(({ hash, sinceMs, goesOn }) => ({
      hash,
      ageMs: nowMs - sinceMs,
      goesOn,
    }))
    this.#untold = []
    const isSent = this.#bus.send(encodeNotice(this.#sender, arrivals))
    this.#stats[isSent ? 'told' : 'untold'] += arrivals.length
  }

  #receive(bytes: Uint8Array): void {
    const notice = decodeNotice(bytes)
    if (notice === null) {
      this.#stats.malformed += 1
      return
    }
    const { sender, arrivals } = notice
    if (sender.tag.equals(this.#sender.tag)) return
    const nowMs = this.#monotonicMs()
    this.#stats.heard += arrivals.length
    for (const { hash, ageMs, goesOn } of arrivals) {
      const clientId = this.#clientIds.get(hash)
      if (clientId === undefined) continue
      const beforeMs = nowMs - ageMs - TIE_MS
      const isEnded = this.#clients.end({ clientId, beforeMs, goesOn, gateway: sender.name })
      if (isEnded) this.#stats.ended += 1
    }
  }

  /** Clients that are gone leave their hash behind until there are as many of those as of others. */
  #sweep(): void {
    if (this.#clientIds.size <= 2 * this.#clients.count + SPARE_HASHES) return
    for (const [hash, clientId] of this.#clientIds)
      if (!this.#clients.knows(clientId)) this.#clientIds.delete(hash)
  }
}
