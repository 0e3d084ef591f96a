/**
 * Configurations that a gateway may be reloaded from and to, drawn from a seed: keys that are live or
 * replaced, streams, sinks and listeners that come, go and move. All of them take every reading in
 * the stream `telemetry`, so that what is acknowledged has to reach a sink whatever is drawn.
 */
import type { Random } from '../../../device-sim/random.ts'

/** What never changes. */
export interface Places {
  readonly cloudUrl: string
  readonly plantUrl: string
  /** Of the second listener: it has one of them, or is not there. */
  readonly ports: readonly [number, number]
}

/** The second listener's; null: it is not there. */
export interface Drawn {
  readonly written: Readonly<Record<string, unknown>>
  readonly secondPort: number | null
}

export function drawConfiguration(random: Random, places: Places): Drawn {
  const secondPort = oneOf(random, [null, ...places.ports, ...places.ports])
  const sinks = ['cloud', 'plant']
  // Not delivered: connections that wait for the sink of a stream that goes have to be closed.
  const topics = oneOf(random, [['plant/#'], ['#', 'other/+']])
  const other = { ...stream(random, sinks), topics, ack: 'spooled' }
  const alarms = random.chance(0.5) ? { alarms: other } : {}
  return {
    secondPort,
    written: {
      mqtt: {
        ...limits(random),
        listeners: [
          { host: '127.0.0.1', port: 0 },
          ...(secondPort === null ? [] : [{ host: '127.0.0.1', port: secondPort }]),
        ],
      },
      streams: { telemetry: stream(random, sinks), ...alarms },
      sinks: {
        cloud: { url: places.cloudUrl, ...delivery(random) },
        plant: { url: places.plantUrl, ...delivery(random) },
      },
      spool: {
        minFreeBytes: '1MiB',
        commitInterval: oneOf(random, ['0ms', '5ms', '50ms']),
        commitBurst: oneOf(random, [0, 10, 1_000]),
      },
      gateway: { stopTimeout: oneOf(random, ['10s', '20s']) },
      log: { level: oneOf(random, ['error', 'warn']) },
    },
  }
}

function stream(random: Random, sinks: readonly string[]): Record<string, unknown> {
  return {
    sink: oneOf(random, sinks),
    ack: oneOf(random, ['spooled', 'spooled', 'delivered']),
    priority: oneOf(random, [0, 3, 9]),
    device: oneOf(random, ['clientId', 'topic:1']),
    payload: oneOf(random, ['any', 'json']),
    maxBytes: oneOf(random, ['64MiB', '1GiB']),
    maxRecordBytes: oneOf(random, ['4KiB', '256KiB']),
  }
}

function delivery(random: Random): Record<string, unknown> {
  return {
    linger: oneOf(random, ['0ms', '20ms']),
    maxBatchRecords: oneOf(random, [1, 7, 10_000]),
    maxBatchBytes: oneOf(random, ['2KiB', '4MiB']),
    maxInFlight: oneOf(random, [1, 4]),
    timeout: oneOf(random, ['5s', '30s']),
    compression: oneOf(random, ['none', 'gzip']),
  }
}

function limits(random: Random): Record<string, unknown> {
  return {
    unrouted: oneOf(random, ['accept', 'refuse']),
    refusals: oneOf(random, ['close', 'code']),
    sysInterval: oneOf(random, [null, '1s']),
    maxUnackedMessages: oneOf(random, [20, 1_000]),
    maxConnections: oneOf(random, [50, 10_000]),
    maxTopicLevels: oneOf(random, [8, 32]),
    maxPacketBytes: oneOf(random, ['512KiB', '1MiB']),
  }
}

function oneOf<T>(random: Random, values: readonly T[]): T {
  return values[random.below(values.length)] as T
}
