/**
 * The composition root: starts the stages and hands each what it needs of the others. The order is
 * the one of {@link startParts}: log, spool (recovery), sinks, drain, admin, broker last, so that
 * nothing is accepted that could not be made durable. A stop goes the other way (parts.ts): the
 * broker refuses and stops reading, pending commits finish and their acks leave, requests in flight
 * get until the deadline, the spool closes, the log last.
 */
import { join } from 'node:path'
import { AdminServer } from './admin/server.ts'
import { Broker } from './broker/broker.ts'
import type { RunningGateway } from './cli/context.ts'
import { type Config, devicesOptions, spoolOptions } from './configuration.ts'
import { Devices } from './devices/devices.ts'
import { Drain } from './drain/drain.ts'
import {
  type Fitted,
  fitToHost,
  type HostLimits,
  MIN_MEMORY_BYTES,
  readHostLimits,
} from './host-limits.ts'
import type { GatewayEvent } from './observe/events.ts'
import { Observer } from './observe/observer.ts'
import { runningOperator } from './operator.ts'
import { Parts } from './parts.ts'
import type { NoticeBus } from './ports/notices.ts'
import { ADMIN_SOCKET } from './ports/operator.ts'
import { refuseEarly } from './preflight.ts'
import type { LiveStages, Running } from './reload/apply.ts'
import { type ConfigFile, Reloader } from './reload/reloader.ts'
import { sinkTypeOf } from './sink/registry.ts'
import type { ConfiguredSink } from './sink/sink-type.ts'
import { FolderSize } from './spool/disk/folder-size.ts'
import { openWhenPossible } from './spool/patient-opening.ts'
import type { Spool } from './spool/spool.ts'
import { type Stages, sinkTargets, statusSources } from './status-sources.ts'
import { runningTrials } from './trials/running-trials.ts'
import { TestReadings } from './trials/test-readings.ts'
import { VERSION } from './version.ts'

export interface Gateway extends RunningGateway {
  readonly spoolId: string
}

/** A configuration as it was loaded and as this host carries it. */
interface Wanted extends Fitted {
  readonly configured: Config
  readonly file: ConfigFile | null
  readonly host: HostLimits
}

/**
 * Rejects with a typed error that says what to do; everything that was opened is closed again.
 * `file`: where the configuration came from, for a reload; null: there will be none.
 */
export async function startGateway(
  configured: Config,
  file: ConfigFile | null = null,
): Promise<Gateway> {
  const host = readHostLimits()
  const fitted = fitToHost(configured, host)
  await refuseEarly(fitted.config)
  const parts = new Parts()
  try {
    const observer = await Observer.open({ log: fitted.config.log })
    parts.add({ close: () => observer.stop() })
    for (const cap of fitted.caps) observer.emit({ type: 'broker.limit-capped', ...cap })
    const { memoryBytes } = host
    if (memoryBytes < MIN_MEMORY_BYTES)
      observer.emit({ type: 'broker.memory-small', bytes: memoryBytes, wanted: MIN_MEMORY_BYTES })
    return await startParts(parts, observer, { ...fitted, configured, file, host })
  } catch (error) {
    await parts.stop(0).catch(() => undefined)
    throw error
  }
}

