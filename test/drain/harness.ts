/**
 * What tests of the drain's loop share: a configuration, a scripted sink, and steps of virtual
 * time.
 */
import assert from 'node:assert/strict'
import type { DeliveryConfig } from '../../gateway/drain/config.ts'
import { Drain } from '../../gateway/drain/drain.ts'
import type { DrainEvent } from '../../gateway/drain/events.ts'
import type { DrainRules } from '../../gateway/drain/policy/rules.ts'
import type { Batch, BatchEncoder, Listed, Sink, SinkAnswer } from '../../gateway/ports/sink.ts'
import { gapHeader, type HttpEncoder, httpEncoder } from '../../gateway/sink/http/encode.ts'
import { httpSinkConfig } from '../support/configs.ts'
import { MemoryStore, type MemoryStreamOptions } from '../support/memory-queue.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

export function sinkConfig(changes: Partial<DeliveryConfig> = {}): DeliveryConfig {
  const small = { maxBatchRecords: 10, maxBatchBytes: 64 * 1024, linger: 0 }
  return { ...httpSinkConfig(), ...small, ...changes }
}

/** As the HTTP sink has it. */
export function encoder(stitches: 'gzip' | 'identity'): HttpEncoder {
  return httpEncoder({
    format: { kind: 'ndjson' },
    compression: stitches === 'gzip' ? 'gzip' : 'none',
  })
}

/** Statuses that speak of the service as a whole, as the HTTP sink has them. */
const SERVICE_STATUSES: readonly (number | null)[] = [null, 429, 502, 503, 504]

export const ACKED: SinkAnswer = answer({ kind: 'verdicts', ackedThrough: null, listed: [] })
export const LOST: SinkAnswer = answer(
  { kind: 'retry', retryAfterMs: null, detail: 'connection reset' },
  null,
)
export const REFUSED: SinkAnswer = answer({ kind: 'refused', detail: 'answered 400' }, 400)
export const TOO_LARGE: SinkAnswer = answer({ kind: 'too-large', detail: 'answered 413' }, 413)
/** The sink took nothing more of it for `timeout`. */
export const TIMED_OUT: SinkAnswer = {
  ...answer({ kind: 'retry', retryAfterMs: null, detail: 'timed out' }, null),
  transfer: { bytes: 1, ms: 30_000, timedOut: true },
}
export const UNAUTHORIZED: SinkAnswer = answer(
  { kind: 'hold', scope: 'sink', detail: 'answered 401' },
  401,
)
export const MALFORMED: SinkAnswer = answer(
  { kind: 'malformed', detail: 'rejected is not a list' },
  200,
)

type Body<K> = K extends { readonly kind: 'retry' }
  ? Omit<K, 'code' | 'sinkDateMs' | 'scope' | 'answered'>
  : Omit<K, 'code' | 'sinkDateMs'>
type AnswerBody = SinkAnswer extends infer K ? (K extends unknown ? Body<K> : never) : never

/** As the HTTP sink says it of an answer with this status; null: there was none. */
export function answer(body: AnswerBody, status: number | null = 200): SinkAnswer {
  const common = { code: status === null ? null : String(status), sinkDateMs: null }
  if (body.kind !== 'retry') return { ...common, ...body }
  return {
    ...common,
    ...body,
    scope: SERVICE_STATUSES.includes(status) ? 'sink' : 'stream',
    answered: status !== null,
    throttled: status === 429,
  }
}

export function unavailable(retryAfterMs: number | null = null, status = 503): SinkAnswer {
  return answer({ kind: 'retry', retryAfterMs, detail: `answered ${status}` }, status)
}

export function ackedThrough(n: number, listed: readonly Listed[] = []): SinkAnswer {
  return answer({ kind: 'verdicts', ackedThrough: n, listed })
}

export function listed(...of: readonly Listed[]): SinkAnswer {
  return answer({ kind: 'verdicts', ackedThrough: null, listed: of })
}

export function refusal(seq: number, code: string | null = '422'): Listed {
  return { seq, verdict: 'refused', code, reason: 'not mine' }
}

/** One request that waits for its answer. */
export class SentRequest {
  readonly batch: Batch
  readonly text: string
  readonly signal: AbortSignal
  readonly atMs: number
  #answer: ((answer: SinkAnswer) => void) | null

  constructor(
    batch: Batch,
    text: string,
    signal: AbortSignal,
    atMs: number,
    answer: (answer: SinkAnswer) => void,
  ) {
    this.batch = batch
    this.text = text
    this.signal = signal
    this.atMs = atMs
    this.#answer = answer
  }

  /** As HTTP would tell them. */
  get gaps(): string | null {
    return gapHeader(this.batch.gaps, this.batch.spoolId)
  }

  get isOpen(): boolean {
    return this.#answer !== null
  }

  get seqs(): number[] {
    return this.text
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { seq: number }).seq)
  }

  answer(answer: SinkAnswer): void {
    assert(this.#answer, 'it was answered before')
    this.#answer(answer)
    this.#answer = null
  }
}

/**
 * Keeps every request; answers by `auto`, or when the test does. Asserts that no stream has two in
 * progress (I2).
 */
