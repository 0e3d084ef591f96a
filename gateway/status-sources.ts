/**
 * What observe reads of the running stages: the composition root's translation of their state into
 * plain data.
 */
import type { AdminServer } from './admin/server.ts'
import { createAdminStats } from './admin/stats.ts'
import type { Broker } from './broker/broker.ts'
import { noBrokerCounts } from './broker/stats.ts'
import type { Config } from './configuration.ts'
import type { Drain } from './drain/drain.ts'
import type { DeliveryStanding } from './drain/standing.ts'
import type {
  BrokerSnapshot,
  DeliverySnapshot,
  StatusSources,
  StreamSnapshot,
} from './observe/sources.ts'
import type { BrokerStatus } from './ports/status.ts'
import { isClockSet } from './shared/clock.ts'
import { listenerUrl } from './shared/hosts.ts'
import { hideUrl } from './shared/text/hide-url.ts'
import { nearestFilter } from './shared/text/nearest.ts'
import type { HttpSink } from './sink/http/http-sink.ts'
import type { Spool } from './spool/spool.ts'
import { pendingByCounters } from './spool/stream/counters.ts'
import { unskipped } from './spool/stream/state.ts'
import type { SpoolStream } from './spool/stream/stream.ts'
import { VERSION } from './version.ts'

/** What there is to look at; `broker` and `admin` are null until they have started. */
export interface Stages {
  readonly config: Config
  readonly spool: Spool
  readonly sinks: ReadonlyMap<string, HttpSink>
  readonly drain: Drain | null
  readonly size: { readonly bytes: number }
  broker: Broker | null
  admin: AdminServer | null
}

const NO_REQUESTS = createAdminStats()
const IDLE: DeliverySnapshot = { state: 'ok', sinceMs: null, why: null, nextTryAtMs: null }

export function statusSources(stages: Stages): StatusSources {
  const startedMs = performance.now()
  return {
    identity: () => ({
      version: VERSION,
      gateway: stages.spool.gateway,
      uptimeSeconds: (performance.now() - startedMs) / 1000,
      clockSet: isClockSet(Date.now()),
    }),
    streams: () => {
      const { spool, drain, broker } = stages
      const standings = new Map(
        drain?.sinkStandings().flatMap((s) => s.streams.map((t) => [t.stream, t] as const)),
      )
      return [...spool.streams.values()]
        .map((stream) => {
          const queue = spool.queues.find((each) => each.stream === stream.name)
          return streamSnapshot(stream, standings.get(stream.name), broker, queue?.sink || null)
        })
        .filter((s) => !s.orphaned || s.counters.pending > 0)
        .sort((a, b) => Number(a.orphaned) - Number(b.orphaned))
    },
    sinks: () => sinkSnapshots(stages),
    broker: () => brokerSnapshot(stages),
    spool: () => spoolSnapshot(stages),
    admin: () => stages.admin?.stats ?? NO_REQUESTS,
  }
}

/** Where each sink sends, without what is secret about it. */
export function sinkTargets(sinks: Config['sinks']): { name: string; target: string }[] {
  return Object.entries(sinks).map(([name, { url }]) => ({ name, target: hideUrl(url) }))
}

function streamSnapshot(
  stream: SpoolStream,
  standing: DeliveryStanding | undefined,
  broker: Broker | null,
  drainedTo: string | null,
): StreamSnapshot {
  const { view, state, config } = stream
  const head = stream.index.at(unskipped(state, state.head.ordinal))
  const first = state.front[0]
  const identity = first?.identity ?? head?.identity ?? stream.identity
  return {
    name: stream.name,
    sink: config?.sink ?? drainedTo,
    priority: config?.priority ?? 9,
    orphaned: config === null,
    spoolId: state.identities.at(-1)?.spoolId ?? '',
    counters: {
      received: view.counters.received,
      requeued: view.counters.requeued,
      delivered: view.counters.delivered,
      deadLettered: view.counters.deadLettered,
      dropped: view.counters.dropped,
      pending: pendingByCounters(view.counters),
    },
    deadLetters: {
      kept: view.deadLettersKept,
      keptBytes: view.deadLetterBytes,
      requeued: view.counters.deadLettersRequeued,
      removed: view.counters.deadLettersRemoved,
    },
    backlogBytes: stream.pendingRawBytes,
    storedBytes: stream.storedBytes,
    maxBytes: config?.maxBytes ?? 0,
    // A parked record waits for the sink's next word about others, not for its turn.
    oldestReceivedAtMs: first?.receivedAtMs ?? head?.oldestMs ?? null,
    headSpoolId: state.identities[identity]?.spoolId ?? '',
    headSeq: first?.seq ?? (head ? head.firstSeq + state.head.index : view.nextSeq),
    nextSeq: view.nextSeq,
    parked: view.parked,
    waitingMessages: broker?.stats.waitingByStream.get(stream.name) ?? 0,
    illFormedTexts: stream.illFormedTexts,
    delivery: deliveryOf(standing),
  }
}

