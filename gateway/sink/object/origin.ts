/**
 * The server of a store: its connections, TLS and credentials, and one request at a time over them.
 * What an answer means: answers.ts.
 */
import type { Transfer } from '../../ports/sink.ts'
import { hideSecrets } from '../../shared/text/hide-secrets.ts'
import type { EmitSinkEvent } from '../events.ts'
import { secretsOf } from '../http/answers/hide-secrets.ts'
import { createAuth } from '../http/auth/auth.ts'
import type { AuthFailure, RequestAuth } from '../http/auth/request-auth.ts'
import type { Lookup } from '../http/client/addresses.ts'
import type { ClientAnswer } from '../http/client/connection.ts'
import { proxyRefusalOf } from '../http/client/link-error.ts'
import { describeNetworkError } from '../http/client/network-error.ts'
import type { HeaderPair } from '../http/header-rules.ts'
import { Outbound } from '../http/outbound.ts'
import { portOf } from '../http/request.ts'
import { SecretHeaders } from '../http/secrets.ts'
import { httpAuthOf, type ObjectSinkConfig } from './config.ts'

export interface StoreRequest {
  readonly method: 'GET' | 'PUT' | 'MKCOL' | 'MOVE' | 'DELETE' | 'PROPFIND'
  /** Below the URL of the store; absent: the folder that it is. */
  readonly name?: string
  /** Path and query at the host of the store, instead of a name. */
  readonly place?: string
  readonly headers?: readonly HeaderPair[]
  readonly chunks?: readonly Uint8Array[]
  readonly maxAnswerBytes?: number
}

/** What came back, or why nothing did. */
type Exchanged =
  | { readonly kind: 'answered'; readonly answer: WholeAnswer; readonly transfer: Transfer }
  /** `unsent`: not one byte of the body, or of the request without one, can have left. */
  | {
      readonly kind: 'failed'
      readonly detail: string
      readonly unsent: boolean
      readonly transfer: Transfer
    }
  | { readonly kind: 'unsendable'; readonly why: string }

export interface WholeAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | readonly string[]>>
  readonly body: Uint8Array
  readonly tooLong: boolean
  /** All of the request had been taken before it came. */
  readonly early: boolean
}

interface StoreOriginOptions {
  readonly sink: string
  readonly config: ObjectSinkConfig
  readonly emit: EmitSinkEvent
  readonly onSent: (bytes: number) => void
  /** Wall clock, ms since the epoch: for signatures. */
  readonly nowMs: () => number
  readonly lookup?: Lookup | undefined
}

const MAX_ANSWER_BYTES = 64 * 1024
/** Another request may go over the connection behind these. */
const WELCOME = new Set([200, 201, 204, 207, 404, 405, 409, 412])

export class StoreOrigin {
  /** Host and port, as shown to people. */
  readonly target: string
  readonly #o: StoreOriginOptions
  readonly #url: URL
  readonly #headers: SecretHeaders
  readonly #auth: RequestAuth
  readonly #outbound: Outbound
  /** What the last request showed who asks with. */
  #shown: readonly HeaderPair[] = []

