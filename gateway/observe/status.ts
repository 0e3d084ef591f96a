/**
 * The answer of GET /api/status, and the type that `sluice status` prints: how the gateway stands,
 * for a person or a script. Shows I5 (conservation counters per stream), I6 (limits and what is
 * left of them), I8 (holds and why).
 *
 * Units are in the names; `…At` is RFC 3339 UTC with milliseconds. Members may be added, none
 * changes its meaning. Pure: the caller brings the data and the clock. Not here: HTTP (admin/),
 * metric names (metric-table.ts).
 */
import type { SpoolState } from '../spool/stats.ts'
import type {
  BrokerSnapshot,
  ConservationCounters,
  DeadLetterCounters,
  DeliverySnapshot,
  DeliveryState,
  SinkSnapshot,
  SpoolSnapshot,
  StatusSources,
  StreamSnapshot,
} from './sources.ts'

export interface Status {
  /** Of this document. Rises when a member changes its meaning. */
  readonly statusVersion: 1
  readonly version: string
  /** `gateway.id` as it is in effect. */
  readonly gateway: string
  /** null: read from the folder of a gateway that is not running. */
  readonly uptimeSeconds: number | null
  /** When this was taken. */
  readonly at: string
  /** New messages are taken: the broker listens and the spool can write. */
  readonly accepting: boolean
  /** False: the wall clock is known to be unset; records are marked. */
  readonly clockSet: boolean
  readonly spool: SpoolStatus
  /** In configuration order, orphaned ones last. */
  readonly streams: readonly StreamStatus[]
  /** Empty for a stopped gateway. */
  readonly sinks: readonly SinkStatus[]
  /** null for a stopped gateway. */
  readonly broker: BrokerStatus | null
}

export interface SpoolStatus {
  readonly id: string
  readonly state: SpoolState
  /** When the state began; null for a stopped gateway. */
  readonly since: string | null
  /** Why it is not `ok`, in words. */
  readonly why: string | null
  /** Real size of the folder. */
  readonly bytes: number
  /** Free on its file system. */
  readonly freeBytes: number
  /** `spool.minFreeBytes`: below it ingest closes (I6). */
  readonly minFreeBytes: number
  /** Commits fsynced since the start. */
  readonly commits: number
  readonly commitFailures: number
  readonly lastCommitAt: string | null
  /**
   * Did the background check after opening find every block? null: it still runs, or was not run.
   */
  readonly verified: boolean | null
  /** What was damaged and where it was kept, one sentence each (I7). */
  readonly damage: readonly string[]
  /** A data folder that was restored or copied is noticed at its start (I4). */
  readonly noticesRestore: boolean
  /** Bytes written to disk per day at the pace so far; null: not known. */
  readonly writtenBytesPerDay: number | null
}

export interface StreamStatus {
  readonly name: string
  /** null: orphaned, and no sink was named for it. */
  readonly sink: string | null
  readonly priority: number
  readonly orphaned: boolean
  readonly spoolId: string
  /** I5, first line. Committed values, since the spool was created. */
  readonly counters: ConservationCounters
  /** I5, second line. */
  readonly deadLetters: DeadLetterCounters
  /** Records not settled yet, parked ones included: `counters.pending`. */
  readonly backlogRecords: number
  /** Their uncompressed NDJSON bytes. */
  readonly backlogBytes: number
  /** Their bytes on disk as `maxBytes` counts them. */
  readonly storedBytes: number
  readonly maxBytes: number
  /** Age of the oldest pending record; null without one. */
  readonly oldestAgeSeconds: number | null
  /** Identity of the head; differs from `spoolId` while an older identity drains. */
  readonly headSpoolId: string
  readonly headSeq: number
  readonly nextSeq: number
  readonly parked: number
  /** Messages that wait, unacknowledged, for room in this stream. */
  readonly waitingMessages: number
  readonly delivery: DeliveryStatus
}

export interface DeliveryStatus {
  readonly state: DeliveryState
  readonly since: string | null
  readonly why: string | null
  readonly nextTryAt: string | null
}

