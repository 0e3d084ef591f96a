/**
 * Status, headers and body of a store's answer -> what it says. Pure.
 *
 * I8: an object is one thing, and no record of it is ever at fault: nothing here refuses any. What
 * passes by itself is retried, everything else is held, in the store's own words. An ack is what a
 * store says and nobody else would: of S3 a 200 with an ETag, of DAV 201 or 204; a portal's page is
 * none.
 */
import type { SinkAnswer } from '../../ports/sink.ts'
import { parseHttpDate, parseRetryAfter } from '../http/client/http-date.ts'
import type { ObjectSinkConfig } from './config.ts'
import type { WholeAnswer } from './origin.ts'

/** `put-again`: the folders above are known to be there. */
export type StoreStep = 'put' | 'put-again' | 'look' | 'make-folder' | 'move' | 'remove'

/** What a store says to one request. */
export type Said =
  | { readonly kind: 'done' }
  /** Something of this name is there. To `look`: these bytes, or more of them than were asked for. */
  | { readonly kind: 'there' }
  | { readonly kind: 'absent' }
  /** Nobody may look. */
  | { readonly kind: 'unseen' }
  /** The folder above may not be there. */
  | { readonly kind: 'no-parent' }
  /** It does not know `If-None-Match`. */
  | { readonly kind: 'no-condition' }
  | { readonly kind: 'answer'; readonly answer: SinkAnswer }

type Store = ObjectSinkConfig['store']

const EXCERPT_CHARS = 200

/** S3's code and message, or what stands there instead. */
interface StoreError {
  readonly code: string | null
  readonly words: string
}

/** What may mean that the folder above is missing: RFC 4918 has 409, nginx says 500. */
const NO_PARENT = new Set([404, 409, 500])

/** Passes by itself, whatever its status: AWS, "List of error codes". */
const RETRIED = new Set([
  'BadDigest',
  'ConditionalRequestConflict',
  'IncompleteBody',
  'InternalError',
  'OperationAborted',
  'RequestTimeout',
  'ServiceUnavailable',
  'SlowDown',
  'XAmzContentSHA256Mismatch',
])
/** A whole account is asked for less. */
const THROTTLED = new Set(['SlowDown', 'ServiceUnavailable', 'ThrottlingException'])

/** What to do, of what does not pass by itself. */
const HINTS: Readonly<Record<string, string>> = {
  AccessDenied: 'give the key the right to s3:PutObject and s3:GetObject there',
  AuthorizationHeaderMalformed: 'set auth.region to the region of the bucket',
  ExpiredToken: 'renew auth.sessionToken and its keys',
  InvalidAccessKeyId: 'set auth.accessKeyId to a key of this store',
  InvalidBucketName: 'correct the bucket in url',
  NoSuchBucket: 'make the bucket, or correct it in url: the gateway makes none',
  PermanentRedirect: 'write the endpoint of the region of the bucket into url',
  QuotaExceeded: 'make room, or raise the quota',
  RequestTimeTooSkewed: "set this box's clock (NTP): signatures hold for some minutes around it",
  SignatureDoesNotMatch: 'check auth.secretAccessKey and auth.region',
}
const STATUS_HINTS: Readonly<Record<number, string>> = {
  401: 'set auth, or other credentials',
  403: 'give these credentials the right to write there',
  404: 'correct url, or make the folder: the gateway makes none above it',
  405: 'set store and url to what takes PUT there',
  409: 'make the folder of url: the gateway makes none above it',
  507: 'make room there: nothing that was written is removed by the gateway',
}

export function readStoreAnswer(
  store: Store,
  step: StoreStep,
  answer: WholeAnswer,
  maxRetryAfter: number,
): Said {
  const error = errorOf(answer)
  const known = ofStep(store, step, answer, error)
  if (known !== null) return { kind: known }
  return { kind: 'answer', answer: unwanted(step, answer, error, maxRetryAfter) }
}

