/**
 * The Kafka sink: each record a message, a batch one exchange, by an idempotent producer for each
 * stream. A batch is acked once all in-sync replicas of all its partitions have it. I4: every try has
 * the same messages; I8: a cluster that is not there is a retry, what an operator has to see to is a
 * hold; nothing here says more than the brokers did.
 *
 * At least once: a batch whose answer was lost comes again, and its ids tell. Creates no topic.
 */
import type { Batch, SinkAnswer, SinkHealth, SinkPromise } from '../../ports/sink.ts'
import { errorMessage } from '../../shared/errors.ts'
import { FileWatch } from '../../shared/file-watch.ts'
import { counted } from '../counted.ts'
import type { EmitSinkEvent } from '../events.ts'
import type { ConfiguredSink, SinkOptions } from '../sink-type.ts'
import { createSinkStats } from '../stats.ts'
import { answerTo } from './answers.ts'
import type { KafkaSinkConfig } from './config.ts'
import { kafkaFiles } from './config-checks.ts'
import { KafkaCredentials, type Shown } from './credentials.ts'
import { type EncodedBatch, type KafkaEncoder, kafkaEncoder } from './encode.ts'
import { type KafkaLibrary, type KafkaMetadata, kafkaLibrary } from './library.ts'
import { ProducerSession } from './session.ts'

export const KAFKA_PROMISE = {
  delivery: 'at least once',
  by: 'with ids',
  ack: 'durable',
} as const satisfies SinkPromise

interface KafkaSinkOptions extends SinkOptions<KafkaSinkConfig> {
  /** Wall clock, ms since the epoch; for `lastAckAtMs` alone. */
  readonly nowMs?: () => number
  /** How often secret and certificate files are looked at, ms. @default 1000 */
  readonly fileCheckMs?: number
}

/** Opens no connection before the first batch. */
export function createKafkaSink(options: KafkaSinkOptions): ConfiguredSink {
  return new KafkaSink(options)
}

class KafkaSink implements ConfiguredSink {
  readonly name: string
  readonly encoder: KafkaEncoder
  readonly stats = createSinkStats()
  readonly #config: KafkaSinkConfig
  readonly #emit: EmitSinkEvent
  readonly #nowMs: () => number
  readonly #credentials: KafkaCredentials
  readonly #watch: FileWatch | null
  readonly #listeners: Array<() => void> = []
  #library: KafkaLibrary | null = null
  /** By stream. */
  readonly #sessions = new Map<string, ProducerSession>()
  readonly #attempts = new Set<AbortController>()
  /** Why the last batch met nobody; null: it was answered. */
  #silence: string | null = null
  /** A topic was seen that has no other broker to keep its records. */
  #hasLoneReplica = false
  #closed = false

