/**
 * One store-and-retry device. It keeps every reading until PUBACK or PUBCOMP, sends in order with a
 * bounded window, and after a reconnect sends again what is unacknowledged, in the old order, with
 * the old packet ids: PUBLISH with DUP, or PUBREL where PUBREC had come [MQTT-4.3.3, 4.4, 4.6]. A
 * QoS 2 device keeps its session (clean false). In version 5 it has no more unacknowledged readings
 * on a connection than the gateway granted [MQTT-3.3.4-7], takes a refusal for final [MQTT-4.4.0-2],
 * and when its session has ended forgets its packet ids and sends anew. Its connections are cut,
 * frozen and stormed here; when, the fleet decides.
 */
import type { Ledger, Qos } from '../ledger/ledger.ts'
import { UNTAKEN_CODE } from '../ledger/verify.ts'
import { Random } from '../random.ts'
import { type Dialect, dialectOf } from './dialect.ts'
import {
  type Answer,
  type Granted,
  Link,
  type LinkEvents,
  type LinkOptions,
  type PacketName,
} from './link.ts'
import type { FleetOptions } from './options.ts'
import type { Reading, ReadingSource } from './reading-source.ts'
import type { Schedule } from './schedule.ts'
import type { CutPoint, FleetStats } from './stats.ts'

/** What a device shares with the fleet. */
export interface DeviceContext {
  readonly options: FleetOptions
  readonly schedule: Schedule
  readonly ledger: Ledger
  readonly stats: FleetStats
}

interface Waiting {
  readonly reading: Reading
  /** Place in the ledger. */
  readonly order: number
}

interface InFlight extends Waiting {
  readonly sentAtMs: number
  /** PUBREC came: PUBREL is sent again instead of PUBLISH. */
  released: boolean
  /** What that PUBREC said. */
  code: number
  /** Its session ended: no connection has sent it under this id. */
  isNew: boolean
}

const FAILURE_CODE = 0x80
const UNKNOWN_ID_CODE = 0x92

const MAX_PACKET_ID = 0xffff
/** A cut waits this long for the packet at which it is to happen; then it happens anyway. */
const CUT_PATIENCE_MS = 2000
/**
 * How long a device takes to notice that its link is dead, and how long the dead socket then stays
 * open.
 */
const FROZEN_MS = { low: 500, high: 4000 } as const
const BURIAL_MS = { low: 1000, high: 15_000 } as const

const CUT_POINTS: Readonly<Record<Qos, readonly CutPoint[]>> = {
  0: ['publish'],
  1: ['publish', 'puback'],
  2: ['publish', 'pubrec', 'pubrel', 'pubcomp'],
}

export class Device {
  readonly id: string
  readonly qos: Qos
  readonly dialect: Dialect
  readonly #context: DeviceContext
  readonly #source: ReadingSource
  readonly #network: Random
  readonly #cuts: Random
  readonly #backlog: Waiting[] = []
  #backlogHead = 0
  /** By packet id, in the order of sending. */
  readonly #inFlight = new Map<number, InFlight>()
  /** Ids that a new connection has not sent again yet, in the order of sending. */
  #toResend: number[] = []
  /** Ids that count against what this connection was granted. */
  readonly #onLink = new Set<number>()
  #receiveMaximum = Number.POSITIVE_INFINITY
  #sessionExpiryMs: number
  #downAtMs = 0
  readonly #graves = new Set<Link>()
  #link: Link | null = null
  /** Rises with every link: what an older one scheduled is void. */
  #era = 0
  #attempts = 0
  #lastId = 0
  #cutAt: CutPoint | null = null
  #hasSession = false
  #closed = false

  constructor(id: string, qos: Qos, source: ReadingSource, context: DeviceContext) {
    this.id = id
    this.qos = qos
    this.#source = source
    this.#context = context
    const { seed, protocol, sessionExpirySeconds } = context.options
    this.dialect = dialectOf(protocol, seed, id)
    this.#sessionExpiryMs = sessionExpirySeconds * 1000
    this.#network = new Random(seed, `network/${id}`)
    this.#cuts = new Random(seed, `cuts/${id}`)
  }