function deliveryOf(standing: DeliveryStanding | undefined): DeliverySnapshot {
  if (!standing || standing.state === 'ok') return IDLE
  const { state, sinceMs, detail, nextTryAtMs } = standing
  return { state, sinceMs, why: detail, nextTryAtMs }
}

function sinkSnapshots({ config, sinks, drain }: Stages): ReturnType<StatusSources['sinks']> {
  const states = new Map(drain?.sinkStandings().map((s) => [s.sink, s]))
  return [...sinks].map(([name, { stats }]) => {
    const state = states.get(name)
    return {
      name,
      url: hideUrl(config.sinks[name]?.url ?? ''),
      delivery: deliveryOf(state),
      lastSuccessAtMs: state?.lastSuccessAtMs ?? null,
      streams: Object.keys(config.streams).filter(
        (stream) => config.streams[stream]?.sink === name,
      ),
      requests: stats.requests,
      sentBytes: stats.sentBytes,
      inFlight: stats.inFlight,
      requestSeconds: stats.requestSeconds,
      clockSkewSeconds: stats.clockSkewSeconds,
    }
  })
}

/** `broker` is null while the gateway starts. */
function brokerSnapshot({ broker, config }: Stages): BrokerSnapshot {
  const { traffic: stats, sockets, logins, kept } = broker?.counts ?? NO_BROKER
  return {
    accepting: stats.accepting,
    listeners: (broker?.addresses ?? []).map(listenerUrl),
    connections: stats.connections,
    sessions: stats.sessions,
    sessionsEnded: stats.sessionsEnded,
    openPacketIds: stats.openPacketIds,
    sockets: {
      open: sockets.open,
      accepted: sockets.accepted,
      handshakesFailed: sockets.handshakesFailed,
      undatedCertificates: sockets.undatedCertificates,
    },
    logins: {
      accepted: logins.accepted,
      credentials: logins.refusedCredentials,
      busy: logins.refusedBusy,
      damped: logins.refusedDamped,
    },
    loginsFromCache: logins.acceptedFromCache,
    passwordHashes: logins.hashesComputed,
    connectionsOpened: stats.connectionsOpened,
    connectionsRefused: stats.connectionsRefused,
    connectionsClosed: stats.connectionsClosed,
    messages: stats.messages,
    messageBytes: stats.messageBytes,
    duplicates: stats.duplicates,
    qos0Refused: stats.qos0Refused,
    willsPublished: stats.willsPublished,
    unrouted: stats.unrouted,
    unwanted: stats.unwanted,
    lastUnrouted: lastUnrouted(stats.lastUnrouted, config.streams),
    waitingMessages: stats.waitingMessages,
    unackedMessages: stats.unackedMessages,
    unackedBytes: stats.unackedBytes,
    holdBackBytes: stats.holdBackBytes,
    localCopies: { ...stats.localCopies },
    subscriberBytes: stats.subscriberBytes,
    queuedCopies: {
      messages: kept.queuedMessages,
      bytes: kept.queuedBytes,
      dropped: kept.queuedDropped,
    },
    retainedMessages: stats.retainedMessages,
    retainedBytes: kept.retainedBytes,
    retainedRefused: kept.retainedRefused,
    ackSeconds: stats.ackSeconds,
  }
}

function lastUnrouted(
  { topic, clientId }: { readonly topic: string; readonly clientId: string },
  streams: Config['streams'],
): BrokerStatus['lastUnrouted'] {
  if (topic === '') return null
  const filter = nearestFilter(
    topic,
    Object.values(streams).flatMap((stream) => stream.topics),
  )
  const owner = Object.entries(streams).find(
    ([, { topics }]) => filter !== null && topics.includes(filter),
  )
  return {
    topic,
    clientId,
    nearest: filter === null || owner === undefined ? null : { filter, stream: owner[0] },
  }
}

const NO_BROKER = noBrokerCounts()

function spoolSnapshot({ spool, size }: Stages): ReturnType<StatusSources['spool']> {
  const { committer, disk, stats } = spool
  const { state, why, sinceMs } = spool.condition
  return {
    id: spool.spoolId,
    state,
    sinceMs,
    why,
    folderBytes: size.bytes,
    freeBytes: disk.freeBytes,
    minFreeBytes: disk.minFreeBytes,
    commits: stats.commits,
    commitFailures: stats.failedCommits,
    committedRecords: stats.committedRecords,
    committedBytes: stats.storedBytes,
    lastCommitAtMs: stats.lastCommitAtMs,
    commitRunningSeconds: committer.runningMs === null ? null : committer.runningMs / 1000,
    verified: spool.verifier.result,
    damage: spool.damage,
    noticesRestore: spool.noticesRestore,
    commitSeconds: stats.commitSeconds,
  }
}
