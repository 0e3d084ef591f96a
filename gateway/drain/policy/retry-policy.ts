/**
 * Answer -> verdict: acked | retry | split | park | hold, each row of the ingest contract's table
 * of answers. Pure; clock and randomness are the caller's. Whatever is not clearly an ack keeps the
 * data (I8).
 */
import type { Listed, Scope, SinkAnswer } from '../../ports/sink.ts'
import type { DrainRules } from './rules.ts'
import { type AnsweredBatch, type RecordRun, recordVerdicts, refusedRun } from './verdicts.ts'

/**
 * Why nothing moves until a probe succeeds. `answer`: one that retrying does not change (wrong
 * credentials, a wrong address, a captive portal). `malformed`: several in a row that make no
 * sense. `clone`: the sink knows seqs that this spool never sent. `refusals`: it refuses too much
 * to be believed. `dead-letters-full`: what it refused for good has no room.
 */
export type HoldReason = 'answer' | 'malformed' | 'clone' | 'refusals' | 'dead-letters-full'

/** What an answer means for its batch. */
export type Verdict =
  | {
      readonly kind: 'acked'
      /** A gapless prefix of the batch, to be settled. */
      readonly runs: readonly RecordRun[]
      /** Records that the answer acked and refused, up to the first that is to be sent again. */
      readonly acked: number
      readonly refused: number
      readonly resendFrom: number | null
      /** When the rest, if there is one, is sent again. */
      readonly resend: 'at-once' | 'after-backoff'
      /** What the sink asked for besides. */
      readonly retryAfterMs: number | null
      /** Why refusals behind `runs` are not believed: the stream is held (parking.ts). */
      readonly distrust: string | null
    }
  | {
      readonly kind: 'retry'
      readonly scope: Scope
      readonly code: string | null
      readonly retryAfterMs: number | null
      /** False: the far side was silent. */
      readonly answered: boolean
      /** It says nothing of what was sent. */
      readonly throttled: boolean
      readonly malformed: boolean
      /** Part of the batch is tried next: it does not get through as it is (doubt.ts). */
      readonly divide: boolean
      readonly detail: string
    }
  | {
      readonly kind: 'split'
      readonly why: 'refused' | 'too-large'
      readonly code: string | null
      readonly detail: string
    }
  /** A batch of one record. */
  | {
      readonly kind: 'park'
      readonly runs: readonly RecordRun[]
      readonly distrust: string | null
      readonly why: 'refused' | 'too-large'
      readonly code: string | null
      readonly detail: string
    }
  | {
      readonly kind: 'hold'
      readonly scope: Scope
      readonly reason: Extract<HoldReason, 'answer' | 'malformed' | 'clone'>
      readonly divide: boolean
      /** The sink tells by itself when it passes. */
      readonly watched: boolean
      readonly code: string | null
      readonly detail: string
    }

export interface Attempt {
  readonly batch: AnsweredBatch
  /** Malformed answers in a row before this one. */
  readonly malformedBefore: number
  /** Tries of this batch in a row that timed out, before this one. */
  readonly timeoutsBefore: number
  /**
   * Others were acked since this batch's last failure, of another stream or before it in its own:
   * what fails here is this stream's own.
   */
  readonly othersGotThrough: boolean
}

export function decide(answer: SinkAnswer, attempt: Attempt, rules: DrainRules): Verdict {
  const { code } = answer
  const { batch, othersGotThrough } = attempt
  switch (answer.kind) {
    case 'verdicts':
      return decideByRecord(answer, attempt, rules)
    case 'retry': {
      const { retryAfterMs, detail, answered, throttled = false } = answer
      const scope = retryScope(answer.scope, retryAfterMs, othersGotThrough)
      const timeouts = answer.transfer?.timedOut === true ? attempt.timeoutsBefore + 1 : 0
      const divide = timeouts >= rules.timeoutLimit && batch.recordCount > 1
      return { ...retry(scope, code, detail), retryAfterMs, answered, throttled, divide }
    }
    case 'too-large':
    case 'refused': {
      const { kind: why, detail } = answer
      return batch.recordCount > 1
        ? { kind: 'split', why, code, detail }
        : park(why, batch.lastSeq, code, detail)
    }
    case 'malformed':
      return malformed(code, answer.detail, attempt, rules)
    default:
      // Others get through with the same address and credentials: it is this stream's batch.
      return othersGotThrough && answer.scope === 'sink'
        ? { ...retry('stream', code, answer.detail), answered: answer.unsent !== true }
        : {
            ...hold(answer.scope, answer.cloned === true ? 'clone' : 'answer', code, answer.detail),
            watched: answer.watched ?? false,
          }
  }
}