  /** Readings that the device still holds. */
  get held(): number {
    return this.#backlog.length - this.#backlogHead + this.#inFlight.size
  }

  connect(): void {
    if (this.#closed) return
    this.#era++
    this.#cutAt = null
    this.#link = new Link(this.#linkOptions(this.qos !== 2), this.#listener())
  }

  #linkOptions(clean: boolean): LinkOptions {
    const { options } = this.#context
    return {
      url: options.url,
      clientId: this.id,
      dialect: this.dialect,
      clean,
      sessionExpirySeconds: options.sessionExpirySeconds,
      keepaliveSeconds: options.keepaliveSeconds,
      connectTimeoutMs: options.connectTimeoutMs,
      login:
        options.login === null
          ? null
          : {
              username: options.login.username.replaceAll('{device}', this.id),
              password: options.login.password.replaceAll('{device}', this.id),
            },
      tls: options.tls,
    }
  }

  /** Takes one measurement and sends what is due. */
  measure(): void {
    const atMs = this.#context.options.realTime ? Date.now() : undefined
    for (const reading of this.#source.measure(atMs)) this.#take(reading)
    this.#pump()
  }

  /** The device measures no more: readings that it held back go out. */
  finish(): void {
    for (const reading of this.#source.flush()) this.#take(reading)
    this.#pump()
  }

  /**
   * Cuts the connection at the next random point of an exchange, or a little later if there is
   * none.
   */
  cutSoon(): void {
    const points = CUT_POINTS[this.qos]
    this.#cutAt = points[this.#cuts.below(points.length)] ?? 'idle'
    const era = this.#era
    this.#context.schedule.after(CUT_PATIENCE_MS, () => {
      if (era === this.#era && this.#cutAt !== null) this.#cut('idle', null)
    })
  }

  /** Cuts the connection now and comes back at once, as all do when their switch restarts. */
  storm(): void {
    this.#cut('idle', this.#cuts.between(0, 50))
  }

  /**
   * The link goes half-open; the device notices late, and connects again beside the dead socket.
   */
  freeze(): void {
    const link = this.#link
    if (link === null || !link.isUp) return
    const { schedule, stats } = this.#context
    stats.halfOpens++
    link.freeze()
    const era = this.#era
    const burialMs = this.#cuts.between(BURIAL_MS.low, BURIAL_MS.high)
    schedule.after(this.#cuts.between(FROZEN_MS.low, FROZEN_MS.high), () => {
      if (era !== this.#era || this.#closed) return
      stats.connected--
      this.#graves.add(link)
      schedule.after(burialMs, () => this.#bury(link))
      this.connect()
    })
  }

  /** Ends the connection politely, whatever is unacknowledged. */
  async close(): Promise<void> {
    this.#closed = true
    this.#era++
    for (const link of this.#graves) this.#bury(link)
    await this.#link?.end()
    this.#link = null
  }

  /** The gateway keeps a session of it, and nothing of it that is still needed. */
  get leavesSession(): boolean {
    return this.#hasSession && this.held === 0
  }

  /**
   * The gateway is to keep no session of this device: a clean one takes its place and ends
   * [MQTT-3.1.2-6]. Only after
   * `close`, and where everything was acknowledged; never rejects. False: the gateway could not be asked.
   */
  async forget(timeoutMs: number): Promise<boolean> {
    if (!this.leavesSession) return true
    let link: Link | null = null
    const isUp = await new Promise<boolean>((resolve) => {
      const timer = setTimeout(() => resolve(false), timeoutMs)
      const done = (up: boolean): void => {
        clearTimeout(timer)
        resolve(up)
      }
      link = new Link(this.#linkOptions(true), {
        onUp: () => done(true),
        onDown: () => done(false),
        onAck: () => undefined,
        onRelease: () => undefined,
        onFarewell: () => undefined,
        onAlias: () => undefined,
        onPacket: () => undefined,
      })
    })
    await (link as Link | null)?.end()
    return isUp
  }

  #bury(link: Link): void {
    if (this.#graves.delete(link)) link.cut()
  }

  #listener(): LinkEvents {
    const era = this.#era
    const alive = (): boolean => era === this.#era && !this.#closed
    return {
      onUp: (granted) => {
        if (alive()) this.#up(granted)
      },
      onDown: ({ error, wasUp, refused }) => {
        if (!alive()) return
        const { stats } = this.#context
        if (wasUp) {
          stats.connected--
          stats.disconnects++
        } else if (refused) stats.connectRefusals++
        else stats.connectFailures++
        if (error !== null) stats.error(error)
        this.#reconnect(null)
      },
      onAck: (id, answer) => {
        if (alive()) this.#answered(id, answer)
      },
      onRelease: (id, code) => {
        const waiting = this.#inFlight.get(id)
        if (!alive() || waiting === undefined) return
        this.#heard(code)
        waiting.released = true
        waiting.code = code
      },
      onFarewell: (code) => {
        if (alive()) this.#context.stats.farewell(code)
      },
      onAlias: () => {
        this.#context.stats.aliased++
      },
      onPacket: (direction, name) => {
        if (alive()) this.#packet(direction, name)
      },
    }
  }

  #up({ sessionPresent, receiveMaximum, sessionExpirySeconds }: Granted): void {
    const { options, stats } = this.#context
    this.#attempts = 0
    stats.connects++
    stats.connected++
    this.#hasSession = this.qos === 2
    if (this.qos === 2 && !sessionPresent && this.#inFlight.size > 0) this.#sessionEnded()
    this.#sessionExpiryMs = (sessionExpirySeconds ?? options.sessionExpirySeconds) * 1000
    this.#receiveMaximum = receiveMaximum
    if (receiveMaximum < Number.POSITIVE_INFINITY) stats.granted(receiveMaximum)
    this.#onLink.clear()
    this.#toResend = [...this.#inFlight.keys()]
    this.#pump()
  }

  /**
   * A device of 3.1.1 sends again as ever. In version 5 it must forget its packet ids
   * [MQTT-3.2.2-5]: what had a PUBREC is done with, the others go out as new messages.
   */
  #sessionEnded(): void {
    const { ledger, schedule, stats } = this.#context
    const is5 = this.dialect.protocol === '5'
    if (is5 && schedule.nowMs - this.#downAtMs >= this.#sessionExpiryMs) stats.sessionsExpired++
    else stats.sessionsLost++
    if (!is5) return
    const open = [...this.#inFlight.values()]
    this.#inFlight.clear()
    for (const waiting of open) {
      if (waiting.released) this.#settle(waiting, waiting.code)
      else {
        stats.sentAnew++
        ledger.sendAnew(this.id, waiting.order)
        this.#inFlight.set(this.#freeId(), { ...waiting, isNew: true })
      }
    }
  }

  /** As far as the grant reaches; a PUBREL needs none [MQTT-4.9.0-3]. */
  #resend(): void {
    const { stats } = this.#context
    let id = this.#toResend[0]
    for (; id !== undefined && this.#link?.isUp === true; id = this.#toResend[0]) {
      const waiting = this.#inFlight.get(id)
      if (waiting !== undefined && !waiting.released && !this.#hasGrant) return
      this.#toResend.shift()
      if (waiting === undefined) continue
      this.#onLink.add(id)
      if (waiting.released) {
        stats.releasesResent++
        this.#link.release(id)
      } else {
        stats.resent++
        this.#write(id, waiting.reading, !waiting.isNew)
        waiting.isNew = false
      }
    }
  }

  get #hasGrant(): boolean {
    return this.#onLink.size < this.#receiveMaximum
  }

  #reconnect(delayMs: number | null): void {
    const { reconnect } = this.#context.options
    const backoffMs = Math.min(reconnect.maxMs, reconnect.minMs * 2 ** this.#attempts)
    this.#attempts = Math.min(this.#attempts + 1, 20)
    if (this.#link?.wasUp === true) this.#downAtMs = this.#context.schedule.nowMs
    this.#link = null
    this.#era++
    const era = this.#era
    this.#context.schedule.after(delayMs ?? backoffMs * this.#network.between(0.5, 1), () => {
      if (era === this.#era) this.connect()
    })
  }

  #take(reading: Reading): void {
    const { options, ledger, stats } = this.#context
    if (this.#backlog.length - this.#backlogHead >= options.maxBacklog) {
      stats.skipped++
      return
    }
    const order = ledger.publish(this.id, reading.n, this.qos, reading.payload, Date.now())
    this.#backlog.push({ reading, order })
  }

