/**
 * Status, headers and body of a sink's answer -> what it says, row by row of the contract's answer
 * table. Pure.
 *
 * I8: only the sink's word deletes. Whatever is not clearly an ack keeps the data: a body that
 * nobody who speaks the contract would send (a captive portal's HTML, an endless one, JSON that is
 * none) acks nothing, whatever its status. Not here: what follows from it (waits, halving, parking,
 * holds after five in a row, verdicts behind the first record to be sent again, a seq above the
 * highest ever sent): that is the drain's retry policy.
 */
import { brotliDecompressSync, gunzipSync, inflateSync } from 'node:zlib'
import type { Batch, Listed, SinkAnswer } from '../../ports/sink.ts'
import { hideUrl } from '../../shared/text/hide-url.ts'
import { parseHttpDate, parseRetryAfter } from './client/http-date.ts'
import type { AnswerMeaning, HttpSinkConfig } from './config.ts'

/** Most of an answer's body that is looked at; a longer one is no answer of the contract. Bytes. */
export const MAX_ANSWER_BYTES = 1024 * 1024

/**
 * Most of a sink's words that is kept, in characters: details go into logs, reasons into dead
 * letters.
 */
const MAX_REASON_CHARS = 500
const MAX_EXCERPT_CHARS = 120

/** An answer as it came. Header names lower case; a header that came twice is a list. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  /** Its body, or its beginning. */
  readonly body: Uint8Array
  /** The body was longer than {@link MAX_ANSWER_BYTES}; what is in `body` counts for nothing. */
  readonly bodyTooLong: boolean
  /** Why nobody can say where its body ends; null: it is clear. */
  readonly fault?: string | null
  /**
   * It came when no more of the batch's body than that had been sent, bytes; null: all of it had.
   */
  readonly earlyAt?: number | null
}

/** What of a sink's configuration decides how its answers are read. */
export type AnswerRules = Pick<HttpSinkConfig, 'ack' | 'ackStatus' | 'answers' | 'maxRetryAfter'>

/** What of a batch its answer is checked against. */
type BatchBounds = Pick<Batch, 'firstSeq' | 'lastSeq'>

/** Codings that a server may put on its answer unasked. */
const DECODERS: Readonly<
  Record<string, (bytes: Uint8Array, limit: { readonly maxOutputLength: number }) => Buffer>
> = {
  gzip: gunzipSync,
  'x-gzip': gunzipSync,
  deflate: inflateSync,
  br: brotliDecompressSync,
}

/** In `Content-Encoding` no coding at all: `identity` by its name, the others by mistake. */
const NO_ENCODING = /^(?:|identity|none|null|7bit|8bit|binary|utf-?8|us-ascii|ascii|iso-8859-1)$/

const WHAT_SINKS_ANSWER = 'A sink answers with JSON, text/plain or nothing'

/** Why a status that is in no row of its own holds the sink, and what to do. */
const HOLD_HINTS: Readonly<Record<number, string>> = {
  200: 'not in ackStatus',
  201: 'not in ackStatus',
  202: 'accepted is not stored; list it in ackStatus if this sink means stored',
  204: 'not in ackStatus',
  401: 'the sink does not accept the credentials; check bearerToken or headers',
  402: 'the account behind the sink is not paid or over its quota',
  403: 'the credentials are known but not allowed to write here',
  404: 'check the path of the url',
  405: 'the url does not take POST; check its path',
  407: 'a proxy between here and the sink wants credentials',
  410: 'the url is no longer served; check it',
  412: 'it has other records under these numbers: this spool was rolled back, restored or cloned; run sluice spool new-id',
  411: 'something between here and the sink does not pass Content-Length on',
  415: 'the sink does not take this format or compression; check format and compression',
  421: 'the server does not serve this host; check the url',
  431: 'the request headers are too long for the sink',
  501: 'the url does not take POST; check it',
  505: 'the server does not speak HTTP/1.1',
}

type Common = Pick<SinkAnswer, 'code' | 'sinkDateMs'>

