/**
 * The HTTP sink: one POST per batch, as the ingest contract has it, over a small pool of keep-alive
 * connections. I4: every try of a batch is the same request. I8: network, TLS, DNS and time-outs
 * are a retry; a missing secret or certificate is a hold; nothing here ever says more than the far
 * side said.
 *
 * Does not follow redirects or repeat by itself: what follows from an answer is the drain's. A
 * keep-alive connection that the sink has closed is a retry like any other. Connections and bytes:
 * outbound.ts, client/. Who sends: auth/.
 */
import type { Batch, Listed, SinkAnswer, SinkPromise } from '../../ports/sink.ts'
import { FileWatch } from '../../shared/file-watch.ts'
import { counted } from '../counted.ts'
import type { EmitSinkEvent } from '../events.ts'
import type { ConfiguredSink } from '../sink-type.ts'
import { createSinkStats } from '../stats.ts'
import { MAX_ANSWER_BYTES, type Sent } from './answers/answer.ts'
import { hideInAnswer, secretsOf } from './answers/hide-secrets.ts'
import { readAnswer } from './answers/read-answer.ts'
import { type AnswerRules, answerRules } from './answers/rules.ts'
import { createAuth } from './auth/auth.ts'
import type { AuthFailure, RequestAuth } from './auth/request-auth.ts'
import type { Lookup } from './client/addresses.ts'
import type { ClientAnswer } from './client/connection.ts'
import { DialError, LinkError, proxyRefusalOf } from './client/link-error.ts'
import { describeNetworkError } from './client/network-error.ts'
import { type HttpSinkConfig, httpFiles } from './config.ts'
import { type HttpEncoder, httpEncoder } from './encode.ts'
import { bodyOf, type RequestBody, withRefused } from './formats/body.ts'
import { promiseOf } from './formats/registry.ts'
import type { HeaderPair } from './header-rules.ts'
import { Outbound } from './outbound.ts'
import { portOf, requestHead } from './request.ts'
import { SecretHeaders } from './secrets.ts'

interface HttpSinkOptions {
  readonly name: string
  readonly config: HttpSinkConfig
  readonly emit: EmitSinkEvent
  /** Wall clock, ms since the epoch; for signatures, the skew metric and `lastAckAtMs`. */
  readonly nowMs?: () => number
  /** How often secret and certificate files are looked at, ms. @default 1000 */
  readonly fileCheckMs?: number
  /** How names are looked up. @default the system's way */
  readonly lookup?: Lookup
}

/** A batch in the form in which it was sent. */
interface SentBatch {
  readonly batch: Batch
  readonly body: RequestBody
  /** Nobody can store it: not one byte of the request can have left. */
  readonly unsent: boolean
}

/**
 * A sink as configured. Opens no connection before the first batch. Unreadable secrets and
 * certificates do not throw: the sink answers `hold` until they are there (a gateway always starts,
 * I7).
 * @throws when `config.url` is no http or https URL
 */
export function createHttpSink(options: HttpSinkOptions): ConfiguredSink {
  return new PooledHttpSink(options)
}

class PooledHttpSink implements ConfiguredSink {
  readonly name: string
  readonly encoder: HttpEncoder
  /** Connections come and go with the batches. */
  readonly promise: SinkPromise
  readonly health = { connected: null, detail: null }
  readonly stats = createSinkStats()
  readonly #config: HttpSinkConfig
  readonly #rules: AnswerRules
  readonly #emit: EmitSinkEvent
  readonly #nowMs: () => number
  readonly #url: URL
  /** Host and port, as shown to people. */
  readonly #target: string
  readonly #secrets: SecretHeaders
  readonly #auth: RequestAuth
  readonly #outbound: Outbound
  readonly #watch: FileWatch | null
  readonly #listeners: Array<() => void> = []
  /** Requests in progress. */
  readonly #requests = new Set<AbortController>()
  #closed = false

