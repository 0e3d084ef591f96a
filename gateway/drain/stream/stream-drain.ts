/**
 * One stream on its way to its sink: what an answer does to its queue, and whether it waits, is
 * held, or goes on. Thin over the pure parts (retry-policy, parking, refusals); everything between
 * an answer and the next pin happens in one synchronous run, so that settle and pin ride in one
 * commit.
 *
 * I2: one request at a time, in order of seq. I4: what is pinned goes first and unchanged. I8: a
 * refusal is believed only once a later record was accepted. I9: what is refused for good becomes a
 * dead letter. Waits that concern the whole sink, and who goes next, are sink-drain.ts's.
 */

import type { Batch, SinkAnswer } from '../../ports/sink.ts'
import type { LoadedBatch, Pin, StreamQueue } from '../../ports/stream-queue.ts'
import type { Clock } from '../clock.ts'
import type { DrainedSinkConfig } from '../config.ts'
import type { EmitDrainEvent } from '../events.ts'
import type { DrainNotes } from '../notes.ts'
import { BatchSizing } from '../policy/batch-sizing.ts'
import { Doubt, doubted } from '../policy/doubt.ts'
import type { LearnedLimit } from '../policy/learned-limit.ts'
import type { PaceLimit } from '../policy/pace-limit.ts'
import {
  type Acceptance,
  chooseDeadLetters,
  isRipe,
  JudgedWindow,
  type Judgement,
  weigh,
} from '../policy/parking.ts'
import { backoffMs, type Decision, decide, type HoldReason } from '../policy/retry-policy.ts'
import type { DrainRules } from '../policy/rules.ts'
import { refusedRun } from '../policy/verdicts.ts'
import type { StreamState } from '../states.ts'
import { newStreamStats, type StreamDrainStats } from '../stats.ts'
import { requestOf, StreamBatches } from './batches.ts'
import { StreamHold } from './hold.ts'
import { SetAsideError, setAside } from './set-aside.ts'
import { reportSettled, settlementOf } from './settlement.ts'
import { StreamTrouble } from './trouble.ts'

export interface StreamDrainOptions {
  readonly queue: StreamQueue
  readonly sink: string
  readonly config: DrainedSinkConfig
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

/** An answer with what it means, before anything was done about it. */
export interface Outcome {
  readonly decision: Decision
  /** What it settles; null: nothing. */
  readonly judgement: Judgement | null
  /** The batch never left. */
  readonly unsent: boolean
  /** It came to nothing again: part of it is tried next. */
  readonly vary: boolean
}

export class StreamDrain {
  readonly name: string
  readonly priority: number
  readonly stats: StreamDrainStats = newStreamStats()
  readonly #o: StreamDrainOptions
  readonly #queue: StreamQueue
  readonly #batches: StreamBatches
  readonly #window: JudgedWindow
  readonly #hold: StreamHold
  readonly #sizing: BatchSizing
  readonly #trouble: StreamTrouble
  /** Whose fault its failures are. */
  readonly doubt: Doubt
  #inFlight = false
  #failures = 0
  #malformed = 0
  /** Tries of the batch in flight in a row that timed out. */
  #timeouts = 0
  #notBeforeMs = Number.NEGATIVE_INFINITY
  #accepted: Acceptance | null = null
  /** An operator waits for the end of the try that is in progress. */
  #asideWanted: (() => void) | null = null
  /** A full round of halving that an operator asked for: no limit ends it. */
  #round: { acked: boolean } | null = null
  #roundWanted = false
  #lastSuccessAtMs: number | null = null
  /** By the monotonic clock, for whose fault a failure is. */
  lastAckedAtMs = Number.NEGATIVE_INFINITY
  lastFailedAtMs = Number.POSITIVE_INFINITY