export class ScriptedSink implements Sink {
  readonly name: string
  readonly encoder: BatchEncoder
  readonly health = { connected: null, detail: null }
  readonly requests: SentRequest[] = []
  auto: ((batch: Batch, request: SentRequest) => SinkAnswer | null) | null = null
  readonly #clock: VirtualClock
  readonly #changed: (() => void)[] = []

  constructor(name: string, clock: VirtualClock, of: BatchEncoder = encoder('identity')) {
    this.name = name
    this.encoder = of
    this.#clock = clock
  }

  start(): void {}

  async send(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const { chunks } = await batch.stitched('identity')
    const text = Buffer.concat(chunks).toString()
    const { stream } = batch
    assert(
      !this.open.some((one) => one.batch.stream === stream),
      `two requests of ${stream} in progress`,
    )
    return new Promise((resolve) => {
      const request = new SentRequest(batch, text, signal, this.#clock.monotonicMs(), resolve)
      this.requests.push(request)
      signal.addEventListener('abort', () => {
        if (request.isOpen)
          request.answer(answer({ kind: 'retry', retryAfterMs: null, detail: 'aborted' }, null))
      })
      const now = this.auto?.(batch, request) ?? null
      if (now !== null) request.answer(now)
    })
  }

  get open(): readonly SentRequest[] {
    return this.requests.filter((one) => one.isOpen)
  }

  /** The one request in progress. */
  get current(): SentRequest {
    const [one, ...more] = this.open
    assert(one && more.length === 0, `${this.open.length} requests in progress, not one`)
    return one
  }

  onChange(listener: () => void): void {
    this.#changed.push(listener)
  }

  change(): void {
    for (const listener of this.#changed) listener()
  }

  async close(): Promise<void> {}
}

export interface BenchOptions {
  readonly streams?: readonly (string | MemoryStreamOptions)[]
  readonly config?: Partial<DeliveryConfig>
  readonly rules?: Partial<DrainRules>
  readonly random?: () => number
  /** @default the HTTP sink's */
  readonly encoder?: BatchEncoder
}

/** A drain on a memory store with one scripted sink under a virtual clock. */
export class Bench {
  readonly clock = new VirtualClock()
  readonly events: DrainEvent[] = []
  sink: ScriptedSink
  store: MemoryStore
  drain: Drain
  #options: BenchOptions

  constructor(options: BenchOptions = {}) {
    this.#options = options
    const streams = (options.streams ?? ['telemetry']).map((one) => {
      return typeof one === 'string' ? { name: one, sink: 'cloud' } : one
    })
    this.store = new MemoryStore({ streams, nowMs: () => this.clock.wallMs() })
    this.sink = new ScriptedSink('cloud', this.clock, this.#options.encoder)
    this.drain = this.#newDrain()
  }

  #newDrain(): Drain {
    const { config, rules, random } = this.#options
    return new Drain({
      sinks: [{ sink: this.sink, config: sinkConfig(config) }],
      queues: this.store.queues,
      notes: this.store.notes,
      emit: (event) => this.events.push(event),
      clock: this.clock,
      random: random ?? (() => 0.5),
      ...(rules ? { rules } : {}),
    })
  }

  append(
    count: number,
    stream = 'telemetry',
    member: Readonly<Record<string, unknown>> = {},
  ): void {
    for (let i = 0; i < count; i++) this.store.append(stream, member)
  }

  /** Commits and lets everything run until it waits for the sink or for time. */
  async settle(): Promise<void> {
    for (let quiet = 0; quiet < 2; quiet++) {
      await macrotask()
      if (this.store.hasWork) {
        this.store.commit()
        quiet = -1
      }
    }
  }

  async start(): Promise<void> {
    await this.drain.start()
    await this.settle()
  }

  async answer(answer: SinkAnswer): Promise<void> {
    this.sink.current.answer(answer)
    await this.settle()
  }

  async pass(ms: number): Promise<void> {
    this.clock.advance(ms)
    await this.settle()
  }

  /** SIGKILL, and a new process on what was durable. */
  async restart(
    options: {
      readonly reboot?: boolean
      readonly downMs?: number
      readonly config?: Partial<DeliveryConfig>
      readonly encoder?: BatchEncoder
    } = {},
  ): Promise<void> {
    this.store = this.store.crash()
    const { config, encoder: changed } = options
    if (config) this.#options = { ...this.#options, config }
    if (changed) this.#options = { ...this.#options, encoder: changed }
    this.clock.killTimers()
    if (options.downMs) this.clock.advance(options.downMs)
    if (options.reboot) this.clock.reboot()
    const { auto } = this.sink
    this.sink = new ScriptedSink('cloud', this.clock, this.#options.encoder)
    this.sink.auto = auto
    this.drain = this.#newDrain()
    await this.start()
  }

  eventTypes(): string[] {
    return this.events.map(({ type }) => type)
  }

  get queue(): ReturnType<MemoryStore['queue']> {
    return this.store.queue('telemetry')
  }

  get state(): ReturnType<Drain['sinkStandings']>[number] {
    const [state] = this.drain.sinkStandings()
    assert(state)
    return state
  }

  get streamState(): NonNullable<ReturnType<Drain['sinkStandings']>[number]['streams'][number]> {
    const [state] = this.state.streams
    assert(state)
    return state
  }
}

/** Every microtask that can run has run. */
export function macrotask(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

/** mulberry32: small, seeded, the same everywhere. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = Math.imul(state ^ (state >>> 15), state | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}
