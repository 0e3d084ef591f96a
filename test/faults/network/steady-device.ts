/**
 * A device that publishes at QoS 1 at its own pace and notes how long each ack took; acks have to
 * come in order (I2).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Level } from '../../support/mqtt-answers.ts'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'

export class SteadyDevice {
  /** From PUBLISH to PUBACK, ms, in order; emptied by whoever measures. */
  readonly latenciesMs: number[] = []
  acked = 0
  published = 0
  readonly #clientId: string
  readonly #everyMs: number
  readonly #level: Level
  #client: RawMqtt | null = null
  #isClosing = false
  #failure: Error | null = null

  constructor(clientId: string, everyMs: number, level: Level) {
    this.#clientId = clientId
    this.#everyMs = everyMs
    this.#level = level
  }

  async connect(port: number): Promise<void> {
    const client = await RawMqtt.connect(port, { clientId: this.#clientId, level: this.#level })
    this.#client = client
    const sentAtMs: number[] = []
    const { receiveMaximum = Number.POSITIVE_INFINITY } = client.granted
    this.#publish(client, sentAtMs, receiveMaximum).catch((error: unknown) => this.#fails(error))
    this.#listen(client, sentAtMs).catch((error: unknown) => this.#fails(error))
  }

  get unacked(): number {
    return this.published - this.acked
  }

  /** @throws what went wrong meanwhile */
  check(): void {
    if (this.#failure !== null) throw this.#failure
  }

  close(): void {
    this.#isClosing = true
    this.#client?.cut()
  }

  #fails(error: unknown): void {
    if (!this.#isClosing) this.#failure ??= error as Error
  }

  async #publish(client: RawMqtt, sentAtMs: number[], receiveMaximum: number): Promise<void> {
    while (!this.#isClosing && !client.isClosed) {
      if (this.unacked >= receiveMaximum) {
        await sleep(this.#everyMs)
        continue
      }
      this.published += 1
      sentAtMs.push(performance.now())
      const id = 1 + ((this.published - 1) % 60_000)
      const fields = { qos: 1, id, level: this.#level } as const
      client.send(packet.publish(`plant/${this.#clientId}`, `{"n":${this.published}}`, fields))
      await sleep(this.#everyMs)
    }
  }

  async #listen(client: RawMqtt, sentAtMs: number[]): Promise<void> {
    for (;;) {
      const [id] = await client.acks(1, TYPE.PUBACK)
      const expected = 1 + (this.acked % 60_000)
      if (id !== expected) throw new Error(`${this.#clientId}: PUBACK ${id}, not ${expected} (I2)`)
      this.acked += 1
      this.latenciesMs.push(performance.now() - sentAtMs.shift()!)
    }
  }
}
