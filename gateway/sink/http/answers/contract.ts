/**
 * The bodies of the ingest contract: `ackedThrough` and `rejected`, row by row of its answer table.
 * Pure.
 *
 * Not here: what follows from it (waits, halving, parking, holds after five in a row, verdicts
 * behind the first record to be sent again, a seq above the highest ever sent): that is the drain's
 * retry policy.
 */
import type { Listed } from '../../../ports/sink.ts'
import {
  excerpt,
  type HttpAnswer,
  MAX_EXCERPT_CHARS,
  MAX_REASON_CHARS,
  printable,
  type Sent,
} from './answer.ts'
import type { AnswerTable, Reading } from './answer-table.ts'
import { type AnswerBody, isBrokenJson, pageIn, parseObject } from './body.ts'
import { isSuccess } from './statuses.ts'

/** Statuses as the contract has them; bodies of what acks, and of 207. */
export const contract: AnswerTable = {
  statuses: {},
  reads: (status, isAck) => status === 207 || (isAck && isSuccess(status)),
  read: readContract,
}

function readContract(answer: HttpAnswer, body: AnswerBody, sent: Sent): Reading | null {
  const members = parseObject(body.text)
  if (members !== null && namesVerdicts(members)) return readMembers(members, sent)
  const fault = body.text === '' ? null : faultIn(answer, body, members)
  if (fault !== null) return fault
  return answer.status === 207
    ? { kind: 'malformed', why: '207 without ackedThrough or rejected' }
    : null
}

/** Why a body without verdicts is no ack; null: the status decides. */
function faultIn(
  answer: HttpAnswer,
  body: AnswerBody,
  members: Readonly<Record<string, unknown>> | null,
): Reading | null {
  const page = pageIn(answer, body)
  if (page !== null) return { kind: 'hold', why: page }
  const { text } = body
  if (isNdjson(text)) {
    const why = 'its body is several JSON texts, with ackedThrough or rejected among them'
    return text.split('\n').some((line) => namesVerdicts(parseObject(line.trim()) ?? {}))
      ? { kind: 'malformed', why }
      : null
  }
  if (isBrokenJson(body))
    return { kind: 'hold', why: `its body claims to be JSON and is not${excerpt(answer)}` }
  const failure = members === null ? null : failureIn(members)
  if (failure === null) return null
  return { kind: 'hold', why: `its body says that it failed: ${failure}${excerpt(answer)}` }
}

/** `ackedThrough` and `rejected`, at least one of which is there. */
function readMembers(members: Readonly<Record<string, unknown>>, sent: Sent): Reading {
  let ackedThrough: number | null = null
  if ('ackedThrough' in members) {
    const value = members['ackedThrough']
    if (!isSeq(value)) {
      const got = printable(JSON.stringify(value) ?? '', MAX_EXCERPT_CHARS)
      const why = `ackedThrough is ${got}, not an integer from 0 to 2^53-1`
      return { kind: 'malformed', why }
    }
    // Adding 0 makes 0 of -0.
    ackedThrough = value + 0
  }
  const listed = 'rejected' in members ? readListed(members['rejected'], sent) : []
  if (typeof listed === 'string') return { kind: 'malformed', why: listed }
  return { kind: 'verdicts', ackedThrough, listed }
}

/** `rejected`, in order of seq; a string says what is wrong with it. */
function readListed(value: unknown, sent: Sent): Listed[] | string {
  if (!Array.isArray(value)) return 'rejected is not a list'
  const bySeq = new Map<number, Listed>()
  for (const one of value as readonly unknown[]) {
    const listed = readOne(one)
    if (typeof listed === 'string') return listed
    if (listed.seq < sent.firstSeq || listed.seq > sent.lastSeq) {
      return `rejected names seq ${listed.seq}; the batch is ${sent.firstSeq}-${sent.lastSeq}`
    }
    const known = bySeq.get(listed.seq)
    if (known !== undefined && known.verdict !== listed.verdict) {
      return `rejected names seq ${listed.seq} twice, with different verdicts`
    }
    bySeq.set(listed.seq, listed)
  }
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq)
}

function readOne(value: unknown): Listed | string {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return 'an entry of rejected is not an object'
  }
  const entry = value as Readonly<Record<string, unknown>>
  const { seq, status, reason } = entry
  if (!isSeq(seq)) return 'an entry of rejected has no seq that is an integer from 0 to 2^53-1'
  if (status !== undefined && status !== null && !Number.isSafeInteger(status)) {
    return `the status of seq ${seq} in rejected is not a whole number`
  }
  if (reason !== undefined && reason !== null && typeof reason !== 'string') {
    return `the reason of seq ${seq} in rejected is not a string`
  }
  const one = typeof status === 'number' ? status : null
  return {
    seq,
    verdict: verdictOf(one),
    code: one === null ? null : String(one),
    reason: typeof reason === 'string' ? printable(reason, MAX_REASON_CHARS) : null,
  }
}

/**
 * 2xx or 409: the sink has it. 408, 425, 429, 5xx (all of them, unlike the whole answer's): later.
 * Else refused.
 */
function verdictOf(status: number | null): Listed['verdict'] {
  if (status === null) return 'refused'
  if (isSuccess(status) || status === 409) return 'acked'
  if (status >= 500 && status <= 599) return 'retry'
  return status === 408 || status === 425 || status === 429 ? 'retry' : 'refused'
}

/**
 * Several JSON objects, one a line: what a sink sends that repeats what it got. Like one without
 * members, it says nothing.
 */
function isNdjson(text: string): boolean {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  return lines.length > 1 && lines.every((line) => parseObject(line.trim()) !== null)
}

function namesVerdicts(members: Readonly<Record<string, unknown>>): boolean {
  return 'ackedThrough' in members || 'rejected' in members
}

/**
 * I8: a status that says yes over a body that says no is no ack. The member that says so, or null.
 */
function failureIn(members: Readonly<Record<string, unknown>>): string | null {
  for (const name of ['ok', 'success', 'succeeded'])
    if (members[name] === false) return `${name} is false`
  for (const name of ['error', 'errors']) {
    const value = members[name]
    const isEmpty =
      value === undefined ||
      value === null ||
      value === false ||
      value === '' ||
      value === 0 ||
      (typeof value === 'object' && Object.keys(value).length === 0)
    if (!isEmpty) return `it has ${name}`
  }
  const status = members['status']
  return typeof status === 'string' && /^(?:error|fail|failed|failure)$/i.test(status)
    ? `status is ${status}`
    : null
}

function isSeq(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
