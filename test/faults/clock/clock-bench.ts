/**
 * A real gateway whose wall clock is wrong, a device and a sink that know the time. At its end
 * nothing may have expired that was not meant to, everything acknowledged has to be stored once and
 * in order, and the clock must have been seen wrong.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import type { ServerOptions } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Status, StreamStatus } from '../../../gateway/ports/status.ts'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import type { Level } from '../../support/mqtt-answers.ts'
import { packet, publishAll, RawMqtt } from '../../support/raw-mqtt.ts'
import { FaultySink } from '../sink/faulty-sink.ts'
import { ShiftedClock } from './shifted-clock.ts'

export const YEAR_MS = 365.25 * 86_400_000
export const HOUR_MS = 3_600_000

/** A machine with two cores that is busy with other tests starts a process in some seconds. */
const START_TIMEOUT_MS = 60_000

/**
 * Scenarios run side by side; were their processes started so too, each would take as long as all
 * of them.
 */
let lastStart: Promise<unknown> = Promise.resolve()

/** A record as the sink stores it. */
export interface StoredRecord {
  readonly seq: number
  readonly receivedAt: string
  readonly clock?: string
  readonly bootId?: string
  readonly uptimeMs?: number
  readonly payload: { readonly n: number }
}

export interface ClockBenchOptions {
  /** Of the stream `telemetry`. @default 1h */
  readonly maxAge?: string
  readonly tls?: ServerOptions
  /** Of the sink. */
  readonly config?: Readonly<Record<string, unknown>>
  readonly mqtt?: Readonly<Record<string, unknown>>
  /** Where the clock stands at the start, ms from the truth. @default 0 */
  readonly offsetMs?: number
  /** Deals the versions of MQTT. @default a fixed one */
  readonly seed?: string
}

export class ClockBench {
  readonly clock: ShiftedClock
  readonly sink: FaultySink
  readonly gateway: GatewayProcess
  /** Readings that were acknowledged, by number from 1. */
  acked = 0
  /** Of them, what was meant to expire. */
  expected = { expired: 0 }
  starts = 0
  readonly #nextLevel: () => Level
  #device: Awaited<ReturnType<typeof RawMqtt.connect>> | null = null
  #badRounds = 0

  private constructor(
    clock: ShiftedClock,
    sink: FaultySink,
    gateway: GatewayProcess,
    nextLevel: () => Level,
  ) {
    this.clock = clock
    this.sink = sink
    this.gateway = gateway
    this.#nextLevel = nextLevel
  }

  static async run<T>(
    scenario: (bench: ClockBench) => Promise<T>,
    options: ClockBenchOptions = {},
  ): Promise<T> {
    const { maxAge = '1h', offsetMs = 0, seed = 'clock' } = options
    const folder = mkdtempSync(join(tmpdir(), 'sluice-clock-'))
    const clock = new ShiftedClock(folder)
    clock.shift(offsetMs)
    const sink = await FaultySink.start(options.tls)
    const stream = { payload: 'json', maxAge, deadLetters: { maxAge } }
    const gateway = await GatewayProcess.prepare({
      folder,
      sinkUrl: sink.url,
      sink: { timeout: '1s', ...options.config },
      env: clock.env,
      sections: {
        spool: { minFreeBytes: '1MiB', commitInterval: '20ms' },
        ...(options.mqtt && { mqtt: options.mqtt }),
        streams: {
          telemetry: { topics: ['plant/#'], ...stream },
          canary: { topics: ['canary/#'], ...stream, deadLetters: { maxAge: '1s' } },
        },
      },
    })
    const bench = new ClockBench(clock, sink, gateway, levelsInTurn(seed))
    try {
      await bench.launch()
      const result = await scenario(bench)
      await bench.#end()
      return result
    } finally {
      bench.#device?.cut()
      if (gateway.isRunning) await gateway.process.reap()
      await sink.close()
      clock.close()
      rmSync(folder, { recursive: true, force: true })
    }
  }

  /** So many readings at QoS 1, acknowledged. */
  async publish(count: number): Promise<void> {
    const device = await this.#connected()
    const payloads = Array.from({ length: count }, (_, i) => `{"n":${this.acked + i + 1}}`)
    await publishAll(device, 'plant/press-7', payloads)
    this.acked += count
  }

  /** A message that the stream does not take: an ingest dead letter. */
  async publishBad(topic = 'plant/press-7'): Promise<void> {
    const device = await this.#connected()
    device.send(packet.publish(topic, 'no JSON', { qos: 1, id: 1, level: device.level }))
    await device.acks(1)
  }

