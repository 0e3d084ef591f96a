/**
 * The driver's device: MQTT 3.1.1 or 5 over a real socket, at QoS 1 or 2 with a session that
 * outlives its connections. It sees each PUBACK, PUBREC and PUBCOMP, keeps what was acknowledged,
 * and resends on a new connection what section 4.4 wants: every PUBLISH without its first ack again
 * with DUP, every PUBREL without a PUBCOMP again, in order and under their packet ids. In version 5
 * it never has more unacknowledged than it was granted [MQTT-3.3.4-7], and a refusal is final. Where
 * its session has expired it gives up what was in flight [MQTT-3.2.2-5]. It may take over from its
 * own connection, and speak another version on each.
 *
 * What it sees that must not be (acks out of order, for ids that are not in flight, a session that
 * is lost or has outlived its expiry, a reason code that is not the event's, bytes that the standard
 * does not allow) is kept in `faults`.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { levelAt, type Speech } from '../../support/levels.ts'
import {
  type Ack,
  type Level,
  REASON,
  readAck,
  readDisconnect,
  reasonText,
} from '../../support/mqtt-answers.ts'
import { lastingSession, packet, type RawFrame, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { DeviceSession } from './device-session.ts'

interface InFlight {
  readonly n: number
  readonly id: number
  /** QoS 2: a PUBREC came, the PUBREL goes instead of the PUBLISH [MQTT-4.3.3-1]. */
  isReceived: boolean
  /** PUBLISHes and PUBRELs of it, over all connections. */
  publishes: number
  releases: number
}

export interface OracleDeviceOptions {
  readonly name: string
  readonly qos: 1 | 2
  readonly topic: string
  /** Unfinished readings at one time. */
  readonly window: number
  /** Between two looks at what came. @default 4 */
  readonly paceMs?: number
  /** Of random text in each reading. @default 0 */
  readonly textBytes?: number
  /** Its stream may drop readings, counted. @default false */
  readonly lossy?: boolean
  /** @default 4, which is 3.1.1 */
  readonly level?: Speech
  /** Of its session, at QoS 2 and in version 5. @default a day: no campaign is away for so long */
  readonly sessionSeconds?: number
}

/** How often each happened, over all connections. */
export interface DeviceDeeds {
  takeovers: number
  /** From a connection of version 5, and those that were told so (0x8E). */
  takeovers5: number
  farewells: number
  /** Its session had expired when it came back; it was there. */
  expired: number
  resumed: number
}

const SESSION_EXPIRY_SECONDS = 86_400
const MAX_RECEIVE_MAXIMUM = 65_535
/** The gateway stops: nothing that the device did. */
const SHUTTING_DOWN = 0x8b

/** A device's pace: it is no load generator. */
const PACE_MS = 4
/** Small, so that ids are used again soon; more only where the window is. */
const PACKET_IDS = 64

export class OracleDevice {
  readonly options: Required<OracleDeviceOptions>
  readonly faults: string[] = []
  readonly deeds: DeviceDeeds = {
    takeovers: 0,
    takeovers5: 0,
    farewells: 0,
    expired: 0,
    resumed: 0,
  }
  published = 0
  isPublishing = false
  /**
   * Called with each frame before anything is done about it; true: nothing is, as if it were not
   * read any more.
   */
  onFrame: (frame: RawFrame) => boolean = () => false
  /** Called behind each PUBREL that was written. */
  onRelease: () => void = () => undefined
  /** By packet id, in the order of their PUBLISHes. */
  readonly #inFlight = new Map<number, InFlight>()
  #first = 1
  #acked: number[] = []
  #refused: number[] = []
  #abandoned: number[] = []
  /** Packet ids that this connection has not sent again yet, in their order. */
  #toResend: number[] = []
  /** Packet ids that count against the grant. */
  readonly #onLink = new Set<number>()
  #receiveMaximum = Number.POSITIVE_INFINITY
  #resumedFrom: number[] = []
  #client: RawMqtt | null = null
  #lastId = 0
  #connections = 0
  #isParted = false
  #wantsTakeover = false
  readonly #session: DeviceSession
  readonly #text: string

  constructor(options: OracleDeviceOptions) {
    this.options = {
      textBytes: 0,
      lossy: false,
      paceMs: PACE_MS,
      level: 4,
      sessionSeconds: SESSION_EXPIRY_SECONDS,
      ...options,
    }
    this.#session = new DeviceSession(this.options.sessionSeconds)
    this.#text = randomBytes(Math.ceil((this.options.textBytes * 3) / 4)).toString('base64')
  }

  get isIdle(): boolean {
    return this.#inFlight.size === 0
  }

  /** Acknowledged since the last `takeStory`. */
  get ackedCount(): number {
    return this.#acked.length
  }

