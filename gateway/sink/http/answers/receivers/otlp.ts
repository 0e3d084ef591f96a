/**
 * What a receiver of OTLP/HTTP answers to logs. Pure. It acks with 200 and `{}`, or with
 * `{"partialSuccess":{"rejectedLogRecords":"2","errorMessage":"…"}}` that says how many it did not
 * take, and never which. None rejected is an ack, whatever the message says.
 *
 * OTLP forbids to repeat such a request, which would lose what was rejected without a trace (I9).
 * So: all rejected are all refused, by name; some rejected are looked for in smaller requests, each
 * of which is another one. What was taken is there again then: the attribute `sluice.id` tells.
 *
 * By OTLP 429, 502, 503 and 504 are tried again, and no other status is. 400 says that the data is
 * wrong. 500 may lie anywhere, and what is tried again loses nothing (I8).
 */
import type { Listed } from '../../../../ports/sink.ts'
import { excerpt, type HttpAnswer, MAX_REASON_CHARS, printable, type Sent } from '../answer.ts'
import type { AnswerTable, Reading } from '../answer-table.ts'
import { type AnswerBody, parseObject } from '../body.ts'

export const otlp: AnswerTable = {
  statuses: { 400: 'refused', 413: 'too-large', 422: 'hold' },
  reads: (_, isAck) => isAck,
  read: readOtlp,
}

function readOtlp(answer: HttpAnswer, { text }: AnswerBody, { seqs }: Sent): Reading | null {
  if (text === '') return null
  const members = parseObject(text)
  if (members === null)
    return { kind: 'hold', why: `its body is no answer of OTLP${excerpt(answer)}` }
  const partial = members['partialSuccess']
  if (partial === undefined || partial === null) {
    const unknown = Object.keys(members)[0]
    if (unknown === undefined) return null
    return { kind: 'hold', why: `its body is no answer of OTLP${excerpt(answer)}` }
  }
  const rejected = rejectedIn(partial)
  if (rejected === null)
    return {
      kind: 'malformed',
      why: `its partialSuccess has no number of records${excerpt(answer)}`,
    }
  if (rejected === 0) return null
  const why = `${rejected} of ${seqs?.length ?? 0} records were rejected${messageIn(partial)}`
  if (seqs === undefined || rejected > seqs.length) return { kind: 'malformed', why }
  if (rejected < seqs.length) return { kind: 'refused', why }
  const reason = printable(why, MAX_REASON_CHARS)
  const listed = seqs.map((seq): Listed => ({ seq, verdict: 'refused', code: '200', reason }))
  return { kind: 'verdicts', ackedThrough: null, listed }
}

/** A number of 64 bits is a string in the JSON of protobuf; many send a number. Absent is 0. */
function rejectedIn(partial: unknown): number | null {
  if (typeof partial !== 'object' || partial === null) return null
  const { rejectedLogRecords: said = 0 } = partial as Readonly<Record<string, unknown>>
  const count = typeof said === 'string' && /^\d+$/.test(said) ? Number(said) : said
  return typeof count === 'number' && Number.isSafeInteger(count) && count >= 0 ? count : null
}

function messageIn(partial: unknown): string {
  const { errorMessage } = partial as Readonly<Record<string, unknown>>
  return typeof errorMessage === 'string' && errorMessage !== '' ? `: ${errorMessage}` : ''
}