  constructor(options: StoreOriginOptions) {
    const { sink, config, emit, lookup, nowMs } = options
    const { timeout: timeoutMs, minBytesPerSecond, maxRetryAfter } = config
    this.#o = options
    this.#url = new URL(config.url)
    this.target = `${this.#url.hostname}:${portOf(this.#url)}`
    this.#headers = new SecretHeaders(sink, { ...config, bearerToken: null }, emit)
    this.#outbound = new Outbound({ sink, config, emit, lookup })
    const limits = { timeoutMs, minBytesPerSecond, maxRetryAfter, outbound: this.#outbound }
    this.#auth = createAuth(httpAuthOf(config.auth), { sink, emit, nowMs, ...limits })
  }

  urlOf(name: string): URL {
    const url = new URL(this.#url)
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/${name}`
    return url
  }

  /** Never rejects. */
  async exchange(request: StoreRequest, signal: AbortSignal): Promise<Exchanged> {
    const { config, onSent } = this.#o
    const { method, chunks = [], headers: own = [] } = request
    const { name = '', place } = request
    const url = place === undefined ? this.urlOf(name) : new URL(place, this.#url)
    const configured = this.#headers.resolve()
    if ('why' in configured) return { kind: 'unsendable', why: configured.why }
    const headers = [...own, ...configured.pairs]
    const auth = await this.#auth.headersFor({ method, url, headers, body: chunks }, signal)
    if ('why' in auth) return unauthorized(auth)
    const client = this.#outbound.clientFor(url)
    if ('why' in client) return { kind: 'unsendable', why: client.why }
    this.#shown = [...configured.pairs, ...auth.pairs]
    const byteLength = chunks.reduce((bytes, chunk) => bytes + chunk.length, 0)
    let hasLeft = false
    const received = await client.send(
      {
        head: headOf(method, url, byteLength, [...headers, ...auth.pairs]),
        body: chunks,
        bodyBytes: byteLength,
        timeoutMs: config.timeout,
        minBytesPerSecond: config.minBytesPerSecond,
        maxAnswerBytes: request.maxAnswerBytes ?? MAX_ANSWER_BYTES,
        signal,
        onSent: (bytes) => {
          hasLeft = true
          onSent(bytes)
        },
      },
      ({ head, error }) => error === null && head !== null && WELCOME.has(head.status),
    )
    return this.#learn(this.#exchanged(received, byteLength, hasLeft), auth.pairs)
  }

  /** Credentials that were refused and are others now may pass at the next try. */
  #learn(came: Exchanged, pairs: readonly HeaderPair[]): Exchanged {
    if (came.kind !== 'answered') return came
    const { headers, status } = came.answer
    const dateMs = Date.parse(String(headers['date'] ?? ''))
    const verdict = { status, dateMs: Number.isNaN(dateMs) ? null : dateMs, pairs }
    const words = this.#auth.learn(verdict)
    if (words === null) return came
    const detail = `answered ${status}; ${words}`
    return { kind: 'failed', detail, unsent: false, transfer: came.transfer }
  }

  hide(text: string): string {
    return hideSecrets(text, secretsOf(this.#url, this.#shown))
  }

  /** Reads secrets and certificates again. True: something is new. */
  async refresh(): Promise<boolean> {
    const headers = await this.#headers.refresh()
    const secrets = (await this.#auth.refresh()) || headers
    return (await this.#outbound.refresh()) || secrets
  }

  get failing(): boolean {
    return this.#headers.failing || this.#auth.failing || this.#outbound.failing
  }

  close(): void {
    this.#auth.close()
    this.#outbound.destroy()
  }

  #exchanged(received: ClientAnswer, bodyBytes: number, hasLeft: boolean): Exchanged {
    const { head, body, error, earlyAt, tooLong, transfer } = received
    if (head === null || error !== null || head.fault !== null) {
      this.#outbound.learn(error)
      const progress = { sentBytes: transfer.bytes, bodyBytes }
      const detail =
        head?.fault ?? describeNetworkError(error ?? new Error('no answer'), this.target, progress)
      // What a proxy refuses, it refuses until a person does something.
      if (proxyRefusalOf(error)?.mayPass === false) return { kind: 'unsendable', why: detail }
      return { kind: 'failed', detail, unsent: !hasLeft && bodyBytes > 0, transfer }
    }
    this.#outbound.learn(null)
    const { status, headers } = head
    const early = typeof earlyAt === 'number'
    return { kind: 'answered', answer: { status, headers, body, tooLong, early }, transfer }
  }
}

/** Nothing was sent. */
const NO_TRANSFER: Transfer = { bytes: 0, ms: 0, timedOut: false }

function unauthorized({ kind, why }: AuthFailure): Exchanged {
  if (kind === 'hold') return { kind: 'unsendable', why }
  return { kind: 'failed', detail: `not sent: ${why}`, unsent: true, transfer: NO_TRANSFER }
}

function headOf(
  method: string,
  url: URL,
  byteLength: number,
  headers: readonly HeaderPair[],
): string {
  const lines = [
    `${method} ${url.pathname}${url.search} HTTP/1.1`,
    `host: ${url.host}`,
    'connection: keep-alive',
    'user-agent: sluice',
    'accept-encoding: identity',
    ...headers.map(([name, value]) => `${name.toLowerCase()}: ${value}`),
  ]
  if (method !== 'GET') lines.push(`content-length: ${byteLength}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}
