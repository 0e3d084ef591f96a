/**
 * The composition root: the only file that knows all stages. Order of start: spool (recovery),
 * sinks, drain, admin, broker last; so nothing is accepted that could not be made durable. Stop
 * goes the other way: the broker refuses and stops reading, pending commits finish and their acks
 * leave, requests in flight get until the deadline, the spool closes.
 */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { AdminServer } from './admin/server.ts'
import { Broker } from './broker/broker.ts'
import type { RunningGateway } from './cli/context.ts'
import type { Config } from './configuration.ts'
import { Drain } from './drain/drain.ts'
import { fitToHost, MIN_MEMORY_BYTES, readHostLimits } from './host-limits.ts'
import { Observer } from './observe/observer.ts'
import { runningOperator } from './operator.ts'
import { ADMIN_SOCKET } from './ports/operator.ts'
import { refuseEarly } from './preflight.ts'
import { createHttpSink, type HttpSink } from './sink/http/http-sink.ts'
import { REOPEN_INTERVAL_MS } from './spool/commit/committer.ts'
import { describeError, isPassing, isReadFailure } from './spool/disk/disk-errors.ts'
import { folderBytes } from './spool/disk/folder.ts'
import { Spool, type SpoolOptions } from './spool/spool.ts'
import { Patience } from './spool/store/patient-reads.ts'
import { type RunningStages, sinkTargets, statusSources } from './status-sources.ts'
import { VERSION } from './version.ts'

/** How often the real size of the data folder is measured. */
const FOLDER_LOOK_MS = 10_000

export interface Gateway extends RunningGateway {
  readonly spoolId: string
}

interface StartOptions {
  readonly newSpoolId?: boolean
}

/** Rejects with a typed error that says what to do; everything that was opened is closed again. */
export async function startGateway(
  configured: Config,
  options: StartOptions = {},
): Promise<Gateway> {
  const host = readHostLimits()
  const { config, caps, maxOpenBytes } = fitToHost(configured, host)
  await refuseEarly(config)
  const observer = await Observer.open({ log: config.log })
  const { emit } = observer
  for (const cap of caps) emit({ type: 'broker.limit-capped', ...cap })
  if (host.memoryBytes < MIN_MEMORY_BYTES)
    emit({ type: 'broker.memory-small', bytes: host.memoryBytes, wanted: MIN_MEMORY_BYTES })
  const undo: Array<() => Promise<unknown>> = [() => observer.stop()]
  try {
    const spool = await openWhenPossible(emit, {
      dataDir: config.gateway.dataDir,
      gatewayId: config.gateway.id,
      hostName: hostname(),
      streams: config.streams,
      sinks: config.sinks,
      config: config.spool,
      maxOpenBytes,
      emit,
      newSpoolId: options.newSpoolId ?? false,
    })
    undo.unshift(() => spool.stop())

    const sinks = new Map<string, HttpSink>()
    for (const [name, sink] of Object.entries(config.sinks)) {
      sinks.set(name, createHttpSink({ name, config: sink, emit }))
    }
    undo.unshift(() => Promise.all([...sinks.values()].map((sink) => sink.close())))

    const drain = new Drain({
      sinks: [...sinks].map(([name, sink]) => ({
        sink,
        config: config.sinks[name] as Config['sinks'][string],
      })),
      queues: spool.queues.filter((queue) => sinks.has(queue.sink)),
      notes: spool.notes,
      gateway: spool.gateway,
      emit,
    })

    let size = 0
    const measure = async (): Promise<void> => {
      size = await folderBytes(config.gateway.dataDir)
    }
    await measure().catch(() => undefined)
    const timer = setInterval(() => void measure().catch(() => undefined), FOLDER_LOOK_MS)
    timer.unref()
    undo.unshift(async () => clearInterval(timer))

    const stages = { config, version: VERSION, spool, sinks, drain, folderBytes: () => size }
    let broker: Broker | null = null
    let admin: AdminServer | null = null
    const views = observer.views(statusSources((): RunningStages => ({ ...stages, broker, admin })))
    admin = await AdminServer.start({
      config: config.admin,
      socketPath: join(config.gateway.dataDir, ADMIN_SOCKET),
      views,
      operator: runningOperator(spool, drain, sinks, () => views.status()),
      emit: observer.noteAdmin,
    })
    const adminServer = admin
    undo.splice(undo.length - 1, 0, () => adminServer.stop())

    const started = await Broker.start({
      config: config.mqtt,
      appender: spool.appender,
      emit,
      version: VERSION,
      loginsFile: join(config.gateway.dataDir, 'logins'),
    })
    broker = started
    undo.unshift(() => started.stop(0))
    // Devices first: a backlog has waited longer than they can.
    await drain.start()
    return {
      addresses: started.addresses,
      adminUrl: adminServer.url,
      gatewayId: spool.gateway,
      spoolId: spool.spoolId,
      sinks: sinkTargets(config.sinks),
      reread: async () => {
        await started.reread()
        for (const sink of sinks.values()) await sink.reread()
      },
      stop: async (deadlineMs) => {
        const endsMs = performance.now() + deadlineMs
        const left = (): number => Math.max(0, endsMs - performance.now())
        await started.stop(left())
        await drain.stop(left())
        for (const sink of sinks.values()) await sink.close()
        clearInterval(timer)
        await spool.stop()
        await adminServer.stop()
        await observer.stop()
      },
    }
  } catch (error) {
    for (const step of undo) await step().catch(() => undefined)
    throw error
  }
}

/**
 * A disk that is full or fails, or a machine that is out of descriptors or memory, may be well
 * again later, and nobody may be there to start the gateway then: it waits (I6), and leaves every
 * byte where it is. Only what the disk cannot read for two minutes is left aside, untouched, and a
 * new store begins beside it: intake goes on. What waiting cannot change (rights, a folder that is
 * in use, a file system without locks) is an error.
 */
async function openWhenPossible(emit: Observer['emit'], options: SpoolOptions): Promise<Spool> {
  const patience = new Patience()
  let besideUnreadable = false
  for (;;) {
    try {
      return await Spool.open({ ...options, besideUnreadable })
    } catch (error) {
      if (!isPassing(error)) throw error
      besideUnreadable = isReadFailure(error) && patience.isOver('store')
      emit({
        type: 'spool.storage-failed',
        detail: describeError(error),
        retryMs: REOPEN_INTERVAL_MS,
      })
      await sleep(REOPEN_INTERVAL_MS)
    }
  }
}
