/** How delivery stands, for status and metrics: plain data, times in ms since the epoch. */
import type { HoldReason } from './retry-policy.ts'

export interface DeliveryStanding {
  /** `held`: an alarm; nothing moves until a probe succeeds, nothing is lost (I8). */
  readonly state: 'ok' | 'retrying' | 'held'
  /** When it began; null while ok. */
  readonly sinceMs: number | null
  /** Why it is held; null while it is not. */
  readonly reason: HoldReason | null
  /** The last answer or error in words; null while ok. */
  readonly detail: string | null
  /** When the next try or probe is due; null: nothing is waited for. */
  readonly nextTryAtMs: number | null
  /** When it last acked something; null: not since this start. */
  readonly lastSuccessAtMs: number | null
}

export interface StreamState extends DeliveryStanding {
  readonly stream: string
  readonly inFlight: boolean
}

export interface SinkState extends DeliveryStanding {
  readonly sink: string
  readonly inFlight: number
  /** Batch limit learned from 413, uncompressed bytes; null: the configured one holds. */
  readonly learnedBatchBytes: number | null
  readonly streams: readonly StreamState[]
}
