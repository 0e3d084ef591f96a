/**
 * The NATS sink: a message for each batch, or for each record, in a JetStream stream that is there.
 * A batch is acked once the stream acked all of its messages. I4: a repeat is known by the last
 * message of its subject (batch-mode.ts), or by its ids (record-mode.ts). I8: what the server does
 * not take is held or tried again; only a record that no stream of this configuration could take is
 * refused.
 *
 * Makes, changes and purges no stream. One connection, for all streams of the sink.
 */
import type { Batch, BatchEncoder, SinkAnswer, SinkHealth, SinkPromise } from '../../ports/sink.ts'
import { FileWatch } from '../../shared/file-watch.ts'
import { counted } from '../counted.ts'
import type { EmitSinkEvent } from '../events.ts'
import { hideInAnswer } from '../http/answers/hide-secrets.ts'
import { compileTemplate } from '../mapping/template.ts'
import type { ConfiguredSink, SinkOptions } from '../sink-type.ts'
import { createSinkStats } from '../stats.ts'
import type { MessageMode, NatsAttempt } from './attempt.ts'
import { BatchMode } from './batch-mode.ts'
import { type NatsSinkConfig, natsFiles } from './config.ts'
import { natsEncoder, subjectTemplate } from './encode.ts'
import { type StreamFacts, streamFacts } from './jetstream/api.ts'
import { LinkFault, NatsLink, type OpenLink } from './jetstream/link.ts'
import { answerOf, held, unanswered } from './jetstream/reply.ts'
import { promiseOf } from './promise.ts'
import { RecordMode } from './record-mode.ts'

interface NatsSinkOptions extends SinkOptions<NatsSinkConfig> {
  /** Wall clock, ms since the epoch; for `lastAckAtMs` alone. */
  readonly nowMs?: () => number
  /** How often secret and certificate files are looked at, ms. @default 1000 */
  readonly fileCheckMs?: number
}

/** Opens a connection at its start, and whenever a batch finds none. */
export function createNatsSink(options: NatsSinkOptions): ConfiguredSink {
  return new NatsSink(options)
}

class NatsSink implements ConfiguredSink {
  readonly name: string
  readonly encoder: BatchEncoder
  readonly stats = createSinkStats()
  readonly #config: NatsSinkConfig
  readonly #emit: EmitSinkEvent
  readonly #nowMs: () => number
  readonly #link: NatsLink
  readonly #mode: MessageMode
  readonly #watch: FileWatch | null
  readonly #listeners: Array<() => void> = []
  readonly #giveUps = new Set<() => void>()
  /** Of the connection that they were asked over. */
  readonly #facts = new WeakMap<OpenLink, StreamFacts>()
  #lastFacts: StreamFacts | null = null
  #closed = false

