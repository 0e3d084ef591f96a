/**
 * A real gateway between readings of which some are poison and a sink that refuses those by their
 * content, for scenarios that lose answers and kill the gateway. Each reading is published once and
 * waited for, so that after any fault the books can be closed to the record: stored once and in
 * order, or a dead letter with its bytes, or pending (I4, I5, I9).
 */
import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { DeadLetter, DeadLetterPage } from '../../../gateway/ports/operator.ts'
import type { Status, StreamStatus } from '../../../gateway/ports/status.ts'
import { assertBalanced, GatewayProcess } from '../../support/gateway-process.ts'
import { levelsInTurn } from '../../support/levels.ts'
import {
  OneNumberReceiver,
  type Receiver,
  type ReceiverRules,
} from '../../support/model-receivers.ts'
import type { Level } from '../../support/mqtt-answers.ts'
import { publishAll, RawMqtt } from '../../support/raw-mqtt.ts'
import { balanceFaults, monotonyFaults } from '../oracle/checks.ts'
import { FaultySink } from '../sink/faulty-sink.ts'

export const STREAM = 'telemetry'
const SETTLE_MS = 60_000
const POLL_MS = 10

/** What a device says. The sink's rules see no more of it than this. */
export interface Reading {
  readonly n: number
  readonly bad?: true
  readonly text?: string
}

/** A record as the sink got it, or as a dead letter kept it. */
export interface PoisonRecord {
  readonly id: string
  readonly seq: number
  readonly receivedAt: string
  readonly requeuedFrom?: string
  readonly payload: Reading
}

export interface PoisonOptions {
  /** @default one number per queue */
  readonly newReceiver?: (rules: ReceiverRules) => Receiver
  /** Of the gateway's sink. */
  readonly sink?: Readonly<Record<string, unknown>>
  /** Of the one stream. */
  readonly stream?: Readonly<Record<string, unknown>>
  /** Deals the versions of MQTT. @default a fixed one */
  readonly seed?: string
}

/** What the sink refuses for good. May be changed at any time. */
export interface Judge {
  refuses: (reading: Reading, record: PoisonRecord) => boolean
}

/** By its content, and not when an operator sends it once more. */
const REFUSES_BAD: Judge['refuses'] = ({ bad }, { requeuedFrom }) =>
  bad === true && requeuedFrom === undefined

export class PoisonBench {
  readonly sink: FaultySink
  readonly gateway: GatewayProcess
  readonly judge: Judge
  /** Every reading that was acknowledged, in order. */
  readonly published: Reading[] = []
  kills = 0
  readonly #receiver: Receiver
  readonly #nextLevel: () => Level
  #streams: Status['streams'] = []

  private constructor(
    sink: FaultySink,
    gateway: GatewayProcess,
    receiver: Receiver,
    judge: Judge,
    nextLevel: () => Level,
  ) {
    this.sink = sink
    this.gateway = gateway
    this.judge = judge
    this.#receiver = receiver
    this.#nextLevel = nextLevel
  }

  /** Runs a scenario, and clears up behind it. */
  static async run<T>(
    scenario: (bench: PoisonBench) => Promise<T>,
    options: PoisonOptions = {},
  ): Promise<T> {
    const { newReceiver = (rules) => new OneNumberReceiver(rules), stream = {} } = options
    const { seed = 'poison' } = options
    const folder = mkdtempSync(join(tmpdir(), 'sluice-poison-'))
    const judge: Judge = { refuses: REFUSES_BAD }
    const receiver = newReceiver({
      refuses: (record) => {
        const poison = record as unknown as PoisonRecord
        return judge.refuses(poison.payload, poison)
      },
      room: () => Number.POSITIVE_INFINITY,
    })
    const sink = await FaultySink.start(undefined, receiver)
    const gateway = await GatewayProcess.prepare({
      folder,
      sinkUrl: sink.url,
      sink: { timeout: '2s', ...options.sink },
      sections: {
        spool: { minFreeBytes: '1MiB', commitInterval: '20ms' },
        streams: { [STREAM]: { topics: ['#'], ...stream } },
      },
    })
    const bench = new PoisonBench(sink, gateway, receiver, judge, levelsInTurn(seed))
    try {
      await gateway.start()
      return await scenario(bench)
    } catch (error) {
      throw new Error(`${String(error)}\n${gateway.logTail(12)}`, { cause: error })
    } finally {
      if (gateway.wasStarted) await gateway.process.reap()
      await sink.close()
      rmSync(folder, { recursive: true, force: true })
    }
  }

  /**
   * Readings that go on where the last ones ended, in one write; resolves when all of them are
   * acknowledged. The device may speak another version of MQTT than the last time.
   */
  async publish(
    count: number,
    more: (index: number) => Omit<Reading, 'n'> = () => ({}),
  ): Promise<void> {
    const first = this.published.length + 1
    const readings = Array.from({ length: count }, (_, index) => ({
      n: first + index,
      ...more(index),
    }))
    const client = await RawMqtt.connect(this.gateway.mqttPort, {
      clientId: 'press-7',
      clean: true,
      level: this.#nextLevel(),
    })
    try {
      const payloads = readings.map((reading) => JSON.stringify(reading))
      await publishAll(client, 'plant/press-7', payloads)
    } finally {
      client.cut()
    }
    this.published.push(...readings)
  }