  constructor(options: StreamDrainOptions) {
    this.#o = options
    this.#queue = options.queue
    this.name = options.queue.stream
    this.priority = options.queue.priority
    this.#window = new JudgedWindow(options.rules.judgedWindow)
    const { config, sink, rules, notes, emit, clock } = options
    this.#sizing = new BatchSizing(options)
    this.#trouble = new StreamTrouble({ sink, stream: this.name }, emit, clock)
    this.doubt = new Doubt(options.rules)
    this.#hold = new StreamHold({ sink, stream: this.name, rules, notes, emit, clock })
    this.#batches = new StreamBatches({
      queue: options.queue,
      encoding: config.compression === 'gzip' ? 'gzip' : 'identity',
      lingerMs: config.linger,
      limits: () => this.#sizing.limits,
      configured: { maxRecords: config.maxBatchRecords, maxBytes: config.maxBatchBytes },
      wantsEvidence: () => this.doubt.wantsEvidence,
      clock: options.clock,
      stats: this.stats,
    })
  }

  /** Takes up what the last run left: a hold, a batch in flight. */
  start(): void {
    this.#accepted = this.#hold.start()
    // A round was cut off, or the commit of the hold: the order of the queue comes first.
    if (this.#hold.reason === 'refusals' && this.#queue.parked.length > 0) this.#returnParked()
    this.#batches.fitPin()
    const { pin } = this.#queue
    if (pin !== null) {
      const { spoolId, firstSeq, lastSeq } = pin
      this.#emit({ type: 'drain.batch-resumed', ...this.#who(), spoolId, firstSeq, lastSeq })
    }
  }

  /**
   * When this stream wants the sink next, monotonic ms; in the past: now; null: not before
   * something happens.
   */
  look(nowMs: number): number | null {
    if (this.#inFlight || this.#asideWanted !== null) return null
    if (this.#isHeld && (this.#hold.reason !== 'dead-letters-full' || !this.#hasRoomAgain())) {
      const waiting = this.#queue.pin !== null || this.#queue.pendingRecords > 0
      if (!waiting && this.#hold.reason !== 'dead-letters-full') return null
      return Math.max(this.#notBeforeMs, this.#hold.nextProbeAtMs)
    }
    const lingerLeftMs = this.#batches.lingerLeftMs(nowMs)
    return lingerLeftMs === null ? null : Math.max(this.#notBeforeMs, nowMs + lingerLeftMs)
  }

  /**
   * Pins and reads the next batch. null: there is none, or it cannot be read now. Call `done`
   * afterwards.
   */
  begin(): Promise<LoadedBatch | null> | null {
    const begun = this.#batches.begin()
    if (begun === null) return null
    this.#inFlight = true
    this.doubt.begins(this.#o.clock.monotonicMs())
    const { spoolId, firstSeq, lastSeq } = begun.pin
    return begun.ready.then(
      (loaded) => {
        if (loaded === null) {
          this.stats.dissolvedBatches++
          this.#emit({ type: 'drain.batch-dissolved', ...this.#who(), spoolId, firstSeq, lastSeq })
          // Whatever the spool made of it: never a tight loop.
          if (this.#queue.pin !== null) this.#wait(this.#o.rules.backoffBaseMs)
        }
        return loaded
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
    this.#emit({ type: 'drain.queue-failed', ...this.#who(), detail: String(error) })
    this.#failures++
    this.#wait(backoffMs(this.#failures, this.#o.random, this.#o.rules))
  }

  /** The request as the sink gets it. Counts it. */
  batchOf(loaded: LoadedBatch): Batch {
    this.stats.requests++
    this.stats.sentRecords += loaded.pin.recordCount
    this.stats.sentBytes += loaded.bodyBytes
    this.#batches.sends()
    return requestOf(loaded, this.name, this.#queue.gatewayOf(loaded.pin.spoolId))
  }

  /**
   * What an answer means. null: its batch is no longer the one in flight (the spool fell back); it
   * is sent again.
   */
  consider(loaded: LoadedBatch, answer: SinkAnswer, othersGotThrough: boolean): Outcome | null {
    if (!this.#batches.isCurrent(loaded)) return null
    const { firstSeq, lastSeq, recordCount, spoolId } = loaded.pin
    const highestSentSeq = this.#queue.highestSentSeq(spoolId)
    const batch = { firstSeq, lastSeq, recordCount, highestSentSeq, seqs: () => loaded.seqs() }
    const attempt = {
      batch,
      malformedBefore: this.#malformed,
      timeoutsBefore: this.#timeouts,
      othersGotThrough: othersGotThrough || this.doubt.isAboutToBeFounded,
    }
    const decided = decide(answer, attempt, this.#o.rules)
    this.#timeouts = answer.transfer?.timedOut === true ? this.#timeouts + 1 : 0
    const unsent = 'unsent' in answer && (answer.unsent ?? false)
    const { decision, vary } = doubted(this.doubt, decided, { recordCount, unsent })
    return { decision, judgement: this.#judge(decision, loaded.pin), unsent, vary }
  }

  /**
   * The sink took records of another stream. One that is in doubt alone is tried at once: that
   * tells whose fault it is.
   */
  othersTaken(nowMs: number): void {
    this.doubt.taken(nowMs)
    const { retryAfterMs } = this.doubt
    if (retryAfterMs === null || nowMs - this.lastFailedAtMs < retryAfterMs) return
    this.#notBeforeMs = Number.NEGATIVE_INFINITY
    if (this.#hold.reason === 'answer' || this.#hold.reason === 'malformed') this.#hold.probeNow()
  }

  /** It is in doubt, and its next tries may tell. Another one that is in doubt waits for that. */
  isExamined(nowMs: number): boolean {
    return this.doubt.isUnderway && (this.#inFlight || this.look(nowMs) !== null)
  }

  #judge(decision: Decision, { spoolId, lastSeq }: Pin): Judgement | null {
    if (decision.kind !== 'acked' && decision.kind !== 'park') return null
    const acked = decision.kind === 'acked' ? decision.verdict.acked : 0
    // A probe of a sink that refuses too much counts for nothing unless it acks something.
    if (this.#hold.reason === 'refusals' && this.#isHeld && acked === 0) return null
    const runs =
      decision.kind === 'acked'
        ? decision.verdict.runs
        : [refusedRun(lastSeq, decision.status, decision.detail)]
    const unripe = this.#queue.parked.filter(
      (record) => !isRipe(record, this.#accepted, spoolId),
    ).length
    const { maxRefusedShare } = this.#o.config
    const lifted = this.#round !== null
    return weigh(runs, { window: this.#window, unripe, maxRefusedShare, lifted }, this.#o.rules)
  }

  /**
   * Does what an answer asks for. `lines`: of the judgement's refused records, in their order.
   * Synchronous.
   */
  apply(loaded: LoadedBatch, outcome: Outcome, lines: readonly Uint8Array[]): void {
    const { decision, judgement } = outcome
    const nowMs = this.#o.clock.monotonicMs()
    if (outcome.unsent) this.#batches.neverLeft()
    if (decision.kind === 'retry' || decision.kind === 'hold') this.lastFailedAtMs = nowMs
    const isMalformed =
      decision.kind === 'retry'
        ? decision.malformed
        : 'reason' in decision && decision.reason === 'malformed'
    this.#malformed = isMalformed ? this.#malformed + 1 : 0
    if (this.#isHeld && !this.#endsHold(outcome, loaded, nowMs)) return
    switch (decision.kind) {
      case 'acked': {
        const { verdict, resend } = decision
        if (verdict.acked > 0) {
          this.#noteAck(nowMs)
          this.doubt.advanced(nowMs)
        }
        this.#goesOn()
        if (verdict.resendFrom !== null && resend === 'after-backoff') {
          this.#failures = 1
          this.#wait(backoffMs(1, this.#o.random, this.#o.rules))
        }
        const complete = verdict.resendFrom === null && verdict.refused === 0
        if (complete) this.#sizing.accepted(loaded.rawBytes, nowMs)
        this.#sizing.refusedWhole(this.#batches.judged(loaded, verdict.refused > 0), nowMs)
        if (judgement !== null) this.#settle(judgement, lines, complete, false)
        return
      }
      case 'park':
        this.#goesOn()
        this.#batches.judged(loaded, true)
        if (judgement !== null) this.#settle(judgement, lines, false, decision.why === 'too-large')
        return
      case 'split':
        this.#goesOn()
        this.stats.splits++
        if (decision.why === 'too-large') this.#sizing.tooLarge(loaded.rawBytes, nowMs)
        this.#batches.split(decision.why === 'refused')
        return
      case 'retry':
        this.#fails(decision)
        if (outcome.vary) {
          if (this.#timeouts > 0) this.#sizing.timedOut(loaded.rawBytes)
          this.stats.splits++
          this.#batches.vary()
        }
        return
      case 'hold':
        if (outcome.vary) this.#batches.vary()
        if (decision.scope === 'stream')
          this.#beginHold(decision.reason, decision.status, decision.detail)
        return
    }
  }

  /** The try is over, whatever came of it. */
  done(): void {
    this.#inFlight = false
    this.#batches.rests()
    if (this.#roundWanted) this.#beginRound()
    this.#asideWanted?.()
  }

  /** `sluice streams park`: not while a request is in progress. @throws SetAsideError */
  async setAside(seq: number): Promise<void> {
    if (this.#asideWanted !== null) throw new SetAsideError('another record is being set aside')
    if (this.#inFlight) {
      await new Promise<void>((resolve) => {
        this.#asideWanted = resolve
      })
      this.#asideWanted = null
    }
    this.#inFlight = true
    try {
      await setAside(this.#queue, seq, this.#o.config.compression === 'gzip' ? 'gzip' : 'identity')
      this.#goesOn()
      this.stats.parkedRecords++
      const { spoolId, status, reason } = this.#queue.parked.at(-1) ?? {
        spoolId: '',
        status: null,
        reason: '',
      }
      this.#emit({
        type: 'drain.parked',
        ...this.#who(),
        spoolId,
        seq,
        status,
        reason,
        tooLarge: false,
      })
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
    this.#notBeforeMs = Number.NEGATIVE_INFINITY
    this.#hold.probeNow()
    if (this.#hold.reason !== 'refusals' || !round) return
    this.#roundWanted = true
    if (!this.#inFlight) this.#beginRound()
  }

  /** Since when its tries fail, by the monotonic clock; null: they do not. */
  get failingSinceMs(): number | null {
    return this.#trouble.now?.beganMs ?? null
  }

  /** `otherwiseAtMs`: when the sink lets its streams go on. */
  state(otherwiseAtMs: number | null): StreamState {
    const { clock } = this.#o
    const trouble = this.#trouble.now
    const isHeld = this.#hold.reason !== null
    const isFull = this.#isHeld && this.#hold.reason === 'dead-letters-full'
    const lookMs = isFull ? this.#hold.nextProbeAtMs : this.look(clock.monotonicMs())
    const atMs = this.#inFlight ? null : lookMs
    const nextMs = atMs === null ? null : Math.max(atMs, otherwiseAtMs ?? atMs)
    const waits = nextMs !== null && (isHeld || trouble !== null)
    return {
      stream: this.name,
      state: isHeld ? 'held' : trouble === null ? 'ok' : 'retrying',
      sinceMs: this.#hold.sinceMs ?? trouble?.sinceMs ?? null,
      reason: this.#hold.reason,
      detail: this.#hold.detail ?? trouble?.detail ?? null,
      nextTryAtMs: waits ? clock.wallMs() + Math.max(0, nextMs - clock.monotonicMs()) : null,
      lastSuccessAtMs: this.#lastSuccessAtMs,
      inFlight: this.#inFlight,
    }
  }

  /**
   * A record that comes to nothing alone, and nothing tells whose fault it is; null: there is none.
   */
  get stuckSeq(): number | null {
    return this.doubt.isStuck ? (this.#queue.pin?.firstSeq ?? null) : null
  }

  /**
   * Settles what was judged, makes dead letters of what is ripe, pins the rest; holds the stream if
   * that is it.
   */
  #settle(
    judgement: Judgement,
    lines: readonly Uint8Array[],
    complete: boolean,
    tooLarge: boolean,
  ): void {
    const { pin } = this.#queue
    if (pin === null) return
    const { spoolId } = pin
    const { lastAckedSeq, held } = judgement
    if (lastAckedSeq !== null) this.#accepted = { spoolId, seq: lastAckedSeq }
    const settled = settlementOf({
      pin,
      judgement,
      lines,
      parked: this.#queue.parked,
      accepted: this.#accepted,
      hasRoom: (bytes, letters) => this.#queue.hasDeadLetterRoom(bytes, letters),
      letterBytes: (refusal) => this.#queue.deadLetterBytes(refusal),
      complete,
    })
    const { settlement, throughSeq, letters } = settled
    if (settlement !== null) this.#keep(this.#queue.settle(settlement))
    this.stats.ackedRecords += judgement.acked
    this.stats.parkedRecords += settled.refused.length
    this.stats.deadLetteredRecords += letters.seqs.length + letters.earlier.length
    reportSettled(settled, this.#who(), spoolId, tooLarge, this.#o.emit)
    if (held !== null && letters.left === 0) return this.#holdForRefusals(held)
    const alone = this.#round !== null
    const rest = this.#queue.pin !== null || this.#batches.pinRest(pin, throughSeq, alone)
    if (letters.left > 0) {
      this.#beginHold('dead-letters-full', null, noRoomFor(letters.left))
    }
    if (!rest) this.#endRound()
    if (!this.#batches.isSuspect(spoolId)) this.doubt.clear()
  }

  #fails(decision: Extract<Decision, { kind: 'retry' }>): void {
    this.#failures++
    this.#trouble.failed(decision)
    if (decision.scope === 'stream')
      this.#wait(backoffMs(this.#failures, this.#o.random, this.#o.rules))
  }

  #goesOn(): void {
    this.#failures = 0
    this.#notBeforeMs = Number.NEGATIVE_INFINITY
    this.#trouble.ended()
  }

  #noteAck(nowMs: number): void {
    this.#lastSuccessAtMs = this.#o.clock.wallMs()
    this.lastAckedAtMs = nowMs
    this.lastFailedAtMs = Number.POSITIVE_INFINITY
    if (this.#round === null) return
    this.#round.acked = true
    this.#hold.end()
  }

  /** It is held, and no round that an operator asked for is going on. */
  get #isHeld(): boolean {
    return this.#hold.reason !== null && this.#round === null
  }

  /** Does the answer to a probe end the hold? If not, it was dealt with here. */
  #endsHold({ decision, vary }: Outcome, loaded: LoadedBatch, nowMs: number): boolean {
    if (this.#hold.reason === 'refusals') {
      if (decision.kind !== 'acked' || decision.verdict.acked === 0) {
        this.#refusedProbe(decision, loaded, nowMs)
        return false
      }
    } else if (decision.kind === 'hold') {
      this.#hold.goesOn(ownDetail(decision))
      if (vary) this.#batches.vary()
      return decision.scope === 'stream' && decision.reason !== this.#hold.reason
    } else if (decision.kind === 'retry') {
      // No answer at all, or the same nonsense once more after a restart forgot the count.
      const goesOn =
        decision.status === null || (decision.malformed && this.#hold.reason === 'malformed')
      if (goesOn) {
        this.#hold.goesOn(ownDetail(decision))
        if (vary) this.#batches.vary()
        return false
      }
    }
    this.#hold.end()
    return true
  }

  /**
   * Still refused. Each further probe is half as large, down to one record and then whole again:
   * one bad record among them must not hide that the sink accepts again.
   */
  #refusedProbe(decision: Decision, loaded: LoadedBatch, nowMs: number): void {
    this.#hold.goesOn(ownDetail(decision))
    if (decision.kind === 'park') this.#returnParked()
    if (decision.kind !== 'split') return
    this.stats.splits++
    this.#batches.split(decision.why === 'refused')
    if (decision.why === 'refused') return
    this.#sizing.tooLarge(loaded.rawBytes, nowMs)
    this.#hold.probeNow()
  }

  #holdForRefusals(why: string): void {
    this.#window.clear()
    this.#round = null
    this.#returnParked()
    this.#beginHold(
      'refusals',
      null,
      `the sink ${why}; nothing is given up, a probe goes out every minute`,
    )
  }

  /**
   * Parked records go back to their place, and the lowest batch is pinned in the same commit: it is
   * the probe.
   */
  #returnParked(): void {
    const records = this.#queue.parked.length
    this.#keep(this.#queue.returnParked())
    this.#batches.forget()
    this.#batches.pinNext()
    if (records === 0) return
    this.stats.returnedRecords += records
    this.#emit({ type: 'drain.parked-returned', ...this.#who(), records })
  }

  #beginRound(): void {
    this.#roundWanted = false
    if (this.#hold.reason !== 'refusals' || this.#round !== null) return
    this.#returnParked()
    if (this.#queue.pin !== null) this.#round = { acked: false }
  }

  /** The whole range of the round was judged. */
  #endRound(): void {
    const round = this.#round
    this.#round = null
    if (round === null || round.acked || this.#hold.reason === null) return
    this.#hold.goesOn(null)
    this.#returnParked()
  }

  #beginHold(reason: HoldReason, status: number | null, detail: string): void {
    this.#round = null
    if (this.#hold.begin(reason, status, detail, this.#accepted)) this.stats.holds++
  }

  /**
   * Ripe records become dead letters, oldest first, as far as there is room again. True: none is
   * left over, and the hold ends. All at once they may never have room, so it is not waited for.
   */
  #hasRoomAgain(): boolean {
    const spoolId = this.#accepted?.spoolId ?? ''
    const letters = chooseDeadLetters(this.#queue.parked, this.#accepted, spoolId, (bytes, count) =>
      this.#queue.hasDeadLetterRoom(bytes, count),
    )
    const dead = [...letters.earlier, ...letters.seqs.map((seq) => ({ spoolId, seq }))]
    if (dead.length > 0) {
      this.#keep(this.#queue.bury(dead))
      this.stats.deadLetteredRecords += dead.length
      reportSettled({ refused: [], letters }, this.#who(), spoolId, false, this.#o.emit)
    }
    if (letters.left === 0) this.#hold.end()
    else if (dead.length > 0 || this.#hold.nextProbeAtMs <= this.#o.clock.monotonicMs()) {
      this.#hold.goesOn(noRoomFor(letters.left))
    }
    return letters.left === 0
  }

  #wait(delayMs: number): void {
    this.#notBeforeMs = Math.max(this.#notBeforeMs, this.#o.clock.monotonicMs() + delayMs)
  }

  #keep(durable: Promise<void>): void {
    this.#o.keep(
      durable.catch((error: unknown) => {
        this.#emit({ type: 'drain.queue-failed', ...this.#who(), detail: String(error) })
      }),
    )
  }

  #who(): { readonly sink: string; readonly stream: string } {
    return { sink: this.#o.sink, stream: this.name }
  }

  #emit(event: Parameters<EmitDrainEvent>[0]): void {
    this.#o.emit(event)
  }
}

/** What an answer says of the stream; null: nothing, it is the sink's trouble. */
function ownDetail(decision: Decision): string | null {
  if (!('detail' in decision) || ('scope' in decision && decision.scope === 'sink')) return null
  return decision.detail
}

function noRoomFor(records: number): string {
  return `${records} refused records have no room among the dead letters; requeue or purge some`
}
