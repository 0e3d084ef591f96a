/**
 * The HTTP sink: one POST per batch, as the ingest contract has it, over a small pool of keep-alive connections.
 * I4: every try of a batch is the same request. I8: network, TLS, DNS and time-outs are a retry; a missing secret or
 * certificate is a hold; nothing here ever says more than the far side said.
 *
 * Does not follow redirects, use proxies, repeat by itself or remember anything between requests: what follows from
 * an answer is the drain's. A keep-alive connection that the sink has closed is a retry like any other.
 */
import type { Readable } from 'node:stream'
import type { Pool } from 'undici'
import type { HttpSinkConfig } from '../../config/config.ts'
import { Poller } from '../../shared/poller.ts'
import type { EmitSinkEvent } from '../events.ts'
import type { Batch, Sink, SinkAnswer } from '../sink.ts'
import { acksSomething, createSinkStats, outcomeOf, type SinkStats } from '../stats.ts'
import { type HttpAnswer, MAX_ANSWER_BYTES, mayAck, readAnswer } from './answer.ts'
import { describeNetworkError } from './network-error.ts'
import { requestHeaders } from './request.ts'
import { type HeaderPair, SecretHeaders } from './secrets.ts'
import { SinkTls, type TlsMaterial } from './tls.ts'

/** A connection that takes longer is given up, ms, unless `timeout` is shorter: the next address or try may work. */
const CONNECT_TIMEOUT_MS = 10_000

/**
 * How long an idle connection is kept without a hint of the sink, ms. Longer saves handshakes of a quiet stream;
 * shorter meets fewer connections that a NAT or the sink has silently forgotten.
 */
const IDLE_CONNECTION_MS = 30_000

const FILE_CHECK_MS = 1000

export interface HttpSinkOptions {
  readonly name: string
  readonly config: HttpSinkConfig
  readonly emit: EmitSinkEvent
  /** Wall clock, ms since the epoch; for the skew metric and `lastAckAtMs` alone. */
  readonly nowMs?: () => number
  /** How often secret and certificate files are looked at, ms. @default 1000 */
  readonly fileCheckMs?: number
}

/** A {@link Sink} with its counts. */
export interface HttpSink extends Sink {
  /** Reads secrets and certificates anew if their files changed, without waiting for the next look. */
  reread(): Promise<void>
  readonly stats: SinkStats
}

/**
 * A sink as configured. Opens no connection before the first batch. Unreadable secrets and certificates do not throw:
 * the sink answers `hold` until they are there (a gateway always starts, I7).
 * @throws when `config.url` is no http or https URL
 */
export function createHttpSink(options: HttpSinkOptions): HttpSink {
  return new PooledHttpSink(options)
}

/** Why a request was given up by this side. */
type Stopped = 'timeout' | 'aborted'

/** Bodies up to here leave in one piece: the copy costs less than a write for each chunk. */
const MAX_JOINED_BYTES = 64 * 1024

class PooledHttpSink implements HttpSink {
  readonly name: string
  readonly stats = createSinkStats()
  readonly #config: HttpSinkConfig
  readonly #emit: EmitSinkEvent
  readonly #nowMs: () => number
  readonly #url: URL
  /** Host and port, as shown to people. */
  readonly #target: string
  readonly #secrets: SecretHeaders
  readonly #tls: SinkTls
  readonly #poller: Poller | null
  readonly #listeners: Array<() => void> = []
  /** Pools whose certificates were replaced; they end with their last request. */
  readonly #retired = new Set<Pool>()
  #pool: Promise<Pool> | null = null
  #closed = false

