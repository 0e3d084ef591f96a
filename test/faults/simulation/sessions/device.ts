/**
 * A client of the simulation, in either version: it publishes at QoS 1 and 2, sends again what
 * section 4.4 wants, forgets what went with its session, and tells what it was answered that must
 * not be.
 */
import type { Random } from '../../../../device-sim/random.ts'
import {
  type Ack,
  type Level,
  REASON,
  readAck,
  readDisconnect,
  reasonText,
} from '../../../support/mqtt-answers.ts'
import { packet, type RawFrame, type RawMqtt, TYPE } from '../../../support/raw-mqtt.ts'
import type { Link } from './gate.ts'

/** Nothing is promised about time: finds what is not closed at all. */
const CLOSE_WITHIN_MS = 3_000
const PACKET_IDS = 50

interface InFlight {
  readonly n: number
  readonly qos: 1 | 2
  /** QoS 2: PUBREC came. */
  isReceived: boolean
  /** QoS 2: PUBREL left at some time, and may have been taken. */
  isReleased: boolean
}

export interface Acked {
  readonly id: number
  readonly n: number
  readonly qos: 1 | 2
}

export class SimulatedDevice {
  readonly name: string
  link: Link | null = null
  /** Granted, or none in 3.1.1. */
  receiveMaximum: number | null = null
  /** As section 4.9 counts it: what comes back beyond the grant is nothing. */
  quota = Number.POSITIVE_INFINITY
  /** Of this connection: PUBLISHes, less what ended them or might have. */
  #unended = 0
  published = 0
  /** Published at QoS 2. */
  readonly onceOnly: number[] = []
  /** By packet id, in the order of their PUBLISHes. */
  readonly inFlight = new Map<number, InFlight>()
  #lastId = 0

  constructor(name: string) {
    this.name = name
  }

  get client(): RawMqtt {
    if (this.link === null) throw new Error(`${this.name} is not connected`)
    return this.link.client
  }

  payloadOf(n: number): string {
    return `${this.name} ${n}`
  }

  begin(link: Link, receiveMaximum: number | null): void {
    this.link = link
    this.receiveMaximum = receiveMaximum
    this.quota = receiveMaximum ?? Number.POSITIVE_INFINITY
    this.#unended = 0
  }

  /** The connection is over. */
  part(): void {
    this.link = null
    this.receiveMaximum = null
  }

  /** So many messages would be one more than any reading of the standard allows. */
  get tooMany(): number {
    return (this.receiveMaximum ?? 0) - this.#unended + 1
  }

  #sent(): void {
    this.#unended += 1
    this.quota -= 1
  }

  #ended(): void {
    this.#unended -= 1
    this.quota = Math.min(this.receiveMaximum ?? Number.POSITIVE_INFINITY, this.quota + 1)
  }

  /** New messages in one write. */
  publish(count: number, random: Random): void {
    const frames: Buffer[] = []
    for (let i = 0; i < count; i += 1) {
      do this.#lastId = (this.#lastId % PACKET_IDS) + 1
      while (this.inFlight.has(this.#lastId))
      const qos = random.chance(0.5) ? 1 : 2
      const n = ++this.published
      if (qos === 2) this.onceOnly.push(n)
      this.inFlight.set(this.#lastId, { n, qos, isReceived: false, isReleased: false })
      frames.push(this.#encode(this.#lastId, false))
    }
    this.client.send(...frames)
  }

  /** First acks of all that has none, in the order of the PUBLISHes of this connection (I2). */
  async firstAcks(): Promise<Acked[]> {
    const acked: Acked[] = []
    for (const [id, one] of this.inFlight) {
      if (one.isReceived) continue
      const ack = await this.#next(one.qos === 1 ? TYPE.PUBACK : TYPE.PUBREC)
      if (ack.id !== id) throw new Error(`I2: ${this.name}: an ack for ${ack.id} instead of ${id}`)
      if (ack.code !== REASON.SUCCESS)
        throw new Error(`${this.name}: ${id} is answered ${reasonText(ack.code)}`)
      if (one.qos === 1) {
        this.inFlight.delete(id)
        this.#ended()
      }
      if (one.qos === 2) one.isReceived = true
      acked.push({ id, n: one.n, qos: one.qos })
    }
    return acked
  }

  /** What a session that goes on wants sent again; PUBRELs are answered in {@link completions}. */
  resend(): void {
    const frames = [...this.inFlight].map(([id, one]) =>
      one.isReceived ? packet.pubrel(id) : this.#encode(id, true),
    )
    if (frames.length > 0) this.client.send(...frames)
  }

  release(ids: readonly number[]): void {
    if (ids.length > 0) this.client.send(...ids.map((id) => packet.pubrel(id)))
  }

  get received(): number[] {
    return [...this.inFlight].flatMap(([id, one]) => (one.isReceived ? [id] : []))
  }

  /** One PUBCOMP each. `isKnown`: the gateway must know the id; in MQTT 5 it says so. */
  async completions(ids: readonly number[], isKnown: (id: number) => boolean): Promise<void> {
    for (const id of ids) {
      const ack = await this.#next(TYPE.PUBCOMP)
      if (ack.id !== id) throw new Error(`${this.name}: PUBCOMP for ${ack.id} instead of ${id}`)
      const isReleased = this.inFlight.get(id)?.isReleased ?? false
      if (ack.code !== REASON.SUCCESS && isKnown(id) && !isReleased)
        throw new Error(`I3: ${this.name}: ${id} is forgotten before its PUBREL`)
      this.inFlight.delete(id)
      this.#ended()
    }
  }

  /** A PUBREL for what is not in flight; what it is answered. */
  async releaseUnknown(id: number): Promise<number> {
    this.release([id])
    const { code } = await this.#next(TYPE.PUBCOMP)
    this.#ended()
    return code
  }

  /** PUBRELs that may not arrive, or not be answered. */
  mayBeReleased(ids: readonly number[]): void {
    for (const id of ids) {
      const one = this.inFlight.get(id)
      if (one !== undefined) one.isReleased = true
    }
  }

  /** Its last word, and the end. Null: there was none. */
  static async farewell(client: RawMqtt): Promise<string | null> {
    await client.closed(CLOSE_WITHIN_MS)
    const last = client.inbox.at(-1)
    return last?.type === TYPE.DISCONNECT ? reasonText(readDisconnect(last).code) : null
  }

  /**
   * The next answer of its kind: first acks have one order and PUBCOMPs have one [MQTT-4.6.0-2], none
   * between them.
   */
  async #next(type: number): Promise<Ack> {
    const { client } = this
    const isOfKind = (frame: RawFrame): boolean =>
      (frame.type === TYPE.PUBCOMP) === (type === TYPE.PUBCOMP)
    await client.until(() => client.inbox.some(isOfKind))
    const [frame] = client.inbox.splice(client.inbox.findIndex(isOfKind), 1)
    if (frame?.type !== type)
      throw new Error(`${this.name}: got frame 0x${frame?.type.toString(16)}`)
    return readAck(frame, client.level)
  }

  #encode(id: number, dup: boolean): Buffer {
    const one = this.inFlight.get(id)
    if (one === undefined) throw new Error(`${this.name}: ${id} is not in flight`)
    const level: Level = this.client.level
    this.#sent()
    return packet.publish('t/x', this.payloadOf(one.n), { qos: one.qos, id, dup, level })
  }
}
