/**
 * The whole configuration: the sections that the stages own, put together, and what can only be
 * checked where several of them are seen. Names are those of the YAML file. After loading,
 * durations are milliseconds and sizes are bytes; YAML carries the unit.
 */
import { hostname } from 'node:os'
import { join } from 'node:path'
import { type AdminConfig, adminSection, checkAdmin } from './admin/config.ts'
import { checkMqtt, type MqttConfig, mqttSection } from './broker/config.ts'
import type { NamedPath, SinkWord } from './cli/context.ts'
import { duration, meantName, NAME_PATTERN, name, path, text } from './config/fields.ts'
import { pathsIn, spellsOutSecret } from './config/keys/named-paths.ts'
import type { ConfigSchema } from './config/load.ts'
import { type Report, showValue } from './config/problems.ts'
import { changes, leaf, map, nullable, type Schema, section } from './config/schema.ts'
import { formatSize } from './config/units.ts'
import { variant } from './config/variant.ts'
import type { Path } from './config/walk.ts'
import { type DevicesConfig, devicesSection } from './devices/config.ts'
import type { DevicesOptions } from './devices/devices.ts'
import { type DeliveryConfig, deliveryKeys } from './drain/config.ts'
import { type LogConfig, logSection } from './observe/config.ts'
import { nearest } from './shared/text/nearest.ts'
import { RECEIVERS, SINK_TYPES, type SinkTypeConfig, sinkTypeOf } from './sink/registry.ts'
import {
  checkStreams,
  type SpoolConfig,
  type StreamConfig,
  spoolSection,
  streamsSection,
} from './spool/config.ts'
import type { EmitSpoolEvent } from './spool/events.ts'
import type { SpoolOptions } from './spool/spool.ts'

/** What every stage is given its part of, after defaults, environment and units were applied. */
export interface Config {
  readonly gateway: GatewayConfig
  readonly mqtt: MqttConfig
  /** By stream name, `[a-z0-9][a-z0-9-]{0,62}`. */
  readonly streams: Readonly<Record<string, StreamConfig>>
  /** By sink name, same alphabet. */
  readonly sinks: Readonly<Record<string, SinkConfig>>
  readonly spool: SpoolConfig
  readonly devices: DevicesConfig
  readonly cluster: ClusterConfig
  readonly admin: AdminConfig
  readonly log: LogConfig
}

interface GatewayConfig {
  /** null: derived once from the host name and kept in the spool. */
  readonly id: string | null
  /** Absolute path. */
  readonly dataDir: string
  /** How long a stop may take before it becomes a hard one, ms. */
  readonly stopTimeout: number
}

/** What gateways behind one address have to do with each other. */
interface ClusterConfig {
  /** null: the others are not told of clients that connect here. */
  readonly takeover: {
    /** Its servers and login carry the notices. */
    readonly sink: string
    readonly subject: string
  } | null
}

/** What a type adds, beside the delivery that is the same for each. */
export type SinkConfig = SinkTypeConfig & DeliveryConfig

const gatewaySection: Schema<GatewayConfig> = section('The gateway as a whole.', {
  id: changes(
    'restart',
    nullable(
      name(
        'Name of this gateway in every record id. null: derived once from the host name, then kept in the spool; it changes only when it is set here.',
      ),
    ).prefault(null),
  ),
  dataDir: changes(
    'restart',
    leaf(path('Folder of the spool; one process at a time owns it.')).prefault('./data'),
  ),
  // Below the 30 s that Kubernetes gives a container before it kills it.
  stopTimeout: leaf(
    duration(
      'How long a stop may take. Requests in progress have all of it but a quarter, at most 5 s, which is for closing the spool.',
      {
        min: 0,
      },
    ),
  ).prefault('20s'),
})

