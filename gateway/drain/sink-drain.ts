/**
 * All streams of one sink: who goes next. I2: one request per stream, `maxInFlight` side by side.
 *
 * Runs in turns. A turn is synchronous and happens after each answer, when the spool has something
 * new, and when a wait is over; so the settle of an answer and the pin of the next batch ride in
 * one commit. What an answer does to its stream is stream-drain.ts's; what it means for the whole
 * sink is sink-waits.ts's.
 */

import type { Sink, SinkAnswer, Transfer } from '../ports/sink.ts'
import type { LoadedBatch, NoteStore, StreamQueue } from '../ports/stream-queue.ts'
import type { Clock } from './clock.ts'
import type { DrainedSinkConfig } from './config.ts'
import type { EmitDrainEvent } from './events.ts'
import { DrainNotes, type LimitKind } from './notes.ts'
import { LearnedLimit } from './policy/learned-limit.ts'
import { PaceLimit } from './policy/pace-limit.ts'
import { Pacer } from './policy/pacer.ts'
import type { Decision } from './policy/retry-policy.ts'
import type { DrainRules } from './policy/rules.ts'
import { Scheduler } from './policy/scheduler.ts'
import { type Answered, SinkWaits } from './sink-waits.ts'
import { type Failing, type SinkState, sinkStanding, throughSink, withHint } from './states.ts'
import { type AnswerCounts, newSinkStats, type SinkDrainStats } from './stats.ts'
import { type Outcome, StreamDrain } from './stream/stream-drain.ts'

export interface SinkDrainOptions {
  readonly sink: Sink
  readonly config: DrainedSinkConfig
  readonly queues: readonly StreamQueue[]
  readonly notes: NoteStore
  readonly rules: DrainRules
  readonly emit: EmitDrainEvent
  readonly clock: Clock
  readonly random: () => number
}

/** One request, from its pin to the end of what its answer does. */
interface Try extends Answered {
  readonly on: StreamDrain
  /** Streams that could have been served instead, itself included. */
  readonly backlogged: readonly string[]
  readonly abort: AbortController
}

/** An answer, what it means, and the lines of what it refused. */
interface Heard {
  readonly loaded: LoadedBatch
  readonly answer: SinkAnswer
  readonly outcome: Outcome
  readonly lines: readonly Uint8Array[]
}

/** After its deadline a request that was cut off has so long to say so. */
const CUT_OFF_MS = 1000

export class SinkDrain {
  readonly name: string
  readonly stats: SinkDrainStats = newSinkStats()
  readonly #streams: StreamDrain[]
  readonly #o: SinkDrainOptions
  readonly #notes: DrainNotes
  readonly #learned: LearnedLimit
  readonly #pace: PaceLimit
  readonly #scheduler: Scheduler
  readonly #pacer: Pacer
  readonly #waits: SinkWaits
  readonly #tries = new Set<Try>()
  /** Whatever a stop has to wait for: tries, and commits of what their answers did. */
  readonly #pending = new Set<Promise<void>>()
  #state: 'new' | 'running' | 'stopping' = 'new'
  #inTurn = false
  #isTurnDue = false
  #cancelTimer: (() => void) | null = null
  readonly #notedBytes: Record<LimitKind, number | null>
  /** When each stream was last tried, for probes in turn. */
  readonly #triedTurn = new Map<StreamDrain, number>()
  #turnNumber = 0