  /**
   * Resolves when retention has looked at all streams after this call: a dead letter of the canary,
   * which may live for 1 s, is made and has expired.
   */
  async retentionRound(): Promise<void> {
    await this.publishBad('canary/bird')
    const goal = ++this.#badRounds
    const isGone = ({ streams }: Status): boolean =>
      streams.some(
        ({ name, deadLetters }) => name === 'canary' && deadLetters.removed['expired'] === goal,
      )
    await this.gateway.untilStatus('the dead letter of the canary has expired', isGone)
  }

  /** Behind a kill it may speak another version than before. */
  async #connected(): ReturnType<typeof RawMqtt.connect> {
    if (this.#device === null || this.#device.isClosed) {
      const fields = { clientId: 'press-7', level: this.#nextLevel() }
      this.#device = await RawMqtt.connect(this.gateway.mqttPort, fields)
    }
    return this.#device
  }

  /** SIGKILL and a new process. `env`: of that one. */
  async restart(env: Readonly<Record<string, string>> = {}): Promise<void> {
    await this.kill()
    await this.launch(env)
  }

  async kill(): Promise<void> {
    await this.gateway.kill()
    this.#device?.cut()
    this.#device = null
  }

  async launch(env: Readonly<Record<string, string>> = {}): Promise<void> {
    this.starts += 1
    const turn = lastStart.then(async () => {
      this.gateway.launch(env)
      await this.gateway.event('broker.started', START_TIMEOUT_MS)
    })
    lastStart = turn.catch(() => undefined)
    await turn
  }

  sinkDown(): void {
    this.sink.plan = () => ({ step: { status: 503 } })
  }

  /** Answers as it should from now on, and is asked at once. */
  async sinkUp(): Promise<void> {
    this.sink.plan = null
    await this.retry()
  }

  async retry(): Promise<void> {
    const answer = await fetch(`${this.gateway.adminUrl}/api/sinks/cloud/retry`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
    })
    if (answer.status !== 202) throw new Error(`retry is answered ${answer.status}`)
  }

  /** The pending lines of `telemetry`, as an export has them. */
  async pendingLines(): Promise<readonly string[]> {
    const response = await fetch(`${this.gateway.adminUrl}/api/streams/telemetry/records`)
    const page = (await response.json()) as {
      readonly records: readonly string[]
      readonly next: string | null
    }
    if (page.next !== null) throw new Error('more than one page')
    return page.records
  }

  async telemetry(): Promise<StreamStatus> {
    return streamOf(await this.gateway.status())
  }

  /**
   * `wanted`: the sink's time minus the gateway's. The sink is asked at once, so that there is an answer to measure.
   */
  async untilSkew(wanted: number): Promise<void> {
    const seconds = ({ sinks }: Status): number => sinks[0]?.clockSkewSeconds ?? Number.NaN
    await this.retry()
    // A second is the resolution of Date; the machine is busy.
    const isNear = (status: Status): boolean => Math.abs(seconds(status) - wanted) < 5
    await this.gateway.untilStatus(`the skew is ${wanted} s`, isNear)
  }

  get stored(): StoredRecord[] {
    return this.sink.lines.map((line) => JSON.parse(line) as StoredRecord)
  }

  /** @throws if anything expired wrongly so far */
  async expectNothingExpired(deadLetters: number): Promise<void> {
    const { counters, deadLetters: letters } = await this.telemetry()
    const { expired } = counters.dropped
    if (expired !== this.expected.expired) {
      throw new Error(`I8: ${expired} records expired, not ${this.expected.expired}`)
    }
    if (letters.kept !== deadLetters)
      throw new Error(`I8: ${letters.kept} dead letters of ${deadLetters}`)
  }

  async #end(): Promise<void> {
    if (this.clock.given === 0) throw new Error('the clock was never wrong: nothing was shown')
    await this.sinkUp()
    const isDone = ({ streams }: Status): boolean =>
      streams.every(({ counters }) => counters.pending === 0)
    const status = await this.gateway.untilStatus('nothing is pending', isDone, 60_000)
    assertBalanced(status)
    if (this.sink.faults.length > 0) throw new Error(this.sink.faults.join('; '))
    const { counters } = streamOf(status)
    if (counters.dropped['expired'] !== this.expected.expired) {
      throw new Error(
        `I8: ${counters.dropped['expired']} records expired, not ${this.expected.expired}`,
      )
    }
    const numbers = this.stored.map(({ payload }) => payload.n)
    if (numbers.length !== this.acked - this.expected.expired) {
      throw new Error(`I1: ${this.acked} acknowledged, ${numbers.length} stored: ${numbers.join()}`)
    }
    if (numbers.some((n, i) => i > 0 && n <= numbers[i - 1]!))
      throw new Error(`I2: stored ${numbers.join()}`)
  }
}

export function streamOf({ streams }: Status): StreamStatus {
  const stream = streams.find(({ name }) => name === 'telemetry')
  if (!stream) throw new Error('there is no stream telemetry')
  return stream
}
