/**
 * One store-and-retry device. It keeps every reading until PUBACK or PUBCOMP, sends in order with a
 * bounded window, and after a reconnect sends again what is unacknowledged, in the old order, with
 * the old packet ids: PUBLISH with DUP, or PUBREL where PUBREC had come [MQTT-4.3.3, 4.4, 4.6]. A
 * QoS 2 device keeps its session (clean false). Its connections are cut, frozen and stormed here;
 * when, the fleet decides.
 */
import type { Ledger, Qos } from '../ledger/ledger.ts'
import { Random } from '../random.ts'
import { Link, type LinkEvents, type LinkOptions, type PacketName } from './link.ts'
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
}

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
  readonly #context: DeviceContext
  readonly #source: ReadingSource
  readonly #network: Random
  readonly #cuts: Random
  readonly #backlog: Waiting[] = []
  #backlogHead = 0
  /** By packet id, in the order of sending. */
  readonly #inFlight = new Map<number, InFlight>()
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
    this.#network = new Random(context.options.seed, `network/${id}`)
    this.#cuts = new Random(context.options.seed, `cuts/${id}`)
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
      clean,
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
      onUp: (sessionPresent) => {
        if (alive()) this.#up(sessionPresent)
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
      onAck: (id) => {
        if (alive()) this.#acked(id)
      },
      onRelease: (id) => {
        const waiting = this.#inFlight.get(id)
        if (alive() && waiting !== undefined) waiting.released = true
      },
      onPacket: (direction, name) => {
        if (alive()) this.#packet(direction, name)
      },
    }
  }

  #up(sessionPresent: boolean): void {
    const { stats } = this.#context
    this.#attempts = 0
    stats.connects++
    stats.connected++
    this.#hasSession = this.qos === 2
    if (this.qos === 2 && !sessionPresent && this.#inFlight.size > 0) stats.sessionsLost++
    for (const [id, { reading, released }] of this.#inFlight) {
      if (released) {
        stats.releasesResent++
        this.#link?.release(id)
      } else {
        stats.resent++
        this.#write(id, reading, true)
      }
    }
    this.#pump()
  }

  #reconnect(delayMs: number | null): void {
    const { reconnect } = this.#context.options
    const backoffMs = Math.min(reconnect.maxMs, reconnect.minMs * 2 ** this.#attempts)
    this.#attempts = Math.min(this.#attempts + 1, 20)
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
    const { options, ledger, schedule } = this.#context
    while (this.#link?.isUp === true && this.#inFlight.size < options.window) {
      const waiting = this.#backlog[this.#backlogHead]
      if (waiting === undefined) break
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
      this.#inFlight.set(id, { ...waiting, sentAtMs: schedule.nowMs, released: false })
      this.#write(id, waiting.reading, false)
      if (waiting.reading.twice) {
        this.#context.stats.duplicates++
        this.#write(id, waiting.reading, true)
      }
    }
  }

  #write(id: number, reading: Reading, dup: boolean): void {
    this.#context.stats.sent++
    this.#link?.publish(id, reading.topic, reading.payload, this.qos, dup)
  }

  #freeId(): number {
    do {
      this.#lastId = this.#lastId === MAX_PACKET_ID ? 1 : this.#lastId + 1
    } while (this.#inFlight.has(this.#lastId))
    return this.#lastId
  }

  #acked(id: number): void {
    const { ledger, schedule, stats } = this.#context
    const waiting = this.#inFlight.get(id)
    if (waiting === undefined) return
    this.#inFlight.delete(id)
    stats.ackMs.add(schedule.nowMs - waiting.sentAtMs)
    ledger.ack(this.id, waiting.order, Date.now())
    this.#pump()
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
