/**
 * A device that publishes at QoS 2 as section 4.3.3 of MQTT has it, in 3.1.1 or 5, and remembers across
 * connections what section 4.4 wants: on a new connection every PUBLISH without a PUBREC is sent
 * again with DUP, every PUBREL without a PUBCOMP again, in their order and under their packet ids.
 * Its readings are `{"n":1}`, `{"n":2}`, ...
 *
 * Frames are looked at one by one and only when told to, so that a test can stop at any point, or
 * lose what it likes.
 */
import assert from 'node:assert/strict'
import { levelAt, type Speech } from './levels.ts'
import { type Ack, type Level, REASON, readAck, reasonText } from './mqtt-answers.ts'
import { lastingSession, packet, RawMqtt, TYPE } from './raw-mqtt.ts'

interface InFlight {
  readonly n: number
  readonly id: number
  /** A PUBREC came: the PUBREL may go, and the PUBLISH must not go again [MQTT-4.3.3-1]. */
  received: boolean
  /** Its PUBREL left before this connection: the gateway may have forgotten it. */
  releasedBefore: boolean
  released: boolean
}

/** Longer than any test. */
const SESSION_EXPIRY_SECONDS = 86_400
/** Small, so that ids are used again soon, and that no grant is smaller. */
const PACKET_IDS = 24

export class Qos2Device {
  readonly clientId: string
  readonly topic: string
  /** In the order of their PUBLISHes. */
  readonly inFlight: InFlight[] = []
  published = 0
  completed = 0
  resentPublishes = 0
  resentReleases = 0
  #client: RawMqtt | null = null
  readonly #level: Speech
  #connections = 0
  #lastId = 0
  /**
   * A PUBREC came once: the commit behind it holds the session. Before that the gateway may forget
   * it.
   */
  #isStored = false
  /** PUBRELs that this connection owes. */
  readonly #withheld = new Set<number>()

  constructor(clientId: string, level: Speech = 4) {
    this.clientId = clientId
    this.#level = level
    this.topic = `plant/${clientId}/reading`
  }

  get client(): RawMqtt {
    assert(this.#client, `${this.clientId} is not connected`)
    return this.#client
  }

  get isDone(): boolean {
    return this.inFlight.length === 0
  }

  /** There is a packet id for one more. */
  get hasRoom(): boolean {
    return this.inFlight.length < PACKET_IDS
  }

  /** Connects, also over an older connection of its own, and resumes its session. */
  async connect(port: number): Promise<void> {
    const level = levelAt(this.#level, this.#connections++)
    const session = lastingSession(level, SESSION_EXPIRY_SECONDS)
    const client = await RawMqtt.connect(port, { clientId: this.clientId, ...session })
    this.#client = client
    const { receiveMaximum = PACKET_IDS } = client.granted
    assert(receiveMaximum >= PACKET_IDS, `${this.clientId} is granted ${receiveMaximum} only`)
    assert(
      client.sessionPresent || !this.#isStored,
      `${this.clientId}: the gateway has lost the session`,
    )
    this.#withheld.clear()
    const again = this.inFlight.map((one) => {
      one.releasedBefore = one.released
      if (!one.received) this.resentPublishes++
      else this.resentReleases++
      return one.received ? this.#release(one) : this.#encode(one, level, true)
    })
    if (again.length > 0) client.send(...again)
  }

  /** The connection is gone, and with it whatever was not looked at. */
  cut(): void {
    this.#client?.cut()
    this.#client = null
  }

  /** Publishes so many new readings in one write. */
  publish(count: number): void {
    const frames: Buffer[] = []
    for (let i = 0; i < count; i++) {
      const one = {
        n: ++this.published,
        id: this.#freeId(),
        received: false,
        releasedBefore: false,
        released: false,
      }
      this.inFlight.push(one)
      frames.push(this.#encode(one, this.client.level, false))
    }
    this.client.send(...frames)
  }

  /** The next frame, without acting on it: as if it had been lost. */
  async lose(type: number): Promise<number> {
    const frame = await this.client.next(type)
    this.#isStored = true
    return readAck(frame, this.client.level).id
  }

  /**
   * Takes the next frame and does what the protocol says. `release: false`: but without sending the
   * PUBREL.
   */
  async step(options: { readonly release?: boolean } = {}): Promise<void> {
    const frame = await this.client.next()
    const ack = readAck(frame, this.client.level)
    const { id } = ack
    const one = this.inFlight.find((inFlight) => inFlight.id === id)
    this.#checkCode(ack, one)
    if (frame.type === TYPE.PUBREC) {
      // Also for an id that is complete: section 4.3.3 answers every PUBREC.
      if (one) one.received = true
      this.#isStored = true
      if (options.release === false) this.#withheld.add(id)
      else this.client.send(one === undefined ? packet.pubrel(id) : this.#release(one))
    } else if (frame.type === TYPE.PUBCOMP) {
      if (one?.received) {
        this.inFlight.splice(this.inFlight.indexOf(one), 1)
        this.completed++
      }
    } else {
      assert.fail(`${this.clientId}: got frame 0x${frame.type.toString(16)}`)
    }
  }

  /** Sends what `release: false` held back. */
  release(): void {
    if (this.#withheld.size === 0) return
    const owed = this.inFlight.filter(({ id }) => this.#withheld.has(id))
    this.client.send(...owed.map((one) => this.#release(one)))
    this.#withheld.clear()
  }

  /** Until every reading is complete. */
  async finish(): Promise<void> {
    this.release()
    while (!this.isDone) await this.step()
  }

  /** Of MQTT 5: nothing is refused, and no id is unknown whose PUBREL leaves for the first time. */
  #checkCode({ id, code }: Ack, one: InFlight | undefined): void {
    const mayBeUnknown = one === undefined || one.releasedBefore
    const isFine = code === REASON.SUCCESS || (mayBeUnknown && code === REASON.PACKET_ID_NOT_FOUND)
    assert(isFine, `${this.clientId}: ${id} is answered ${reasonText(code)}`)
  }

  #encode({ n, id }: InFlight, level: Level, dup: boolean): Buffer {
    return packet.publish(this.topic, JSON.stringify({ n }), { qos: 2, id, dup, level })
  }

  #release(one: InFlight): Buffer {
    one.released = true
    return packet.pubrel(one.id)
  }

  #freeId(): number {
    const used = new Set(this.inFlight.map(({ id }) => id))
    assert(used.size < PACKET_IDS, `${this.clientId}: no packet id is free`)
    do this.#lastId = (this.#lastId % PACKET_IDS) + 1
    while (used.has(this.#lastId))
    return this.#lastId
  }
}
