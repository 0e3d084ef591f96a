/**
 * The driver's device: MQTT 3.1.1 over a real socket, at QoS 1 or 2 with clean session 0. It sees
 * each PUBACK, PUBREC and PUBCOMP, keeps what was acknowledged, and resends on a new connection
 * what section 4.4 wants: every PUBLISH without its first ack again with DUP, every PUBREL without
 * a PUBCOMP again, in order and under their packet ids.
 *
 * What it sees that must not be (acks out of order, for ids that are not in flight, a lost session)
 * is kept in `faults`.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { packet, type RawFrame, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'

interface InFlight {
  readonly n: number
  readonly id: number
  /** QoS 2: a PUBREC came, the PUBREL goes instead of the PUBLISH [MQTT-4.3.3-1]. */
  isReceived: boolean
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
}

/** A device's pace: it is no load generator. */
const PACE_MS = 4
/** Small, so that ids are used again soon; more only where the window is. */
const PACKET_IDS = 64

export class OracleDevice {
  readonly options: Required<OracleDeviceOptions>
  readonly faults: string[] = []
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
  #resumedFrom: number[] = []
  #client: RawMqtt | null = null
  #lastId = 0
  #isParted = false
  #hasStoredSession = false
  readonly #text: string

  constructor(options: OracleDeviceOptions) {
    this.options = { textBytes: 0, lossy: false, paceMs: PACE_MS, ...options }
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
    readonly resumedFrom: readonly number[]
  } {
    const story = {
      first: this.#first,
      published: this.published,
      acked: this.#acked,
      resumedFrom: this.#resumedFrom,
    }
    this.#first = this.published + 1
    this.#acked = []
    this.#resumedFrom = []
    return story
  }

  /**
   * Connects, resends, and lives until the connection ends. Never rejects: a gateway that dies is
   * what it is here for.
   */
  async live(port: number): Promise<void> {
    this.#isParted = false
    try {
      const client = await RawMqtt.connect(port, { clientId: this.options.name, clean: false })
      this.#client = client
      if (this.#isParted) return
      if (this.#hasStoredSession && !client.sessionPresent)
        this.#fault('I3: the gateway has lost its session')
      this.#resend(client)
      for (;;) {
        this.#fill(client)
        if (client.inbox.length === 0) {
          if (client.isClosed) return
          await sleep(this.options.paceMs)
          continue
        }
        for (const frame of client.inbox.splice(0))
          if (this.onFrame(frame) || !this.#take(client, frame)) return
      }
    } catch {
      // Refused, or closed under its hands.
    } finally {
      this.cut()
    }
  }

  /** Ends the connection without a word, also one that is still being made. */
  cut(): void {
    this.#isParted = true
    this.#client?.cut()
    this.#client = null
  }

  #resend(client: RawMqtt): void {
    const again = [...this.#inFlight.values()].map((one) =>
      one.isReceived ? packet.pubrel(one.id) : this.#encode(one, true),
    )
    const first = this.#oldestUnacked()
    if (first !== undefined) this.#resumedFrom.push(first.n)
    if (again.length > 0) client.send(...again)
  }

  #fill(client: RawMqtt): void {
    const frames: Buffer[] = []
    while (this.isPublishing && this.#inFlight.size < this.options.window) {
      const one = { n: ++this.published, id: this.#freeId(), isReceived: false }
      this.#inFlight.set(one.id, one)
      frames.push(this.#encode(one, false))
    }
    if (frames.length > 0) client.send(...frames)
  }

  /** False: the connection is over, because the gateway does what it must not. */
  #take(client: RawMqtt, frame: RawFrame): boolean {
    const id = frame.body.readUInt16BE(0)
    const one = this.#inFlight.get(id)
    if (frame.type === TYPE.PUBACK && this.options.qos === 1) {
      if (one === undefined) return this.#fault(`PUBACK for ${id}, which is not in flight`)
      this.#ackedNow(one)
      this.#inFlight.delete(id)
    } else if (frame.type === TYPE.PUBREC && this.options.qos === 2) {
      if (one === undefined) return this.#fault(`PUBREC for ${id}, which is not in flight`)
      this.#ackedNow(one)
      one.isReceived = true
      this.#hasStoredSession = true
      client.send(packet.pubrel(id))
      this.onRelease()
    } else if (frame.type === TYPE.PUBCOMP && this.options.qos === 2) {
      if (one === undefined || !one.isReceived)
        return this.#fault(`PUBCOMP for ${id} without a PUBREL`)
      this.#inFlight.delete(id)
    } else {
      return this.#fault(`got frame 0x${frame.type.toString(16)}`)
    }
    return true
  }

  /** I2: first acks come in the order of the PUBLISHes of the connection. */
  #ackedNow(one: InFlight): void {
    const oldest = this.#oldestUnacked()
    if (one !== oldest) this.#fault(`I2: reading ${one.n} is acknowledged before ${oldest?.n}`)
    this.#acked.push(one.n)
  }

  #oldestUnacked(): InFlight | undefined {
    for (const one of this.#inFlight.values()) if (!one.isReceived) return one
    return undefined
  }

  #fault(what: string): false {
    this.faults.push(`${this.options.name}: ${what}`)
    return false
  }

  #encode({ n, id }: InFlight, dup: boolean): Buffer {
    const { topic, qos } = this.options
    const payload = this.#text === '' ? { n } : { n, text: this.#text }
    return packet.publish(topic, JSON.stringify(payload), { qos, id, dup })
  }

  #freeId(): number {
    const ids = Math.max(PACKET_IDS, 2 * this.options.window)
    do this.#lastId = (this.#lastId % ids) + 1
    while (this.#inFlight.has(this.#lastId))
    return this.#lastId
  }
}
