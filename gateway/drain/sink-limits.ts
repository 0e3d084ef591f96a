/**
 * How large a batch one sink and its link take, as far as they taught it: what is learned, and its
 * notes across restarts. How it is learned is in learned-limit.ts and pace-limit.ts.
 */
import type { Batch, Transfer } from '../ports/sink.ts'
import type { DeliveryConfig } from './config.ts'
import type { DrainNotes, LimitKind } from './notes.ts'
import { LearnedLimit } from './policy/learned-limit.ts'
import { PaceLimit } from './policy/pace-limit.ts'

export class SinkLimits {
  readonly learned: LearnedLimit
  readonly pace: PaceLimit
  readonly #sink: string
  readonly #notes: DrainNotes
  readonly #noted: Record<LimitKind, number | null>

  constructor(
    sink: string,
    config: Pick<DeliveryConfig, 'maxBatchBytes' | 'timeout'>,
    notes: DrainNotes,
  ) {
    this.#sink = sink
    this.#notes = notes
    this.#noted = {
      'batch-bytes': notes.batchBytes('batch-bytes', sink),
      'pace-bytes': notes.batchBytes('pace-bytes', sink),
    }
    this.learned = new LearnedLimit(config.maxBatchBytes, this.#noted['batch-bytes'])
    this.pace = new PaceLimit(config.maxBatchBytes, config.timeout, this.#noted['pace-bytes'])
  }

  /** Uncompressed bytes; null: the configured limit holds. */
  get learnedBytes(): number | null {
    const { learnedBytes: bySink } = this.learned
    const { learnedBytes: byLink } = this.pace
    if (bySink === null || byLink === null) return bySink ?? byLink
    return Math.min(bySink, byLink)
  }

  /** After each answer: what its transfer teaches, and what is to be remembered. */
  answered({ bodyBytes, rawBytes }: Batch, transfer: Transfer | undefined): void {
    // Bytes went out compressed; limits are those of the lines. A try that was given up teaches by
    // its time-out alone.
    const isWhole = transfer !== undefined && !transfer.timedOut && transfer.bytes >= bodyBytes
    if (isWhole) this.pace.answered(rawBytes, transfer.ms)
    this.#note('batch-bytes', this.learned.learnedBytes)
    this.#note('pace-bytes', this.pace.learnedBytes)
  }

  /** Only what was halved or has doubled since, and what came or is gone. */
  #note(kind: LimitKind, bytes: number | null): void {
    const noted = this.#noted[kind]
    if (bytes === noted) return
    if (bytes !== null && noted !== null && bytes < 2 * noted && bytes > noted / 2) return
    this.#noted[kind] = bytes
    this.#notes.setBatchBytes(kind, this.#sink, bytes)
  }
}
