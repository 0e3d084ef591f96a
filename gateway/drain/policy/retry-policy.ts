/**
 * Answer -> acked | retry after | split | park | hold: each row of ingest-contract.md, "Answer".
 * Pure; clock and randomness are the caller's. Whatever is not clearly an ack keeps the data (I8).
 */
import type { SinkAnswer } from '../../ports/sink.ts'
import type { DrainRules } from './rules.ts'
import { type JudgedBatch, judgeAnswer, type Verdict } from './verdicts.ts'

/** Who waits: one stream whose data or verdicts are the trouble, or all of the sink's. */
export type Scope = 'sink' | 'stream'

/**
 * Why nothing moves until a probe succeeds: `answer`: an answer that retrying does not mend (401,
 * 404, a captive portal); `malformed`: several in a row that make no sense; `clone`: the sink knows
 * seqs that this spool never sent;
 * `refusals`: it refuses too much to be believed; `dead-letters-full`: what it refused for good has no room.
 */
export type HoldReason = 'answer' | 'malformed' | 'clone' | 'refusals' | 'dead-letters-full'

export type Decision =
  | {
      readonly kind: 'acked'
      readonly verdict: Extract<Verdict, { kind: 'judged' }>
      /**
       * When the rest, if there is one, is sent again. `retryAfterMs`: what the sink asked for
       * besides.
       */
      readonly resend: 'at-once' | 'after-backoff'
      readonly retryAfterMs: number | null
    }
  | {
      readonly kind: 'retry'
      readonly scope: Scope
      readonly status: number | null
      readonly retryAfterMs: number | null
      readonly malformed: boolean
      /** It does not get through in time as it is: less of it is tried next. */
      readonly halve: boolean
      readonly detail: string
    }
  | {
      readonly kind: 'split'
      readonly why: 'refused' | 'too-large'
      readonly status: number | null
      readonly detail: string
    }
  | {
      readonly kind: 'park'
      readonly why: 'refused' | 'too-large'
      readonly status: number | null
      readonly detail: string
    }
  | {
      readonly kind: 'hold'
      readonly scope: Scope
      readonly reason: Extract<HoldReason, 'answer' | 'malformed' | 'clone'>
      readonly status: number | null
      readonly detail: string
    }

export interface Attempt {
  readonly batch: JudgedBatch
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

const again = { malformed: false, halve: false } as const

export function decide(answer: SinkAnswer, attempt: Attempt, rules: DrainRules): Decision {
  const { status } = answer
  switch (answer.kind) {
    case 'verdicts': {
      const verdict = judgeAnswer(answer, attempt.batch)
      if (verdict.kind === 'malformed') return malformed(status, verdict.detail, attempt, rules)
      if (verdict.kind === 'clone') {
        return { kind: 'hold', scope: 'stream', reason: 'clone', status, detail: verdict.detail }
      }
      const retryAfterMs = answer.retryAfterMs ?? null
      if (verdict.acked + verdict.refused > 0) {
        const patient = verdict.resendAfterBackoff || retryAfterMs !== null
        return {
          kind: 'acked',
          verdict,
          resend: patient ? 'after-backoff' : 'at-once',
          retryAfterMs,
        }
      }
      // It settles nothing and splits nothing: like 503.
      const scope = retryAfterMs === null ? 'stream' : 'sink'
      return { ...again, kind: 'retry', scope, status, retryAfterMs, detail: 'acked nothing' }
    }
    case 'retry': {
      const { retryAfterMs, detail } = answer
      const scope = retryScope(status, retryAfterMs, attempt.othersGotThrough)
      const timeouts = answer.transfer?.timedOut === true ? attempt.timeoutsBefore + 1 : 0
      const halve = timeouts >= rules.timeoutLimit && attempt.batch.recordCount > 1
      return { ...again, kind: 'retry', scope, status, retryAfterMs, halve, detail }
    }
    case 'too-large':
    case 'refused': {
      const kind = attempt.batch.recordCount > 1 ? 'split' : 'park'
      return { kind, why: answer.kind, status, detail: answer.detail }
    }
    case 'malformed':
      return malformed(status, answer.detail, attempt, rules)
    default:
      // Others get through with the same address and credentials: it is this stream's batch.
      if (attempt.othersGotThrough && answer.scope === 'sink') {
        return {
          ...again,
          kind: 'retry',
          scope: 'stream',
          status,
          retryAfterMs: null,
          detail: answer.detail,
        }
      }
      return {
        kind: 'hold',
        scope: answer.scope,
        reason: answer.cloned === true ? 'clone' : 'answer',
        status,
        detail: answer.detail,
      }
  }
}

function malformed(
  status: number | null,
  detail: string,
  attempt: Attempt,
  rules: DrainRules,
): Decision {
  if (attempt.malformedBefore + 1 >= rules.malformedLimit) {
    return { kind: 'hold', scope: 'stream', reason: 'malformed', status, detail }
  }
  return {
    ...again,
    kind: 'retry',
    scope: 'stream',
    status,
    retryAfterMs: null,
    malformed: true,
    detail,
  }
}

/** Statuses that speak of the service as a whole, not of what was sent. */
const SERVICE_STATUSES: readonly number[] = [429, 502, 503, 504]

/**
 * A wait that the sink asked for binds every stream of it. So does a fault of the connection or the
 * service, unless other streams get through meanwhile: then this one's batch is the trouble and
 * must not slow them down.
 */
function retryScope(
  status: number | null,
  retryAfterMs: number | null,
  othersGotThrough: boolean,
): Scope {
  if (retryAfterMs !== null) return 'sink'
  if (status !== null && !SERVICE_STATUSES.includes(status)) return 'stream'
  return othersGotThrough ? 'stream' : 'sink'
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
