/**
 * All streams of one sink: who goes next. I2: one request per stream, `maxInFlight` side by side.
 *
 * Runs in turns. A turn is synchronous and happens after each answer, when the spool has something
 * new, and when a wait is over; so the settle of an answer and the pin of the next batch ride in
 * one commit. What an answer does to its stream is decided in stream/answers.ts; what it means for
 * the whole sink in sink-waits.ts.
 */
import type { BatchWatch, Sink, SinkAnswer } from '../ports/sink.ts'
import type { LoadedBatch, NoteStore, StreamQueue } from '../ports/stream-queue.ts'
import type { Clock } from './clock.ts'
import type { DeliveryConfig } from './config.ts'
import type { EmitDrainEvent } from './events.ts'
import { DrainNotes } from './notes.ts'
import { PendingWork } from './pending-work.ts'
import { Pacer } from './policy/pacer.ts'
import type { Verdict } from './policy/retry-policy.ts'
import type { DrainRules } from './policy/rules.ts'
import { Scheduler } from './policy/scheduler.ts'
import { SinkLimits } from './sink-limits.ts'
import { type SentRequest, SinkWaits } from './sink-waits.ts'
import {
  type FailingStream,
  type SinkStanding,
  sinkStanding,
  throughSink,
  withHint,
} from './standing.ts'
import type { JudgedAnswer } from './stream/answers.ts'
import { StreamDrain } from './stream/stream-drain.ts'

interface SinkDrainOptions {
  readonly sink: Sink
  readonly config: DeliveryConfig
  readonly queues: readonly StreamQueue[]
  readonly notes: NoteStore
  readonly rules: DrainRules
  readonly emit: EmitDrainEvent
  readonly watch: BatchWatch | null
  readonly clock: Clock
  readonly random: () => number
}

/** One request, from its pin to the end of what its answer does. */
interface Request extends SentRequest {
  readonly from: StreamDrain
  /** Streams that could have been served instead, itself included. */
  readonly backlogged: readonly string[]
  readonly abort: AbortController
}

/** After its deadline a request that was cut off has so long to say so. */
const CUT_OFF_MS = 1000

export class SinkDrain {
  readonly name: string
  readonly #streams: StreamDrain[]
  readonly #o: SinkDrainOptions
  readonly #notes: DrainNotes
  readonly #limits: SinkLimits
  readonly #scheduler: Scheduler
  readonly #pacer: Pacer
  readonly #waits: SinkWaits
  /** Each with the end of what its answer does. */
  readonly #requests = new Map<Request, Promise<void>>()
  readonly #pending: PendingWork
  #state: 'new' | 'running' | 'stopping' = 'new'
  #inTurn = false
  #isTurnDue = false
  #cancelTimer: (() => void) | null = null
  /** When each stream was last tried, for probes in turn. */
  readonly #triedTurn = new Map<StreamDrain, number>()
  #turnNumber = 0

  constructor(options: SinkDrainOptions) {
    this.#o = options
    const { config, clock, rules, emit, random } = options
    const sink = options.sink.name
    this.name = sink
    this.#pending = new PendingWork(clock)
    const notes = new DrainNotes(options.notes, clock, (stored) => {
      const failed = (error: unknown): void => {
        emit({ type: 'drain.queue-failed', sink, stream: null, detail: String(error) })
      }
      this.#pending.add(stored.catch(failed))
    })
    this.#notes = notes
    this.#limits = new SinkLimits(sink, config, notes)
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
    const { learned, pace } = this.#limits
    return new StreamDrain({
      queue,
      sink: this.name,
      encoder: this.#o.sink.encoder,
      config,
      learned,
      pace,
      rules,
      notes: this.#notes,
      emit,
      clock,
      random,
      keep: (durable) => this.#pending.add(durable),
      wake: () => this.turn(),
    })
  }

