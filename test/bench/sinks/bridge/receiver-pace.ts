/**
 * How fast a Mosquitto is given messages, by what it says of itself once a second: the same for
 * whoever sends, and nothing that a subscriber would cost it.
 */
import { connectAsync, type MqttClient } from 'mqtt'
import type { Rate } from '../contest.ts'

/** Packets, since Mosquitto counts no PUBLISH at QoS 2 as such: a PUBLISH, and a PUBREL at QoS 2. */
const RECEIVED = '$SYS/broker/messages/received'
/** Records: connections, and code that is cold. */
const WARM_UP = 10_000
/** From the first sample on: the rate of a slow one is known by then. */
const MEASURED_MS = 10_000
const TIMEOUT_MS = 60_000
const MIN_SAMPLES = 3

interface Sample {
  readonly ms: number
  readonly packets: number
  readonly cpuSeconds: number
}

export class ReceiverPace {
  readonly #client: MqttClient
  #heard: (packets: number) => void = () => undefined

  private constructor(client: MqttClient) {
    this.#client = client
    client.on('message', (_topic, payload, { retain }) => {
      // What it says at once is a second old.
      if (!retain) this.#heard(Number(payload.toString()))
    })
  }

  static async of(url: string): Promise<ReceiverPace> {
    const client = await connectAsync(url, { protocolVersion: 5 })
    const pace = new ReceiverPace(client)
    await client.subscribeAsync(RECEIVED)
    return pace
  }

  /** What it has; it says nothing while nothing changes. */
  async packets(): Promise<number> {
    await this.#client.publishAsync('pace', '')
    return await new Promise((resolve) => {
      this.#heard = resolve
    })
  }

  /**
   * Until it has so many records, or was measured for long enough.
   * @param before packets that it had
   * @param cpuSeconds of the sender, until now
   */
  async rate(records: number, qos: 1 | 2, before: number, cpuSeconds: () => number): Promise<Rate> {
    const samples: Sample[] = []
    await new Promise<void>((resolve, reject) => {
      const late = (): void =>
        reject(new Error(`it has ${samples.at(-1)?.packets ?? 0} packets of ${records} records`))
      const timer = setTimeout(late, TIMEOUT_MS)
      this.#heard = (all) => {
        const packets = all - before
        const ms = performance.now()
        const isWarm = packets >= WARM_UP * qos && packets < records * qos
        if (isWarm) samples.push({ ms, packets, cpuSeconds: cpuSeconds() })
        const isLong = ms - (samples[0]?.ms ?? ms) > MEASURED_MS
        if (packets < records * qos && !isLong) return
        clearTimeout(timer)
        resolve()
      }
    })
    const [first, last] = [samples[0], samples.at(-1)]
    if (first === undefined || last === undefined || samples.length < MIN_SAMPLES)
      throw new Error(`too few records: ${records} came within ${samples.length} s`)
    const sent = (last.packets - first.packets) / qos
    return {
      recordsPerSecond: (sent * 1000) / (last.ms - first.ms),
      cpuMicrosPerRecord: ((last.cpuSeconds - first.cpuSeconds) * 1e6) / sent,
    }
  }

  async close(): Promise<void> {
    await this.#client.endAsync()
  }
}
