/**
 * One stream on its way to its sink: what it wants next, the batch it sends, how it stands. One
 * request at a time, in order of seq (I2); what is pinned goes first and unchanged (I4).
 *
 * Puts the parts of a stream together: its batches (batches.ts), what an answer does (answers.ts),
 * refused records (refused-records.ts), its hold, backoff and outage. Waits that concern the whole
 * sink, and who goes next, are sink-drain.ts's.
 */
import type { BatchEncoder } from '../../ports/sink.ts'
import type { LoadedBatch, StreamQueue } from '../../ports/stream-queue.ts'
import type { Clock } from '../clock.ts'
import type { DeliveryConfig } from '../config.ts'
import type { EmitDrainEvent } from '../events.ts'
import type { DrainNotes } from '../notes.ts'
import { Doubt } from '../policy/doubt.ts'
import type { LearnedLimit } from '../policy/learned-limit.ts'
import type { PaceLimit } from '../policy/pace-limit.ts'
import type { DrainRules } from '../policy/rules.ts'
import type { StreamStanding } from '../standing.ts'
import { StreamAnswers } from './answers.ts'
import { StreamBackoff } from './backoff.ts'
import { BatchSizing } from './batch-sizing.ts'
import { StreamBatches } from './batches.ts'
import { StreamHold } from './hold.ts'
import { StreamOutage } from './outage.ts'
import { ParkError, parkFirst } from './park.ts'
import { RefusedRecords } from './refused-records.ts'
import { reportParked } from './settlement.ts'

interface StreamDrainOptions {
  readonly queue: StreamQueue
  readonly sink: string
  readonly encoder: BatchEncoder
  readonly config: DeliveryConfig
  readonly learned: LearnedLimit
  readonly pace: PaceLimit
  readonly rules: DrainRules
  readonly notes: DrainNotes
  readonly emit: EmitDrainEvent
  readonly clock: Clock
  readonly random: () => number
  /** Takes a promise of the spool to its end. */
  readonly keep: (durable: Promise<void>) => void
  /** Something can go on that waited for nothing that the sink or the spool says. */
  readonly wake: () => void
}

export class StreamDrain {
  readonly name: string
  readonly priority: number
  /** Whose fault its failures are. */
  readonly doubt: Doubt
  readonly answers: StreamAnswers
  readonly #o: StreamDrainOptions
  readonly #queue: StreamQueue
  readonly #encoder: BatchEncoder
  readonly #batches: StreamBatches
  readonly #backoff: StreamBackoff
  readonly #hold: StreamHold
  readonly #outage: StreamOutage
  readonly #refused: RefusedRecords
  readonly #who: { readonly sink: string; readonly stream: string }
  #inFlight = false
  /** An operator wants to park a record, and waits for the end of the try that is in progress. */
  #parkWaiter: (() => void) | null = null
  /** An operator asked for a full round while a try was in progress. */
  #isRoundDue = false