async function startParts(
  parts: Parts,
  observer: Observer,
  { config, configured, file, host, maxOpenBytes }: Wanted,
): Promise<Gateway> {
  let reloader: Reloader | null = null
  const emit = (event: GatewayEvent): void => {
    observer.emit(event)
    reloader?.heard(event)
  }
  const { dataDir } = config.gateway
  const spool = await openWhenPossible({ ...spoolOptions(config, emit), maxOpenBytes })
  parts.add({ close: () => spool.stop() })

  const devices = await Devices.open(devicesOptions(config, spool.appender, emit))
  parts.add({ close: () => devices.close() })

  const sinks = createSinks(config, emit)
  parts.add({ close: () => closeAll(sinks) })

  const readings = new TestReadings()
  const drain = createDrain(config, spool, sinks, { emit, watch: readings })
  parts.add({ finish: (leftMs) => drain.stop(leftMs) })

  const size = await FolderSize.watch(dataDir)
  parts.add({ close: async () => size.close() })

  const core = { config, spool, devices, sinks, drain, size }
  const stages: LiveStages = { ...core, broker: null, admin: null }
  const running: Running = { stages, observer, emit, host, isStopping: false }
  const reloads = new Reloader(running, configured, file)
  reloader = reloads
  const views = observer.views(statusSources(stages, () => reloads.standing))
  const admin = await startAdmin(running, reloads, readings, views)
  stages.admin = admin
  parts.add({ close: (leftMs) => admin.stop(leftMs) })

  const bus = openNotices(config, emit)
  if (bus !== null) parts.add({ close: async () => bus.close() })

  const broker = await Broker.start({
    config: config.mqtt,
    appender: spool.appender,
    devices,
    emit,
    cluster: bus && { bus, name: spool.gateway },
    version: VERSION,
    loginsFile: join(dataDir, 'logins'),
  })
  stages.broker = broker
  devices.start(() => broker.stats.accepting)
  parts.add({ finish: (leftMs) => broker.stop(leftMs) })
  parts.add({ finish: (leftMs) => reloads.stop(leftMs) })

  // Devices first: a backlog has waited longer than they can.
  await drain.start()
  return {
    get addresses() {
      return broker.addresses
    },
    get sinks() {
      return sinkTargets(stages.config)
    },
    get config() {
      return reloads.config
    },
    adminUrl: admin.url,
    gatewayId: spool.gateway,
    spoolId: spool.spoolId,
    reload: (options) => reloads.reload(options),
    live: () => views.live(),
    reread: () => rereadAll(stages),
    stop: (deadlineMs) => parts.stop(deadlineMs),
  }
}

function createDrain(
  config: Config,
  spool: Spool,
  sinks: ReadonlyMap<string, ConfiguredSink>,
  told: { readonly emit: Observer['emit']; readonly watch: TestReadings },
): Drain {
  return new Drain({
    sinks: [...sinks].map(([name, sink]) => ({
      sink,
      config: config.sinks[name] as Config['sinks'][string],
    })),
    queues: spool.queues.filter((queue) => sinks.has(queue.sink)),
    notes: spool.notes,
    ...told,
  })
}

function startAdmin(
  { observer, stages }: Running,
  reloader: Reloader,
  readings: TestReadings,
  views: ReturnType<Observer['views']>,
): Promise<AdminServer> {
  const { config, devices, drain, sinks, spool } = stages
  return AdminServer.start({
    config: config.admin,
    socketPath: join(config.gateway.dataDir, ADMIN_SOCKET),
    views,
    operator: runningOperator(spool, drain, sinks, {
      devices,
      status: () => views.status(),
      leave: () => {
        stages.broker?.leave()
        return stages.broker !== null
      },
      reloader,
    }),
    trials: runningTrials(stages, readings),
    emit: observer.noteAdmin,
  })
}

/** The files that the configuration names, whether they changed or not. */
async function rereadAll({ admin, broker, sinks }: Stages): Promise<void> {
  await broker?.reread()
  await admin?.reread()
  for (const sink of sinks.values()) await sink.reread()
}

function createSinks(config: Config, emit: Observer['emit']): Map<string, ConfiguredSink> {
  return new Map(
    Object.entries(config.sinks).map(([name, sink]) => [
      name,
      sinkTypeOf(sink).create({ name, config: sink, emit }),
    ]),
  )
}

/** To the other gateways of its cluster; null: they are not told of clients. */
function openNotices({ cluster, sinks }: Config, emit: Observer['emit']): NoticeBus | null {
  if (cluster.takeover === null) return null
  const { sink: name, subject } = cluster.takeover
  const config = sinks[name] as Config['sinks'][string]
  return sinkTypeOf(config).notices?.({ name, config, subject, emit }) ?? null
}

async function closeAll(sinks: ReadonlyMap<string, ConfiguredSink>): Promise<void> {
  await Promise.all([...sinks.values()].map((sink) => sink.close()))
}
