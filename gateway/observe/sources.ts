/**
 * What observe reads of the other stages, and all that it knows of them: their own counts
 * (`stats.ts`), and what takes several stages to tell. The composition implements {@link
 * StatusSources}; observe calls it at each scrape and each GET /api/status, so nothing here is on
 * the hot path and nothing is counted twice.
 *
 * Counters are committed values (I5): they are what a restart would find. Times are ms since the
 * epoch, sizes bytes. Not here: the JSON that operators see (status.ts), metric names (metrics/).
 */

import type { AdminStats } from '../admin/stats.ts'
import type { BrokerCounts } from '../broker/stats.ts'
import type { DeviceStats } from '../devices/stats.ts'
import type { SinkHealth, SinkPromise } from '../ports/sink.ts'
import type { DeliveryState, FailedReload, SpoolState, UnroutedMessage } from '../ports/status.ts'
import type { SinkStats } from '../sink/stats.ts'
import type { SpoolStats, StreamStats } from '../spool/stats.ts'

/** What the stages hand over when they are asked. No function may throw or wait. */
export interface StatusSources {
  identity(): IdentitySnapshot
  /** In configuration order; orphaned streams (in the spool, no longer configured) behind them. */
  streams(): readonly StreamSnapshot[]
  sinks(): readonly SinkSnapshot[]
  broker(): BrokerSnapshot
  spool(): SpoolSnapshot
  devices(): DeviceStats
  /** null: there is none that a reload could change. */
  configuration(): ConfigurationSnapshot | null
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

export interface ConfigurationSnapshot {
  /** When it was put into force. */
  readonly loadedAtMs: number
  readonly probation: { readonly untilMs: number } | null
  readonly failedReload: (Omit<FailedReload, 'at'> & { readonly atMs: number }) | null
}

export interface DeliverySnapshot {
  readonly state: DeliveryState
  /** When the state began; null while it is `ok`. */
  readonly sinceMs: number | null
  /** The last answer or error in words, never a secret; null while it is `ok`. */
  readonly why: string | null
  /** When the next try or probe is due; null: none is, or the sink looks by itself. */
  readonly nextTryAtMs: number | null
}

export interface StreamSnapshot extends StreamStats {
  /** Messages that wait, unacknowledged, for room in this stream (`whenFull: block`, I6). */
  readonly waitingMessages: number
  readonly delivery: DeliverySnapshot
}

export interface SinkSnapshot {
  readonly name: string
  /** Without user, password and query. */
  readonly url: string
  /** Names of the streams that it serves. */
  readonly streams: readonly string[]
  readonly delivery: DeliverySnapshot
  readonly health: SinkHealth
  readonly promise: SinkPromise
  /** When it last acked something; null: not since this start. */
  readonly lastSuccessAtMs: number | null
  /** Uncompressed bytes; null: the configured limit holds. */
  readonly learnedBatchBytes: number | null
  readonly stats: Readonly<SinkStats>
}

export interface BrokerSnapshot extends BrokerCounts {
  /** As URLs, `mqtt://127.0.0.1:1883`. */
  readonly listeners: readonly string[]
  /** null: no message was unrouted since this start. */
  readonly lastUnrouted: UnroutedMessage | null
}

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
  readonly stats: Readonly<SpoolStats>
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
}
