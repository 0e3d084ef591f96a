/** Sources with plain numbers that a test sets: what the composition root would hand to observe. */
import type { AdminStats } from '../../gateway/admin/stats.ts'
import { type BrokerStats, noBrokerCounts } from '../../gateway/broker/stats.ts'
import type { DeviceStats, SilenceStats } from '../../gateway/devices/stats.ts'
import type {
  BrokerSnapshot,
  ConfigurationSnapshot,
  DeliverySnapshot,
  IdentitySnapshot,
  SinkSnapshot,
  SpoolSnapshot,
  StatusSources,
  StreamSnapshot,
} from '../../gateway/observe/sources.ts'
import { LatencyHistogram } from '../../gateway/shared/latency-histogram.ts'
import { createSinkStats, type SinkStats } from '../../gateway/sink/stats.ts'
import { createSpoolStats, type SpoolStats } from '../../gateway/spool/stats.ts'

export const NOW_MS = Date.UTC(2026, 10, 23, 3, 5, 0, 123)

export const OK: DeliverySnapshot = { state: 'ok', sinceMs: null, why: null, nextTryAtMs: null }

export function histogram(counts: readonly number[], sumSeconds: number): LatencyHistogram {
  const made = new LatencyHistogram([0.001, 0.01])
  made.counts.splice(0, counts.length, ...counts)
  made.sumSeconds = sumSeconds
  made.count = counts.reduce((a, b) => a + b, 0)
  return made
}

/** None are kept. */
export const NO_LETTERS: StreamSnapshot['deadLetters'] = {
  kept: 0,
  keptBytes: 0,
  bytesBy: { ingest: 0, refused: 0 },
  maxBytes: 64 * 1024 ** 2,
  whenFull: 'hold',
  requeued: 0,
  removed: {},
}

export function stream(more: Partial<StreamSnapshot> = {}): StreamSnapshot {
  return {
    name: 'telemetry',
    sink: 'cloud',
    priority: 0,
    orphaned: false,
    spoolId: 'k3f9x2m7q4w8z',
    counters: {
      received: 100,
      requeued: 2,
      delivered: 60,
      deadLettered: 5,
      dropped: {
        expired: 4,
        'dropped-oldest': 0,
        'drop-newest': 0,
        'full-qos0': 1,
        corrupt: 0,
        purged: 0,
      },
      pending: 32,
    },
    deadLetters: {
      ...NO_LETTERS,
      kept: 2,
      keptBytes: 700,
      bytesBy: { ingest: 300, refused: 400 },
      requeued: 1,
      removed: { expired: 0, quota: 2, purged: 0, corrupt: 0 },
    },
    backlogBytes: 9_000,
    storedBytes: 3_000,
    maxBytes: 1024 ** 3,
    oldestReceivedAtMs: NOW_MS - 90_000,
    headSpoolId: 'k3f9x2m7q4w8z',
    headSeq: 70,
    nextSeq: 102,
    parked: 3,
    waitingMessages: 7,
    illFormedTexts: 0,
    delivery: OK,
    ...more,
  }
}

export function sink(
  more: Partial<SinkSnapshot> = {},
  stats: Partial<SinkStats> = {},
): SinkSnapshot {
  const none = createSinkStats()
  return {
    name: 'cloud',
    url: 'http://127.0.0.1:9000/ingest',
    streams: ['telemetry'],
    delivery: OK,
    health: { connected: null, detail: null },
    promise: { delivery: 'at least once', by: 'with ids', ack: 'durable' },
    lastSuccessAtMs: NOW_MS - 1_000,
    learnedBatchBytes: 65_536,
    stats: {
      ...none,
      requests: { ...none.requests, acked: 12, retry: 3 },
      sentBytes: 4_096,
      inFlight: 1,
      requestSeconds: histogram([1, 2, 3], 0.5),
      clockSkewSeconds: -0.25,
      ...stats,
    },
    ...more,
  }
}

