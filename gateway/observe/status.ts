/**
 * Makes the status document (ports/status.ts) of what the stages say. Pure: the caller brings the
 * data and the clock. Not here: HTTP (admin/), metric names (metrics/).
 */
import type {
  DeliveryStatus,
  SinkStatus,
  SpoolStatus,
  Status,
  StreamStatus,
} from '../ports/status.ts'
import type {
  DeliverySnapshot,
  SinkSnapshot,
  SpoolSnapshot,
  StatusSources,
  StreamSnapshot,
} from './sources.ts'

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
