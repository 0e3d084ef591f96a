/**
 * Makes the status document (ports/status.ts) of what the stages say. Pure: the caller brings the
 * data and the clock. Not here: HTTP (admin/), metric names (metrics/).
 */

import type { DeviceStats } from '../devices/stats.ts'
import type {
  BrokerStatus,
  DeliveryStatus,
  SharedClientId,
  SinkStatus,
  SpoolStatus,
  Status,
  StreamStatus,
} from '../ports/status.ts'
import { FillHistory } from './forecast.ts'
import type {
  BrokerSnapshot,
  ConfigurationSnapshot,
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
 * Reads all sources once. `nowMs`: wall clock, ms since the epoch; `writtenBytes`: what this
 * process wrote to disk since its start (process-io.ts), null if the system does not tell; `fill`:
 * the levels of the last minutes (forecast.ts), empty where nobody looked.
 */
export function buildStatus(
  sources: StatusSources,
  nowMs: number,
  writtenBytes: number | null = null,
  fill: FillHistory = new FillHistory(),
): Status {
  const identity = sources.identity()
  const { uptimeSeconds } = identity
  const writtenBytesPerDay =
    writtenBytes === null || uptimeSeconds < PACE_AFTER_SECONDS
      ? null
      : Math.round((writtenBytes / uptimeSeconds) * 86_400)
  const spool = sources.spool()
  const broker = sources.broker()
  return {
    statusVersion: 1,
    version: identity.version,
    gateway: identity.gateway,
    uptimeSeconds: Math.round(uptimeSeconds * 1_000) / 1_000,
    at: new Date(nowMs).toISOString(),
    accepting: broker.traffic.accepting && spool.state === 'ok',
    leaving: broker.traffic.leaving,
    clockSet: identity.clockSet,
    configuration: configurationStatus(sources.configuration()),
    spool: {
      ...spoolStatus(spool, writtenBytesPerDay),
      hoursUntilFull: fill.hoursUntil(DISK, -spool.minFreeBytes),
    },
    streams: sources
      .streams()
      .map((stream) => streamStatus(stream, nowMs, fill.hoursUntil(stream.name, stream.maxBytes))),
    sinks: sources.sinks().map(sinkStatus),
    broker: brokerStatus(broker),
    devices: devicesStatus(sources.devices()),
  }
}

/** Not the name of a stream. */
const DISK = '(disk)'

/** What fills, in bytes, for the history. The disk fills as its free bytes fall. */
export function fillLevels(sources: StatusSources): ReadonlyMap<string, number> {
  return new Map([
    [DISK, -sources.spool().freeBytes],
    ...sources.streams().map(({ name, storedBytes }) => [name, storedBytes] as const),
  ])
}

function configurationStatus(snapshot: ConfigurationSnapshot | null): Status['configuration'] {
  if (snapshot === null) return null
  const { loadedAtMs, probation, failedReload } = snapshot
  return {
    since: new Date(loadedAtMs).toISOString(),
    probationUntil: at(probation?.untilMs ?? null),
    failedReload: failedReload && {
      outcome: failedReload.outcome,
      at: new Date(failedReload.atMs).toISOString(),
      why: failedReload.why,
    },
  }
}

function devicesStatus({ silence, ...counts }: DeviceStats): Status['devices'] {
  return {
    ...counts,
    silence: silence.map(({ stream, silentAfterMs, silent, isJudged }) => ({
      stream,
      silentAfterSeconds: silentAfterMs / 1_000,
      silent,
      judged: isJudged,
    })),
  }
}

function spoolStatus(
  spool: SpoolSnapshot,
  writtenBytesPerDay: number | null,
): Omit<SpoolStatus, 'hoursUntilFull'> {
  return {
    id: spool.id,
    state: spool.state,
    since: at(spool.sinceMs),
    why: spool.why,
    bytes: spool.folderBytes,
    freeBytes: spool.freeBytes,
    minFreeBytes: spool.minFreeBytes,
    commits: spool.stats.commits,
    commitFailures: spool.stats.failedCommits,
    lastCommitAt: at(spool.stats.lastCommitAtMs),
    verified: spool.verified,
    damage: spool.damage,
    noticesRestore: spool.noticesRestore,
    writtenBytesPerDay,
  }
}

function streamStatus(
  stream: StreamSnapshot,
  nowMs: number,
  hoursUntilFull: number | null,
): StreamStatus {
  const { oldestReceivedAtMs, delivery, waitingMessages, illFormedTexts, ...same } = stream
  return {
    ...same,
    waitingMessages,
    illFormedTexts,
    backlogRecords: stream.counters.pending,
    oldestAgeSeconds: ageSeconds(oldestReceivedAtMs, nowMs),
    hoursUntilFull,
    delivery: deliveryStatus(delivery),
  }
}

function sinkStatus(sink: SinkSnapshot): SinkStatus {
  return {
    name: sink.name,
    url: sink.url,
    promise: sink.promise,
    ...deliveryStatus(sink.delivery),
    lastSuccessAt: at(sink.lastSuccessAtMs),
    ...(sink.health.connected === false ? { notConnected: { why: sink.health.detail } } : {}),
    streams: sink.streams,
    inFlight: sink.stats.inFlight,
    requests: sink.stats.requests,
    sentBytes: sink.stats.sentBytes,
    clockSkewSeconds: sink.stats.clockSkewSeconds,
    learnedBatchBytes: sink.learnedBatchBytes,
  }
}

function brokerStatus({
  traffic,
  sockets,
  logins,
  kept,
  neighbors,
  listeners,
  lastUnrouted,
}: BrokerSnapshot): BrokerStatus {
  return {
    accepting: traffic.accepting,
    listeners,
    connections: traffic.connections,
    sessions: traffic.sessions,
    sessionsEnded: traffic.sessionsEnded,
    openPacketIds: traffic.openPacketIds,
    sockets: {
      open: sockets.open,
      accepted: sockets.accepted,
      handshakesFailed: sockets.handshakesFailed,
      undatedCertificates: sockets.undatedCertificates,
    },
    logins: loginOutcomes(logins),
    loginsFromCache: logins.acceptedFromCache,
    passwordHashes: logins.hashesComputed,
    connectionsOpened: traffic.connectionsOpened,
    connectionsRefused: traffic.connectionsRefused,
    connectionsClosed: traffic.connectionsClosed,
    messages: traffic.messages,
    messageBytes: traffic.messageBytes,
    duplicates: traffic.duplicates,
    willsPublished: traffic.willsPublished,
    unrouted: traffic.unrouted,
    unwanted: traffic.unwanted,
    mqtt5: {
      connections: traffic.connectionsV5,
      grantedReceiveMaximum: traffic.grantedReceiveMaximum,
      messagesRefused: traffic.messagesRefused,
      codesSent: byCode(traffic.reasonCodes.sent),
      codesReceived: byCode(traffic.reasonCodes.received),
    },
    neighbors: neighbors && neighborsStatus(neighbors),
    lastUnrouted,
    lastSharedClientId: sharedClientId(traffic.lastSharedClientId),
    waitingMessages: traffic.waitingMessages,
    unackedMessages: traffic.unackedMessages,
    unackedBytes: traffic.unackedBytes,
    holdBackBytes: traffic.holdBackBytes,
    localCopies: traffic.localCopies,
    subscriberBytes: traffic.subscriberBytes,
    queuedCopies: {
      messages: kept.queuedMessages,
      bytes: kept.queuedBytes,
      dropped: kept.queuedDropped,
    },
    retainedMessages: kept.retainedMessages,
    retainedBytes: kept.retainedBytes,
    retainedRefused: kept.retainedRefused,
  }
}

function neighborsStatus({
  detail,
  ...counts
}: NonNullable<BrokerSnapshot['neighbors']>): BrokerStatus['neighbors'] {
  return { ...counts, why: detail }
}

/** Reason codes as the standard writes them. */
export function byCode(counts: Readonly<Record<number, number>>): Record<string, number> {
  const name = (code: string): string => `0x${Number(code).toString(16).padStart(2, '0')}`
  return Object.fromEntries(Object.entries(counts).map(([code, count]) => [name(code), count]))
}

/** Verdicts of authentication, by the words of status and metrics. */
export function loginOutcomes(logins: BrokerSnapshot['logins']): BrokerStatus['logins'] {
  return {
    accepted: logins.accepted,
    credentials: logins.refusedCredentials,
    busy: logins.refusedBusy,
    damped: logins.refusedDamped,
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

function sharedClientId({
  clientId,
  addresses,
  atMs,
}: BrokerSnapshot['traffic']['lastSharedClientId']): SharedClientId | null {
  return clientId === '' ? null : { clientId, addresses, at: new Date(atMs).toISOString() }
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
