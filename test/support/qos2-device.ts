/**
 * A device that publishes at QoS 2 as MQTT 3.1.1 section 4.3.3 has it, and remembers across
 * connections what section 4.4 wants: on a new connection every PUBLISH without a PUBREC is sent
 * again with DUP, every PUBREL without a PUBCOMP again, in their order and under their packet ids.
 * Its readings are `{"n":1}`, `{"n":2}`, ...
 *
 * Frames are looked at one by one and only when told to, so that a test can stop at any point, or
 * lose what it likes.
 */
import assert from 'node:assert/strict'
import { packet, RawMqtt, TYPE } from './raw-mqtt.ts'

interface InFlight {
  readonly n: number
  readonly id: number
  /** A PUBREC came: the PUBREL may go, and the PUBLISH must not go again [MQTT-4.3.3-1]. */
  received: boolean
}

/** Small, so that ids are used again soon. */
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
  #lastId = 0
  /**
   * A PUBREC came once: the commit behind it holds the session. Before that the gateway may forget
   * it.
   */
  #isStored = false
  /** PUBRELs that this connection owes. */
  readonly #withheld = new Set<number>()

  constructor(clientId: string) {
    this.clientId = clientId
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
    const client = await RawMqtt.connect(port, { clientId: this.clientId, clean: false })
    this.#client = client
    assert(
      client.sessionPresent || !this.#isStored,
      `${this.clientId}: the gateway has lost the session`,
    )
    this.#withheld.clear()
    const again = this.inFlight.map((one) => {
      if (!one.received) this.resentPublishes++
      else this.resentReleases++
      return one.received ? packet.pubrel(one.id) : this.#encode(one, true)
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
      const one = { n: ++this.published, id: this.#freeId(), received: false }
      this.inFlight.push(one)
      frames.push(this.#encode(one, false))
    }
    this.client.send(...frames)
  }

  /** The next frame, without acting on it: as if it had been lost. */
  async lose(type: number): Promise<number> {
    const frame = await this.client.next(type)
    this.#isStored = true
    return frame.body.readUInt16BE(0)
  }

  /**
   * Takes the next frame and does what the protocol says. `release: false`: but without sending the
   * PUBREL.
   */
  async step(options: { readonly release?: boolean } = {}): Promise<void> {
    const frame = await this.client.next()
    const id = frame.body.readUInt16BE(0)
    const one = this.inFlight.find((inFlight) => inFlight.id === id)
    if (frame.type === TYPE.PUBREC) {
      // Also for an id that is complete: section 4.3.3 answers every PUBREC.
      if (one) one.received = true
      this.#isStored = true
      if (options.release === false) this.#withheld.add(id)
      else this.client.send(packet.pubrel(id))
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
    this.client.send(...[...this.#withheld].map((id) => packet.pubrel(id)))
    this.#withheld.clear()
  }

  /** Until every reading is complete. */
  async finish(): Promise<void> {
    this.release()
    while (!this.isDone) await this.step()
  }

  #encode({ n, id }: InFlight, dup: boolean): Buffer {
    return packet.publish(this.topic, JSON.stringify({ n }), { qos: 2, id, dup })
  }

  #freeId(): number {
    const used = new Set(this.inFlight.map(({ id }) => id))
    assert(used.size < PACKET_IDS, `${this.clientId}: no packet id is free`)
    do this.#lastId = (this.#lastId % PACKET_IDS) + 1
    while (used.has(this.#lastId))
    return this.#lastId
  }
}