const clusterSection: Schema<ClusterConfig> = section('Several gateways behind one address.', {
  takeover: section(
    'A client that connects here ends the connection that it left at another gateway: they tell each other on core NATS.',
    {
      sink: leaf(
        name('Sink of type nats whose servers and login carry the notices; it needs no stream.'),
      ),
      subject: leaf(
        text('Subject of the notices, which no JetStream stream may take.', {
          wanted: 'a subject such as sluice-takeover',
          check: (input) =>
            /^[^\s.*>]+(?:\.[^\s.*>]+)*$/.test(input)
              ? null
              : 'write words with dots between, without blanks, * and >',
        }),
      ).prefault('sluice-takeover'),
    },
  )
    .nullable()
    .prefault(null),
})

const sinkSection: Schema<SinkConfig> = variant('One sink, by name.', {
  key: 'type',
  keyText: 'Kind of sink.',
  usual: 'http',
  types: SINK_TYPES,
  instead: RECEIVERS,
  common: deliveryKeys,
})

/** Paths in its output are as they were written; the loader makes them absolute. */
const root: Schema<Config> = section('The configuration.', {
  gateway: changes('live', gatewaySection.prefault({})),
  mqtt: changes('live', mqttSection.prefault({})),
  streams: changes('live', streamsSection.prefault({ telemetry: {} })),
  sinks: changes(
    'replaced',
    map('Where streams are delivered, by name.', 'name', sinkSection).prefault({ cloud: {} }),
  ),
  spool: changes('live', spoolSection.prefault({})),
  devices: changes('restart', devicesSection.prefault({})),
  cluster: changes('restart', clusterSection.prefault({})),
  admin: changes('live', adminSection.prefault({})),
  log: changes('live', logSection.prefault({})),
})

export const SCHEMA: ConfigSchema<Config> = { root, check }

function check(config: Config, report: Report): void {
  checkMqtt(config.mqtt, report)
  checkStreams(config.streams, report)
  checkReferences(config, report)
  for (const [sink, of] of Object.entries(config.sinks))
    sinkTypeOf(of).check(['sinks', sink], of, report)
  checkPorts(config, report)
  checkAdmin(config.admin, report)
}

/** Each stream has its sink, and its records fit through what is before and behind it. */
function checkReferences({ streams, sinks, mqtt, cluster }: Config, report: Report): void {
  const used = new Set<string>()
  if (cluster.takeover !== null) {
    used.add(cluster.takeover.sink)
    checkNoticeSink(cluster.takeover.sink, sinks, report)
  }
  for (const [stream, { ack, sink, maxRecordBytes }] of Object.entries(streams)) {
    used.add(sink)
    checkSinkName(['streams', stream, 'sink'], sink, sinks, report)
    if (ack === 'delivered') checkDurableSink(stream, sink, sinks, report)
    const key = ['streams', stream, 'maxRecordBytes']
    const record = formatSize(maxRecordBytes)
    if (maxRecordBytes > mqtt.maxPacketBytes)
      report.warn(
        key,
        `${record} is never reached: mqtt.maxPacketBytes is ${formatSize(mqtt.maxPacketBytes)}`,
      )
    const maxBatchBytes = Object.hasOwn(sinks, sink) ? sinks[sink]?.maxBatchBytes : undefined
    if (maxBatchBytes !== undefined && maxRecordBytes > maxBatchBytes)
      report.warn(
        key,
        `a record over maxBatchBytes of ${sink} (${formatSize(maxBatchBytes)}) is sent alone, in a larger request`,
      )
  }
  for (const sink of Object.keys(sinks)) {
    if (!used.has(sink)) report.warn(['sinks', sink], 'no stream uses it')
  }
}

function checkSinkName(at: Path, sink: string, sinks: Config['sinks'], report: Report): void {
  if (Object.hasOwn(sinks, sink)) return
  const names = Object.keys(sinks)
  const known = names.filter((name) => NAME_PATTERN.test(name))
  // A sink whose name is refused is found as soon as it has the name that was meant.
  if (names.some((name) => !known.includes(name) && meantName(name) === sink)) return
  const near = nearest(sink, known) ?? (known.length === 1 ? known[0] : undefined)
  report.complain(at, {
    got: showValue(sink),
    wanted:
      known.length === 0 ? 'a sink; there is none' : `the name of a sink: ${known.join(', ')}`,
    fix:
      near === undefined
        ? `add sinks.${sink}, or name another`
        : `write ${near}, or add sinks.${sink}`,
  })
}

