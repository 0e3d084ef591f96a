/**
 * What a fleet did, as data and as text: the live line, the table, `--json`. Pure but for looking
 * at the fleet.
 */

import type { Ledger } from '../ledger/ledger.ts'
import { count, milliseconds, type Row } from '../table.ts'
import type { Protocol } from './dialect.ts'
import type { Fleet } from './fleet.ts'
import type { CutPoint } from './stats.ts'

/** The answer of `run --json`. */
export interface FleetReport {
  readonly seed: string
  readonly devices: number
  /** Devices by the version that they speak. */
  readonly protocols: Readonly<Record<Protocol, number>>
  /** How long devices measured, and how long the run took with the wait for acknowledgements. */
  readonly measuredSeconds: number
  readonly seconds: number
  /** Readings by QoS. */
  readonly published: readonly [number, number, number]
  readonly acked: readonly [number, number, number]
  /** Said with a reason code not to be stored; final, and no promise. */
  readonly refused: readonly [number, number, number]
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
    /** With a topic alias and no topic. */
    readonly aliased: number
    /** As new messages, because their session had ended. */
    readonly sentAnew: number
  }
  /** First acks of version 5 by reason code, such as `0x97`. */
  readonly reasons: Readonly<Record<string, number>>
  /** PUBCOMPs with 0x92. */
  readonly releasesUnknown: number
  /** Receive Maximum as granted; null: to no device. */
  readonly grants: { readonly lowest: number; readonly highest: number } | null
  readonly grantWaits: number
  readonly connections: {
    readonly connects: number
    readonly failures: number
    readonly refusals: number
    readonly disconnects: number
    readonly sessionsLost: number
    readonly sessionsExpired: number
    /** DISCONNECTs of the gateway by reason code. */
    readonly farewells: Readonly<Record<string, number>>
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
    protocols: protocolsOf(fleet),
    measuredSeconds: round(measuredSeconds),
    seconds: round(seconds),
    published: [...ledger.published],
    acked: [...ledger.acked],
    refused: [...ledger.refused],
    unacknowledged: ledger.unacknowledged,
    ackedPerSecond: Math.round(acked / Math.max(seconds, 0.001)),
    ackMs: {
      p50: round(stats.ackMs.quantile(0.5)),
      p90: round(stats.ackMs.quantile(0.9)),
      p99: round(stats.ackMs.quantile(0.99)),
      max: round(stats.ackMs.maxMs),
    },
    packets: {
      sent: stats.sent,
      resent: stats.resent,
      releasesResent: stats.releasesResent,
      aliased: stats.aliased,
      sentAnew: stats.sentAnew,
    },
    reasons: byCode(stats.reasons),
    releasesUnknown: stats.releasesUnknown,
    grants: stats.grants,
    grantWaits: stats.grantWaits,
    connections: {
      connects: stats.connects,
      failures: stats.connectFailures,
      refusals: stats.connectRefusals,
      disconnects: stats.disconnects,
      sessionsLost: stats.sessionsLost,
      sessionsExpired: stats.sessionsExpired,
      farewells: byCode(stats.farewells),
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
    ['refused', total(report.refused), 'with a reason code: final'],
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
  if (report.protocols['5'] > 0) rows.push(...version5Rows(report))
  for (const [text, times] of Object.entries(report.errors)) rows.push(['error', times, text])
  return rows
}

/** What only devices of version 5 hear and do. */
function version5Rows(report: FleetReport): Row[] {
  const { protocols, packets, connections, grants } = report
  const codes = (counts: Readonly<Record<string, number>>): string =>
    Object.entries(counts)
      .map(([code, times]) => `${code} ${count(times)}`)
      .join(', ')
  return [
    ['devices of MQTT 5', protocols['5'], `${count(protocols['3.1.1'])} of 3.1.1`],
    ['reason codes', sum(report.reasons), codes(report.reasons)],
    ['PUBREL for an unknown id', report.releasesUnknown, 'PUBCOMP 0x92'],
    ['Receive Maximum', grants?.lowest ?? '-', `at least; at most ${grants?.highest ?? '-'}`],
    ['waits for a grant', report.grantWaits],
    ['PUBLISH with an alias', packets.aliased],
    ['sessions expired', connections.sessionsExpired, 'devices were away for longer'],
    ['sent anew', packets.sentAnew, 'as new messages, because their session had ended'],
    ['DISCONNECT', sum(connections.farewells), codes(connections.farewells)],
  ]
}

function protocolsOf(fleet: Fleet): Record<Protocol, number> {
  const protocols: Record<Protocol, number> = { '3.1.1': 0, '5': 0 }
  for (const { dialect } of fleet.devices) protocols[dialect.protocol]++
  return protocols
}

/** In the order of the codes, written as the standard does. */
function byCode(counts: ReadonlyMap<number, number>): Record<string, number> {
  const sorted = [...counts].toSorted(([left], [right]) => left - right)
  return Object.fromEntries(
    sorted.map(([code, times]) => [`0x${code.toString(16).padStart(2, '0')}`, times]),
  )
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((all, one) => all + one, 0)
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