  constructor(options: HttpSinkOptions) {
    this.name = options.name
    this.#config = options.config
    this.encoder = httpEncoder(options.config)
    this.promise = promiseOf(options.config)
    this.#rules = answerRules(options.config)
    this.#emit = options.emit
    this.#nowMs = options.nowMs ?? Date.now
    this.#url = new URL(options.config.url)
    if (this.#url.protocol !== 'http:' && this.#url.protocol !== 'https:') {
      throw new Error(`sinks.${options.name}.url: ${this.#url.protocol} is not http: or https:`)
    }
    this.#target = `${this.#url.hostname}:${portOf(this.#url)}`
    const files = httpFiles(options.config).map(([, path]) => path)
    this.#watch =
      files.length === 0 ? null : new FileWatch(files, () => this.#readFiles(), options.fileCheckMs)
    this.#secrets = new SecretHeaders(options.name, options.config, options.emit)
    const { name: sink, config, emit, lookup } = options
    const outbound = new Outbound({ sink, config, emit, lookup })
    this.#outbound = outbound
    const { auth, timeout: timeoutMs, minBytesPerSecond, maxRetryAfter } = config
    const limits = { timeoutMs, minBytesPerSecond, maxRetryAfter }
    this.#auth = createAuth(auth, { sink, emit, nowMs: this.#nowMs, outbound, ...limits })
  }

  /** There is nothing to open before the first batch. */
  start(): void {}

  async send(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const { name: sink, stats } = this
    const counting = { sink, stats, emit: this.#emit, nowMs: this.#nowMs }
    return await counted(counting, batch, () => this.#attempt(batch, signal))
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /**
   * Reads secrets and certificates anew if their files changed, without waiting for the next look.
   */
  async reread(): Promise<void> {
    await this.#readFiles()
  }

  /** Ends all connections, requests in progress included (they resolve as `retry`). */
  async close(): Promise<void> {
    this.#closed = true
    this.#watch?.close()
    for (const request of this.#requests) request.abort()
    this.#auth.close()
    this.#outbound.destroy()
  }

  async #attempt(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const body = await bodyOf(batch, this.encoder.format)
    if (body.recordCount === 0) return nothingToSend(body.refused)
    if (this.#closed || signal.aborted) return this.#unanswered('given up before it was sent', true)
    const controller = new AbortController()
    const onAbort = (): void => controller.abort()
    this.#requests.add(controller)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      const answer = await this.#exchange(batch, body, controller.signal)
      return withRefused(answer, body.refused)
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#requests.delete(controller)
    }
  }

  /** One request and its answer, or why there was none. */
  async #exchange(batch: Batch, body: RequestBody, signal: AbortSignal): Promise<SinkAnswer> {
    const headers = this.#secrets.resolve()
    if ('why' in headers) return this.#unsendable(headers.why)
    const client = this.#outbound.clientFor(this.#url)
    if ('why' in client) return this.#unsendable(client.why)
    const auth = await this.#auth.headersFor(
      { method: 'POST', url: this.#url, headers: signable(body, headers.pairs), body: body.chunks },
      signal,
    )
    if ('why' in auth) return this.#unauthorized(auth)
    const pairs = [...headers.pairs, ...auth.pairs]
    let hasLeft = false
    const onSent = (bytes: number): void => {
      hasLeft = true
      this.stats.sentBytes += bytes
    }
    const { timeout: timeoutMs, minBytesPerSecond } = this.#config
    let answer: SinkAnswer | null = null
    const received = await client.send(
      {
        head: requestHead(this.#url, batch, body, pairs),
        body: body.chunks,
        bodyBytes: body.byteLength,
        timeoutMs,
        minBytesPerSecond,
        maxAnswerBytes: MAX_ANSWER_BYTES,
        signal,
        onSent,
      },
      (one) => {
        answer = this.#read(one, { batch, body, unsent: !hasLeft })
        return isUnderstood(answer)
      },
    )
    answer ??= this.#read(received, { batch, body, unsent: !hasLeft })
    answer = hideInAnswer(answer, secretsOf(this.#url, pairs))
    answer = this.#learn(answer, received, auth.pairs)
    return hasLeft ? { ...answer, transfer: received.transfer } : answer
  }

  /** What was refused for credentials that are replaced now may pass at the next try. */
  #learn(answer: SinkAnswer, { head }: ClientAnswer, pairs: readonly HeaderPair[]): SinkAnswer {
    if (head === null) return answer
    const { code, sinkDateMs } = answer
    const words = this.#auth.learn({ status: head.status, dateMs: sinkDateMs, pairs })
    if (words === null || !('detail' in answer)) return answer
    const detail = `${answer.detail}; ${words}`
    const again = { kind: 'retry', scope: 'sink', retryAfterMs: null, answered: true } as const
    return { ...again, code, sinkDateMs, detail }
  }

  #read(received: ClientAnswer, sent: SentBatch): SinkAnswer {
    const { head, body, tooLong, error, earlyAt } = received
    // Of an answer that does not ack the status alone decides, and its Retry-After counts; the cut
    // body is no loss.
    if (head === null || (error !== null && this.#rules.needsWhole(head.status)))
      return this.#failed(error ?? new Error('no answer'), received, sent)
    this.#outbound.learn(null)
    const answer = readAnswer(
      {
        status: head.status,
        headers: head.headers,
        body,
        bodyTooLong: tooLong,
        fault: head.fault,
        earlyAt,
      },
      this.#rules,
      seqsOf(sent),
    )
    if (answer.sinkDateMs !== null) {
      // Date is cut to the second: on average the sink's clock is half a second further.
      this.stats.clockSkewSeconds = (answer.sinkDateMs + 500 - this.#nowMs()) / 1000
    }
    return answer
  }

  #failed(error: Error, received: ClientAnswer, { body, unsent }: SentBatch): SinkAnswer {
    if (error instanceof LinkError && error.code === 'ABORTED')
      return this.#unanswered(`given up; ${this.#target} had not answered yet`, unsent)
    if (
      error instanceof DialError &&
      error.cause instanceof LinkError &&
      error.cause.code === 'ABORTED'
    )
      return this.#unanswered(`given up; there was no connection to ${this.#target} yet`, unsent)
    const progress = { sentBytes: received.transfer.bytes, bodyBytes: body.byteLength }
    this.#outbound.learn(error)
    const words = describeNetworkError(error, this.#target, progress)
    const refusal = proxyRefusalOf(error)
    // What a proxy refuses, it refuses until a person does something.
    if (refusal?.mayPass === false)
      return { ...this.#unsendable(words), code: String(refusal.status) }
    return this.#unanswered(words, unsent)
  }

  /** @param unsent nobody can store it: not one byte of the request can have left */
  #unanswered(detail: string, unsent: boolean): SinkAnswer {
    return {
      code: null,
      sinkDateMs: null,
      kind: 'retry',
      scope: 'sink',
      retryAfterMs: null,
      detail,
      answered: false,
      unsent,
    }
  }

  #unsendable(why: string): SinkAnswer {
    return {
      code: null,
      sinkDateMs: null,
      kind: 'hold',
      scope: 'sink',
      detail: `not sent: ${why}`,
      unsent: true,
    }
  }

  #unauthorized({ kind, why, code, retryAfterMs }: AuthFailure): SinkAnswer {
    if (kind === 'hold') return { ...this.#unsendable(why), code }
    const facts = { code, sinkDateMs: null, retryAfterMs, answered: false, unsent: true } as const
    return { kind: 'retry', scope: 'sink', detail: `not sent: ${why}`, ...facts }
  }

  async #readFiles(): Promise<'again' | void> {
    const headersChanged = await this.#secrets.refresh()
    const secretsChanged = (await this.#auth.refresh()) || headersChanged
    const tlsChanged = await this.#outbound.refresh()
    if (!this.#closed && (secretsChanged || tlsChanged)) {
      for (const listener of this.#listeners) listener()
    }
    if (this.#secrets.failing || this.#auth.failing || this.#outbound.failing) return 'again'
  }
}

/** Headers that signatures may cover: those that nobody on the way changes. */
function signable({ contentType }: RequestBody, pairs: readonly HeaderPair[]): HeaderPair[] {
  const ours = pairs.filter(([name]) => name.toLowerCase().startsWith('x-amz-'))
  return [['content-type', contentType], ...ours]
}

/** What the answer can speak of. */
function seqsOf({ batch: { firstSeq, lastSeq }, body: { seqs } }: SentBatch): Sent {
  return seqs === null ? { firstSeq, lastSeq } : { firstSeq, lastSeq, seqs }
}

/** No record of the batch has a place in the format. */
function nothingToSend(listed: readonly Listed[]): SinkAnswer {
  return { kind: 'verdicts', code: null, sinkDateMs: null, ackedThrough: null, listed }
}

/** The sink did its part: another request may go over the same connection. */
function isUnderstood(answer: SinkAnswer): boolean {
  return answer.kind === 'verdicts' || answer.kind === 'too-large' || answer.kind === 'refused'
}