export function broker(traffic: Partial<BrokerStats> = {}): BrokerSnapshot {
  const none = noBrokerCounts()
  return {
    listeners: ['mqtt://127.0.0.1:1883'],
    lastUnrouted: {
      topic: 'plnt/press-7/temp',
      clientId: 'press-7',
      nearest: { filter: 'plant/+/+', stream: 'telemetry' },
    },
    sockets: {
      open: 51,
      accepted: 80,
      refusedAtLimit: 0,
      handshakesFailed: 15,
      undatedCertificates: 30,
    },
    logins: {
      accepted: 71,
      acceptedFromCache: 18,
      refusedCredentials: 16,
      refusedBusy: 0,
      refusedDamped: 17,
      hashesComputed: 19,
    },
    neighbors: {
      isConnected: true,
      detail: null,
      told: 61,
      untold: 62,
      again: 66,
      heard: 63,
      ended: 64,
      malformed: 65,
    },
    kept: {
      ...none.kept,
      retainedMessages: 13,
      retainedBytes: 26,
      retainedRefused: 27,
      queuedMessages: 23,
      queuedBytes: 24,
      queuedDropped: 25,
    },
    traffic: {
      ...none.traffic,
      connectionsV5: 31,
      grantedReceiveMaximum: 32,
      messagesRefused: { 'forbidden-topic': 33, unrouted: 34 },
      reasonCodes: { sent: { 0x97: 1 }, received: { 0x80: 2 } },
      accepting: true,
      connections: 50,
      sessions: 60,
      sessionsEnded: { expired: 28, evicted: 29 },
      openPacketIds: 14,
      connectionsOpened: 70,
      connectionsRefused: { ...none.traffic.connectionsRefused, 'bad-credentials': 2 },
      connectionsClosed: { ...none.traffic.connectionsClosed, malformed: 1 },
      messages: { qos0: 1, qos1: 2, qos2: 3 },
      messageBytes: 1_200,
      duplicates: 4,
      willsPublished: 21,
      unrouted: { accepted: 5, refused: 6 },
      unwanted: { 'dollar-topic': 20, 'topic-too-long': 21, 'topic-too-deep': 22 },
      waitingMessages: 7,
      unackedMessages: 8,
      unackedBytes: 900,
      holdBackBytes: 10,
      localCopies: { delivered: 11, dropped: 12 },
      subscriberBytes: 22,
      ackSeconds: histogram([4, 5, 6], 1.25),
      ...traffic,
    },
  }
}

export function spool(
  more: Partial<SpoolSnapshot> = {},
  stats: Partial<SpoolStats> = {},
): SpoolSnapshot {
  return {
    id: 'k3f9x2m7q4w8z',
    state: 'ok',
    sinceMs: NOW_MS - 60_000,
    why: null,
    folderBytes: 50_000_000,
    freeBytes: 10_000_000_000,
    minFreeBytes: 268_435_456,
    stats: {
      ...createSpoolStats(),
      commits: 40,
      failedCommits: 1,
      committedRecords: 100,
      storedBytes: 12_345,
      lastCommitAtMs: NOW_MS - 20,
      commitSeconds: histogram([30, 9, 1], 0.2),
      ...stats,
    },
    commitRunningSeconds: null,
    verified: true,
    damage: [],
    noticesRestore: true,
    ...more,
  }
}

export function silence(more: Partial<SilenceStats> = {}): SilenceStats {
  return { stream: 'telemetry', silentAfterMs: 3_600_000, silent: 2, isJudged: true, ...more }
}

export interface FakeState {
  identity: IdentitySnapshot
  streams: readonly StreamSnapshot[]
  sinks: readonly SinkSnapshot[]
  broker: BrokerSnapshot
  spool: SpoolSnapshot
  devices: DeviceStats
  configuration: ConfigurationSnapshot
  admin: AdminStats
}

/** Sources whose snapshots can be exchanged while a server reads them. */
export function fakeSources(more: Partial<FakeState> = {}): {
  state: FakeState
  sources: StatusSources
} {
  const state: FakeState = {
    identity: { version: '0.1.0', gateway: 'edge-01', uptimeSeconds: 3_600, clockSet: true },
    streams: [stream()],
    sinks: [sink()],
    broker: broker(),
    spool: spool(),
    devices: { count: 12, connected: 9, silent: 2, evicted: 1, silence: [silence()] },
    configuration: { loadedAtMs: NOW_MS - 3_600_000, probation: null, failedReload: null },
    admin: { ok: 4, refused: 5, failed: 6 },
    ...more,
  }
  return {
    state,
    sources: {
      identity: () => state.identity,
      streams: () => state.streams,
      sinks: () => state.sinks,
      broker: () => state.broker,
      spool: () => state.spool,
      devices: () => state.devices,
      configuration: () => state.configuration,
      admin: () => state.admin,
    },
  }
}
