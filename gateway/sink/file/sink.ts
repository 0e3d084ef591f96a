/**
 * The file sink: a file for each batch, in a folder that is a stick, a share, or another program's
 * inbox. A batch is acked once its file is there under its own name and durable (I1); the same
 * batch again finds it and is acked at once, so each name is there exactly once (I4).
 *
 * Nothing is ever refused: what keeps a file from being written is the folder's fault, and
 * everything is kept (I8). Removes no file that was delivered, makes no folder in place of a disk
 * that is gone.
 */
import type { Batch, SinkAnswer } from '../../ports/sink.ts'
import { Poller } from '../../shared/time/poller.ts'
import { within } from '../../shared/time/within.ts'
import type { BatchFileEncoder } from '../batch-files/batch-files.ts'
import { counted } from '../counted.ts'
import type { EmitSinkEvent } from '../events.ts'
import type { ConfiguredSink, SinkOptions } from '../sink-type.ts'
import { createSinkStats } from '../stats.ts'
import { type Movement, WriteAttempt } from './attempt.ts'
import type { FileSinkConfig } from './config.ts'
import { FILE_PROMISE, fileEncoder, filesOf } from './encode.ts'
import { AbandonedError, OtherBytesError, troubleOf } from './file-errors.ts'
import { FolderWriter } from './folder-writer.ts'
import { OneAtATime } from './one-at-a-time.ts'

/** How often a folder that was not fit is looked at. */
const LOOK_MS = 1000
/** A file system that hangs must not keep a stop waiting. */
const CLOSE_MS = 1000

const MODES = { owner: 0o600, group: 0o640, everyone: 0o644 } as const

interface FileSinkOptions extends SinkOptions<FileSinkConfig> {
  /** Wall clock, ms since the epoch; for `lastAckAtMs` alone. */
  readonly nowMs?: () => number
  /** How often a folder that was not fit is looked at, ms. @default 1000 */
  readonly lookMs?: number
}

export function createFileSink(options: FileSinkOptions): ConfiguredSink {
  return new FileSink(options)
}

class FileSink implements ConfiguredSink {
  readonly name: string
  readonly encoder: BatchFileEncoder
  /** A folder is no connection: whether it is fit shows with each batch. */
  readonly health = { connected: null, detail: null }
  readonly promise = FILE_PROMISE
  readonly stats = createSinkStats()
  readonly #config: FileSinkConfig
  readonly #emit: EmitSinkEvent
  readonly #nowMs: () => number
  readonly #writer: FolderWriter
  readonly #calls = new OneAtATime()
  readonly #movement: Movement = { lastMs: 0 }
  readonly #attempts = new Set<WriteAttempt>()
  readonly #listeners: Array<() => void> = []
  readonly #poller: Poller
  /** Bytes of the batch that met a folder that was not fit; null: none did. */
  #unfitFor: number | null = null
  #closed = false

  constructor(options: FileSinkOptions) {
    const { folder, marker, minFreeBytes, readableBy } = options.config
    this.name = options.name
    this.#config = options.config
    this.encoder = fileEncoder(options.config)
    this.#emit = options.emit
    this.#nowMs = options.nowMs ?? Date.now
    this.#writer = new FolderWriter({ folder, marker, minFreeBytes, mode: MODES[readableBy] })
    this.#poller = new Poller(options.lookMs ?? LOOK_MS, () => this.#lookAgain())
  }

  start(): void {}

  async send(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const { name: sink, stats } = this
    const counting = { sink, stats, emit: this.#emit, nowMs: this.#nowMs }
    return await counted(counting, batch, () => this.#try(batch, signal))
  }

  onChange(listener: () => void): void {
    this.#listeners.push(listener)
  }

  /** Its folder is looked at by itself. */
  async reread(): Promise<void> {}

  async close(): Promise<void> {
    this.#closed = true
    this.#poller.close()
    for (const attempt of this.#attempts) attempt.abandon()
    await within(this.#calls.idle(), CLOSE_MS)
  }

  async #try(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const attempt = new WriteAttempt(this.#movement, this.#config.timeout)
    const onAbort = (): void => attempt.abandon()
    if (signal.aborted || this.#closed) onAbort()
    this.#attempts.add(attempt)
    signal.addEventListener('abort', onAbort, { once: true })
    const written = this.#calls.run(async () => {
      if (attempt.isOver) throw new AbandonedError('given up before its turn')
      const files = await filesOf(batch, this.encoder.stitches, this.#config.layout)
      await this.#writer.write(files, attempt)
    })
    try {
      await Promise.race([written, attempt.over])
      this.#unfitFor = null
      this.stats.sentBytes += batch.bodyBytes
      if (attempt.storedThrough !== null) this.#tellRepeat(batch, attempt.storedThrough)
      return { kind: 'verdicts', code: null, sinkDateMs: null, ackedThrough: null, listed: [] }
    } catch (error) {
      const answer = answerTo(error, !attempt.isVisible)
      if (answer.kind === 'hold' && answer.watched === true) this.#unfitFor = batch.bodyBytes
      return answer
    } finally {
      written.catch(() => undefined)
      signal.removeEventListener('abort', onAbort)
      this.#attempts.delete(attempt)
      attempt.end()
    }
  }

  /** Another cut of records that are there: their ids tell, names do not. */
  #tellRepeat({ stream, firstSeq, lastSeq }: Batch, through: number): void {
    this.stats.mayRepeat['other-names'] += 1
    const why = `files of other names hold records of this queue up to ${through}: this spool is an older copy, or a batch of it was taken apart`
    this.#emit({ type: 'sink.may-repeat', sink: this.name, stream, firstSeq, lastSeq, why })
  }

  /** A stick that is back, or room that was made, ends the wait at once. */
  async #lookAgain(): Promise<void> {
    const bytes = this.#unfitFor
    if (bytes === null || this.#calls.isBusy) return
    try {
      await this.#calls.run(() => this.#writer.look(bytes))
    } catch {
      return
    }
    if (this.#closed || this.#unfitFor === null) return
    this.#unfitFor = null
    for (const listener of this.#listeners) listener()
  }
}

const SILENT = { kind: 'retry', scope: 'sink', retryAfterMs: null, answered: false } as const

/** @param unsent nobody can have seen the file */
function answerTo(error: unknown, unsent: boolean): SinkAnswer {
  const { kind, code, detail } = troubleOf(error)
  const said = { code, sinkDateMs: null, unsent }
  if (kind === 'retry') return { ...said, ...SILENT, detail }
  if (error instanceof OtherBytesError)
    return { ...said, kind, scope: 'stream', cloned: true, detail }
  return { ...said, kind, scope: 'sink', watched: true, detail: `${detail}; checked every second` }
}
