/**
 * The object sink: an object for each batch, in a bucket or a folder of a WebDAV server. A batch is
 * acked once the store has it under its own name; the same batch again finds it there, so each name
 * is there exactly once (I4). Nothing is ever refused: no record is at fault for what a store says
 * (I8). Not here: names and bytes (../batch-files/), the exchange (store.ts), what answers mean
 * (answers.ts).
 */
import type { Batch, SinkAnswer, SinkPromise } from '../../ports/sink.ts'
import { FileWatch } from '../../shared/file-watch.ts'
import {
  type BatchFileEncoder,
  type BatchFiles,
  batchFileEncoder,
  batchFilesOf,
} from '../batch-files/batch-files.ts'
import { counted } from '../counted.ts'
import type { EmitSinkEvent } from '../events.ts'
import type { Lookup } from '../http/client/addresses.ts'
import type { ConfiguredSink, SinkOptions } from '../sink-type.ts'
import { createSinkStats } from '../stats.ts'
import { type ObjectSinkConfig, objectFiles } from './config.ts'
import { QueueListing } from './listing.ts'
import { StoreOrigin } from './origin.ts'
import { ObjectStore } from './store.ts'

export const OBJECT_TYPE = 'object'

export function objectPromise({ store }: ObjectSinkConfig): SinkPromise {
  const ack = store === 's3' ? 'durable' : 'received'
  return { delivery: 'exactly once', by: 'by object name', ack }
}

interface ObjectSinkOptions extends SinkOptions<ObjectSinkConfig> {
  /** Wall clock, ms since the epoch: for signatures, skew and `lastAckAtMs`. */
  readonly nowMs?: () => number
  /** How often secret and certificate files are looked at, ms. @default 1000 */
  readonly fileCheckMs?: number
  /** How names are looked up. @default the system's way */
  readonly lookup?: Lookup
}

export function createObjectSink(options: ObjectSinkOptions): ConfiguredSink {
  return new ObjectSink(options)
}

class ObjectSink implements ConfiguredSink {
  readonly name: string
  readonly encoder: BatchFileEncoder
  readonly promise: SinkPromise
  /** Connections come and go with the batches. */
  readonly health = { connected: null, detail: null }
  readonly stats = createSinkStats()
  readonly #config: ObjectSinkConfig
  readonly #emit: EmitSinkEvent
  readonly #nowMs: () => number
  readonly #origin: StoreOrigin
  readonly #store: ObjectStore
  readonly #listing: QueueListing
  readonly #watch: FileWatch | null
  readonly #listeners: Array<() => void> = []
  readonly #tries = new Set<AbortController>()
  #closed = false

  constructor(options: ObjectSinkOptions) {
    const { name, config, emit, nowMs = Date.now, lookup } = options
    this.name = name
    this.encoder = batchFileEncoder(OBJECT_TYPE, config)
    this.promise = objectPromise(config)
    this.#config = config
    this.#emit = emit
    this.#nowMs = nowMs
    const files = objectFiles(config).map(([, path]) => path)
    this.#watch =
      files.length === 0 ? null : new FileWatch(files, () => this.#readFiles(), options.fileCheckMs)
    const onSent = (bytes: number): void => {
      this.stats.sentBytes += bytes
    }
    this.#origin = new StoreOrigin({ sink: name, config, emit, nowMs, onSent, lookup })
    this.#store = new ObjectStore(config, this.#origin)
    this.#listing = new QueueListing(config, this.#origin)
  }

  /** There is nothing to open before the first batch. */
  start(): void {}

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

  /** Ends all connections, requests in progress included (they resolve as `retry`). */
  async close(): Promise<void> {
    this.#closed = true
    this.#watch?.close()
    for (const one of this.#tries) one.abort()
    this.#origin.close()
  }

  async #try(batch: Batch, signal: AbortSignal): Promise<SinkAnswer> {
    const controller = new AbortController()
    const onAbort = (): void => controller.abort()
    this.#tries.add(controller)
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      const { stitches } = this.encoder
      const files = await batchFilesOf(OBJECT_TYPE, batch, stitches, this.#config.layout)
      if (this.#closed || signal.aborted) return GIVEN_UP
      const { answer, isNew } = await this.#store.keep(files, controller.signal)
      if (isNew && answer.kind === 'verdicts') await this.#tellRepeat(files, controller.signal)
      if (answer.sinkDateMs !== null) {
        // Date is cut to the second: on average the store's clock is half a second further.
        this.stats.clockSkewSeconds = (answer.sinkDateMs + 500 - this.#nowMs()) / 1000
      }
      return 'detail' in answer ? { ...answer, detail: this.#origin.hide(answer.detail) } : answer
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.#tries.delete(controller)
    }
  }

  /** Another cut of records that are there: their ids tell, names do not. */
  async #tellRepeat({ named, data }: BatchFiles, signal: AbortSignal): Promise<void> {
    const through = await this.#listing.storedThrough(named, data.name, signal)
    if (through === null) return
    const { stream, firstSeq, lastSeq } = named
    this.stats.mayRepeat['other-names'] += 1
    const why = `objects of other names hold records of this queue up to ${through}: this spool is an older copy, or a batch of it was taken apart`
    this.#emit({ type: 'sink.may-repeat', sink: this.name, stream, firstSeq, lastSeq, why })
  }

  async #readFiles(): Promise<'again' | void> {
    const isNew = await this.#origin.refresh()
    if (isNew && !this.#closed) for (const listener of this.#listeners) listener()
    if (this.#origin.failing) return 'again'
  }
}

const GIVEN_UP: SinkAnswer = {
  kind: 'retry',
  scope: 'sink',
  code: null,
  sinkDateMs: null,
  retryAfterMs: null,
  detail: 'given up before it was sent',
  answered: false,
  unsent: true,
}