export interface SinkStatus {
  readonly name: string
  readonly url: string
  readonly state: DeliveryState
  readonly since: string | null
  readonly why: string | null
  readonly lastSuccessAt: string | null
  readonly nextTryAt: string | null
  readonly streams: readonly string[]
  readonly inFlight: number
  /** Requests since the start by outcome. */
  readonly requests: Readonly<Record<string, number>>
  readonly sentBytes: number
  /** The sink's clock minus ours at its last dated answer; null: none yet. */
  readonly clockSkewSeconds: number | null
}

/** The broker's counts since the start, without its histograms. */
export type BrokerStatus = Omit<BrokerSnapshot, 'ackSeconds'>

/**
 * A pace is shown only after this long: the first minutes (recovery, verification) say little about
 * a day.
 */
const PACE_AFTER_SECONDS = 600

/**
 * Takes one look at all sources. `nowMs`: wall clock, ms since the epoch; `writtenBytes`: what this
 * process wrote to disk since its start (process-io.ts), null if the system does not tell.
 */
export function buildStatus(
  sources: StatusSources,
  nowMs: number,
  writtenBytes: number | null = null,
): Status {
  const identity = sources.identity()
  const { uptimeSeconds } = identity
  const writtenBytesPerDay =
    writtenBytes === null || uptimeSeconds < PACE_AFTER_SECONDS
      ? null
      : Math.round((writtenBytes / uptimeSeconds) * 86_400)
  const spool = sources.spool()
  const { ackSeconds: _, ...broker } = sources.broker()
  return {
    statusVersion: 1,
    version: identity.version,
    gateway: identity.gateway,
    uptimeSeconds: Math.round(uptimeSeconds * 1_000) / 1_000,
    at: new Date(nowMs).toISOString(),
    accepting: broker.accepting && spool.state === 'ok',
    clockSet: identity.clockSet,
    spool: spoolStatus(spool, writtenBytesPerDay),
    streams: sources.streams().map((stream) => streamStatus(stream, nowMs)),
    sinks: sources.sinks().map(sinkStatus),
    broker,
  }
}

function spoolStatus(spool: SpoolSnapshot, writtenBytesPerDay: number | null): SpoolStatus {
  return {
    id: spool.id,
    state: spool.state,
    since: at(spool.sinceMs),
    why: spool.why,
    bytes: spool.folderBytes,
    freeBytes: spool.freeBytes,
    minFreeBytes: spool.minFreeBytes,
    commits: spool.commits,
    commitFailures: spool.commitFailures,
    lastCommitAt: at(spool.lastCommitAtMs),
    verified: spool.verified,
    damage: spool.damage,
    noticesRestore: spool.noticesRestore,
    writtenBytesPerDay,
  }
}

function streamStatus(stream: StreamSnapshot, nowMs: number): StreamStatus {
  const { oldestReceivedAtMs, delivery, ...same } = stream
  return {
    ...same,
    backlogRecords: stream.counters.pending,
    oldestAgeSeconds: ageSeconds(oldestReceivedAtMs, nowMs),
    delivery: deliveryStatus(delivery),
  }
}

function sinkStatus(sink: SinkSnapshot): SinkStatus {
  return {
    name: sink.name,
    url: sink.url,
    ...deliveryStatus(sink.delivery),
    lastSuccessAt: at(sink.lastSuccessAtMs),
    streams: sink.streams,
    inFlight: sink.inFlight,
    requests: sink.requests,
    sentBytes: sink.sentBytes,
    clockSkewSeconds: sink.clockSkewSeconds,
  }
}

function deliveryStatus(delivery: DeliverySnapshot): DeliveryStatus {
  return {
    state: delivery.state,
    since: at(delivery.sinceMs),
    why: delivery.why,
    nextTryAt: at(delivery.nextTryAtMs),
  }
}

/**
 * Age of something that happened at `sinceMs`, never negative: clocks are set back. null stays
 * null.
 */
export function ageSeconds(sinceMs: number | null, nowMs: number): number | null {
  return sinceMs === null ? null : Math.max(0, (nowMs - sinceMs) / 1000)
}

function at(ms: number | null): string | null {
  return ms === null ? null : new Date(ms).toISOString()
}
