/**
 * What an answer does to its stream, from top to bottom: answer -> verdict (`judge`) -> settlement,
 * split, retry or hold (`apply`). Thin over the pure parts: retry-policy.ts and verdicts.ts say
 * what an answer means, doubt.ts whether a record or the sink is to blame, parking.ts which
 * refusals are believed.
 *
 * `apply` is synchronous, so that a settle and the next pin ride in one commit. I8: nothing but an
 * ack, or a refusal behind which a later record was accepted, takes a record off the queue.
 */
import type { SinkAnswer } from '../../ports/sink.ts'
import type { LoadedBatch, StreamQueue } from '../../ports/stream-queue.ts'
import type { Clock } from '../clock.ts'
import type { Doubt } from '../policy/doubt.ts'
import { decide, type Verdict } from '../policy/retry-policy.ts'
import type { DrainRules } from '../policy/rules.ts'
import type { StreamBackoff } from './backoff.ts'
import type { BatchSizing } from './batch-sizing.ts'
import type { StreamBatches } from './batches.ts'
import type { StreamHold } from './hold.ts'
import type { StreamOutage } from './outage.ts'
import type { RefusedRecords } from './refused-records.ts'
import { isComplete, refusedSeqs } from './settlement.ts'

interface StreamAnswersOptions {
  readonly queue: StreamQueue
  readonly batches: StreamBatches
  readonly sizing: BatchSizing
  readonly backoff: StreamBackoff
  readonly doubt: Doubt
  /** A failed batch is never taken apart, and no record of it doubted: see the sink's encoder. */
  readonly keepsWhole: boolean
  readonly hold: StreamHold
  readonly outage: StreamOutage
  readonly refused: RefusedRecords
  readonly rules: DrainRules
  readonly clock: Clock
}

/** An answer with what it means, and the lines of the records that are to be parked. */
export interface JudgedAnswer {
  readonly loaded: LoadedBatch
  readonly answer: SinkAnswer
  readonly verdict: Verdict
  readonly lines: readonly Uint8Array[]
}

type VerdictOf<K extends Verdict['kind']> = Extract<Verdict, { kind: K }>

export class StreamAnswers {
  readonly #o: StreamAnswersOptions
  /** Malformed answers in a row. */
  #malformed = 0
  /** Tries of the batch in flight in a row that timed out. */
  #timeouts = 0
  /** By the wall clock; null: not since this start. */
  lastSuccessAtMs: number | null = null
  /** By the monotonic clock, for whose fault a failure is. */
  lastAckedAtMs = Number.NEGATIVE_INFINITY
  lastFailedAtMs = Number.POSITIVE_INFINITY

  constructor(options: StreamAnswersOptions) {
    this.#o = options
  }

  /**
   * What an answer means. null: its batch is no longer the one in flight (the spool fell back), and
   * is sent again.
   */
  async judge(
    loaded: LoadedBatch,
    answer: SinkAnswer,
    othersGotThrough: boolean,
  ): Promise<JudgedAnswer | null> {
    const { batches, doubt, keepsWhole, queue, refused, rules } = this.#o
    if (!batches.isCurrent(loaded)) return null
    const { pin } = loaded
    const { firstSeq, lastSeq, recordCount } = loaded.batch
    const highestSentSeq = queue.highestSentSeq(pin.spoolId)
    const batch = { firstSeq, lastSeq, recordCount, highestSentSeq, seqs: () => loaded.seqs() }
    const attempt = {
      batch,
      malformedBefore: this.#malformed,
      timeoutsBefore: this.#timeouts,
      othersGotThrough: othersGotThrough || doubt.isAboutToBeFounded,
    }
    this.#timeouts = answer.transfer?.timedOut === true ? this.#timeouts + 1 : 0
    const isBeyondDoubt = keepsWhole || neverLeft(answer)
    const tried = { recordCount, lastSeq, isBeyondDoubt }
    const examined = doubt.examine(decide(answer, attempt, rules), tried)
    if (examined.kind !== 'acked' && examined.kind !== 'park') {
      return { loaded, answer, verdict: examined, lines: [] }
    }
    const verdict = refused.believe(examined, pin)
    return { loaded, answer, verdict, lines: await readLines(loaded, refusedSeqs(verdict.runs)) }
  }

  /** Does what an answer asks for. */
  apply(judged: JudgedAnswer): void {
    const { answer, loaded, verdict } = judged
    const { batches, clock, refused } = this.#o
    const nowMs = clock.monotonicMs()
    if (neverLeft(answer)) batches.neverLeft()
    if (verdict.kind === 'retry' || verdict.kind === 'hold') this.lastFailedAtMs = nowMs
    this.#malformed = isMalformed(verdict) ? this.#malformed + 1 : 0
    if (refused.isHeld && !this.#endsHold(verdict, loaded, nowMs)) return
    switch (verdict.kind) {
      case 'acked':
        return this.#acked(verdict, judged, nowMs)
      case 'park':
        return this.#parked(verdict, judged)
      case 'split':
        return this.#split(verdict, loaded, nowMs)
      case 'retry':
        return this.#retry(verdict, loaded)
      case 'hold':
        return this.#held(verdict)
    }
  }

  #acked(verdict: VerdictOf<'acked'>, { loaded, lines }: JudgedAnswer, nowMs: number): void {
    const { backoff, batches, clock, doubt, refused, sizing } = this.#o
    if (verdict.acked > 0) {
      this.lastSuccessAtMs = clock.wallMs()
      this.lastAckedAtMs = nowMs
      this.lastFailedAtMs = Number.POSITIVE_INFINITY
      refused.acked()
      doubt.advanced(nowMs)
    }
    this.progressed()
    if (verdict.resendFrom !== null && verdict.resend === 'after-backoff') backoff.failed()
    if (isComplete(verdict)) sizing.accepted(loaded.batch.rawBytes, nowMs)
    sizing.refusedWhole(batches.judged(loaded, verdict.refused > 0), nowMs)
    this.#settle(verdict, loaded, lines)
  }