/** What the exchange goes on with; null: it ends there. */
function ofStep(
  store: Store,
  step: StoreStep,
  { status, headers, early }: WholeAnswer,
  { code }: StoreError,
): Exclude<Said['kind'], 'answer'> | null {
  // Who says yes to bytes that are still on their way says it to something else.
  if (early && status < 300) return null
  switch (step) {
    case 'put':
    case 'put-again':
      if (store === 's3' ? status === 200 && 'etag' in headers : status === 201 || status === 204)
        return 'done'
      if (status === 412) return 'there'
      if (status === 501) return 'no-condition'
      return store === 'dav' && step === 'put' && NO_PARENT.has(status) ? 'no-parent' : null
    case 'look':
      if (status === 200) return 'etag' in headers || 'last-modified' in headers ? 'there' : null
      if (status === 404) return code === 'NoSuchBucket' ? null : 'absent'
      // S3 says so of what is not there to whoever may not list.
      return status === 403 && (code === 'AccessDenied' || code === null) ? 'unseen' : null
    case 'make-folder':
      if (status === 201) return 'done'
      return status === 405 ? 'there' : null
    case 'move':
      if (status === 201 || status === 204) return 'done'
      return status === 412 ? 'there' : null
    default:
      return status < 300 || status === 404 ? 'done' : null
  }
}

function unwanted(
  step: StoreStep,
  answer: WholeAnswer,
  error: StoreError,
  maxRetryAfter: number,
): SinkAnswer {
  const { status, headers, early } = answer
  const { code } = error
  const date = textOf(headers['date'])
  const sinkDateMs = date === null ? null : parseHttpDate(date)
  const common = { code: code ?? String(status), sinkDateMs }
  const said = `answered ${status}${error.words} to ${WORDS[step]}`
  if (early && status < 300)
    return { ...common, kind: 'malformed', detail: `${said}, before all of it had been sent` }
  if (status === 413 || code === 'EntityTooLarge')
    return { ...common, kind: 'too-large', detail: said }
  if (isRetried(status, code)) {
    const after = textOf(headers['retry-after'])
    const retryAfterMs = after === null ? null : parseRetryAfter(after, sinkDateMs, maxRetryAfter)
    const throttled = status === 429 || THROTTLED.has(code ?? '')
    return {
      ...common,
      kind: 'retry',
      scope: 'sink',
      retryAfterMs,
      detail: said,
      answered: true,
      throttled,
    }
  }
  const hint = hintOf(status, headers, code)
  return {
    ...common,
    kind: 'hold',
    scope: 'sink',
    detail: hint === null ? said : `${said}: ${hint}`,
  }
}

const WORDS: Readonly<Record<StoreStep, string>> = {
  put: 'a PUT',
  'put-again': 'a PUT',
  look: 'a GET',
  'make-folder': 'a MKCOL',
  move: 'a MOVE',
  remove: 'a DELETE',
}

function isRetried(status: number, code: string | null): boolean {
  if (code !== null && RETRIED.has(code)) return true
  if (status === 507) return false
  return status >= 500 || status === 408 || status === 423 || status === 425 || status === 429
}

function hintOf(
  status: number,
  headers: WholeAnswer['headers'],
  code: string | null,
): string | null {
  const location = textOf(headers['location'])
  if (status >= 300 && status <= 399 && location !== null && code === null)
    return 'redirects are not followed; write the address it leads to into url'
  if (status < 300) return 'nothing that a store says; is there a portal or proxy before it?'
  return HINTS[code ?? ''] ?? STATUS_HINTS[status] ?? null
}

/** The error document of S3, RustFS and their like; of others the beginning of what they say. */
function errorOf({ status, body }: WholeAnswer): StoreError {
  if (status < 300) return { code: null, words: '' }
  const text = Buffer.from(body).toString()
  const code = /<Code>([A-Za-z0-9.]{1,64})<\/Code>/.exec(text)?.[1] ?? null
  const message = /<Message>([^<]*)<\/Message>/.exec(text)?.[1]
  if (code !== null) return { code, words: ` ${code}${quoted(message ?? '')}` }
  return { code, words: quoted(text.replaceAll(/<[^>]*>/g, ' ')) }
}

function quoted(text: string): string {
  const words = text
    .replaceAll(/[\p{C}\s]+/gu, ' ')
    .trim()
    .slice(0, EXCERPT_CHARS)
  return words === '' ? '' : ` (${words})`
}

function textOf(value: string | readonly string[] | undefined): string | null {
  if (value === undefined) return null
  return typeof value === 'string' ? value : (value.at(-1) ?? null)
}
