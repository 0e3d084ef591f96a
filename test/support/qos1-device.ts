/**
 * A device that publishes at QoS 1 over one connection with a full window, and knows which readings
 * were acknowledged. Its readings are `{"n":1,"x":"…"}`, the text random, so that they take on disk
 * what they take on the wire. It sends nothing twice: what the sink then holds twice, the gateway
 * has doubled.
 */
import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { type Level, REASON, readAck, reasonText } from './mqtt-answers.ts'
import { packet, RawMqtt, TYPE } from './raw-mqtt.ts'

export interface DeviceOptions {
  /** @default 4, which is 3.1.1 */
  readonly level?: Level
  /** Unacknowledged readings at one time; in MQTT 5 what was granted, at most. @default 100 */
  readonly window?: number
  /** Of the random text. @default 600 */
  readonly textBytes?: number
  /** Of its topic, `prefix/clientId`. @default plant */
  readonly prefix?: string
  /** Between two writes, ms: a device is no load generator. @default 5 */
  readonly paceMs?: number
}

export class Qos1Device {
  readonly clientId: string
  published = 0
  /** In the order of their PUBACKs. */
  readonly acked: number[] = []
  lastAckAtMs = 0
  readonly #options: Required<DeviceOptions>
  #client: RawMqtt | null = null
  #isPublishing = false
  #isClosing = false
  readonly #inFlight = new Map<number, number>()
  /** Of this connection. */
  #window = 0
  #running: Promise<void> = Promise.resolve()
  #failure: Error | null = null

  constructor(clientId: string, options: DeviceOptions = {}) {
    this.clientId = clientId
    this.#options = {
      level: 4,
      window: 100,
      textBytes: 600,
      prefix: 'plant',
      paceMs: 5,
      ...options,
    }
  }

  get unacked(): number {
    return this.#inFlight.size
  }

  get isConnected(): boolean {
    return this.#client !== null && !this.#client.isClosed
  }

  async connect(port: number): Promise<void> {
    const { level, window } = this.#options
    const client = await RawMqtt.connect(port, { clientId: this.clientId, clean: true, level })
    this.#client = client
    this.#window = Math.min(window, client.granted.receiveMaximum ?? window)
    this.#inFlight.clear()
    this.#isClosing = false
  }

  /** Publishes from now on, and as acks come. */
  begin(): void {
    this.#isPublishing = true
    this.#running = this.#run().catch((error: unknown) => {
      if (!this.#isClosing) this.#failure = error as Error
    })
  }

  /** Publishes nothing new; acks are still taken. */
  pause(): void {
    this.#isPublishing = false
  }

  /**
   * @throws what went wrong meanwhile: a closed connection, an ack nobody waits for, one that
   * refuses, acks out of order (I2)
   */
  check(): void {
    if (this.#failure !== null) throw this.#failure
  }

  /** Publishes again, after a pause. */
  resume(): void {
    this.#isPublishing = true
    this.#fill()
  }

  /** Cuts the connection. Its unacknowledged readings are forgotten. */
  async close(): Promise<void> {
    this.#isClosing = true
    this.#isPublishing = false
    this.#client?.cut()
    await this.#running
  }

  /** Says that the connection may end now. */
  expectClose(): void {
    this.#isClosing = true
  }

  async #run(): Promise<void> {
    const client = this.#client
    if (client === null) throw new Error(`${this.clientId} is not connected`)
    this.#fill()
    for (;;) {
      await client.until(() => client.inbox.length > 0, 120_000)
      for (const frame of client.inbox.splice(0)) {
        if (frame.type !== TYPE.PUBACK)
          throw new Error(`${this.clientId}: got frame 0x${frame.type.toString(16)}`)
        const { id, code } = readAck(frame, client.level)
        if (code !== REASON.SUCCESS)
          throw new Error(`${this.clientId}: PUBACK for ${id} says ${reasonText(code)}`)
        const [expected] = this.#inFlight
        if (expected === undefined || expected[0] !== id) {
          throw new Error(`${this.clientId}: PUBACK for ${id}, the oldest is ${expected?.[0]} (I2)`)
        }
        this.#inFlight.delete(id)
        this.acked.push(expected[1])
        this.lastAckAtMs = performance.now()
      }
      await sleep(this.#options.paceMs)
      this.#fill()
    }
  }

  #fill(): void {
    if (!this.#isPublishing) return
    const { level, textBytes, prefix } = this.#options
    const frames: Buffer[] = []
    while (this.#inFlight.size < this.#window) {
      const n = ++this.published
      const id = ((n - 1) % 65_535) + 1
      this.#inFlight.set(id, n)
      const text = randomBytes(Math.ceil((textBytes * 3) / 4)).toString('base64')
      frames.push(
        packet.publish(`${prefix}/${this.clientId}`, JSON.stringify({ n, x: text }), {
          qos: 1,
          id,
          level,
        }),
      )
    }
    if (frames.length > 0) this.#client?.send(...frames)
  }
}
