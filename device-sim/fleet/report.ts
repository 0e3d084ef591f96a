/**
 * What a fleet did, as data and as text: the live line, the table, `--json`. Pure but for looking
 * at the fleet.
 */

import type { Ledger } from '../ledger/ledger.ts'
import { count, milliseconds, type Row } from '../table.ts'
import type { Fleet } from './fleet.ts'
import type { CutPoint } from './stats.ts'

/** The answer of `run --json`. */
export interface FleetReport {
  readonly seed: string
  readonly devices: number
  /** How long devices measured, and how long the run took with the wait for acknowledgements. */
  readonly measuredSeconds: number
  readonly seconds: number
  /** Readings by QoS. */
  readonly published: readonly [number, number, number]
  readonly acked: readonly [number, number, number]
  readonly unacknowledged: number
  readonly ackedPerSecond: number
  readonly ackMs: {
    readonly p50: number
    readonly p90: number
    readonly p99: number
    readonly max: number
  }
  readonly packets: {
    readonly sent: number
    readonly resent: number
    readonly releasesResent: number
  }
  readonly connections: {
    readonly connects: number
    readonly failures: number
    readonly refusals: number
    readonly disconnects: number
    readonly sessionsLost: number
  }
  readonly faults: {
    readonly drops: number
    readonly dropsAt: Readonly<Record<CutPoint, number>>
    readonly halfOpens: number
    readonly storms: number
    readonly duplicates: number
    readonly late: number
    readonly malformed: number
  }
  readonly skipped: number
  readonly errors: Readonly<Record<string, number>>
}

export function fleetReport(
  fleet: Fleet,
  ledger: Ledger,
  measuredSeconds: number,
  seconds: number,
  seed: string,
): FleetReport {
  const { stats } = fleet
  const acked = ledger.acked[0] + ledger.acked[1] + ledger.acked[2]
  return {
    seed,
    devices: fleet.devices.length,
    measuredSeconds: round(measuredSeconds),
    seconds: round(seconds),
    published: [...ledger.published],
    acked: [...ledger.acked],
    unacknowledged: ledger.unacknowledged,
    ackedPerSecond: Math.round(acked / Math.max(seconds, 0.001)),
    ackMs: {
      p50: round(stats.ackMs.quantile(0.5)),
      p90: round(stats.ackMs.quantile(0.9)),
      p99: round(stats.ackMs.quantile(0.99)),
      max: round(stats.ackMs.maxMs),
    },
    packets: { sent: stats.sent, resent: stats.resent, releasesResent: stats.releasesResent },
    connections: {
      connects: stats.connects,
      failures: stats.connectFailures,
      refusals: stats.connectRefusals,
      disconnects: stats.disconnects,
      sessionsLost: stats.sessionsLost,
    },
    faults: {
      drops: stats.drops,
      dropsAt: { ...stats.dropsAt },
      halfOpens: stats.halfOpens,
      storms: stats.storms,
      duplicates: stats.duplicates,
      late: stats.late,
      malformed: stats.malformed,
    },
    skipped: stats.skipped,
    errors: Object.fromEntries(stats.errors),
  }
}

export function fleetRows(report: FleetReport): Row[] {
  const { connections, faults, packets, ackMs } = report
  const total = (counts: readonly [number, number, number]): number =>
    counts[0] + counts[1] + counts[2]
  const byQos = (counts: readonly [number, number, number]): string =>
    `QoS 0 ${count(counts[0])}, QoS 1 ${count(counts[1])}, QoS 2 ${count(counts[2])}`
  const cuts = Object.entries(faults.dropsAt)
    .filter(([, cut]) => cut > 0)
    .map(([point, cut]) => `${point} ${cut}`)
  const rows: Row[] = [
    ['published', total(report.published), byQos(report.published)],
    ['acknowledged', total(report.acked), byQos(report.acked)],
    ['not acknowledged', report.unacknowledged],
    ['acknowledged per second', report.ackedPerSecond, `over ${report.seconds} s`],
    [
      'ack latency, median',
      milliseconds(ackMs.p50),
      `p90 ${milliseconds(ackMs.p90)}, p99 ${milliseconds(ackMs.p99)}, max ${milliseconds(ackMs.max)}`,
    ],
    [
      'PUBLISH packets',
      packets.sent,
      `${count(packets.resent)} sent again; ${count(packets.releasesResent)} PUBREL again`,
    ],
    [
      'connects',
      connections.connects,
      `${count(connections.failures)} failed, ${count(connections.refusals)} refused, ${count(connections.disconnects)} ended by the gateway`,
    ],
    ['sessions lost', connections.sessionsLost, 'the gateway had forgotten a QoS 2 session'],
    ['links cut', faults.drops, cuts.join(', ')],
    ['half-open links', faults.halfOpens],
    ['reconnect storms', faults.storms],
    ['sent twice on purpose', faults.duplicates],
    ['late', faults.late],
    ['malformed', faults.malformed],
    ['skipped', report.skipped, 'measurements that a full device could not keep'],
  ]
  for (const [text, times] of Object.entries(report.errors)) rows.push(['error', times, text])
  return rows
}

/** One line for the terminal. */
export function progressLine(fleet: Fleet, ledger: Ledger, seconds: number): string {
  const published = ledger.published[0] + ledger.published[1] + ledger.published[2]
  const acked = ledger.acked[0] + ledger.acked[1] + ledger.acked[2]
  const { stats } = fleet
  return [
    `${seconds.toFixed(0).padStart(4)} s`,
    `connected ${count(stats.connected)}/${count(fleet.devices.length)}`,
    `published ${count(published)}`,
    `acked ${count(acked)}`,
    `held ${count(fleet.held)}`,
    `p99 ${milliseconds(stats.ackMs.quantile(0.99))}`,
    `links cut ${count(stats.drops)}`,
    // While nobody can connect, why.
    ...(stats.connected === 0 && stats.lastError !== null
      ? [`no connection: ${stats.lastError}`]
      : []),
  ].join('  ')
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