  /** One more stream, while running: an orphaned one that an operator gave to this sink. */
  join(queue: StreamQueue): void {
    if (this.#streams.some(({ name }) => name === queue.stream)) return
    const stream = this.#drainOf(queue)
    this.#streams.push(stream)
    this.#scheduler.add(stream)
    if (this.#state !== 'running') return
    stream.start()
    queue.onReady(() => this.#turnSoon())
    this.turn()
  }

  /**
   * The stream is not this sink's any more: nothing of it is begun. Its batch in flight may end until
   * `deadlineMs` from now and is cut off then; it stays pinned. Resolves when it is quiet.
   */
  async leave(name: string, deadlineMs: number): Promise<void> {
    const at = this.#streams.findIndex((stream) => stream.name === name)
    if (at < 0) return
    const [left] = this.#streams.splice(at, 1)
    this.#scheduler.remove(name)
    const found = [...this.#requests].find(([{ from }]) => from === left)
    if (found === undefined) return
    const [request, running] = found
    const cancel = this.#o.clock.setTimer(deadlineMs, () => request.abort.abort())
    await running
    cancel()
  }

  start(): void {
    this.#state = 'running'
    this.#o.sink.start()
    this.#waits.start()
    for (const stream of this.streams) stream.start()
    for (const queue of this.#o.queues) queue.onReady(() => this.#turnSoon())
    this.#o.sink.onChange(() => this.#tryNow(false))
    this.turn()
  }

  // Who goes next.

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

  /** One commit makes many streams ready, and each turn visits all of them: one turn for all. */
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
    const mostRequests = this.#waits.oneAtATime ? 1 : this.#o.config.maxInFlight
    if (this.#requests.size >= mostRequests) return false
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
      const dueMs = stream.dueAtMs(nowMs)
      if (dueMs === null) continue
      nextMs = Math.min(nextMs, Math.max(dueMs, openMs))
      if (dueMs <= nowMs) ready.push(stream)
    }
    if (nextMs > nowMs) {
      if (nextMs < Number.POSITIVE_INFINITY) this.#wakeAt(nextMs, nowMs)
      return false
    }
    const stream = this.#choose(ready, nowMs)
    return stream !== null && this.#begin(stream, ready, nowMs)
  }

  #choose(ready: readonly StreamDrain[], nowMs: number): StreamDrain | null {
    const probe = ready.find(({ name }) => name === this.#waits.probeStream)
    if (probe) return probe
    const due = ready.find((stream) => stream.doubt.isDue(nowMs))
    if (due) return due
    if (this.#waits.oneAtATime) {
      // The one whose last try is longest ago: a batch that only times out must not be every probe.
      const lastTry = (stream: StreamDrain): number => this.#triedTurn.get(stream) ?? 0
      return ready.toSorted((a, b) => lastTry(a) - lastTry(b))[0] ?? null
    }
    const name = this.#scheduler.pick(ready.map((stream) => stream.name))
    return ready.find((stream) => stream.name === name) ?? null
  }

  #wakeAt(atMs: number, nowMs: number): void {
    this.#cancelTimer = this.#o.clock.setTimer(Math.ceil(atMs - nowMs), () => {
      this.#cancelTimer = null
      this.turn()
    })
  }

  // One request: pin and read, send, judge, apply.

  #begin(stream: StreamDrain, ready: readonly StreamDrain[], nowMs: number): boolean {
    this.#triedTurn.set(stream, ++this.#turnNumber)
    const loading = stream.begin()
    if (loading === null) return false
    this.#waits.begins()
    const inFlight = [...this.#requests.keys()].map((request) => request.stream)
    const request: Request = {
      from: stream,
      stream: stream.name,
      isProbe: this.#waits.isHeld,
      beganAtMs: nowMs,
      backlogged: [...inFlight, ...ready.map(({ name }) => name)],
      abort: new AbortController(),
    }
    const running = this.#run(request, loading)
    this.#requests.set(request, running)
    this.#pending.add(running)
    return true
  }

  async #run(request: Request, loading: Promise<LoadedBatch | null>): Promise<void> {
    try {
      const judged = await this.#exchange(request, loading)
      // From here to the end of the next turn everything is synchronous: settle and pin ride in one
      // commit.
      if (judged !== null) this.#apply(request, judged)
    } catch (error) {
      // The queue contradicted itself. Nothing was acked that was not settled; try again rather
      // than end the process.
      request.from.readFailed(error)
    }
    request.from.done()
    this.#requests.delete(request)
    this.turn()
  }