  /** What it knows since the last call; everything is complete then. */
  takeStory(): {
    readonly first: number
    readonly published: number
    readonly acked: readonly number[]
    readonly refused: readonly number[]
    readonly abandoned: readonly number[]
    readonly resumedFrom: readonly number[]
  } {
    const story = {
      first: this.#first,
      published: this.published,
      acked: this.#acked,
      refused: this.#refused,
      abandoned: this.#abandoned,
      resumedFrom: this.#resumedFrom,
    }
    this.#first = this.published + 1
    this.#acked = []
    this.#refused = []
    this.#abandoned = []
    this.#resumedFrom = []
    return story
  }

  /**
   * Stays away for so long, connects, resends, and lives until the connection ends. Never rejects: a
   * gateway that dies is what it is here for. `upSinceMs`: the gateway runs since then, monotonic ms.
   */
  async live(port: number, upSinceMs: number, awayMs = 0): Promise<void> {
    this.#isParted = false
    this.#wantsTakeover = false
    try {
      const endMs = performance.now() + awayMs
      while (performance.now() < endMs && !this.#isParted) await sleep(this.options.paceMs)
      if (this.#isParted) return
      let client: RawMqtt | null = await this.#connect(port, upSinceMs)
      while (client !== null && this.#isLiving(client)) {
        if (this.#wantsTakeover) client = await this.#changeOver(port, client, upSinceMs)
        else if (client.inbox.length === 0) await sleep(this.options.paceMs)
      }
    } catch {
      // Refused, or closed under its hands.
    } finally {
      this.cut()
    }
  }

  /** Connects again soon, over the connection that it has; nothing if it has none. */
  takeOver(): void {
    this.#wantsTakeover = true
  }

  /** Null: it was parted meanwhile. */
  async #connect(port: number, upSinceMs: number): Promise<RawMqtt | null> {
    const { name: clientId, level, sessionSeconds } = this.options
    const speaks = levelAt(level, this.#connections++)
    const askedAtMs = performance.now()
    const fields = { clientId, ...lastingSession(speaks, sessionSeconds) }
    const client = await RawMqtt.connect(port, fields)
    if (this.#isParted) {
      client.cut()
      this.#session.leave(performance.now())
      return null
    }
    this.#client = client
    const { isStored } = this.#session
    const fault = this.#session.resume(client.sessionPresent, askedAtMs, upSinceMs)
    if (fault !== null) this.#fault(fault)
    if (isStored && client.sessionPresent) this.deeds.resumed++
    if (isStored && !client.sessionPresent) this.#forget()
    this.#resume(client)
    return client
  }

  /** False: the connection is over. */
  #isLiving(client: RawMqtt): boolean {
    this.#fill(client)
    if (client.inbox.length === 0) return !client.isClosed
    for (const frame of client.inbox.splice(0))
      if (this.onFrame(frame) || !this.#take(client, frame)) return false
    return true
  }

  /** What still came over the former connection is lost, but for its last word. */
  async #changeOver(port: number, former: RawMqtt, upSinceMs: number): Promise<RawMqtt | null> {
    this.#wantsTakeover = false
    this.#session.leave(performance.now())
    const client = await this.#connect(port, upSinceMs)
    await former.closed()
    if (client === null) return null
    this.deeds.takeovers++
    if (former.level === 5) this.deeds.takeovers5++
    const last = former.inbox.at(-1)
    if (last?.type !== TYPE.DISCONNECT) return client
    const { code } = readDisconnect(last)
    if (code === REASON.SESSION_TAKEN_OVER) this.deeds.farewells++
    else if (code !== SHUTTING_DOWN) this.#fault(`taken over with ${reasonText(code)}`)
    return client
  }

  /** Its session has expired, and with it what was in flight [MQTT-3.2.2-5]. */
  #forget(): void {
    this.deeds.expired++
    for (const { n, isReceived } of this.#inFlight.values())
      if (!isReceived) this.#abandoned.push(n)
    this.#inFlight.clear()
  }

  /** Ends the connection without a word, also one that is still being made. */
  cut(): void {
    this.#isParted = true
    if (this.#client === null) return
    this.#client.cut()
    this.#client = null
    this.#session.leave(performance.now())
  }

  #resume({ granted, level }: Awaited<ReturnType<typeof RawMqtt.connect>>): void {
    const most = granted.receiveMaximum ?? MAX_RECEIVE_MAXIMUM
    this.#receiveMaximum = level === 5 ? most : Number.POSITIVE_INFINITY
    this.#onLink.clear()
    this.#toResend = [...this.#inFlight.keys()]
    const first = this.#oldestUnacked()
    if (first !== undefined) this.#resumedFrom.push(first.n)
  }

  #fill(client: RawMqtt): void {
    const { level } = client
    const frames = this.#repeats(level)
    const { window } = this.options
    while (this.isPublishing && this.#inFlight.size < window && this.#toResend.length === 0) {
      if (this.#onLink.size >= this.#receiveMaximum) break
      const id = this.#freeId()
      const one = { n: ++this.published, id, isReceived: false, publishes: 0, releases: 0 }
      this.#inFlight.set(id, one)
      frames.push(this.#encode(one, level))
    }
    if (frames.length > 0) client.send(...frames)
  }

  /** What is still to be sent again, as far as the grant reaches; a PUBREL needs none. */
  #repeats(level: Level): Buffer[] {
    const frames: Buffer[] = []
    for (let id = this.#toResend[0]; id !== undefined; id = this.#toResend[0]) {
      const one = this.#inFlight.get(id) as InFlight
      if (!one.isReceived && this.#onLink.size >= this.#receiveMaximum) break
      this.#toResend.shift()
      frames.push(one.isReceived ? this.#release(one) : this.#encode(one, level))
    }
    return frames
  }

  /** False: the connection is over, because the gateway does what it must not, or has said so. */
  #take(client: RawMqtt, frame: RawFrame): boolean {
    if (frame.type === TYPE.DISCONNECT) return this.#bidFarewell(frame)
    let ack: Ack
    try {
      ack = readAck(frame, client.level)
    } catch (error) {
      return this.#fault(`got what is no ack: ${(error as Error).message}`)
    }
    const { qos } = this.options
    const { id } = ack
    const one = this.#inFlight.get(id)
    if (frame.type === TYPE.PUBACK && qos === 1) {
      if (one === undefined) return this.#fault(`PUBACK for ${id}, which is not in flight`)
      this.#answered(one, ack)
      this.#complete(one)
    } else if (frame.type === TYPE.PUBREC && qos === 2) {
      if (one === undefined) return this.#fault(`PUBREC for ${id}, which is not in flight`)
      this.#session.store()
      if (!this.#answered(one, ack)) {
        // The id is free, and no PUBREL follows [MQTT-4.3.3-4].
        this.#complete(one)
        return true
      }
      one.isReceived = true
      client.send(this.#release(one))
      this.onRelease()
    } else if (frame.type === TYPE.PUBCOMP && qos === 2) {
      if (one === undefined || !one.isReceived)
        return this.#fault(`PUBCOMP for ${id} without a PUBREL`)
      if (ack.code === REASON.PACKET_ID_NOT_FOUND && one.releases === 1)
        return this.#fault(`I3: the gateway has forgotten ${id} between PUBREC and PUBREL`)
      this.#complete(one)
    } else {
      return this.#fault(`got frame 0x${frame.type.toString(16)}`)
    }
    return true
  }

  #bidFarewell(frame: RawFrame): false {
    const { code } = readDisconnect(frame)
    if (code !== SHUTTING_DOWN) this.#fault(`DISCONNECT with ${reasonText(code)}`)
    return false
  }

  /** A first ack. False: it is refused. */
  #answered(one: InFlight, { code }: Ack): boolean {
    this.#inOrder(one)
    if (code === REASON.SUCCESS) this.#acked.push(one.n)
    else if (code === REASON.NO_SUBSCRIBERS)
      this.#fault(`reading ${one.n} was said to be taken by nobody, and there is a stream`)
    else if (!this.options.lossy)
      this.#fault(`reading ${one.n} is refused with ${reasonText(code)}; its stream takes all`)
    // What was sent more than once may be stored by an earlier try.
    else if (one.publishes === 1) this.#refused.push(one.n)
    return code < REASON.UNSPECIFIED
  }

  #complete({ id }: InFlight): void {
    this.#inFlight.delete(id)
    this.#onLink.delete(id)
  }

  /** I2: first acks come in the order of the PUBLISHes of the connection. */
  #inOrder(one: InFlight): void {
    const oldest = this.#oldestUnacked()
    if (one !== oldest) this.#fault(`I2: reading ${one.n} is acknowledged before ${oldest?.n}`)
  }

  #oldestUnacked(): InFlight | undefined {
    for (const one of this.#inFlight.values()) if (!one.isReceived) return one
    return undefined
  }

  #fault(what: string): false {
    this.faults.push(`${this.options.name}: ${what}`)
    return false
  }

  /** As it goes out now: again with DUP. */
  #encode(one: InFlight, level: Level): Buffer {
    const { topic, qos } = this.options
    const { n, id } = one
    const payload = this.#text === '' ? { n } : { n, text: this.#text }
    const properties = level === 5 ? { properties: { contentType: 'application/json' } } : {}
    const dup = one.publishes > 0
    one.publishes++
    this.#onLink.add(id)
    return packet.publish(topic, JSON.stringify(payload), { qos, id, dup, ...properties })
  }

  #release(one: InFlight): Buffer {
    one.releases++
    this.#onLink.add(one.id)
    return packet.pubrel(one.id)
  }

  #freeId(): number {
    const ids = Math.max(PACKET_IDS, 2 * this.options.window)
    do this.#lastId = (this.#lastId % ids) + 1
    while (this.#inFlight.has(this.#lastId))
    return this.#lastId
  }
}
