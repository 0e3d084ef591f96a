/**
 * The two questions that a sink asks JetStream: how its stream is, and what the last message of a
 * subject is. The leader answers the second; the first is answered by any replica while there is no
 * leader, and such an answer may be old. The words are those of the JetStream API
 * (`io.nats.jetstream.api.v1.*`).
 */
import { gunzipSync } from 'node:zlib'
import { errorMessage } from '../../../shared/errors.ts'
import { printable } from '../../http/answers/answer.ts'
import type { OpenLink } from './link.ts'
import { LinkFault } from './link.ts'
import type { LastMessage, MessageOwner, StreamHistory } from './reconcile.ts'
import { type Failure, held, readError, unanswered } from './reply.ts'

export interface StreamFacts {
  readonly subjects: readonly string[]
  readonly storage: string
  readonly replicas: number
  readonly retention: string
  readonly duplicateWindowMs: number
  /** null: as the server has it. */
  readonly maxMsgSize: number | null
  /** Some limit may take the last message of a subject. */
  readonly mayForget: boolean
  /** Why nothing can be published to it; null: it can. */
  readonly closedTo: string | null
  readonly renamesSubjects: boolean
  readonly history: StreamHistory
}

export interface StoredMessage extends LastMessage {
  /** The one of its subject that it was put behind; 0: none, or nobody knows. */
  readonly behind: number
  /** Lines of its NDJSON, each once; null: it cannot be read. */
  lines(): ReadonlySet<string> | null
}

const NO_MESSAGE = 10037

export interface ApiOptions {
  readonly domain: string | null
  readonly timeoutMs: number
}

type Json = Record<string, unknown>

/** @throws LinkFault */
export async function streamFacts(
  link: OpenLink,
  stream: string,
  options: ApiOptions,
): Promise<StreamFacts> {
  const said = await ask(link, `STREAM.INFO.${stream}`, {}, options)
  if (said['error'] !== undefined) throw new LinkFault(failureOf(said['error'], stream))
  const { cluster, config, state } = said as { cluster?: Json; config?: Json; state?: Json }
  if (cluster !== undefined && textOf(cluster['leader']) === '')
    throw new LinkFault(leaderless(stream))
  if (config === undefined || state === undefined)
    throw new LinkFault(held(null, `not what JetStream says of a stream: ${quoted(said)}`))
  const retention = textOf(config['retention'], 'limits')
  const limited = ['max_msgs', 'max_bytes', 'max_age'].some((key) => numberOf(config[key]) > 0)
  const dropsOld = config['discard'] !== 'new' || numberOf(config['max_age']) > 0
  return {
    subjects: Array.isArray(config['subjects']) ? config['subjects'].map(String) : [],
    storage: textOf(config['storage'], 'file'),
    replicas: numberOf(config['num_replicas'], 1),
    retention,
    duplicateWindowMs: numberOf(config['duplicate_window']) / 1e6,
    maxMsgSize: numberOf(config['max_msg_size']) > 0 ? numberOf(config['max_msg_size']) : null,
    mayForget: retention !== 'limits' || (limited && dropsOld),
    closedTo: closedTo(config),
    renamesSubjects: config['subject_transform'] !== undefined,
    history: {
      firstSeq: numberOf(state['first_seq']),
      lastSeq: numberOf(state['last_seq']),
      deleted: numberOf(state['num_deleted']),
    },
  }
}

/** null: there is none. @throws LinkFault */
export async function storedMessage(
  link: OpenLink,
  stream: string,
  which: { readonly last_by_subj: string } | { readonly seq: number },
  options: ApiOptions,
): Promise<StoredMessage | null> {
  const said = await ask(link, `STREAM.MSG.GET.${stream}`, which, options)
  const { error, message } = said as { error?: Json; message?: Json }
  if (error?.['err_code'] === NO_MESSAGE) return null
  if (error !== undefined) throw new LinkFault(failureOf(error, stream))
  const seq = message?.['seq']
  if (typeof seq !== 'number')
    throw new LinkFault(held(null, `not a message of a stream: ${quoted(said)}`))
  const headers = headersOf(textOf(message?.['hdrs']))
  const body = Buffer.from(textOf(message?.['data']), 'base64')
  return {
    seq,
    owner: ownerOf(headers),
    behind: Number(headers.get('nats-expected-last-subject-sequence') ?? 0),
    lines: () => linesOf(body, headers.get('content-encoding') === 'gzip'),
  }
}

/** Subject of the message with this sequence; null: there is none. @throws LinkFault */
export async function subjectAt(
  link: OpenLink,
  stream: string,
  seq: number,
  options: ApiOptions,
): Promise<string | null> {
  const said = await ask(link, `STREAM.MSG.GET.${stream}`, { seq }, options)
  const subject = (said['message'] as Json | undefined)?.['subject']
  return typeof subject === 'string' ? subject : null
}