  #pump(): void {
    const { options, ledger, schedule, stats } = this.#context
    this.#resend()
    if (this.#toResend.length > 0) return
    while (this.#link?.isUp === true && this.#inFlight.size < options.window) {
      const waiting = this.#backlog[this.#backlogHead]
      if (waiting === undefined) break
      if (this.qos > 0 && !this.#hasGrant) {
        stats.grantWaits++
        break
      }
      this.#backlogHead++
      if (this.#backlogHead > 1024 || this.#backlogHead === this.#backlog.length) {
        this.#backlog.splice(0, this.#backlogHead)
        this.#backlogHead = 0
      }
      if (this.qos === 0) {
        this.#write(0, waiting.reading, false)
        ledger.ack(this.id, waiting.order, Date.now())
        continue
      }
      const id = this.#freeId()
      const sentAtMs = schedule.nowMs
      this.#inFlight.set(id, { ...waiting, sentAtMs, released: false, code: 0, isNew: false })
      this.#onLink.add(id)
      this.#write(id, waiting.reading, false)
      // Version 5 forbids it: only a new connection sends again [MQTT-4.4.0-1].
      if (waiting.reading.twice && this.dialect.protocol === '3.1.1') {
        this.#context.stats.duplicates++
        this.#write(id, waiting.reading, true)
      }
    }
  }