  /** The batch was one record, and that is refused. */
  #parked(verdict: VerdictOf<'park'>, { loaded, lines }: JudgedAnswer): void {
    this.progressed()
    this.#o.batches.judged(loaded, true)
    this.#settle(verdict, loaded, lines)
  }

  #settle(
    verdict: VerdictOf<'acked' | 'park'>,
    { pin }: LoadedBatch,
    lines: readonly Uint8Array[],
  ): void {
    const { batches, doubt, refused } = this.#o
    const continues = refused.settle(verdict, lines)
    if (continues && !batches.isSuspect(pin.spoolId)) doubt.clear()
  }

  /** A record among others is refused, or the batch is too large: its first half goes next. */
  #split({ why }: VerdictOf<'split'>, loaded: LoadedBatch, nowMs: number): void {
    this.progressed()
    if (why === 'too-large') this.#o.sizing.tooLarge(loaded.batch.rawBytes, nowMs)
    this.#o.batches.split(why === 'refused')
  }

  #retry(verdict: VerdictOf<'retry'>, loaded: LoadedBatch): void {
    const { backoff, batches, outage, sizing } = this.#o
    outage.failed(verdict)
    if (verdict.scope === 'stream') backoff.failed()
    else backoff.failedWithSink()
    if (!verdict.divide) return
    if (this.#timeouts > 0) sizing.timedOut(loaded.batch.rawBytes)
    batches.divide()
  }

  /** A hold of the whole sink is sink-waits.ts's. */
  #held({ divide, scope, reason, code, detail }: VerdictOf<'hold'>): void {
    if (divide) this.#o.batches.divide()
    if (scope === 'stream') this.#o.refused.beginHold(reason, code, detail)
  }

  /** The sink gave an answer that leads on: nothing is waited for any longer. */
  progressed(): void {
    this.#o.backoff.clear()
    this.#o.outage.ended()
  }

  /** Does the answer to a probe end the stream's hold? If not, it was dealt with here. */
  #endsHold(verdict: Verdict, loaded: LoadedBatch, nowMs: number): boolean {
    const { batches, hold } = this.#o
    if (hold.reason === 'refusals') {
      if (verdict.kind !== 'acked' || verdict.acked === 0) {
        this.#refusedProbe(verdict, loaded, nowMs)
        return false
      }
    } else if (verdict.kind === 'hold') {
      hold.extend(ownDetail(verdict))
      if (verdict.divide) batches.divide()
      return verdict.scope === 'stream' && verdict.reason !== hold.reason
    } else if (verdict.kind === 'retry') {
      // No answer at all, or the same nonsense once more after a restart forgot the count.
      if (!verdict.answered || (verdict.malformed && hold.reason === 'malformed')) {
        hold.extend(ownDetail(verdict))
        if (verdict.divide) batches.divide()
        return false
      }
    }
    hold.end()
    return true
  }

  /**
   * Still refused. Each further probe is half as large, down to one record and then whole again:
   * one bad record among them must not hide that the sink accepts again.
   */
  #refusedProbe(verdict: Verdict, loaded: LoadedBatch, nowMs: number): void {
    const { batches, hold, refused, sizing } = this.#o
    hold.extend(ownDetail(verdict))
    if (verdict.kind === 'park') refused.returnParked()
    if (verdict.kind !== 'split') return
    batches.split(verdict.why === 'refused')
    if (verdict.why === 'refused') return
    sizing.tooLarge(loaded.batch.rawBytes, nowMs)
    hold.probeNow()
  }
}

/** Not a byte of the request can have reached the sink. */
function neverLeft(answer: SinkAnswer): boolean {
  return 'unsent' in answer && (answer.unsent ?? false)
}

function isMalformed(verdict: Verdict): boolean {
  if (verdict.kind === 'retry') return verdict.malformed
  return verdict.kind === 'hold' && verdict.reason === 'malformed'
}

/** What an answer says of the stream; null: nothing, it is the sink's trouble. */
function ownDetail(verdict: Verdict): string | null {
  if (!('detail' in verdict) || ('scope' in verdict && verdict.scope === 'sink')) return null
  return verdict.detail
}

/** One after the other: neighbors lie in the same block. */
async function readLines(loaded: LoadedBatch, seqs: readonly number[]): Promise<Uint8Array[]> {
  const lines: Uint8Array[] = []
  for (const seq of seqs) lines.push(await loaded.line(seq))
  return lines
}