function decideByRecord(
  answer: Extract<SinkAnswer, { kind: 'verdicts' }>,
  attempt: Attempt,
  rules: DrainRules,
): Verdict {
  const { code } = answer
  const records = recordVerdicts(answer, attempt.batch)
  if (records.kind !== 'consistent') {
    const { kind, detail } = records
    return kind === 'clone'
      ? hold('stream', 'clone', code, detail)
      : malformed(code, detail, attempt, rules)
  }
  const retryAfterMs = answer.retryAfterMs ?? null
  const { runs, acked, refused, resendFrom, resendAfterBackoff } = records
  if (acked + refused === 0) {
    // It settles nothing and splits nothing: like a sink that is unavailable.
    const scope = retryAfterMs === null ? 'stream' : 'sink'
    return { ...retry(scope, code, ackedNothing(answer.listed)), retryAfterMs }
  }
  const resend = resendAfterBackoff || retryAfterMs !== null ? 'after-backoff' : 'at-once'
  const counts = { acked, refused, resendFrom }
  return { kind: 'acked', runs, ...counts, resend, retryAfterMs, distrust: null }
}

/** The first record's own words, if the receiver judged it. */
function ackedNothing(listed: readonly Listed[]): string {
  const first = listed.find(({ verdict }) => verdict === 'retry')
  if (first === undefined) return 'acked nothing'
  const said = [first.code, first.reason].filter((part) => part !== null)
  return `acked nothing; of seq ${first.seq} it says ${said.join(': ') || 'later'}`
}

function malformed(
  code: string | null,
  detail: string,
  attempt: Attempt,
  rules: DrainRules,
): Verdict {
  return attempt.malformedBefore + 1 >= rules.malformedLimit
    ? hold('stream', 'malformed', code, detail)
    : { ...retry('stream', code, detail), malformed: true }
}

function retry(
  scope: Scope,
  code: string | null,
  detail: string,
): Extract<Verdict, { kind: 'retry' }> {
  const usual = {
    retryAfterMs: null,
    answered: true,
    throttled: false,
    malformed: false,
    divide: false,
  }
  return { kind: 'retry', scope, code, detail, ...usual }
}

function hold(
  scope: Scope,
  reason: 'answer' | 'malformed' | 'clone',
  code: string | null,
  detail: string,
): Extract<Verdict, { kind: 'hold' }> {
  return { kind: 'hold', scope, reason, divide: false, watched: false, code, detail }
}

/** The record of a batch of one is refused. */
export function park(
  why: 'refused' | 'too-large',
  seq: number,
  code: string | null,
  detail: string,
): Verdict {
  const runs = [refusedRun(seq, code, detail)]
  return { kind: 'park', why, runs, distrust: null, code, detail }
}

/**
 * A wait that the sink asked for binds every stream of it. So does a fault of the connection or the
 * service, unless other streams get through meanwhile: then this one's batch is the trouble and
 * must not slow them down.
 */
function retryScope(scope: Scope, retryAfterMs: number | null, othersGotThrough: boolean): Scope {
  if (retryAfterMs !== null) return 'sink'
  return othersGotThrough ? 'stream' : scope
}

/**
 * Full jitter, doubling from the base to the cap, never shorter than the base. `failures`: in a
 * row, this one included, from 1; `random`: 0 to 1. ms.
 */
export function backoffMs(failures: number, random: () => number, rules: DrainRules): number {
  const { backoffBaseMs, backoffCapMs } = rules
  const ceiling = Math.min(backoffCapMs, backoffBaseMs * 2 ** Math.min(failures, 30))
  return backoffBaseMs + random() * (ceiling - backoffBaseMs)
}