  constructor(options: KafkaSinkOptions) {
    const { name, config, emit } = options
    this.name = name
    this.#config = config
    this.#emit = emit
    this.#nowMs = options.nowMs ?? Date.now
    this.encoder = kafkaEncoder(config)
    const files = kafkaFiles(config).map(([, path]) => path)
    this.#watch =
      files.length === 0 ? null : new FileWatch(files, () => this.#readFiles(), options.fileCheckMs)
    this.#credentials = new KafkaCredentials(name, config, emit)
  }

  start(): void {
    const { fault } = kafkaLibrary
    if (fault !== null) this.#emit({ type: 'sink.package-missing', sink: this.name, detail: fault })
  }

  get health(): SinkHealth {
    if (this.#sessions.size === 0) return { connected: null, detail: null }
    const connected = [...this.#sessions.values()].some((session) => session.isConnected)
    return { connected, detail: this.#silence }
  }

  get promise(): SinkPromise {
    return this.#hasLoneReplica ? { ...KAFKA_PROMISE, ack: 'received' } : KAFKA_PROMISE
  }

  async send(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const { name: sink, stats } = this
    const counting = { sink, stats, emit: this.#emit, nowMs: this.#nowMs }
    return await counted(counting, batch, () => this.#try(batch, signal))
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  async reread(): Promise<void> {
    await this.#readFiles()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#watch?.close()
    for (const attempt of this.#attempts) attempt.abort()
    for (const session of this.#sessions.values()) session.discard()
  }

  async #try(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    if (this.#closed || signal.aborted) return givenUp()
    try {
      this.#library ??= await kafkaLibrary.load()
    } catch (error) {
      return heldUnsent(errorMessage(error))
    }
    const shown = this.#credentials.resolve()
    if ('why' in shown) return heldUnsent(shown.why)
    const encoded = await this.encoder.encode(batch)
    if (this.#closed || signal.aborted) return givenUp()
    if (encoded.messages.length === 0) return verdicts(encoded)
    const attempt = new AbortController()
    const onAbort = (): void => attempt.abort()
    this.#attempts.add(attempt)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      const session = this.#sessionOf(batch.stream, this.#library)
      return await this.#exchange(session, { encoded, shown, signal: attempt.signal })
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#attempts.delete(attempt)
    }
  }

  async #exchange(
    session: ProducerSession,
    exchange: {
      readonly encoded: EncodedBatch
      readonly shown: Shown
      readonly signal: AbortSignal
    },
  ): Promise<SinkAnswer> {
    const { encoded, shown, signal } = exchange
    const startedAt = performance.now()
    const bytesBefore = session.takenBytes
    const { timeout } = this.#config
    const end = endOf(signal)
    let unsent = true
    let answer: SinkAnswer
    try {
      // Connections, TLS, the user and the topics have their time before the batch has its own.
      end.after(this.#prepareMs)
      const metadata = await Promise.race([session.prepare(shown, encoded.topics), end.reached])
      this.#lookAtReplicas(metadata)
      unsent = false
      end.after(timeout)
      await Promise.race([session.send(encoded.messages), end.reached])
      answer = verdicts(encoded)
      this.#silence = null
    } catch (error) {
      answer = this.#failed(error, unsent, shown)
      session.discard()
    } finally {
      end.cancel()
    }
    const bytes = Math.max(0, session.takenBytes - bytesBefore)
    this.stats.sentBytes += bytes
    if (unsent) return answer
    const ms = performance.now() - startedAt
    return { ...answer, transfer: { bytes, ms, timedOut: end.hasTimedOut() } }
  }

  get #prepareMs(): number {
    return Math.max(this.#config.connectTimeout, this.#config.timeout)
  }

  #failed(error: unknown, unsent: boolean, shown: Shown): SinkAnswer {
    const target = this.#config.brokers.join(', ')
    const answer =
      error instanceof EndedError
        ? ({
            kind: 'retry',
            scope: 'sink',
            code: null,
            sinkDateMs: null,
            retryAfterMs: null,
            detail: `no answer from ${target}: ${error.message}`,
            answered: false,
            unsent,
          } as const)
        : answerTo(error, { target, unsent, shown })
    const isSilent = answer.kind === 'retry' && !answer.answered
    this.#silence = isSilent ? answer.detail : null
    return answer
  }

  #sessionOf(stream: string, library: KafkaLibrary): ProducerSession {
    const existing = this.#sessions.get(stream)
    if (existing !== undefined) return existing
    const session = new ProducerSession(library, this.#config)
    this.#sessions.set(stream, session)
    return session
  }

  /** An ack of the only replica there is may be lost with its broker. */
  #lookAtReplicas({ topics }: KafkaMetadata): void {
    for (const topic of topics.values()) {
      if (topic?.partitions.some(({ replicas }) => replicas.length < 2) === true)
        this.#hasLoneReplica = true
    }
  }

  async #readFiles(): Promise<'again' | void> {
    if (await this.#credentials.refresh()) {
      for (const listener of this.#listeners) listener()
    }
    return this.#credentials.failing ? 'again' : undefined
  }
}

/** A try that came to its end before an answer did. */
class EndedError extends Error {
  override readonly name = 'EndedError'
}

/** When a try is over, whatever comes of it. */
function endOf(signal: AbortSignal) {
  let timer: NodeJS.Timeout | undefined
  let timedOut = false
  let reject: (error: Error) => void = () => undefined
  const reached = new Promise<never>((_, rejects) => {
    reject = rejects
  })
  reached.catch(() => undefined)
  const onAbort = (): void => reject(new EndedError('given up'))
  signal.addEventListener('abort', onAbort, { once: true })
  return {
    reached,
    /** From now on. */
    after: (ms: number): void => {
      clearTimeout(timer)
      timer = setTimeout(() => {
        timedOut = true
        reject(new EndedError(`it was silent for ${Math.round(ms / 1000)} s`))
      }, ms)
    },
    cancel: (): void => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    },
    hasTimedOut: () => timedOut,
  }
}

function verdicts({ refused }: EncodedBatch): SinkAnswer {
  return { kind: 'verdicts', code: null, sinkDateMs: null, ackedThrough: null, listed: refused }
}

function givenUp(): SinkAnswer {
  const said = { code: null, sinkDateMs: null, retryAfterMs: null, unsent: true } as const
  const detail = 'given up before it was sent'
  return { ...said, kind: 'retry', scope: 'sink', detail, answered: false }
}

function heldUnsent(detail: string): SinkAnswer {
  const said = { code: null, sinkDateMs: null, unsent: true } as const
  return { ...said, kind: 'hold', scope: 'sink', detail }
}