  constructor(options: SinkDrainOptions) {
    this.#o = options
    const { config, clock, rules, emit, random } = options
    const sink = options.sink.name
    this.name = sink
    const notes = new DrainNotes(options.notes, clock, (stored) => {
      const failed = (error: unknown): void => {
        emit({ type: 'drain.queue-failed', sink, stream: null, detail: String(error) })
      }
      this.#keep(stored.catch(failed))
    })
    this.#notes = notes
    this.#notedBytes = {
      'batch-bytes': notes.batchBytes('batch-bytes', sink),
      'pace-bytes': notes.batchBytes('pace-bytes', sink),
    }
    this.#learned = new LearnedLimit(config.maxBatchBytes, this.#notedBytes['batch-bytes'])
    this.#pace = new PaceLimit(config.maxBatchBytes, config.timeout, this.#notedBytes['pace-bytes'])
    this.#pacer = new Pacer(config.maxBytesPerSecond)
    this.#waits = new SinkWaits({ sink, config, rules, notes, emit, clock, random })
    this.#streams = options.queues.map((queue) => this.#drainOf(queue))
    this.#scheduler = new Scheduler(this.streams)
  }

  get streams(): readonly StreamDrain[] {
    return this.#streams
  }

  #drainOf(queue: StreamQueue): StreamDrain {
    const { config, clock, rules, emit, random } = this.#o
    const keep = (durable: Promise<void>): void => this.#keep(durable)
    const notes = this.#notes
    return new StreamDrain({
      queue,
      sink: this.name,
      config,
      learned: this.#learned,
      pace: this.#pace,
      rules,
      notes,
      emit,
      clock,
      random,
      keep,
      wake: () => this.turn(),
    })
  }

  /** One more stream, while running: an orphaned one that an operator gave to this sink. */
  join(queue: StreamQueue): StreamDrain {
    const known = this.#streams.find(({ name }) => name === queue.stream)
    if (known) return known
    const stream = this.#drainOf(queue)
    this.#streams.push(stream)
    this.#scheduler.add(stream)
    if (this.#state === 'running') {
      stream.start()
      queue.onReady(() => this.#turnSoon())
      this.turn()
    }
    return stream
  }

  start(): void {
    this.#state = 'running'
    this.#waits.start()
    for (const stream of this.streams) stream.start()
    for (const queue of this.#o.queues) queue.onReady(() => this.#turnSoon())
    this.#o.sink.onChange(() => this.#tryNow(false))
    this.turn()
  }

  /** Begins whatever may begin now, or sets the clock for it. */
  turn(): void {
    if (this.#state !== 'running' || this.#inTurn) return
    this.#inTurn = true
    try {
      while (this.#step()) {}
    } finally {
      this.#inTurn = false
    }
  }

  /** One commit makes many streams ready, and each turn looks at all of them: one turn for all. */
  #turnSoon(): void {
    if (this.#isTurnDue) return
    this.#isTurnDue = true
    queueMicrotask(() => {
      this.#isTurnDue = false
      this.turn()
    })
  }

  /** True: a request began; another one may. */
  #step(): boolean {
    const nowMs = this.#o.clock.monotonicMs()
    if (this.#tries.size >= (this.#waits.oneAtATime ? 1 : this.#o.config.maxInFlight)) return false
    this.#cancelTimer?.()
    this.#cancelTimer = null
    const openMs = Math.max(this.#waits.openAtMs, this.#pacer.readyAtMs)
    const ready: StreamDrain[] = []
    let nextMs = Number.POSITIVE_INFINITY
    // Probes of a hold take turns.
    const examined = this.#waits.isHeld
      ? undefined
      : this.streams.find((stream) => stream.isExamined(nowMs))
    for (const stream of this.streams) {
      if (examined !== undefined && stream !== examined && mustWait(stream, nowMs)) continue
      const atMs = stream.look(nowMs)
      if (atMs === null) continue
      nextMs = Math.min(nextMs, Math.max(atMs, openMs))
      if (atMs <= nowMs) ready.push(stream)
    }
    if (nextMs > nowMs) {
      if (nextMs < Number.POSITIVE_INFINITY) this.#wakeAt(nextMs, nowMs)
      return false
    }
    const on = this.#choose(ready)
    return on !== null && this.#begin(on, ready, nowMs)
  }

  #choose(ready: readonly StreamDrain[]): StreamDrain | null {
    const probe = ready.find(({ name }) => name === this.#waits.probeStream)
    if (probe) return probe
    const nowMs = this.#o.clock.monotonicMs()
    const due = ready.find((stream) => stream.doubt.isDue(nowMs))
    if (due) return due
    if (this.#waits.oneAtATime) {
      // The one whose last try is longest ago: a batch that only times out must not be the probe
      // for ever.
      return (
        ready.toSorted(
          (a, b) => (this.#triedTurn.get(a) ?? 0) - (this.#triedTurn.get(b) ?? 0),
        )[0] ?? null
      )
    }
    const name = this.#scheduler.pick(ready.map((stream) => stream.name))
    return ready.find((stream) => stream.name === name) ?? null
  }

  #begin(on: StreamDrain, ready: readonly StreamDrain[], nowMs: number): boolean {
    this.#triedTurn.set(on, ++this.#turnNumber)
    const loading = on.begin()
    if (loading === null) return false
    this.#waits.begins()
    const backlogged = [
      ...[...this.#tries].map(({ stream }) => stream),
      ...ready.map(({ name }) => name),
    ]
    const abort = new AbortController()
    const one: Try = {
      on,
      stream: on.name,
      probe: this.#waits.isHeld,
      beganAtMs: nowMs,
      backlogged,
      abort,
    }
    this.#tries.add(one)
    this.stats.inFlight = this.#tries.size
    this.#keep(this.#run(one, loading))
    return true
  }

  async #run(one: Try, loading: Promise<LoadedBatch | null>): Promise<void> {
    try {
      const heard = await this.#hear(one, loading)
      // From here to the end of the next turn everything is synchronous: settle and pin ride in one
      // commit.
      if (heard !== null) this.#heed(one, heard)
    } catch (error) {
      // The queue contradicted itself. Nothing was acked that was not settled; try again rather
      // than end the process.
      one.on.readFailed(error)
    }
    one.on.done()
    this.#tries.delete(one)
    this.stats.inFlight = this.#tries.size
    this.turn()
  }

  /**
   * Sends the batch and weighs the answer. null: it was not sent, or there is nothing to be done
   * about it.
   */
  async #hear(one: Try, loading: Promise<LoadedBatch | null>): Promise<Heard | null> {
    const loaded = await loading
    if (loaded === null || !this.#mayGo(one)) return null
    const answer = await this.#send(one, loaded)
    // Cut off by a stop: what became of the batch is unknown, it stays pinned.
    if (one.abort.signal.aborted && answer.kind === 'retry') return null
    const outcome = one.on.consider(loaded, answer, this.#othersGotThrough(one.on))
    if (outcome === null) return null
    const seqs = outcome.judgement?.refused.map(({ seq }) => seq) ?? []
    const lines = seqs.length === 0 ? [] : await readLines(loaded, seqs)
    return { loaded, answer, outcome, lines }
  }

  #heed(one: Try, { loaded, answer, outcome, lines }: Heard): void {
    this.#count(answer, outcome.decision)
    this.#waits.heed(one, outcome.decision)
    one.on.apply(loaded, outcome, lines)
    this.#tellOthers(one.on, outcome.decision)
    if (answer.transfer !== undefined) this.#paceOf(loaded, answer.transfer)
    this.#noteBytes('batch-bytes', this.#learned.learnedBytes)
    this.#noteBytes('pace-bytes', this.#pace.learnedBytes)
  }

  /**
   * While the batch was read, another stream's answer may have begun a wait or a hold, or a stop
   * has.
   */
  #mayGo(one: Try): boolean {
    if (this.#state !== 'running' || !this.#waits.mayGo(one.probe)) return false
    return this.#pacer.readyAtMs <= this.#o.clock.monotonicMs()
  }

  async #send(one: Try, loaded: LoadedBatch): Promise<SinkAnswer> {
    const batch = one.on.batchOf(loaded)
    this.stats.sentBytes += batch.bodyBytes
    this.#pacer.sent(batch.bodyBytes, this.#o.clock.monotonicMs())
    this.#scheduler.served(one.stream, batch.bodyBytes, one.backlogged)
    try {
      return await this.#o.sink.send(batch, one.abort.signal)
    } catch (error) {
      // A sink must not throw; if one does, nothing was acked.
      const detail = `the sink failed: ${String(error)}`
      return { kind: 'retry', status: null, sinkDateMs: null, retryAfterMs: null, detail }
    }
  }

  /**
   * What a sink takes and does not take beside a record is what tells whose fault it is (doubt.ts).
   */
  #tellOthers(stream: StreamDrain, decision: Decision): void {
    const nowMs = this.#o.clock.monotonicMs()
    const isTaken = decision.kind === 'acked' && decision.verdict.acked > 0
    const isFailed = decision.kind === 'retry' || decision.kind === 'hold'
    if (!isTaken && (!isFailed || stream.doubt.isFounded)) return
    for (const other of this.streams) {
      if (other === stream) continue
      if (isTaken) other.othersTaken(nowMs)
      else other.doubt.othersFailed()
    }
  }

  #othersGotThrough(stream: StreamDrain): boolean {
    return this.streams.some(
      (other) => other !== stream && other.lastAckedAtMs > stream.lastFailedAtMs,
    )
  }

  #count(answer: SinkAnswer, decision: Decision): void {
    const { answers } = this.stats
    if (answer.sinkDateMs !== null)
      this.stats.clockSkewMs = answer.sinkDateMs - this.#o.clock.wallMs()
    answers[countedAs(answer, decision)]++
  }

  /**
   * Bytes went out compressed; limits are those of the lines. A try that was given up teaches by
   * its time-out alone.
   */
  #paceOf(loaded: LoadedBatch, { bytes, ms, timedOut }: Transfer): void {
    if (timedOut || bytes < loaded.bodyBytes) return
    this.#pace.answered(loaded.rawBytes, ms)
  }

  /**
   * A learned limit is remembered when it was halved or has doubled since, and when it came or is
   * gone.
   */
  #noteBytes(kind: LimitKind, bytes: number | null): void {
    const noted = this.#notedBytes[kind]
    if (bytes === noted) return
    if (bytes !== null && noted !== null && bytes < 2 * noted && bytes > noted / 2) return
    this.#notedBytes[kind] = bytes
    this.#notes.setBatchBytes(kind, this.name, bytes)
  }

  /** Tries at once, also what is held; only a wait that the sink asked for is kept. */
  retryNow(): void {
    this.#tryNow(true)
  }

  #tryNow(round: boolean): void {
    this.#waits.tryNow()
    for (const stream of this.streams) stream.retryNow(round)
    this.turn()
  }

  /**
   * Begins no request any more; those in progress may end until `deadlineMs` from now and are cut
   * off then. Whatever is not settled stays pinned. Resolves when nothing is in progress, at the
   * latest a second after the deadline.
   */
  async stop(deadlineMs: number): Promise<void> {
    this.#state = 'stopping'
    this.#cancelTimer?.()
    this.#cancelTimer = null
    if (await this.#idleWithin(deadlineMs)) return
    for (const one of this.#tries) one.abort.abort()
    await this.#idleWithin(CUT_OFF_MS)
  }

  async #idleWithin(limitMs: number): Promise<boolean> {
    const idle = this.#idle()
    let cancel = (): void => {}
    const late = new Promise<false>((resolve) => {
      cancel = this.#o.clock.setTimer(limitMs, () => resolve(false))
    })
    const inTime = await Promise.race([idle, late])
    cancel()
    return inTime
  }

  async #idle(): Promise<true> {
    while (this.#pending.size > 0) await Promise.all(this.#pending)
    return true
  }

  state(): SinkState {
    const inFlight = this.#tries.size
    const own = this.#waits.standing(inFlight)
    const failing: Failing[] = []
    const streams = this.streams.map((stream) => {
      const state = stream.state(this.#waits.openAtMs)
      const { failingSinceMs } = stream
      if (failingSinceMs !== null) failing.push({ state, failingSinceMs })
      return throughSink(withHint(state, stream.stuckSeq), own)
    })
    const lastAckedAtMs = Math.max(...this.streams.map((stream) => stream.lastAckedAtMs))
    return {
      sink: this.name,
      ...sinkStanding(own, failing, lastAckedAtMs),
      inFlight,
      learnedBatchBytes: leastOf(this.#learned.learnedBytes, this.#pace.learnedBytes),
      streams,
    }
  }

  #wakeAt(atMs: number, nowMs: number): void {
    this.#cancelTimer = this.#o.clock.setTimer(Math.ceil(atMs - nowMs), () => {
      this.#cancelTimer = null
      this.turn()
    })
  }

  #keep(promise: Promise<void>): void {
    this.#pending.add(promise)
    void promise.finally(() => this.#pending.delete(promise))
  }
}

/** Another stream is examined: one that is in doubt, too, would fail without telling anything. */
function mustWait({ doubt }: StreamDrain, nowMs: number): boolean {
  return doubt.isOpen && !doubt.isDue(nowMs)
}

function leastOf(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b
  return Math.min(a, b)
}

/** One after the other: neighbours lie in the same block. */
async function readLines(loaded: LoadedBatch, seqs: readonly number[]): Promise<Uint8Array[]> {
  const lines: Uint8Array[] = []
  for (const seq of seqs) lines.push(await loaded.line(seq))
  return lines
}

function countedAs(answer: SinkAnswer, decision: Decision): keyof AnswerCounts {
  if (answer.kind !== 'verdicts') return answer.kind
  if (decision.kind === 'acked') {
    return decision.verdict.resendFrom === null && decision.verdict.refused === 0
      ? 'acked'
      : 'partial'
  }
  if (decision.kind === 'hold') return 'hold'
  return decision.kind === 'retry' && decision.malformed ? 'malformed' : 'retry'
}