/** Reads one answer. `host`: for the detail, as a person knows the sink. */
export function readAnswer(answer: HttpAnswer, rules: AnswerRules, batch: BatchBounds): SinkAnswer {
  const status = answer.status
  const common: Common = { code: String(status), sinkDateMs: answerDate(answer) }
  if ((status >= 200 && status <= 299) || mayAck(status, rules)) {
    // I8: whoever says yes to a batch that is still on its way says it to something else.
    const earlyAt = answer.earlyAt ?? null
    if (earlyAt !== null)
      return malformed(
        common,
        `it came when ${earlyAt} bytes of the batch had been sent, before the rest`,
      )
    if (typeof answer.fault === 'string') return malformed(common, answer.fault)
  }
  if (rules.ackStatus.includes(status) || status === 207)
    return readVerdicts(answer, rules, batch, common)
  const detail = `answered ${status}${excerpt(answer)}`
  switch (rules.answers[status] ?? meaningOf(status)) {
    case 'acked':
      return { ...common, kind: 'verdicts', ackedThrough: null, listed: [], retryAfterMs: null }
    case 'retry':
      return {
        ...common,
        kind: 'retry',
        scope: SERVICE_STATUSES.includes(status) ? 'sink' : 'stream',
        retryAfterMs: retryAfter(answer, rules, common),
        detail,
        answered: true,
        throttled: status === 429,
      }
    case 'too-large':
      return { ...common, kind: 'too-large', detail }
    case 'refused':
      return { ...common, kind: 'refused', detail }
    default:
      return {
        ...common,
        kind: 'hold',
        scope: holdScope(status),
        detail: holdDetail(answer),
        cloned: status === 412,
      }
  }
}

/** May an answer of this status ack something? */
export function mayAck(status: number, rules: AnswerRules): boolean {
  return status === 207 || rules.ackStatus.includes(status) || rules.answers[status] === 'acked'
}

/** Statuses that speak of the service as a whole, not of what was sent. */
const SERVICE_STATUSES: readonly number[] = [429, 502, 503, 504]

/** What a status outside of `ackStatus` means by the contract. */
function meaningOf(status: number): AnswerMeaning {
  if (isRetryStatus(status)) return 'retry'
  if (status === 413) return 'too-large'
  return status === 400 || status === 422 ? 'refused' : 'hold'
}

/** 408, 409, 425, 429 and 5xx except 501 and 505: the same bytes may be taken later. */
export function isRetryStatus(status: number): boolean {
  if (status >= 500 && status <= 599) return status !== 501 && status !== 505
  return status === 408 || status === 409 || status === 425 || status === 429
}

/**
 * Authentication, URL and connection faults are the sink's. 431 is one stream's: of all headers
 * only its names and its gap report differ between streams. So is 412: another stream's numbers may
 * be its own.
 */
function holdScope(status: number): 'sink' | 'stream' {
  return status === 431 || status === 412 ? 'stream' : 'sink'
}

function holdDetail(answer: HttpAnswer): string {
  const { status, headers } = answer
  const hint = statusHint(status, headers)
  if (status >= 300 && status <= 399) return `answered ${status}, ${hint}`
  return `answered ${status}${hint === '' ? '' : `: ${hint}`}${excerpt(answer)}`
}

/** What a status that holds the sink says, and what to do; empty: nothing is known of it. */
export function statusHint(status: number, headers: HttpAnswer['headers']): string {
  if (status < 300 || status > 399) return HOLD_HINTS[status] ?? ''
  const location = headers['location']
  const target = typeof location === 'string' ? location : (location?.[0] ?? null)
  const to = target === null ? '' : ` to ${printable(hideUrl(target), MAX_EXCERPT_CHARS)}`
  return `a redirect${to}: redirects are not followed; put the sink's own address into url`
}