  constructor({ name, config, emit, nowMs = Date.now, fileCheckMs }: NatsSinkOptions) {
    this.name = name
    this.#config = config
    this.#emit = emit
    this.#nowMs = nowMs
    this.encoder = natsEncoder(config)
    this.#link = new NatsLink(name, config)
    const template = compileTemplate(subjectTemplate(config))
    const { stitches } = this.encoder
    this.#mode =
      stitches === null
        ? new RecordMode({ config, template })
        : new BatchMode({ config, template, encoding: stitches })
    const files = natsFiles(config).map(([, path]) => path)
    this.#watch =
      files.length === 0 ? null : new FileWatch(files, async () => this.#changed(), fileCheckMs)
  }

  get health(): SinkHealth {
    return { connected: this.#link.isConnected, detail: this.#link.detail }
  }

  get promise(): SinkPromise {
    const lacks = this.#mode instanceof BatchMode ? this.#mode.lacks : null
    return promiseOf(this.#config, { facts: this.#lastFacts, lacks })
  }

  start(): void {
    this.#link.open().catch(() => undefined)
  }

  async send(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const { name: sink, stats } = this
    const counting = { sink, stats, emit: this.#emit, nowMs: this.#nowMs }
    return await counted(counting, batch, () => this.#try(batch, signal))
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** They are read with each connection. */
  async reread(): Promise<void> {}

  async close(): Promise<void> {
    this.#closed = true
    this.#watch?.close()
    for (const giveUp of this.#giveUps) giveUp()
    this.#link.close()
  }

  /** A new secret or certificate may end a hold. */
  #changed(): void {
    if (this.#closed) return
    for (const listener of this.#listeners) listener()
  }

  async #try(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const course = { isOver: false, bytes: 0 }
    let giveUp: () => void = () => undefined
    const over = new Promise<void>((resolve) => {
      giveUp = resolve
    })
    const onAbort = (): void => {
      course.isOver = true
      giveUp()
    }
    if (signal.aborted || this.#closed) onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    this.#giveUps.add(onAbort)
    const givenUp = over.then((): SinkAnswer => {
      const unsent = course.bytes === 0
      const words = unsent ? 'given up before it was sent' : 'given up; it was not acked yet'
      return answerOf(unanswered(words, { unsent }), { bytes: 0, ms: 0 })
    })
    try {
      const answer = await Promise.race([givenUp, this.#attempt(batch, course, over)])
      return hideInAnswer(answer, this.#link.secrets)
    } finally {
      course.isOver = true
      signal.removeEventListener('abort', onAbort)
      this.#giveUps.delete(onAbort)
    }
  }

  async #attempt(batch: Batch, course: Course, over: Promise<void>): Promise<SinkAnswer> {
    let link: OpenLink | null = null
    try {
      link = await this.#link.open()
      const answer = await this.#mode.send(this.#attemptOver(link, batch, course, over))
      return await this.#explained(link, answer, course)
    } catch (error) {
      if (!(error instanceof LinkFault)) throw error
      const { failure } = error
      if (link !== null && failure.kind === 'retry' && failure.timedOut === true)
        this.#link.drop(link, failure.detail)
      const unsent = course.bytes === 0 ? { unsent: true } : {}
      return { ...answerOf(failure, { bytes: 0, ms: 0 }), ...unsent }
    }
  }

  #attemptOver(link: OpenLink, batch: Batch, course: Course, over: Promise<void>): NatsAttempt {
    return {
      batch,
      link,
      over,
      get isOver() {
        return course.isOver
      },
      facts: async (again) => await this.#factsOf(link, again === 'again'),
      sent: (bytes) => {
        course.bytes += bytes
        this.stats.sentBytes += bytes
      },
      mayRepeat: (why) => {
        const { stream, firstSeq, lastSeq } = batch
        this.stats.mayRepeat['message-gone'] += 1
        this.#emit({ type: 'sink.may-repeat', sink: this.name, stream, firstSeq, lastSeq, why })
      },
    }
  }

  /** A connection that was silent goes; that nobody took a message may have a reason to be told. */
  async #explained(link: OpenLink, answer: SinkAnswer, course: Course): Promise<SinkAnswer> {
    if (answer.kind !== 'retry') return answer
    if (answer.transfer?.timedOut === true) this.#link.drop(link, answer.detail)
    if (answer.code !== '503' || course.isOver) return answer
    try {
      await this.#factsOf(link, true)
    } catch (error) {
      if (!(error instanceof LinkFault) || error.failure.kind !== 'hold') return answer
      return answerOf(error.failure, { bytes: 0, ms: 0 })
    }
    return answer
  }

  /** @throws LinkFault if the stream is not fit */
  async #factsOf(link: OpenLink, again: boolean): Promise<StreamFacts> {
    const known = again ? undefined : this.#facts.get(link)
    if (known !== undefined) return known
    const { domain, jetStream, minReplicas, timeout: timeoutMs } = this.#config
    const facts = await streamFacts(link, jetStream, { domain, timeoutMs })
    this.#lastFacts = facts
    const { closedTo, replicas } = facts
    if (closedTo !== null) throw new LinkFault(held(null, `stream ${jetStream} ${closedTo}`))
    if (replicas < minReplicas) {
      const detail = `stream ${jetStream} has ${replicas} replicas, minReplicas is ${minReplicas}: nats stream edit ${jetStream} --replicas ${minReplicas}`
      throw new LinkFault(held(null, detail))
    }
    this.#facts.set(link, facts)
    return facts
  }
}

interface Course {
  /** Nobody waits any more. */
  isOver: boolean
  /** Of messages that were handed over. */
  bytes: number
}
