/**
 * Status, headers and body of a sink's answer -> what it says. Pure.
 *
 * I8: only the sink's word deletes. Whatever is not clearly an ack keeps the data: an answer that
 * came before all of the batch was sent, a body that nobody who speaks for the sink would send (a
 * captive portal's HTML, an endless one) acks nothing, whatever its status. Not here: what statuses
 * mean (statuses.ts), what bodies mean (contract.ts and the tables beside it), what follows from it
 * (the drain's retry policy).
 */
import type { SinkAnswer } from '../../../ports/sink.ts'
import { parseHttpDate, parseRetryAfter } from '../client/http-date.ts'
import { excerpt, type HttpAnswer, headerOf, type Sent } from './answer.ts'
import type { Reading } from './answer-table.ts'
import { bodyOf, pageIn } from './body.ts'
import type { AnswerRules } from './rules.ts'
import { holdScope, isSuccess, retryScope, statusHint } from './statuses.ts'

type Common = Pick<SinkAnswer, 'code' | 'sinkDateMs'>

/** Reads one answer to what was sent. */
export function readAnswer(answer: HttpAnswer, rules: AnswerRules, sent: Sent): SinkAnswer {
  const { status } = answer
  const date = headerOf(answer, 'date')
  const common: Common = {
    code: String(status),
    sinkDateMs: date === null ? null : parseHttpDate(date),
  }
  const meaning = rules.meaningOf(status)
  const reading = rules.decidesByBody(status) ? readBody(answer, rules, sent) : null
  if (isSuccess(status) || meaning === 'acked' || reading?.kind === 'verdicts') {
    const fault = faultOf(answer)
    if (fault !== null) return sayMalformed(common, fault)
  }
  if (reading !== null) return said(reading, answer, rules, common)
  if (meaning === 'acked') return { ...common, kind: 'verdicts', ...ALL, retryAfterMs: null }
  return said({ kind: meaning, why: null }, answer, rules, common)
}

const ALL = { ackedThrough: null, listed: [] } as const

/** I8: whoever says yes to a batch that is still on its way says it to something else. */
function faultOf({ earlyAt, fault }: HttpAnswer): string | null {
  if (typeof earlyAt === 'number')
    return `it came when ${earlyAt} bytes of the batch had been sent, before the rest`
  return fault ?? null
}

/** What the body says; null: the status decides. */
function readBody(answer: HttpAnswer, rules: AnswerRules, sent: Sent): Reading | null {
  const { status } = answer
  const isAck = isSuccess(status) && rules.meaningOf(status) === 'acked'
  const isTables = rules.table.reads(status, isAck)
  const body = bodyOf(answer)
  if ('why' in body) return isAck || status === 207 ? { kind: 'hold', why: body.why } : null
  const reading = isTables ? rules.table.read(answer, body, sent) : null
  if (reading !== null || !isAck) return reading
  if (rules.ack === 'body') {
    const why = 'the body has neither ackedThrough nor rejected, and ack is "body"'
    return { kind: 'hold', why: `${why}${excerpt(answer)}` }
  }
  const page = pageIn(answer, body)
  return page === null ? null : { kind: 'hold', why: page }
}

/** A reading, or what a status alone means (`why` null), in the port's words. */
function said(
  reading: Reading | { readonly kind: Exclude<Reading['kind'], 'verdicts'>; readonly why: null },
  answer: HttpAnswer,
  rules: AnswerRules,
  common: Common,
): SinkAnswer {
  const { status } = answer
  const { kind } = reading
  const retryAfterMs = retryAfter(answer, rules, common)
  if (kind === 'verdicts') return { ...common, ...reading, retryAfterMs }
  const { why } = reading
  if (kind === 'malformed') return sayMalformed(common, why ?? '')
  if (kind === 'hold') {
    const detail = why === null ? holdDetail(answer) : `answered ${status}, but ${why}`
    // What a body says that was read is not of the numbers.
    const cloned = why === null && status === 412
    return { ...common, kind, scope: why === null ? holdScope(status) : 'sink', detail, cloned }
  }
  const detail =
    why === null ? `answered ${status}${excerpt(answer)}` : `answered ${status}, ${why}`
  if (kind !== 'retry') return { ...common, kind, detail }
  const scope = retryScope(status)
  const throttled = status === 429
  return { ...common, kind, scope, retryAfterMs, detail, answered: true, throttled }
}

function sayMalformed(common: Common, what: string): SinkAnswer {
  return { ...common, kind: 'malformed', detail: `answered ${common.code}, malformed: ${what}` }
}

function holdDetail(answer: HttpAnswer): string {
  const { status, headers } = answer
  const hint = statusHint(status, headers)
  if (status >= 300 && status <= 399) return `answered ${status}, ${hint}`
  return `answered ${status}${hint === '' ? '' : `: ${hint}`}${excerpt(answer)}`
}

/** A `Retry-After` that came twice counts as the longer wait. */
function retryAfter(answer: HttpAnswer, rules: AnswerRules, common: Common): number | null {
  const value = answer.headers['retry-after']
  if (value === undefined) return null
  let waitMs: number | null = null
  for (const one of typeof value === 'string' ? [value] : value) {
    const ms = parseRetryAfter(one, common.sinkDateMs, rules.maxRetryAfter)
    if (ms !== null) waitMs = Math.max(waitMs ?? 0, ms)
  }
  return waitMs
}