/** The rows of the acking statuses and of 207. */
function readVerdicts(
  answer: HttpAnswer,
  rules: AnswerRules,
  batch: BatchBounds,
  common: Common,
): SinkAnswer {
  const { status } = answer
  const hold = (why: string): SinkAnswer => ({
    ...common,
    kind: 'hold',
    scope: 'sink',
    detail: `answered ${status}, but ${why}`,
  })
  if (answer.bodyTooLong)
    return hold(`with a body over ${MAX_ANSWER_BYTES} bytes: this is not the sink`)
  const decoded = decodeBody(answer)
  if (typeof decoded !== 'string') return hold(decoded.why)
  const text = decoded.trim()
  const type = contentType(answer)
  const parsed = parseObject(text)
  if (parsed !== null && ('ackedThrough' in parsed || 'rejected' in parsed)) {
    return readMembers(parsed, answer, rules, batch, common)
  }
  if (text !== '') {
    const markup = markupIn(type, text)
    if (markup === 'HTML')
      return hold(`with HTML: a captive portal or a proxy? ${WHAT_SINKS_ANSWER}${excerpt(answer)}`)
    if (markup !== null) return hold(`with ${markup}: ${WHAT_SINKS_ANSWER}${excerpt(answer)}`)
    if (isNdjson(text)) {
      if (text.split('\n').some(namesVerdicts))
        return malformed(
          common,
          'its body is several JSON texts, with ackedThrough or rejected among them',
        )
    } else if ((isJsonType(type) || text.startsWith('{')) && !isJson(text)) {
      return hold(`its body claims to be JSON and is not${excerpt(answer)}`)
    }
    const failure = parsed === null ? null : failureIn(parsed)
    if (failure !== null) return hold(`its body says that it failed: ${failure}${excerpt(answer)}`)
  }
  if (status === 207) return malformed(common, '207 without ackedThrough or rejected')
  if (rules.ack === 'body') {
    return hold(
      `the body has neither ackedThrough nor rejected, and ack is "body"${excerpt(answer)}`,
    )
  }
  return { ...common, kind: 'verdicts', ackedThrough: null, listed: [], retryAfterMs: null }
}

/** `ackedThrough` and `rejected`, at least one of which is there. */
function readMembers(
  members: Readonly<Record<string, unknown>>,
  answer: HttpAnswer,
  rules: AnswerRules,
  batch: BatchBounds,
  common: Common,
): SinkAnswer {
  let ackedThrough: number | null = null
  if ('ackedThrough' in members) {
    const value = members['ackedThrough']
    if (!isSeq(value)) {
      const got = printable(JSON.stringify(value) ?? '', MAX_EXCERPT_CHARS)
      return malformed(common, `ackedThrough is ${got}, not an integer from 0 to 2^53-1`)
    }
    // Adding 0 makes 0 of -0.
    ackedThrough = value + 0
  }
  const listed = 'rejected' in members ? readListed(members['rejected'], batch) : []
  if (typeof listed === 'string') return malformed(common, listed)
  return {
    ...common,
    kind: 'verdicts',
    ackedThrough,
    listed,
    retryAfterMs: retryAfter(answer, rules, common),
  }
}

