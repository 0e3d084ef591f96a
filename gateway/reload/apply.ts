/**
 * Puts another configuration into force in the stages that run. Order: what can fail is made ready
 * first (addresses, files, numbers for new streams), and is undone if any of it fails; sinks and
 * streams that change hands come to rest; then everything changes in one synchronous run, so that no
 * message meets half of a configuration; last, sinks that were replaced begin anew. Not here: the
 * level of the log, which changes with the line that tells of the reload (reloader.ts).
 */
import { isDeepStrictEqual } from 'node:util'
import type { Config } from '../configuration.ts'
import type { Drain } from '../drain/drain.ts'
import { fitToHost, type HostLimits } from '../host-limits.ts'
import type { GatewayEvent } from '../observe/events.ts'
import type { Observer } from '../observe/observer.ts'
import { sinkTypeOf } from '../sink/registry.ts'
import type { Stages } from '../status-sources.ts'

/**
 * A batch in flight may end under its sink for at most its `timeout`, and no longer than an operator
 * waits for the answer to a reload.
 */
const MAX_RELEASE_MS = 20_000

/** Those of a gateway that delivers. */
export type LiveStages = Stages & { readonly drain: Drain }

/** A gateway that has started: the stages that a configuration changes. */
export interface Running {
  readonly stages: LiveStages
  readonly observer: Observer
  /** Of the stages. */
  readonly emit: (event: GatewayEvent) => void
  readonly host: HostLimits
  /** True from a stop on: nothing begins any more. */
  isStopping: boolean
}

/** The gateway stops, or has not started. */
class NotRunningError extends Error {
  override readonly name = 'NotRunningError'
}

/**
 * @param from what is in force
 * @throws ListenerError, AuthFileError and their like: then nothing has changed
 */
export async function applyConfig(running: Running, from: Config, to: Config): Promise<void> {
  const { host, observer, stages } = running
  const { drain, spool } = stages
  const { broker, admin } = stages
  if (broker === null || admin === null || running.isStopping)
    throw new NotRunningError('the gateway is starting or stopping')
  if (broker.stats.leaving)
    throw new NotRunningError(
      'the gateway leaves: it takes another configuration at its next start',
    )
  const { config: fitted, caps } = fitToHost(to, host)
  const change = await broker.prepare(fitted.mqtt)
  const replaced = changedSinks(from, to)
  try {
    await spool.addStreams(Object.keys(to.streams))
    await drain.release(replaced, movedStreams(from, to), (sink) =>
      Math.min(MAX_RELEASE_MS, from.sinks[sink]?.timeout ?? 0),
    )
    if (running.isStopping) throw new NotRunningError('the gateway stops')
  } catch (error) {
    await broker.discard(change)
    throw error
  }
  const durable = spool.reconfigure({ streams: to.streams, sinks: to.sinks, config: to.spool })
  broker.reconfigure(change)
  stages.config = fitted
  for (const cap of caps) observer.emit({ type: 'broker.limit-capped', ...cap })
  await replaceSinks(running, replaced, to)
  await admin.reconfigure(to.admin)
  await durable
}

/** Sinks that are gone, or whose configuration is another one. */
function changedSinks(from: Config, to: Config): ReadonlySet<string> {
  const names = Object.keys(from.sinks)
  return new Set(names.filter((name) => !isDeepStrictEqual(from.sinks[name], to.sinks[name])))
}

/** Streams that are delivered in another way: by another sink, in another order, awaited or not. */
function movedStreams(from: Config, to: Config): ReadonlySet<string> {
  const names = new Set([...Object.keys(from.streams), ...Object.keys(to.streams)])
  const deliveryOf = ({ streams }: Config, name: string): unknown => {
    const stream = streams[name]
    return stream && [stream.sink, stream.priority, stream.ack, stream.messageExpiry]
  }
  return new Set(
    [...names].filter((name) => !isDeepStrictEqual(deliveryOf(from, name), deliveryOf(to, name))),
  )
}

async function replaceSinks(
  { emit, stages }: Running,
  replaced: ReadonlySet<string>,
  to: Config,
): Promise<void> {
  const { drain, sinks, spool } = stages
  await Promise.all([...replaced].flatMap((name) => sinks.get(name)?.close() ?? []))
  for (const name of replaced) sinks.delete(name)
  const kept = new Map(sinks)
  sinks.clear()
  const begun = Object.entries(to.sinks).flatMap(([name, config]) => {
    const known = kept.get(name)
    const sink = known ?? sinkTypeOf(config).create({ name, config, emit })
    sinks.set(name, sink)
    return known === undefined ? [{ sink, config }] : []
  })
  drain.take(begun, spool.queues)
}
