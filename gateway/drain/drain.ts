/**
 * The drain stage: brings what is durable in the spool to the sinks, at its own pace, until they
 * acked it (I2, I4, I8, I9). Takes batches from queues (../ports/stream-queue.ts), sends them
 * through sinks (../ports/sink.ts); owns no data but small notes that survive a restart (notes.ts).
 *
 * The way of a batch:
 *
 *   turn     sink-drain.ts: which stream of a sink goes next, and whether any may (sink-waits.ts:
 *            backoff, Retry-After, a hold of the sink). policy/scheduler.ts, policy/pacer.ts
 *   pin      stream/batches.ts: what the batch holds; pinned durably before its first send, and
 *            read as stored (I4). policy/batcher.ts; its limits: stream/batch-sizing.ts
 *   send     sink-drain.ts: one request a stream; the sink gives a SinkAnswer
 *   verdict  stream/answers.ts, `judge`: what the answer means. policy/retry-policy.ts, for single
 *            records policy/verdicts.ts; is a record or the sink to blame: policy/doubt.ts; are
 *            the refusals believed: policy/parking.ts
 *   apply    stream/answers.ts, `apply`: settle (stream/settlement.ts), split (policy/refusals.ts),
 *            retry (stream/backoff.ts, stream/outage.ts) or hold (stream/hold.ts)
 *
 * A refused record is parked in the commit that settles its batch (stream/refused-records.ts). Once
 * the sink accepted a later record of the stream it becomes a dead letter; if the sink refuses too
 * much, the stream is held and all parked records go back to their place. On an operator's word
 * (stream/park.ts) a record is parked as if it had been refused.
 *
 * All of policy/ is pure: data, clock readings and random numbers in, a decision out. Not here:
 * what a sink's protocol says (sink/), commits, retention and counters (spool/), logs and metrics
 * (observe/).
 */
import type { BatchWatch, Sink } from '../ports/sink.ts'
import type { NoteStore, StreamQueue } from '../ports/stream-queue.ts'
import { type Clock, systemClock } from './clock.ts'
import type { DeliveryConfig } from './config.ts'
import type { EmitDrainEvent } from './events.ts'
import { CONTRACT_RULES, type DrainRules } from './policy/rules.ts'
import { SinkDrain } from './sink-drain.ts'
import type { SinkStanding } from './standing.ts'

/** A sink, and how its streams are delivered. */
interface DrainedSink {
  readonly sink: Sink
  readonly config: DeliveryConfig
}

interface DrainOptions {
  readonly sinks: readonly DrainedSink[]
  /** Streams whose sink is not among `sinks` (orphaned ones) are left alone. */
  readonly queues: readonly StreamQueue[]
  readonly notes: NoteStore
  readonly emit: EmitDrainEvent
  /** Told of each batch that is sent. @default nobody */
  readonly watch?: BatchWatch
  readonly clock?: Clock
  /** 0 to 1. */
  readonly random?: () => number
  /** For tests: the contract's numbers. */
  readonly rules?: Partial<DrainRules>
}

export class Drain {
  readonly #parts: Required<Omit<DrainOptions, 'sinks' | 'queues' | 'rules' | 'watch'>> & {
    readonly watch: BatchWatch | null
    readonly rules: DrainRules
  }
  #sinks: readonly SinkDrain[]
  #isRunning = false

  constructor({ sinks, queues, ...options }: DrainOptions) {
    this.#parts = {
      watch: null,
      ...options,
      clock: options.clock ?? systemClock(),
      random: options.random ?? Math.random,
      rules: { ...CONTRACT_RULES, ...options.rules },
    }
    this.#sinks = sinks.map((sink) => this.#drainOf(sink, queues))
  }

  #drainOf({ sink, config }: DrainedSink, queues: readonly StreamQueue[]): SinkDrain {
    const own = queues.filter((queue) => queue.sink === sink.name)
    return new SinkDrain({ ...this.#parts, sink, config, queues: own })
  }

  /** Takes up waits, holds and batches of the last run, and begins. */
  async start(): Promise<void> {
    this.#isRunning = true
    for (const sink of this.#sinks) sink.start()
  }

  /**
   * Lets go of these sinks, and of these streams of the others. Batches in flight end under the sink
   * that they went to, for at most as long as `mostMs` says of it; what is cut off then stays pinned.
   * Resolves when all of it is quiet; the sinks are the caller's to close.
   */
  async release(
    sinks: ReadonlySet<string>,
    streams: ReadonlySet<string>,
    mostMs: (sink: string) => number,
  ): Promise<void> {
    const ends = this.#sinks.map(async (sink) => {
      const deadlineMs = mostMs(sink.name)
      if (sinks.has(sink.name)) await sink.stop(deadlineMs)
      else await Promise.all([...streams].map((stream) => sink.leave(stream, deadlineMs)))
    })
    await Promise.all(ends)
    this.#sinks = this.#sinks.filter(({ name }) => !sinks.has(name))
  }

  /** More sinks, and all queues that there are: those that no sink of them drains yet join theirs. */
  take(sinks: readonly DrainedSink[], queues: readonly StreamQueue[]): void {
    for (const sink of this.#sinks)
      for (const queue of queues) if (queue.sink === sink.name) sink.join(queue)
    const added = sinks.map((sink) => this.#drainOf(sink, queues))
    this.#sinks = [...this.#sinks, ...added]
    if (this.#isRunning) for (const sink of added) sink.start()
  }

  /**
   * An orphaned stream that an operator gave to a sink.
   * @throws RangeError for a sink that does not exist
   */
  join(queue: StreamQueue, sink: string): void {
    this.#sink(sink).join(queue)
  }

  /** How delivery stands, per sink and per stream of it. */
  sinkStandings(): readonly SinkStanding[] {
    return this.#sinks.map((sink) => sink.standing())
  }

  /**
   * `sluice sinks retry`: tries at once what waits or is held. Only a Retry-After is kept. A stream
   * held because its sink refuses everything gets one full round of halving without the limit on
   * parked records.
   * @throws RangeError for a sink that does not exist
   */
  retryNow(sink: string): void {
    this.#sink(sink).retryNow()
  }

  #sink(name: string): SinkDrain {
    const found = this.#sinks.find((sink) => sink.name === name)
    if (!found) throw new RangeError(`there is no sink ${name}`)
    return found
  }

  /** `sluice streams park`. False: no sink drains that stream. @throws ParkError */
  async park(stream: string, seq: number): Promise<boolean> {
    const found = this.#sinks.flatMap((sink) => sink.streams).find(({ name }) => name === stream)
    await found?.park(seq)
    return found !== undefined
  }

  /**
   * Begins nothing new; requests in progress have `deadlineMs` from now before they are cut off.
   * What is not settled by then stays pinned and is sent again at the next start (I4). Resolves
   * when all is quiet.
   */
  async stop(deadlineMs: number): Promise<void> {
    await Promise.all(this.#sinks.map((sink) => sink.stop(deadlineMs)))
  }
}
