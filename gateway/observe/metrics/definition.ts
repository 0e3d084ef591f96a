/**
 * The form of a metric's definition: name, meaning, labels, and where its value is read.
 * Definitions are data: the registry, the printed table and the checks of the dashboards' queries
 * are made from the same ones.
 */
import type { AdminStats } from '../../admin/stats.ts'
import type { DeviceStats } from '../../devices/stats.ts'
import type { LatencyHistogram } from '../../shared/latency-histogram.ts'
import type {
  BrokerSnapshot,
  IdentitySnapshot,
  SinkSnapshot,
  SpoolSnapshot,
  StreamSnapshot,
} from '../sources.ts'

/**
 * Everything that metrics are made of, taken once per scrape, so that all metrics of a scrape are
 * of the same moment.
 */
export interface Snapshot {
  /** Wall clock, ms since the epoch. */
  readonly nowMs: number
  readonly identity: IdentitySnapshot
  readonly streams: readonly StreamSnapshot[]
  readonly sinks: readonly SinkSnapshot[]
  readonly broker: BrokerSnapshot
  readonly spool: SpoolSnapshot
  readonly devices: DeviceStats
  readonly admin: Readonly<AdminStats>
  readonly observe: ObserveSnapshot
  /** Bytes written to disk by this process; null: the system does not tell. */
  readonly writtenBytes: number | null
}

/** What observe counts of itself. */
interface ObserveSnapshot {
  /** Events by type. */
  readonly events: Readonly<Record<string, number>>
  /** Log lines that damping held back. */
  readonly suppressedLines: number
  /** Log lines lost because the reader of the log did not keep up. */
  readonly droppedLines: number
  /** When the certificates of listeners end, by listener, ms since the epoch. */
  readonly certificateEndsAtMs: Readonly<Record<string, number>>
}

export type Labels = Readonly<Record<string, string>>

interface Sample {
  readonly labels: Labels
  readonly value: number
}

export interface HistogramSample {
  readonly labels: Labels
  readonly histogram: LatencyHistogram
}

interface Named {
  /** `sluice_<stage>_<thing>_<unit>`, counters end in `_total`. */
  readonly name: string
  readonly help: string
  /** Never a device, a client or a topic: their number is not bounded. */
  readonly labels: readonly string[]
}

export interface PlainDefinition extends Named {
  readonly type: 'counter' | 'gauge'
  read(snapshot: Snapshot): readonly Sample[]
}

export interface HistogramDefinition extends Named {
  readonly type: 'histogram'
  read(snapshot: Snapshot): readonly HistogramSample[]
}

export type MetricDefinition = PlainDefinition | HistogramDefinition

/** A metric without labels; null leaves it out of the scrape. */
export function single(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  read: (snapshot: Snapshot) => number | null,
): PlainDefinition {
  return {
    type,
    name,
    help,
    labels: [],
    read: (snapshot) => {
      const value = read(snapshot)
      return value === null ? [] : [{ labels: {}, value }]
    },
  }
}

/** A metric with one label whose values are the keys of a record. */
export function byKey(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  label: string,
  read: (snapshot: Snapshot) => Readonly<Record<string, number>>,
): PlainDefinition {
  return {
    type,
    name,
    help,
    labels: [label],
    read: (snapshot) =>
      Object.entries(read(snapshot)).map(([key, value]) => ({ labels: { [label]: key }, value })),
  }
}

/**
 * One sample per known value, 1 for the current one and 0 for the others: alerts need the zeros.
 */
export function oneOf(
  label: string,
  known: readonly string[],
  current: string,
  more: Labels = {},
): Sample[] {
  return known.map((value) => ({
    labels: { ...more, [label]: value },
    value: value === current ? 1 : 0,
  }))
}