  /**
   * Sends the batch and judges the answer. null: it was not sent, or there is nothing to be done
   * about it.
   */
  async #exchange(
    request: Request,
    loading: Promise<LoadedBatch | null>,
  ): Promise<JudgedAnswer | null> {
    const loaded = await loading
    if (loaded === null) return null
    if (loaded.batch.recordCount === 0) {
      request.from.passExpired(loaded)
      return null
    }
    if (!this.#maySend(request)) return null
    const answer = await this.#send(request, loaded)
    // Cut off by a stop: what became of the batch is unknown, it stays pinned.
    if (request.abort.signal.aborted && answer.kind === 'retry') return null
    const othersGotThrough = this.#othersGotThrough(request.from)
    return await request.from.answers.judge(loaded, answer, othersGotThrough)
  }

  /**
   * While the batch was read, another stream's answer may have begun a wait or a hold, or a stop
   * has.
   */
  #maySend({ isProbe }: Request): boolean {
    if (this.#state !== 'running' || !this.#waits.maySend(isProbe)) return false
    return this.#pacer.readyAtMs <= this.#o.clock.monotonicMs()
  }

  async #send(request: Request, loaded: LoadedBatch): Promise<SinkAnswer> {
    const { batch } = loaded
    request.from.sends()
    this.#pacer.sent(batch.bodyBytes, this.#o.clock.monotonicMs())
    this.#scheduler.served(request.stream, batch.bodyBytes, request.backlogged)
    const { watch } = this.#o
    watch?.sent(this.name, batch)
    try {
      const answer = await this.#o.sink.send(batch, request.abort.signal)
      watch?.answered(this.name, batch, answer)
      return answer
    } catch (error) {
      // A sink must not throw; if one does, nothing was acked.
      const detail = `the sink failed: ${String(error)}`
      return {
        kind: 'retry',
        scope: 'sink',
        code: null,
        sinkDateMs: null,
        retryAfterMs: null,
        answered: false,
        detail,
      }
    }
  }

  #apply(request: Request, judged: JudgedAnswer): void {
    const { answer, loaded, verdict } = judged
    this.#waits.apply(request, verdict)
    request.from.answers.apply(judged)
    this.#tellOthers(request.from, verdict)
    this.#limits.answered(loaded.batch, answer.transfer)
  }

  /**
   * What a sink takes and does not take beside a record is what tells whose fault it is (doubt.ts).
   */
  #tellOthers(stream: StreamDrain, verdict: Verdict): void {
    const nowMs = this.#o.clock.monotonicMs()
    const isTaken = verdict.kind === 'acked' && verdict.acked > 0
    const isFailed = verdict.kind === 'retry' || verdict.kind === 'hold'
    if (!isTaken && (!isFailed || stream.doubt.isFounded)) return
    for (const other of this.streams) {
      if (other === stream) continue
      if (isTaken) other.othersTaken(nowMs)
      else other.doubt.othersFailed()
    }
  }

  #othersGotThrough({ answers }: StreamDrain): boolean {
    return this.streams.some(
      (other) => other.answers !== answers && other.answers.lastAckedAtMs > answers.lastFailedAtMs,
    )
  }

  // The operator's side.

  /** Tries at once, also what is held; only a wait that the sink asked for is kept. */
  retryNow(): void {
    this.#tryNow(true)
  }

  #tryNow(round: boolean): void {
    this.#waits.tryNow()
    for (const stream of this.streams) stream.retryNow(round)
    this.turn()
  }

  standing(): SinkStanding {
    const inFlight = this.#requests.size
    const own = this.#waits.standing(inFlight)
    const failing: FailingStream[] = []
    const streams = this.streams.map((stream) => {
      const standing = stream.standing(this.#waits.openAtMs)
      const { failingSinceMs } = stream
      if (failingSinceMs !== null) failing.push({ standing, failingSinceMs })
      return throughSink(withHint(standing, stream.stuckSeq), own)
    })
    const lastAckedAtMs = Math.max(...this.streams.map(({ answers }) => answers.lastAckedAtMs))
    return {
      sink: this.name,
      ...sinkStanding(own, failing, lastAckedAtMs),
      inFlight,
      learnedBatchBytes: this.#limits.learnedBytes,
      streams,
    }
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
    if (await this.#pending.endsWithin(deadlineMs)) return
    for (const { abort } of this.#requests.keys()) abort.abort()
    await this.#pending.endsWithin(CUT_OFF_MS)
  }
}

/** Another stream is examined: one that is in doubt, too, would fail without telling anything. */
function mustWait({ doubt }: StreamDrain, nowMs: number): boolean {
  return doubt.isOpen && !doubt.isDue(nowMs)
}