  constructor(options: HttpSinkOptions) {
    this.name = options.name
    this.#config = options.config
    this.#emit = options.emit
    this.#nowMs = options.nowMs ?? Date.now
    this.#url = new URL(options.config.url)
    if (this.#url.protocol !== 'http:' && this.#url.protocol !== 'https:') {
      throw new Error(`sinks.${options.name}.url: ${this.#url.protocol} is not http: or https:`)
    }
    const port = this.#url.port === '' ? (this.#isTls ? '443' : '80') : this.#url.port
    this.#target = `${this.#url.hostname}:${port}`
    this.#secrets = new SecretHeaders(options.name, options.config, options.emit)
    this.#tls = new SinkTls(options.name, this.#isTls ? options.config.tls : null, options.emit)
    const hasFiles = this.#secrets.hasFiles || this.#tls.hasFiles
    this.#poller = hasFiles
      ? new Poller(options.fileCheckMs ?? FILE_CHECK_MS, () => this.#checkFiles())
      : null
  }

  get #isTls(): boolean {
    return this.#url.protocol === 'https:'
  }

  async send(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const startedAt = performance.now()
    this.stats.inFlight += 1
    let answer: SinkAnswer
    try {
      answer = await this.#attempt(batch, signal)
    } finally {
      this.stats.inFlight -= 1
      this.stats.requestSeconds.observe((performance.now() - startedAt) / 1000)
    }
    this.#account(answer, batch)
    return answer
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Reads secrets and certificates anew if their files changed, without waiting for the next look. */
  async reread(): Promise<void> {
    await this.#checkFiles()
  }

  /** Ends all connections, requests in progress included (they resolve as `retry`). */
  async close(): Promise<void> {
    this.#closed = true
    this.#poller?.close()
    const pools = [...this.#retired, ...(this.#pool === null ? [] : [await this.#pool])]
    await Promise.all(pools.map((pool) => pool.destroy()))
  }

  async #attempt(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    if (this.#closed || signal.aborted) return this.#unanswered('given up before it was sent', true)
    const headers = this.#secrets.resolve()
    if ('why' in headers) return this.#unsendable(headers.why)
    const tls = this.#tls.resolve()
    if ('why' in tls) return this.#unsendable(tls.why)
    const pool = await (this.#pool ??= this.#openPool(tls.material))
    if (this.#closed || signal.aborted) return this.#unanswered('given up before it was sent', true)

    const controller = new AbortController()
    let stopped: Stopped | null = null
    const stop = (why: Stopped): void => {
      stopped ??= why
      controller.abort()
    }
    const timer = setTimeout(() => stop('timeout'), this.#config.timeout)
    const onAbort = (): void => stop('aborted')
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      return await this.#exchange(pool, batch, headers.pairs, controller.signal, () => stopped)
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    }
  }

  /** One request and its whole answer. Never rejects. */
  async #exchange(
    pool: Pool,
    batch: Batch,
    configured: readonly HeaderPair[],
    signal: AbortSignal,
    stopped: () => Stopped | null,
  ): Promise<SinkAnswer> {
    const progress = { sentBytes: 0, bodyBytes: batch.bodyBytes }
    let received: {
      status: number
      headers: HttpAnswer['headers']
      chunks: Uint8Array[]
      bytes: number
    } | null = null
    try {
      const response = await pool.request({
        method: 'POST',
        path: this.#url.pathname + this.#url.search,
        headers: requestHeaders(batch, configured),
        // undici takes any iterable of bytes; its types name only the asynchronous ones among streams.
        body: this.#countedBody(batch, progress) as unknown as Readable,
        signal,
        // The whole request has one deadline, of the caller.
        headersTimeout: 0,
        bodyTimeout: 0,
      })
      received = { status: response.statusCode, headers: response.headers, chunks: [], bytes: 0 }
      for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
        received.bytes += chunk.length
        // Leaving the loop ends the connection: an endless answer is not read to its end.
        if (received.bytes > MAX_ANSWER_BYTES) break
        received.chunks.push(chunk)
      }
      return this.#read(received, batch)
    } catch (error) {
      // Of an answer that does not ack the status alone decides, and its Retry-After counts; the cut body is no loss.
      if (received !== null && !mayAck(received.status, this.#config)) return this.#read(received, batch)
      return this.#failed(error, stopped(), progress)
    }
  }

  #read(
    received: {
      readonly status: number
      readonly headers: HttpAnswer['headers']
      readonly chunks: Uint8Array[]
      readonly bytes: number
    },
    batch: Batch,
  ): SinkAnswer {
    const bodyTooLong = received.bytes > MAX_ANSWER_BYTES
    const body = Buffer.concat(received.chunks)
    const answer = readAnswer(
      { status: received.status, headers: received.headers, body, bodyTooLong },
      this.#config,
      batch,
    )
    if (answer.sinkDateMs !== null) {
      // Date is cut to the second: on average the sink's clock is half a second further.
      this.stats.clockSkewSeconds = (answer.sinkDateMs + 500 - this.#nowMs()) / 1000
    }
    return answer
  }

  #failed(
    error: unknown,
    stopped: Stopped | null,
    progress: { readonly sentBytes: number; readonly bodyBytes: number },
  ): SinkAnswer {
    // Nobody can store what has no body: the connection never came about, or its TLS.
    const unsent = progress.sentBytes === 0
    if (stopped === 'aborted' || this.#closed)
      return this.#unanswered(`given up; ${this.#target} had not answered yet`, unsent)
    if (stopped === 'timeout') {
      this.stats.timeouts += 1
      const sent = `${progress.sentBytes} of ${progress.bodyBytes} bytes sent`
      return this.#unanswered(
        `no complete answer from ${this.#target} within ${this.#config.timeout} ms (${sent})`,
        unsent,
      )
    }
    this.stats.networkErrors += 1
    return this.#unanswered(describeNetworkError(error, this.#target, progress), unsent)
  }

  #unanswered(detail: string, unsent: boolean): SinkAnswer {
    return { status: null, sinkDateMs: null, kind: 'retry', retryAfterMs: null, detail, unsent }
  }

  #unsendable(why: string): SinkAnswer {
    return {
      status: null,
      sinkDateMs: null,
      kind: 'hold',
      scope: 'sink',
      detail: `not sent: ${why}`,
      unsent: true,
    }
  }

