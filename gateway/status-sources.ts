/**
 * What observe reads of the stages (observe/sources.ts): their own counts, and what takes several
 * of them to tell.
 */
import type { AdminServer } from './admin/server.ts'
import { createAdminStats } from './admin/stats.ts'
import type { Broker } from './broker/broker.ts'
import { noBrokerCounts } from './broker/stats.ts'
import type { Config } from './configuration.ts'
import type { Devices } from './devices/devices.ts'
import type { Drain } from './drain/drain.ts'
import type { DeliveryStanding } from './drain/standing.ts'
import type {
  BrokerSnapshot,
  DeliverySnapshot,
  StatusSources,
  StreamSnapshot,
} from './observe/sources.ts'
import type { UnroutedMessage } from './ports/status.ts'
import { isClockSet } from './shared/clock.ts'
import { listenerUrl } from './shared/hosts.ts'
import { nearestFilter } from './shared/text/nearest.ts'
import { sinkTypeOf } from './sink/registry.ts'
import type { ConfiguredSink } from './sink/sink-type.ts'
import type { Spool } from './spool/spool.ts'
import { VERSION } from './version.ts'

/** What observe looks at; `broker` and `admin` are null until they have started. */
export interface Stages {
  /** As this host carries it; a reload puts another one in its place. */
  config: Config
  readonly spool: Spool
  readonly devices: Devices
  readonly sinks: Map<string, ConfiguredSink>
  readonly drain: Drain | null
  readonly size: { readonly bytes: number }
  broker: Broker | null
  admin: AdminServer | null
}

const NO_BROKER = noBrokerCounts()
const NO_REQUESTS = createAdminStats()
const IDLE: DeliverySnapshot = { state: 'ok', sinceMs: null, why: null, nextTryAtMs: null }

/** `configuration`: how it stands; null without a gateway that runs. */
export function statusSources(
  stages: Stages,
  configuration: StatusSources['configuration'] = () => null,
): StatusSources {
  const startedMs = performance.now()
  return {
    identity: () => ({
      version: VERSION,
      gateway: stages.spool.gateway,
      uptimeSeconds: (performance.now() - startedMs) / 1000,
      clockSet: isClockSet(Date.now()),
    }),
    streams: () => streamSnapshots(stages),
    sinks: () => sinkSnapshots(stages),
    broker: () => brokerSnapshot(stages),
    spool: () => spoolSnapshot(stages),
    devices: () => stages.devices.stats,
    configuration,
    admin: () => stages.admin?.stats ?? NO_REQUESTS,
  }
}

/** Where each sink sends, without what is secret about it. */
export function sinkTargets(config: Config): { name: string; target: string }[] {
  return Object.keys(config.sinks).map((name) => ({ name, target: sinkUrl(config, name) }))
}

function sinkUrl({ sinks }: Config, name: string): string {
  const sink = sinks[name]
  return sink === undefined ? '' : sinkTypeOf(sink).url(sink)
}

function streamSnapshots({ spool, drain, broker }: Stages): StreamSnapshot[] {
  const standings = new Map(
    drain?.sinkStandings().flatMap((sink) => sink.streams.map((each) => [each.stream, each])),
  )
  const waiting = broker?.stats.waitingByStream
  return spool.streamStats().map((stats) => ({
    ...stats,
    waitingMessages: waiting?.get(stats.name) ?? 0,
    delivery: deliveryOf(standings.get(stats.name)),
  }))
}

function deliveryOf(standing: DeliveryStanding | undefined): DeliverySnapshot {
  if (!standing || standing.state === 'ok') return IDLE
  const { state, sinceMs, detail, nextTryAtMs } = standing
  return { state, sinceMs, why: detail, nextTryAtMs }
}

function sinkSnapshots({ config, sinks, drain }: Stages): ReturnType<StatusSources['sinks']> {
  const states = new Map(drain?.sinkStandings().map((s) => [s.sink, s]))
  return [...sinks].map(([name, { stats, health, promise }]) => {
    const state = states.get(name)
    return {
      name,
      url: sinkUrl(config, name),
      promise,
      delivery: deliveryOf(state),
      health,
      lastSuccessAtMs: state?.lastSuccessAtMs ?? null,
      learnedBatchBytes: state?.learnedBatchBytes ?? null,
      streams: Object.keys(config.streams).filter(
        (stream) => config.streams[stream]?.sink === name,
      ),
      stats,
    }
  })
}

function brokerSnapshot({ broker, config }: Stages): BrokerSnapshot {
  const counts = broker?.counts ?? NO_BROKER
  return {
    ...counts,
    listeners: (broker?.addresses ?? []).map(listenerUrl),
    lastUnrouted: lastUnrouted(counts.traffic.lastUnrouted, config.streams),
  }
}

function lastUnrouted(
  { topic, clientId }: { readonly topic: string; readonly clientId: string },
  streams: Config['streams'],
): UnroutedMessage | null {
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
    stats,
    commitRunningSeconds: committer.runningMs === null ? null : committer.runningMs / 1000,
    verified: spool.verifier.result,
    damage: spool.damage,
    noticesRestore: spool.noticesRestore,
  }
}
