/**
 * What batches of one stream may hold: by the configuration, by its queue, and by what its sink and
 * its link taught. Tells of what they taught.
 */
import type { BatchEncoder } from '../../ports/sink.ts'
import type { StreamQueue } from '../../ports/stream-queue.ts'
import type { DeliveryConfig } from '../config.ts'
import type { EmitDrainEvent } from '../events.ts'
import type { BatchLimits } from '../policy/batcher.ts'
import type { LearnedLimit } from '../policy/learned-limit.ts'
import type { PaceLimit } from '../policy/pace-limit.ts'

interface BatchSizingOptions {
  readonly sink: string
  readonly queue: Pick<StreamQueue, 'stream' | 'maxBatchBytes'>
  readonly config: Pick<DeliveryConfig, 'maxBatchRecords'>
  readonly encoder: Pick<BatchEncoder, 'maxBatchRecords'>
  readonly learned: LearnedLimit
  readonly pace: PaceLimit
  readonly emit: EmitDrainEvent
}

export class BatchSizing {
  readonly #o: BatchSizingOptions

  constructor(options: BatchSizingOptions) {
    this.#o = options
  }

  get limits(): BatchLimits {
    const { config, encoder, learned, pace, queue } = this.#o
    const maxRecords = Math.min(config.maxBatchRecords, encoder.maxBatchRecords ?? Infinity)
    const maxBytes = Math.min(learned.maxBytes, pace.maxBytes, queue.maxBatchBytes)
    return { maxRecords, maxBytes }
  }

  /** The sink said so. */
  tooLarge(rawBytes: number, nowMs: number): void {
    this.#o.learned.shrink(rawBytes, nowMs)
    this.#tell('too-large', this.#o.learned.maxBytes)
  }

  /**
   * Some sinks refuse what is too large as if it were wrong: its pieces were all taken.
   */
  refusedWhole(largestTakenBytes: number | null, nowMs: number): void {
    if (largestTakenBytes === null) return
    this.#o.learned.passes(largestTakenBytes, nowMs)
    this.#tell('refused', this.#o.learned.maxBytes)
  }

  /** It did not get through in time, again and again. */
  timedOut(rawBytes: number): void {
    this.#o.pace.timedOut(rawBytes)
    this.#tell('timed-out', this.#o.pace.maxBytes)
  }

  accepted(rawBytes: number, nowMs: number): void {
    this.#o.learned.accepted(rawBytes, nowMs)
  }

  #tell(why: 'too-large' | 'refused' | 'timed-out', bytes: number): void {
    const { emit, queue, sink } = this.#o
    emit({ type: 'drain.batch-limit-learned', sink, stream: queue.stream, why, bytes })
  }
}
