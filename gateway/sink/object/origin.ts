/**
 * The server of a store: its connections, TLS and credentials, and one request at a time over them.
 * What an answer means: answers.ts.
 */
import type { SecureContext } from 'node:tls'
import type { Transfer } from '../../ports/sink.ts'
import { hiddenParts } from '../../shared/text/hide-url.ts'
import type { EmitSinkEvent } from '../events.ts'
import type { Lookup } from '../http/client/addresses.ts'
import { HttpClient } from '../http/client/client.ts'
import type { ClientAnswer } from '../http/client/connection.ts'
import { describeNetworkError, isUntrusted } from '../http/client/network-error.ts'
import type { HeaderPair } from '../http/header-rules.ts'
import { hostOf, portOf } from '../http/request.ts'
import { SinkTls } from '../http/tls.ts'
import { StoreAuth } from './auth.ts'
import type { ObjectSinkConfig } from './config.ts'

export interface StoreRequest {
  readonly method: 'GET' | 'PUT' | 'MKCOL' | 'MOVE' | 'DELETE'
  /** Below the URL of the store. */
  readonly name: string
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
/** What is shorter would be found in ordinary words. */
const MIN_SECRET_CHARS = 6
/** Another request may go over the connection behind these. */
const WELCOME = new Set([200, 201, 204, 404, 405, 409, 412])

export class StoreOrigin {
  /** Host and port, as shown to people. */
  readonly target: string
  readonly #o: StoreOriginOptions
  readonly #url: URL
  readonly #auth: StoreAuth
  readonly #tls: SinkTls
  #client: HttpClient | null = null
  /** Nobody here vouched for the certificate that was seen last. */
  #wasUntrusted = false

  constructor(options: StoreOriginOptions) {
    const { sink, config, emit } = options
    this.#o = options
    this.#url = new URL(config.url)
    this.target = `${this.#url.hostname}:${portOf(this.#url)}`
    this.#auth = new StoreAuth(sink, config, emit)
    this.#tls = new SinkTls(sink, this.#isTls ? config.tls : null, emit)
  }

  urlOf(name: string): URL {
    const url = new URL(this.#url)
    url.pathname = `${url.pathname.replace(/\/+$/, '')}/${name}`
    return url
  }

  /** Never rejects. */
  async exchange(request: StoreRequest, signal: AbortSignal): Promise<Exchanged> {
    const { config, nowMs, onSent } = this.#o
    const { method, chunks = [], headers: own = [] } = request
    const url = this.urlOf(request.name)
    const resolved = this.#auth.headersOf({ method, url, headers: own, chunks }, nowMs())
    if ('why' in resolved) return { kind: 'unsendable', why: resolved.why }
    // The system's authorities may have been renewed since the store's was not among them.
    if (this.#wasUntrusted && this.#tls.forgetSystem()) this.retire()
    const tls = this.#isTls ? this.#tls.resolve() : { context: null }
    if ('why' in tls) return { kind: 'unsendable', why: tls.why }
    this.#client ??= this.#open(tls.context)
    const byteLength = chunks.reduce((bytes, chunk) => bytes + chunk.length, 0)
    let hasLeft = false
    const received = await this.#client.send(
      {
        head: headOf(method, url, byteLength, resolved.pairs),
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
    return this.#exchanged(received, byteLength, hasLeft)
  }

  hide(text: string): string {
    const secrets = [...hiddenParts(this.#url), ...this.#auth.secrets]
    return secrets
      .filter(({ length }) => length >= MIN_SECRET_CHARS)
      .reduce((shown, one) => shown.replaceAll(one, '(hidden)'), text)
  }

  /** Reads secrets and certificates again. True: something is new. */
  async refresh(): Promise<boolean> {
    const secrets = await this.#auth.refresh()
    const tls = await this.#tls.refresh()
    if (tls) this.retire()
    return secrets || tls
  }

  get failing(): boolean {
    return this.#auth.failing || this.#tls.failing
  }

  /** New requests open new connections; those in progress end where they are. */
  retire(): void {
    this.#client?.retire()
    this.#client = null
  }

  close(): void {
    this.#client?.destroy()
    this.#client = null
  }

  get #isTls(): boolean {
    return this.#url.protocol === 'https:'
  }

  #exchanged(received: ClientAnswer, bodyBytes: number, hasLeft: boolean): Exchanged {
    const { head, body, error, earlyAt, tooLong, transfer } = received
    if (head === null || error !== null || head.fault !== null) {
      this.#wasUntrusted = isUntrusted(error)
      const progress = { sentBytes: transfer.bytes, bodyBytes }
      const detail =
        head?.fault ?? describeNetworkError(error ?? new Error('no answer'), this.target, progress)
      return { kind: 'failed', detail, unsent: !hasLeft && bodyBytes > 0, transfer }
    }
    this.#wasUntrusted = false
    const { status, headers } = head
    const early = typeof earlyAt === 'number'
    return { kind: 'answered', answer: { status, headers, body, tooLong, early }, transfer }
  }

  #open(context: SecureContext | null): HttpClient {
    const { config, lookup } = this.#o
    return new HttpClient({
      hostname: hostOf(this.#url),
      port: portOf(this.#url),
      context,
      maxConnections: config.maxInFlight,
      connectTimeoutMs: config.connectTimeout,
      lookup,
    })
  }
}

function headOf(
  method: string,
  url: URL,
  byteLength: number,
  headers: readonly HeaderPair[],
): string {
  const lines = [
    `${method} ${url.pathname} HTTP/1.1`,
    `host: ${url.host}`,
    'connection: keep-alive',
    'user-agent: sluice',
    'accept-encoding: identity',
    ...headers.map(([name, value]) => `${name.toLowerCase()}: ${value}`),
  ]
  if (method !== 'GET') lines.push(`content-length: ${byteLength}`)
  return `${lines.join('\r\n')}\r\n\r\n`
}