/** Does a stream with these subjects take this one? */
export function takesSubject(subjects: readonly string[], subject: string): boolean {
  const tokens = subject.split('.')
  return subjects.some((one) => {
    const wanted = one.split('.')
    const hasRest = wanted.at(-1) === '>'
    const fixed = hasRest ? wanted.slice(0, -1) : wanted
    const fits = hasRest ? tokens.length > fixed.length : tokens.length === fixed.length
    return fits && fixed.every((token, index) => token === '*' || token === tokens[index])
  })
}

/** Can it take any subject that begins with these tokens? */
export function takesPrefix(subjects: readonly string[], tokens: readonly string[]): boolean {
  return subjects.some((one) => {
    const wanted = one.split('.')
    const rest = wanted.indexOf('>')
    const end = rest < 0 ? tokens.length : Math.min(rest, tokens.length)
    return tokens.slice(0, end).every((token, at) => wanted[at] === '*' || wanted[at] === token)
  })
}

async function ask(
  { connection, library, ended }: OpenLink,
  what: string,
  payload: unknown,
  { domain, timeoutMs }: ApiOptions,
): Promise<Json> {
  const subject = `$JS.${domain === null ? '' : `${domain}.`}API.${what}`
  try {
    const request = connection.request(subject, JSON.stringify(payload), { timeout: timeoutMs })
    request.catch(() => undefined)
    const answer = await Promise.race([request, ended])
    if (typeof answer === 'string') throw new LinkFault(unanswered(answer))
    return JSON.parse(Buffer.from(answer.data).toString()) as Json
  } catch (error) {
    if (error instanceof LinkFault) throw error
    throw new LinkFault(requestFailure(error, library, `no answer to ${what}`))
  }
}

/** What it means that a request had no answer. */
export function requestFailure(
  error: unknown,
  library: OpenLink['library'],
  what: string,
): Failure {
  const cause = error instanceof Error ? error.cause : undefined
  const of = (type: new (...args: never[]) => Error): boolean =>
    error instanceof type || cause instanceof type
  const words = `${what}: ${errorMessage(error)}`
  if (of(library.PermissionViolationError))
    return held(null, `${words}; give the user the permission`)
  if (of(library.NoRespondersError))
    return { kind: 'retry', scope: 'sink', code: '503', answered: true, detail: words }
  return unanswered(words, { timedOut: of(library.TimeoutError) })
}

function failureOf(error: unknown, stream: string): Failure {
  const failure = readError(error)
  if (failure.kind === 'retry' || failure.kind === 'hold')
    return { ...failure, detail: `stream ${stream}: ${failure.detail}` }
  return held(null, `stream ${stream}: ${quoted(error)}`)
}

function leaderless(stream: string): Failure {
  const detail = `stream ${stream} has no leader: its servers are choosing one, or too few of them run`
  return { kind: 'retry', scope: 'sink', code: null, answered: true, detail }
}

function closedTo(config: Json): string | null {
  if (config['mirror'] !== undefined && config['mirror'] !== null)
    return 'is a mirror, which takes messages of its origin alone'
  if (config['sealed'] === true) return 'is sealed'
  if (config['no_ack'] === true) return 'acks nothing (no_ack)'
  return null
}

function headersOf(base64: string): ReadonlyMap<string, string> {
  const lines = Buffer.from(base64, 'base64').toString().split('\r\n').slice(1)
  return new Map(
    lines.flatMap((line) => {
      const colon = line.indexOf(':')
      if (colon < 0) return []
      return [[line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const]
    }),
  )
}

function ownerOf(headers: ReadonlyMap<string, string>): MessageOwner | null {
  const gateway = headers.get('sluice-gateway')
  const spoolId = headers.get('sluice-spool')
  const stream = headers.get('sluice-stream')
  const firstSeq = Number(headers.get('sluice-first-seq'))
  const lastSeq = Number(headers.get('sluice-last-seq'))
  if (gateway === undefined || spoolId === undefined || stream === undefined) return null
  if (!Number.isSafeInteger(firstSeq) || !Number.isSafeInteger(lastSeq)) return null
  return { gateway, spoolId, stream, firstSeq, lastSeq }
}

function linesOf(body: Uint8Array, isGzip: boolean): ReadonlySet<string> | null {
  try {
    const text = Buffer.from(isGzip ? gunzipSync(body) : body).toString()
    return new Set(text.split('\n').filter((line) => line !== ''))
  } catch {
    return null
  }
}

function textOf(value: unknown, otherwise = ''): string {
  return typeof value === 'string' ? value : otherwise
}

function numberOf(value: unknown, otherwise = 0): number {
  return typeof value === 'number' ? value : otherwise
}

function quoted(value: unknown): string {
  return printable(JSON.stringify(value), 200)
}
