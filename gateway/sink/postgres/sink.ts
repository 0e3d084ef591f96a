/**
 * The PostgreSQL sink: one statement a batch over a connection that is kept, one for each stream
 * with a batch in flight. I1: acked is what is committed. I4: exactly once, by the number of the
 * queue in the same transaction (exchange/). I8: what keeps the database from taking records is
 * retried or held; a record is refused only if the database said so of its content.
 *
 * Makes no table, changes no table, reads no record of anybody.
 */
import type { Batch, SinkAnswer, SinkHealth, SinkPromise, Transfer } from '../../ports/sink.ts'
import { FileWatch } from '../../shared/file-watch.ts'
import { counted } from '../counted.ts'
import type { EmitSinkEvent } from '../events.ts'
import { hideInAnswer } from '../http/answers/hide-secrets.ts'
import { SinkTls } from '../http/tls.ts'
import type { ConfiguredSink, SinkOptions } from '../sink-type.ts'
import { createSinkStats } from '../stats.ts'
import { type PostgresSinkConfig, postgresFiles } from './config.ts'
import { POSTGRES_PROMISE, postgresEncoder } from './encode.ts'
import { deliver, formOf } from './exchange/deliver.ts'
import { faultOf, GivenUpError } from './wire/faults.ts'
import { type DatabaseLink, Links } from './wire/links.ts'

interface PostgresSinkOptions extends SinkOptions<PostgresSinkConfig> {
  /** Wall clock, ms since the epoch; for `lastAckAtMs` alone. */
  readonly nowMs?: () => number
  /** How often secret and certificate files are looked at, ms. @default 1000 */
  readonly fileCheckMs?: number
}

export function createPostgresSink(options: PostgresSinkOptions): ConfiguredSink {
  return new PostgresSink(options)
}

/** What a try has moved so far. */
interface Progress {
  sentBytes: number
  sentAtMs: number
  linkBytes: number
}

class PostgresSink implements ConfiguredSink {
  readonly name: string
  readonly encoder
  readonly stats = createSinkStats()
  readonly #config: PostgresSinkConfig
  readonly #emit: EmitSinkEvent
  readonly #nowMs: () => number
  readonly #tls: SinkTls
  readonly #links: Links
  readonly #watch: FileWatch | null
  readonly #known = new Map<string, number>()
  readonly #listeners: Array<() => void> = []
  readonly #closing = new AbortController()
  #ack: SinkPromise['ack'] = POSTGRES_PROMISE.ack

  constructor(options: PostgresSinkOptions) {
    const { name, config, emit } = options
    this.name = name
    this.#config = config
    this.encoder = postgresEncoder(config)
    this.#emit = emit
    this.#nowMs = options.nowMs ?? Date.now
    const files = postgresFiles(config).map(([, path]) => path)
    this.#watch =
      files.length === 0 ? null : new FileWatch(files, () => this.#readFiles(), options.fileCheckMs)
    this.#tls = new SinkTls(name, config.tls, emit)
    this.#links = new Links(config, this.#tls)
  }

  get health(): SinkHealth {
    return { connected: this.#links.areThere, detail: this.#links.failure }
  }

  /** Less once the database turned out to ack what it may lose. */
  get promise(): SinkPromise {
    return { ...POSTGRES_PROMISE, ack: this.#ack }
  }

  start(): void {
    const { signal } = this.#closing
    // Why there is none shows in health, and in the answer to the first batch.
    this.#take(signal).then(
      (open) => this.#links.give(open),
      () => undefined,
    )
  }

  async send(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const { name: sink, stats } = this
    const counting = { sink, stats, emit: this.#emit, nowMs: this.#nowMs }
    return await counted(counting, batch, async () =>
      hideInAnswer(await this.#try(batch, signal), this.#links.secrets),
    )
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  async reread(): Promise<void> {
    await this.#readFiles()
  }

  async close(): Promise<void> {
    this.#watch?.close()
    this.#closing.abort()
    this.#links.close()
  }

  async #try(batch: Batch, aborted: AbortSignal): Promise<SinkAnswer> {
    const giveUp = AbortSignal.any([aborted, this.#closing.signal])
    const progress: Progress = { sentBytes: 0, sentAtMs: 0, linkBytes: 0 }
    let open: DatabaseLink | null = null
    try {
      open = await this.#take(giveUp)
      const { link, facts } = open
      const answer = await deliver({
        batch,
        link,
        config: this.#config,
        form: formOf(this.#config, facts),
        patience: { timeoutMs: this.#config.timeout, signal: giveUp },
        known: this.#known,
        onSent: (bytes) => {
          progress.sentBytes += bytes
          progress.sentAtMs = performance.now()
          progress.linkBytes = link.sentBytes
        },
      })
      this.#links.give(open)
      this.stats.sentBytes += progress.sentBytes
      return { ...answer, ...transferOf(progress, progress.sentBytes, false) }
    } catch (error) {
      const moved = open === null ? 0 : Math.max(0, open.link.sentBytes - progress.linkBytes)
      if (open !== null) this.#links.drop(open)
      return this.#answerTo(error, progress, Math.min(moved, progress.sentBytes), batch)
    }
  }

  async #take(signal: AbortSignal): Promise<DatabaseLink> {
    const open = await this.#links.take(signal)
    this.#ack = open.facts.ack
    return open
  }

  #answerTo(error: unknown, progress: Progress, moved: number, batch: Batch): SinkAnswer {
    const { kind, scope, code, detail, answered } = faultOf(error)
    const timedOut = error instanceof GivenUpError && error.timedOut
    this.stats.sentBytes += moved
    const said = {
      code,
      sinkDateMs: null,
      detail,
      ...transferOf(progress, moved, timedOut),
      ...(progress.sentBytes === 0 ? { unsent: true } : {}),
    }
    if (kind === 'too-large' && batch.recordCount > 1) return { ...said, kind }
    if (kind === 'hold') return { ...said, kind, scope }
    return { ...said, kind: 'retry', scope, retryAfterMs: null, answered }
  }

  async #readFiles(): Promise<'again' | void> {
    await this.#tls.refresh()
    if (!this.#closing.signal.aborted) {
      this.#links.retire()
      for (const listener of this.#listeners) listener()
    }
    if (this.#tls.failing) return 'again'
  }
}

function transferOf(
  { sentBytes, sentAtMs }: Progress,
  bytes: number,
  timedOut: boolean,
): { readonly transfer?: Transfer } {
  if (sentBytes === 0) return {}
  return { transfer: { bytes, ms: performance.now() - sentAtMs, timedOut } }
}