/** `rejected`, in order of seq; a string says what is wrong with it. */
function readListed(value: unknown, batch: BatchBounds): Listed[] | string {
  if (!Array.isArray(value)) return 'rejected is not a list'
  const bySeq = new Map<number, Listed>()
  for (const one of value as readonly unknown[]) {
    const listed = readOne(one)
    if (typeof listed === 'string') return listed
    if (listed.seq < batch.firstSeq || listed.seq > batch.lastSeq) {
      return `rejected names seq ${listed.seq}; the batch is ${batch.firstSeq}-${batch.lastSeq}`
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
  if ((status >= 200 && status <= 299) || status === 409) return 'acked'
  if (status >= 500 && status <= 599) return 'retry'
  return status === 408 || status === 425 || status === 429 ? 'retry' : 'refused'
}

function malformed(common: Common, what: string): SinkAnswer {
  return { ...common, kind: 'malformed', detail: `answered ${common.code}, malformed: ${what}` }
}

/**
 * The body as text, whatever Content-Encoding a server forced on it; what is wrong with it
 * otherwise.
 */
function decodeBody(answer: HttpAnswer): string | { readonly why: string } {
  let bytes = answer.body
  for (const encoding of encodingsOf(answer)) {
    if (bytes.length === 0) break
    const decode = DECODERS[encoding]
    if (decode === undefined)
      return { why: `in an encoding that was not asked for (${printable(encoding, 40)})` }
    try {
      bytes = decode(bytes, { maxOutputLength: MAX_ANSWER_BYTES })
    } catch (error) {
      const tooLong = (error as NodeJS.ErrnoException).code === 'ERR_BUFFER_TOO_LARGE'
      if (tooLong)
        return { why: `with a body over ${MAX_ANSWER_BYTES} bytes: this is not the sink` }
      return { why: `its body claims to be ${encoding} and is not` }
    }
  }
  // TextDecoder cuts a byte order mark and never fails.
  return new TextDecoder().decode(bytes)
}

/**
 * What has to be undone, last applied first. Names of no coding, and of character sets put there by
 * mistake: nothing.
 */
function encodingsOf(answer: HttpAnswer): string[] {
  const value = answer.headers['content-encoding']
  const all = typeof value === 'string' ? value : (value ?? []).join(',')
  return all
    .split(',')
    .map((one) => one.trim().toLowerCase())
    .filter((one) => !NO_ENCODING.test(one))
    .toReversed()
}

function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  if (!text.startsWith('{')) return null
  try {
    return JSON.parse(text) as Readonly<Record<string, unknown>>
  } catch {
    return null
  }
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

function isJsonType(type: string): boolean {
  return /^(?:application|text)\/(?:json|[^;]*\+json)$/.test(type)
}

/**
 * Markup by its type or by its look, and which. It is neither plain text nor JSON, so it acks
 * nothing.
 */
function markupIn(type: string, text: string): 'HTML' | 'XML' | 'markup' | null {
  const isHtml = type === 'text/html' || type === 'application/xhtml+xml'
  if (
    isHtml ||
    /^(?:<[?!][^>]*>\s*)*<(?:!doctype\s+html|html|head|body|script|meta|title|h1|center)\b/i.test(
      text,
    )
  )
    return 'HTML'
  if (!text.startsWith('<')) return null
  return /^(?:application|text)\/(?:xml|[^;]*\+xml)$/.test(type) || text.startsWith('<?xml')
    ? 'XML'
    : 'markup'
}

/**
 * Several JSON objects, one a line: what a sink sends that repeats what it got. Like one without
 * members, it says nothing.
 */
function isNdjson(text: string): boolean {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  return lines.length > 1 && lines.every((line) => parseObject(line.trim()) !== null)
}

function namesVerdicts(line: string): boolean {
  const parsed = parseObject(line.trim())
  return parsed !== null && ('ackedThrough' in parsed || 'rejected' in parsed)
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

function contentType(answer: HttpAnswer): string {
  return (header(answer, 'content-type') ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
}

function answerDate(answer: HttpAnswer): number | null {
  const value = header(answer, 'date')
  return value === null ? null : parseHttpDate(value)
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

function header(answer: HttpAnswer, name: string): string | null {
  const value = answer.headers[name]
  if (value === undefined) return null
  return typeof value === 'string' ? value : (value[0] ?? null)
}

/** The beginning of the body, for a person: sinks say there what they dislike. */
function excerpt(answer: HttpAnswer): string {
  const text = new TextDecoder().decode(answer.body.subarray(0, 4 * MAX_EXCERPT_CHARS))
  const words = printable(text, MAX_EXCERPT_CHARS)
  return words === '' ? '' : ` (${words})`
}

/**
 * One line without control characters, at most `limit` characters: these words end up in logs and
 * terminals.
 */
function printable(text: string, limit: number): string {
  const line = text.replaceAll(/[\p{C}\s]+/gu, ' ').trim()
  return line.length <= limit ? line : `${line.slice(0, limit)}…`
}
