/**
 * What observe reads of the other stages, and all that it knows of them: functions that return
 * plain data. The composition root implements {@link StatusSources} from the stages' own counts;
 * observe calls it at each scrape and each GET /api/status, so nothing here is on the hot path and
 * nothing is counted twice.
 *
 * Counters are committed values (I5): they are what a restart would find. Times are ms since the
 * epoch, sizes bytes. Not here: the JSON that operators see (status.ts), metric names (metrics/).
 */
import type { AdminStats } from '../admin/stats.ts'
import type {
  BrokerStatus,
  ConservationCounters,
  DeadLetterCounters,
  DeliveryState,
  SpoolState,
} from '../ports/status.ts'

/** What the stages hand over at each look. No function may throw or wait. */
export interface StatusSources {
  identity(): IdentitySnapshot
  /** In configuration order; orphaned streams (in the spool, no longer configured) behind them. */
  streams(): readonly StreamSnapshot[]
  sinks(): readonly SinkSnapshot[]
  broker(): BrokerSnapshot
  spool(): SpoolSnapshot
  admin(): Readonly<AdminStats>
}

export interface IdentitySnapshot {
  readonly version: string
  /** `gateway.id` as it is in effect. */
  readonly gateway: string
  /** By a monotonic clock: the wall clock of an edge box jumps at boot. */
  readonly uptimeSeconds: number
  /** False: the wall clock is known to be unset, and records say so. */
  readonly clockSet: boolean
}

/**
 * Reasons of {@link ConservationCounters.dropped}; those with a seq also become a gap of the same
 * name (I9).
 */
export const DROP_REASONS = [
  'expired',
  'dropped-oldest',
  'drop-newest',
  'full-qos0',
  'corrupt',
  'purged',
] as const

export const DEAD_LETTER_REMOVALS = ['expired', 'quota', 'purged', 'corrupt'] as const

export interface DeliverySnapshot {
  readonly state: DeliveryState
  /** When the state began; null while it is `ok`. */
  readonly sinceMs: number | null
  /** The last answer or error in words, never a secret; null while it is `ok`. */
  readonly why: string | null
  /** When the next try or probe is due; null: nothing is waited for. */
  readonly nextTryAtMs: number | null
}

export interface StreamSnapshot {
  readonly name: string
  /** Name of its sink; null for an orphaned stream, unless an operator gave it to one. */
  readonly sink: string | null
  /** 0 (first) to 9. */
  readonly priority: number
  /** True: the spool holds records of it, the configuration does not name it. */
  readonly orphaned: boolean
  /** Identity under which new records are numbered. */
  readonly spoolId: string
  readonly counters: ConservationCounters
  readonly deadLetters: DeadLetterCounters
  /** Uncompressed NDJSON bytes of the pending records. */
  readonly backlogBytes: number
  /** Bytes of its stored values, the number that `maxBytes` limits. */
  readonly storedBytes: number
  /** 0 for an orphaned stream. */
  readonly maxBytes: number
  /** When the oldest pending record was received; null without one. */
  readonly oldestReceivedAtMs: number | null
  /** Identity of the head; differs from `spoolId` while an older identity drains. */
  readonly headSpoolId: string
  /** Lowest seq that is not settled; equals `nextSeq` if nothing is pending. */
  readonly headSeq: number
  readonly nextSeq: number
  /** Refused records that wait for the proof that the sink does not refuse everything. */
  readonly parked: number
  /** Messages that wait, unacknowledged, for room in this stream (`whenFull: block`, I6). */
  readonly waitingMessages: number
  /** Payloads of `payload: text` that were no UTF-8 and travel as base64, since the start. */
  readonly illFormedTexts: number
  readonly delivery: DeliverySnapshot
}

export interface SinkSnapshot {
  readonly name: string
  /** Without user, password and query. */
  readonly url: string
  readonly delivery: DeliverySnapshot
  /** When it last acked something; null: not since this start. */
  readonly lastSuccessAtMs: number | null
  /** Names of the streams that it serves. */
  readonly streams: readonly string[]
  /** Requests by outcome since this start: see {@link SINK_OUTCOMES}. */
  readonly requests: Readonly<Record<string, number>>
  /** Compressed bytes of request bodies since this start, repeats included. */
  readonly sentBytes: number
  readonly inFlight: number
  readonly requestSeconds: HistogramSnapshot
  /** Sink's `Date` minus our clock at the last answer that had one; null: none yet. */
  readonly clockSkewSeconds: number | null
}

/** Kinds of answer as the contract's table groups them. */
export const SINK_OUTCOMES = [
  'acked',
  'partial',
  'retry',
  'too-large',
  'refused',
  'malformed',
  'hold',
] as const

export interface BrokerSnapshot extends BrokerStatus {
  /** From the arrival of a QoS 1 or 2 PUBLISH to its ack on the wire. */
  readonly ackSeconds: HistogramSnapshot
}

/**
 * `credentials`: wrong, or none where some are needed; `busy`, `damped`: not judged, to be tried again later.
 */
export const LOGIN_OUTCOMES = ['accepted', 'credentials', 'busy', 'damped'] as const

export interface SpoolSnapshot {
  readonly id: string
  readonly state: SpoolState
  readonly sinceMs: number
  /** Why it is not `ok`, in words; null if it is. */
  readonly why: string | null
  /** Real size of the folder. */
  readonly folderBytes: number
  readonly freeBytes: number
  readonly minFreeBytes: number
  /** Commits fsynced since this start. */
  readonly commits: number
  /** Commits that failed and were answered by close, reopen, replay, since this start. */
  readonly commitFailures: number
  /** Records that these commits made durable. */
  readonly committedRecords: number
  /** Bytes of the operations handed to the store, without its own amplification. */
  readonly committedBytes: number
  /** When the last commit was fsynced; null: none since this start. */
  readonly lastCommitAtMs: number | null
  /**
   * How long the commit in flight has been running, by a monotonic clock; null: none is. One that
   * does not end is a wedged spool (/livez).
   */
  readonly commitRunningSeconds: number | null
  /** Did the background check find every block between heads and next seqs? null: it still runs. */
  readonly verified: boolean | null
  /** What was damaged and where the damaged files were kept, one sentence each (I7). */
  readonly damage: readonly string[]
  /**
   * A data folder that was restored or copied is noticed at its start: the file system tells its
   * files apart.
   */
  readonly noticesRestore: boolean
  /** From handing a batch to the store to its fsync. */
  readonly commitSeconds: HistogramSnapshot
}

/**
 * A latency histogram as plain numbers. `counts[i]` observations were at most `bucketsSeconds[i]`
 * and more than the bound before it (not cumulative); one count more than bounds, for the rest.
 */
export interface HistogramSnapshot {
  readonly bucketsSeconds: readonly number[]
  readonly counts: readonly number[]
  readonly sumSeconds: number
  readonly count: number
}