  constructor(options: StreamDrainOptions) {
    const { queue, sink, config, rules, notes, emit, clock, random } = options
    const stream = queue.stream
    this.#o = options
    this.#queue = queue
    this.name = stream
    this.priority = queue.priority
    this.#who = { sink, stream }
    this.#encoder = options.encoder
    const sizing = new BatchSizing(options)
    this.doubt = new Doubt(rules)
    this.#backoff = new StreamBackoff(clock, random, rules)
    this.#outage = new StreamOutage(this.#who, emit, clock)
    this.#hold = new StreamHold({ sink, stream, rules, notes, emit, clock })
    this.#batches = new StreamBatches({
      queue,
      encoder: options.encoder,
      lingerMs: queue.isAwaited ? 0 : config.linger,
      limits: () => sizing.limits,
      configured: { maxRecords: config.maxBatchRecords, maxBytes: config.maxBatchBytes },
      wantsEvidence: () => this.doubt.wantsEvidence,
      clock,
    })
    const { maxRefusedShare } = config
    const common = { queue, batches: this.#batches, hold: this.#hold, rules, clock }
    const keep = (durable: Promise<void>): void => this.#keep(durable)
    this.#refused = new RefusedRecords({ ...common, sink, maxRefusedShare, emit, keep })
    this.answers = new StreamAnswers({
      ...common,
      sizing,
      backoff: this.#backoff,
      doubt: this.doubt,
      keepsWhole: options.encoder.keepsWhole ?? false,
      outage: this.#outage,
      refused: this.#refused,
    })
  }

  /** Takes up what the last run left: a hold, a batch in flight. */
  start(): void {
    this.#refused.start()
    if (!this.#encoder.keepsWhole) this.#batches.fitPin()
    const { pin } = this.#queue
    if (pin !== null) {
      const { spoolId, firstSeq, lastSeq } = pin
      this.#o.emit({ type: 'drain.batch-resumed', ...this.#who, spoolId, firstSeq, lastSeq })
    }
  }

  /**
   * When this stream wants the sink next, monotonic ms; in the past: now; null: not before
   * something happens.
   */
  dueAtMs(nowMs: number): number | null {
    if (this.#inFlight || this.#parkWaiter !== null) return null
    const { notBeforeMs } = this.#backoff
    const hasNoRoom = this.#hold.reason === 'dead-letters-full'
    if (this.#refused.isHeld && !(hasNoRoom && this.#refused.findRoom())) {
      const waiting = this.#queue.pin !== null || this.#queue.pendingRecords > 0
      return waiting || hasNoRoom ? Math.max(notBeforeMs, this.#hold.nextProbeAtMs) : null
    }
    const lingerLeftMs = this.#batches.lingerLeftMs(nowMs)
    const dueMs = lingerLeftMs === null ? this.#refused.againAtMs : nowMs + lingerLeftMs
    return dueMs === null ? null : Math.max(notBeforeMs, dueMs)
  }

  /**
   * Pins and reads the next batch. null: there is none, or it cannot be read now. Call `done`
   * afterwards.
   */
  begin(): Promise<LoadedBatch | null> | null {
    const againAtMs = this.#refused.againAtMs
    if (againAtMs !== null && againAtMs <= this.#o.clock.monotonicMs()) this.#refused.tryAgain()
    const begun = this.#batches.begin()
    if (begun === null) return null
    this.#inFlight = true
    this.doubt.begins(this.#o.clock.monotonicMs())
    const { spoolId, firstSeq, lastSeq } = begun.pin
    return begun.ready.then(
      (loaded) => {
        if (loaded !== null) return loaded
        this.#o.emit({ type: 'drain.batch-dissolved', ...this.#who, spoolId, firstSeq, lastSeq })
        // Whatever the spool made of it: never a tight loop.
        if (this.#queue.pin !== null) this.#backoff.wait(this.#o.rules.backoffBaseMs)
        return null
      },
      (error: unknown) => {
        this.readFailed(error)
        return null
      },
    )
  }

  /** The spool could not read or note the batch: it is tried again after backoff. */
  readFailed(error: unknown): void {
    this.#batches.failed()
    this.#o.emit({ type: 'drain.queue-failed', ...this.#who, detail: String(error) })
    this.#backoff.failed()
  }

  /** Nothing of the batch is sent any more: see {@link LoadedBatch}. */
  passExpired(loaded: LoadedBatch): void {
    if (this.#batches.isCurrent(loaded)) this.#refused.passExpired(loaded.pin)
  }

  /** The batch goes out now. */
  sends(): void {
    this.#batches.sends()
  }

  /** The try is over, whatever came of it. */
  done(): void {
    this.#inFlight = false
    this.#batches.rests()
    if (this.#isRoundDue) this.#beginRound()
    this.#parkWaiter?.()
  }

  /**
   * The sink took records of another stream. One that is in doubt alone is tried at once: that
   * tells whose fault it is.
   */
  othersTaken(nowMs: number): void {
    this.doubt.taken(nowMs)
    const { retryAfterMs } = this.doubt
    if (retryAfterMs === null || nowMs - this.answers.lastFailedAtMs < retryAfterMs) return
    this.#backoff.skipWait()
    if (this.#hold.reason === 'answer' || this.#hold.reason === 'malformed') this.#hold.probeNow()
  }

  /** It is in doubt, and its next tries may tell. Another one that is in doubt waits for that. */
  isExamined(nowMs: number): boolean {
    return this.doubt.isUnderway && (this.#inFlight || this.dueAtMs(nowMs) !== null)
  }

  /** `sluice streams park`: not while a request is in progress. @throws ParkError */
  async park(seq: number): Promise<void> {
    if (this.#parkWaiter !== null) throw new ParkError('another record is being set aside')
    if (this.#inFlight) {
      await new Promise<void>((resolve) => {
        this.#parkWaiter = resolve
      })
      this.#parkWaiter = null
    }
    this.#inFlight = true
    try {
      await parkFirst(this.#queue, seq, this.#encoder)
      this.answers.progressed()
      const record = this.#queue.parked.at(-1)
      if (record === undefined) return
      const where = { ...this.#who, spoolId: record.spoolId }
      reportParked([{ ...record, seq }], where, false, this.#o.emit)
    } finally {
      this.#batches.forget()
      this.doubt.clear()
      this.#inFlight = false
      this.retryNow(false)
      this.#o.wake()
    }
  }

  /**
   * An operator, a reload or a changed secret asks for a try now. `round`: of a stream held for
   * refusals, a full one.
   */
  retryNow(round: boolean): void {
    this.#backoff.skipWait()
    this.#hold.probeNow()
    this.#refused.probeNow()
    if (this.#hold.reason !== 'refusals' || !round) return
    this.#isRoundDue = true
    if (!this.#inFlight) this.#beginRound()
  }

  #beginRound(): void {
    this.#isRoundDue = false
    this.#refused.beginRound()
  }

  /** Since when its tries fail, by the monotonic clock; null: they do not. */
  get failingSinceMs(): number | null {
    return this.#outage.now?.beganMs ?? null
  }

  /** `otherwiseAtMs`: when the sink lets its streams go on. */
  standing(otherwiseAtMs: number | null): StreamStanding {
    const { clock } = this.#o
    const trouble = this.#outage.now ?? this.#refused.stranded
    const isHeld = this.#hold.reason !== null
    const isFull = this.#refused.isHeld && this.#hold.reason === 'dead-letters-full'
    const dueMs = isFull ? this.#hold.nextProbeAtMs : this.dueAtMs(clock.monotonicMs())
    const atMs = this.#inFlight ? null : dueMs
    const nextMs = atMs === null ? null : Math.max(atMs, otherwiseAtMs ?? atMs)
    const waits = nextMs !== null && (isHeld || trouble !== null)
    return {
      stream: this.name,
      state: isHeld ? 'held' : trouble === null ? 'ok' : 'retrying',
      sinceMs: this.#hold.sinceMs ?? trouble?.sinceMs ?? null,
      reason: this.#hold.reason,
      detail: this.#hold.detail ?? trouble?.detail ?? null,
      nextTryAtMs: waits ? clock.wallMs() + Math.max(0, nextMs - clock.monotonicMs()) : null,
      lastSuccessAtMs: this.answers.lastSuccessAtMs,
      inFlight: this.#inFlight,
    }
  }

  /**
   * A record that fails alone, where nothing tells whose fault it is; null: there is none.
   */
  get stuckSeq(): number | null {
    return this.doubt.isStuck ? (this.#queue.pin?.firstSeq ?? null) : null
  }

  #keep(durable: Promise<void>): void {
    const failed = (error: unknown): void => {
      this.#o.emit({ type: 'drain.queue-failed', ...this.#who, detail: String(error) })
    }
    this.#o.keep(durable.catch(failed))
  }
}
