/**
 * What JetStream answers to a message that was published, and what that means. Pure. Error codes:
 * `server/errors.json` of nats-server, up to 2.14.
 */
import type { Scope, SinkAnswer } from '../../../ports/sink.ts'
import { printable } from '../../http/answers/answer.ts'

export type PublishReply =
  | { readonly kind: 'stored'; readonly seq: number; readonly isRepeat: boolean }
  /** Another message is the last of its subject; `found`: its sequence, where the server says it. */
  | { readonly kind: 'not-last'; readonly found: number | null; readonly detail: string }
  | Failure

/** Of a message that is not there, as far as this answer knows. */
export type Failure = {
  readonly code: string | null
  readonly detail: string
} & (
  | {
      readonly kind: 'retry'
      readonly scope: Scope
      readonly answered: boolean
      readonly throttled?: boolean
      readonly unsent?: boolean
      readonly timedOut?: boolean
    }
  | { readonly kind: 'hold'; readonly scope: Scope; readonly unsent?: boolean }
  | { readonly kind: 'too-large' }
  | { readonly kind: 'malformed' }
)

/** Of what a server says, characters. */
const MAX_WORDS = 200

/** What to do about what somebody has to see to, by error code. */
const HOLDS: ReadonlyMap<number, string> = new Map([
  [10002, 'the account may store no more: raise its limits, or let consumers take messages'],
  [10028, 'the server has no memory left for streams'],
  [10047, 'the server has no room left for streams'],
  [10023, 'the server has no resources left for streams'],
  [10035, 'the account is not known there'],
  [10039, 'enable JetStream for this account'],
  [10059, 'create the stream, or set jetStream to one that is there'],
  [10060, 'another stream takes this subject: set jetStream to it, or choose another subject'],
  [10076, 'enable JetStream on the servers'],
  [10109, 'the stream is sealed: set jetStream to another one'],
  [10166, 'the stream takes no messages like these'],
  [10168, 'the stream counts, and takes no messages like these'],
  [10169, 'the stream counts, and takes no messages like these'],
])

const TOO_LARGE: ReadonlySet<number> = new Set([10054, 10097])
const NOT_LAST: ReadonlySet<number> = new Set([10071, 10164])
/** Pass by themselves, though they are no 5xx. */
const PASSES: ReadonlySet<number> = new Set([10158, 10202])

interface Said {
  readonly stream?: unknown
  readonly seq?: unknown
  readonly duplicate?: unknown
  readonly error?: unknown
}

/** @param stream the one that was published to */
export function readReply(data: Uint8Array, stream: string): PublishReply {
  const text = Buffer.from(data).toString()
  let said: Said
  try {
    said = JSON.parse(text) as Said
  } catch {
    return malformed(`not an answer of JetStream: ${quoted(text)}`)
  }
  if (typeof said !== 'object' || said === null)
    return malformed(`not an answer of JetStream: ${quoted(text)}`)
  if (said.error !== undefined) return readError(said.error)
  if (said.stream !== stream || !isSeq(said.seq))
    return malformed(`an ack, but not of stream ${stream}: ${quoted(text)}`)
  return { kind: 'stored', seq: said.seq, isRepeat: said.duplicate === true }
}

/** Of the `error` in an answer, of the API as well. */
export function readError(error: unknown): PublishReply {
  const { code, err_code: number, description } = (error ?? {}) as Record<string, unknown>
  if (typeof code !== 'number' || typeof number !== 'number')
    return malformed(`an error without a code: ${quoted(JSON.stringify(error))}`)
  const words = quoted(typeof description === 'string' ? description : 'no description')
  const detail = `${words} (error ${number})`
  const said = { code: String(number), detail }
  if (NOT_LAST.has(number)) {
    const found = /wrong last sequence: (\d+)$/.exec(words)?.[1]
    return { kind: 'not-last', found: found === undefined ? null : Number(found), detail }
  }
  const hint = HOLDS.get(number)
  if (hint !== undefined) return held(said.code, `${detail}: ${hint}`)
  if (TOO_LARGE.has(number)) return { ...said, kind: 'too-large' }
  if (code === 429)
    return { ...said, kind: 'retry', scope: 'sink', answered: true, throttled: true }
  if (code >= 500 || PASSES.has(number))
    return { ...said, kind: 'retry', scope: number === 10077 ? 'stream' : 'sink', answered: true }
  return held(said.code, `${detail}: nothing is known of this answer`)
}

/** @param more `unsent`: not one byte of a message has left */
export function held(
  code: string | null,
  detail: string,
  more: { readonly unsent?: boolean } = {},
): Failure {
  return { kind: 'hold', scope: 'sink', code, detail, ...more }
}

/** A server that cannot be reached, or is silent. */
export function unanswered(
  detail: string,
  more: { readonly unsent?: boolean; readonly timedOut?: boolean } = {},
): Failure {
  return { kind: 'retry', scope: 'sink', code: null, answered: false, detail, ...more }
}

/** @param bytes that were sent, over `ms` */
export function answerOf(
  failure: Failure,
  { bytes, ms }: { readonly bytes: number; readonly ms: number },
): SinkAnswer {
  const { kind, code, detail } = failure
  const timedOut = failure.kind === 'retry' && failure.timedOut === true
  const said = {
    code,
    detail,
    sinkDateMs: null,
    ...(bytes === 0 ? {} : { transfer: { bytes: timedOut ? 0 : bytes, ms, timedOut } }),
  }
  if (kind === 'too-large' || kind === 'malformed') return { ...said, kind }
  const { scope, unsent = false } = failure
  if (kind === 'hold') return { ...said, kind, scope, unsent }
  const { answered, throttled = false } = failure
  return { ...said, kind, scope, unsent, answered, throttled, retryAfterMs: null }
}

/** @param through null: all of it */
export function acked(through: number | null) {
  const said = { code: null, sinkDateMs: null, listed: [] }
  return { ...said, kind: 'verdicts', ackedThrough: through } as const
}

export function heldAnswer(detail: string) {
  return { kind: 'hold', code: null, sinkDateMs: null, detail } as const
}

function malformed(detail: string): Failure {
  return { kind: 'malformed', code: null, detail }
}

function isSeq(seq: unknown): seq is number {
  return typeof seq === 'number' && Number.isSafeInteger(seq) && seq > 0
}

function quoted(text: string): string {
  return printable(text, MAX_WORDS)
}