  /** What the sink stored, in its order. */
  get stored(): PoisonRecord[] {
    return this.#receiver.stored.map(({ line }) => JSON.parse(line) as PoisonRecord)
  }

  async killAndRestart(): Promise<void> {
    this.kills += 1
    await this.gateway.killAndRestart()
  }

  /** The stream, and what must be true of its books (I5), whatever is under way. */
  async books(): Promise<StreamStatus> {
    const status = await this.gateway.status()
    assertBalanced(status)
    assert.deepEqual(monotonyFaults(this.#streams, status.streams), [])
    this.#streams = status.streams
    const [stream] = status.streams
    assert(stream)
    // Each was acknowledged once, and none was sent twice: not one more or less was received, kills
    // or not.
    assert.equal(
      stream.counters.received,
      this.published.length,
      'I5: received is what was acknowledged',
    )
    this.check()
    return stream
  }

  /**
   * @throws when the sink has seen what must not be: something twice, out of order, or under one key as other bytes
   */
  check(): void {
    assert.deepEqual(this.sink.faults, [])
    const { stored } = this
    const seqs = stored.map(({ seq }) => seq)
    assert.deepEqual(
      seqs,
      [...new Set(seqs)].toSorted((a, b) => a - b),
      'I2, I4: stored once, in order',
    )
    const readings = stored.filter(({ requeuedFrom }) => requeuedFrom === undefined).map(numberOf)
    const inOrder = [...new Set(readings)].toSorted((a, b) => a - b)
    assert.deepEqual(readings, inOrder, 'I2, I4: each reading once, in the order of its arrival')
  }

  /** Waits until the books are as wanted, and returns them. */
  async until(
    what: string,
    isWanted: (stream: StreamStatus) => boolean,
    timeoutMs = SETTLE_MS,
  ): Promise<StreamStatus> {
    const endMs = performance.now() + timeoutMs
    for (;;) {
      const stream = await this.books()
      if (isWanted(stream)) return stream
      if (performance.now() > endMs) {
        throw new Error(`not within ${timeoutMs} ms: ${what}\n${JSON.stringify(stream)}`)
      }
      await pause(POLL_MS)
    }
  }

  /** All is judged: what is not delivered or dead is parked, because nothing came behind it yet. */
  async untilJudged(): Promise<StreamStatus> {
    return await this.until('all is judged', (stream) => isJudged(stream))
  }

  /**
   * Waits until nothing is pending any more, and compares to the record: every reading was stored
   * or is a dead letter with all its content, and none is both. Returns the dead letters.
   */
  async closeBooks(): Promise<PoisonRecord[]> {
    await this.until('nothing is pending', ({ counters }) => counters.pending === 0)
    const totals = new Map([[STREAM, { stored: this.stored.length, gaps: {} }]])
    assert.deepEqual(balanceFaults(this.#streams, totals), [])
    const letters = await this.deadLetters()
    const kept = letters.map(({ record }) => JSON.parse(record) as PoisonRecord)
    const readings = [...this.stored, ...kept].map(({ payload }) => payload)
    assert.deepEqual(
      readings.toSorted((a, b) => a.n - b.n),
      this.published,
      'I9: each reading is stored or a dead letter, whole, and not both',
    )
    return kept
  }

  async deadLetters(): Promise<DeadLetter[]> {
    const found: DeadLetter[] = []
    let after: string | null = null
    do {
      const cursor: string = after === null ? '' : `&after=${after}`
      const url = `${this.gateway.adminUrl}/api/dead-letters?stream=${STREAM}&limit=1000${cursor}`
      const page = (await (await fetch(url)).json()) as DeadLetterPage
      found.push(...page.deadLetters)
      after = page.next
    } while (after !== null)
    return found
  }

  /** All of them. Returns how many became new records. */
  async requeue(): Promise<number> {
    const { changed } = (await this.#act('/api/dead-letters/requeue', {
      stream: STREAM,
      all: true,
    })) as {
      readonly changed: number
    }
    return changed
  }

  /** `sluice sinks retry`. */
  async retry(): Promise<void> {
    await this.#act('/api/sinks/cloud/retry', {})
  }

  /** An operator sets a record aside. */
  async park(seq: number): Promise<void> {
    await this.#act(`/api/streams/${STREAM}/park`, { seq })
  }

  async #act(path: string, body: object): Promise<unknown> {
    const response = await fetch(`${this.gateway.adminUrl}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    })
    assert(response.ok, `${path} answers ${response.status}: ${await response.clone().text()}`)
    return await response.json()
  }
}

export function isJudged({ counters, parked }: StreamStatus): boolean {
  return counters.pending === parked
}

export const numberOf = ({ payload }: PoisonRecord): number => payload.n

export async function pause(ms: number): Promise<void> {
  await new Promise((resolve) => {
    setTimeout(resolve, ms)
  })
}