  /** The batch's chunks, counted as they go. Sent with the fixed Content-Length of the head. */
  *#countedBody(batch: Batch, progress: { sentBytes: number }): Generator<Uint8Array, void, undefined> {
    this.stats.sentRecords += batch.recordCount
    const chunks = batch.bodyBytes <= MAX_JOINED_BYTES ? [Buffer.concat(batch.body)] : batch.body
    for (const chunk of chunks) {
      progress.sentBytes += chunk.length
      this.stats.sentBytes += chunk.length
      yield chunk
    }
  }

  #account(answer: SinkAnswer, batch: Batch): void {
    const outcome = outcomeOf(answer, batch)
    this.stats.requests[outcome] += 1
    this.stats.lastStatus = answer.status
    if (acksSomething(answer, batch)) this.stats.lastAckAtMs = this.#nowMs()
    if (answer.kind === 'verdicts') return
    const { kind: what, status, detail } = answer
    this.#emit({ type: 'sink.not-acked', sink: this.name, stream: batch.stream, what, status, detail })
  }

  /** The client is loaded with the first batch: an eighth of all modules, for which no device waits at a start. */
  async #openPool(material: TlsMaterial): Promise<Pool> {
    const { buildConnector, Pool } = await import('undici')
    const timeout = Math.min(CONNECT_TIMEOUT_MS, this.#config.timeout)
    return new Pool(this.#url.origin, {
      connections: this.#config.maxInFlight,
      pipelining: 1,
      allowH2: false,
      keepAliveTimeout: IDLE_CONNECTION_MS,
      connect: buildConnector({ ...material, timeout, allowH2: false }),
    })
  }

  async #checkFiles(): Promise<void> {
    const secretsChanged = await this.#secrets.refresh()
    const tlsChanged = await this.#tls.refresh()
    if (this.#closed || !(secretsChanged || tlsChanged)) return
    this.stats.filesReloaded += 1
    if (tlsChanged && this.#pool !== null) this.#retire(await this.#pool)
    for (const listener of this.#listeners) listener()
  }

  /** New requests open new connections; those in progress end where they are. */
  #retire(pool: Pool): void {
    this.#pool = null
    this.#retired.add(pool)
    void pool.close().then(
      () => this.#retired.delete(pool),
      () => this.#retired.delete(pool),
    )
  }
}