  #write(id: number, reading: Reading, dup: boolean): void {
    this.#context.stats.sent++
    this.#link?.publish(id, reading, this.qos, dup)
  }

  #freeId(): number {
    do {
      this.#lastId = this.#lastId === MAX_PACKET_ID ? 1 : this.#lastId + 1
    } while (this.#inFlight.has(this.#lastId))
    return this.#lastId
  }

  #answered(id: number, { packet, code }: Answer): void {
    const { schedule, stats } = this.#context
    const waiting = this.#inFlight.get(id)
    if (waiting === undefined) return
    this.#inFlight.delete(id)
    this.#onLink.delete(id)
    stats.ackMs.add(schedule.nowMs - waiting.sentAtMs)
    if (packet !== 'pubcomp') this.#heard(code)
    else if (code === UNKNOWN_ID_CODE) stats.releasesUnknown++
    // Whatever PUBCOMP says, the promise was the PUBREC's.
    this.#settle(waiting, packet === 'pubcomp' ? waiting.code : code)
    this.#pump()
  }

  #settle({ order }: Waiting, code: number): void {
    const { ledger } = this.#context
    const isRefused = code >= FAILURE_CODE || code === UNTAKEN_CODE
    if (isRefused) ledger.refuse(this.id, order, code, Date.now())
    else ledger.ack(this.id, order, Date.now())
  }

  #heard(code: number): void {
    if (this.dialect.protocol === '5') this.#context.stats.reason(code)
  }

  #packet(direction: 'in' | 'out', name: PacketName): void {
    if (this.#cutAt === null || name !== this.#cutAt) return
    if (direction === 'in') {
      // The gateway has said it, and the device never hears it.
      this.#cut(name, null)
      return
    }
    // Two turns of the loop: by then the packet may or may not have reached the wire whole.
    const era = this.#era
    const point = this.#cutAt
    setImmediate(() =>
      setImmediate(() => {
        if (era === this.#era && this.#cutAt === point) this.#cut(point, null)
      }),
    )
  }

  #cut(point: CutPoint, delayMs: number | null): void {
    const link = this.#link
    this.#cutAt = null
    if (link === null || !link.isUp) return
    const { stats } = this.#context
    stats.drops++
    stats.dropsAt[point]++
    stats.connected--
    link.cut()
    this.#reconnect(delayMs)
  }
}