/** Its servers must be such that carry notices. */
function checkNoticeSink(sink: string, sinks: Config['sinks'], report: Report): void {
  const at = ['cluster', 'takeover', 'sink']
  checkSinkName(at, sink, sinks, report)
  const config = Object.hasOwn(sinks, sink) ? sinks[sink] : undefined
  if (config === undefined || sinkTypeOf(config).notices !== undefined) return
  report.complain(at, {
    got: `${sink}, of type ${config.type}`,
    wanted: 'a sink of type nats',
    fix: 'add a sink of type nats for it, which needs no stream and no JetStream, or leave cluster.takeover out',
  })
}

/** An ack that waits for a sink must mean something there: one lost disk takes nothing. */
function checkDurableSink(
  stream: string,
  sink: string,
  sinks: Config['sinks'],
  report: Report,
): void {
  const config = Object.hasOwn(sinks, sink) ? sinks[sink] : undefined
  const ack = config && sinkTypeOf(config).promise(config).ack
  if (config === undefined || ack === 'durable' || ack === 'replicated') return
  report.complain(['streams', stream, 'ack'], {
    got: `delivered, with sink ${sink} of type ${config.type}, whose ack says: ${ack}`,
    wanted: 'a sink whose ack says that a record is durable there, or replicated',
    fix: `make ${sink} one (its README says how), name another sink, or write spooled`,
  })
}

function checkPorts({ admin, mqtt }: Config, report: Report): void {
  const same = mqtt.listeners.findIndex(
    ({ host, port }) => host === admin.host && port === admin.port,
  )
  if (same < 0 || admin.port === 0) return
  report.complain(['admin', 'port'], {
    got: `the port of mqtt.listeners[${same}]`,
    wanted: 'a port of its own',
    fix: 'change one of the two ports',
  })
}

/** What the spool is given, whether the gateway runs or a command opens its folder. */
export function spoolOptions(config: Config, emit: EmitSpoolEvent): SpoolOptions {
  return {
    dataDir: config.gateway.dataDir,
    gatewayId: config.gateway.id,
    hostName: hostname(),
    streams: config.streams,
    sinks: config.sinks,
    config: config.spool,
    emit,
  }
}

/** The same for the table of devices, which lies beside the spool. */
export function devicesOptions(
  { devices, gateway, streams }: Config,
  appender: DevicesOptions['appender'],
  emit: DevicesOptions['emit'],
): DevicesOptions {
  const silentAfterMs = new Map(
    Object.entries(streams).flatMap(([stream, { silentAfter }]) =>
      silentAfter === null ? [] : [[stream, silentAfter] as const],
    ),
  )
  const path = join(gateway.dataDir, 'devices')
  return { config: devices, appender, silentAfterMs, path, emit }
}

/** What each sink promises by its configuration, and where it sends, without secrets. */
export function sinkPromises({ sinks }: Config): SinkWord[] {
  return Object.entries(sinks).map(([name, sink]) => {
    const type = sinkTypeOf(sink)
    return { name, target: type.url(sink), promise: type.promise(sink) }
  })
}

/** By the last part of their keys; other files and folders hold data. */
const HOLDS: Readonly<Record<string, NamedPath['holds']>> = {
  ca: 'certificate',
  cert: 'certificate',
  key: 'secret',
  passwordFile: 'secret',
  usersFile: 'secret',
  credentialsFile: 'secret',
}

/** Files and folders that are named, and the configuration itself where it spells a secret out. */
export function namedPaths(config: Config, file: string | null): NamedPath[] {
  const named = pathsIn(SCHEMA.root, config).map(({ key, path, isSecret }): NamedPath => {
    const last = key.split('.').at(-1) ?? ''
    return { key, path, holds: isSecret ? 'secret' : (HOLDS[last] ?? 'data') }
  })
  if (file === null || !spellsOutSecret(SCHEMA.root, file)) return named
  return [{ key: 'configuration', path: file, holds: 'secret' }, ...named]
}
