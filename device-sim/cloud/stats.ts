/**
 * What the reference sink has done, as plain data: for `GET /stats`, `GET /metrics` and tests. Not
 * durable by itself.
 */
import type { FaultKind } from './faults/faults.ts'
import type { QueueStats } from './store/queue.ts'

/** Counts since the start of the process; `records` and `queues` are what is in the store. */
export interface CloudStats {
  readonly uptimeSeconds: number
  /** Ingest requests whose head came. */
  readonly requests: number
  /** Answers by status; those that a fault kept back or cut are in `faults`. */
  readonly answers: Readonly<Record<string, number>>
  /** Batches of which something was new. */
  readonly batches: number
  /** In the store. */
  readonly records: number
  /** Stored since the start. */
  readonly stored: number
  /** Lines that were skipped because their seq was known: what exactly-once removed. */
  readonly repeats: number
  /** Records that a fault refused. */
  readonly refused: number
  /** Bytes of request bodies as they came, and of their lines. */
  readonly receivedBytes: number
  readonly rawBytes: number
  /** Gaps that were new when they were reported. */
  readonly gaps: number
  /**
   * Missing seqs without a gap although a later gap-free batch was acked: data lost in silence.
   * Zero, or an alarm.
   */
  readonly missingSeqs: number
  /** Requests that broke the contract. Zero, or the gateway has a defect. */
  readonly violations: number
  /** The first of them in words. */
  readonly violationExamples: readonly string[]
  /** Bytes cut from torn appends at the start. */
  readonly tornBytes: number
  /** By kind, how often each fault took effect. */
  readonly faults: Readonly<Record<FaultKind, number>>
  readonly queues: readonly QueueStats[]
}

/** The mutable part. */
export interface CloudCounts {
  requests: number
  readonly answers: Record<string, number>
  batches: number
  stored: number
  repeats: number
  refused: number
  receivedBytes: number
  rawBytes: number
  gaps: number
  violations: number
  readonly violationExamples: string[]
}

export function createCloudCounts(): CloudCounts {
  return {
    requests: 0,
    answers: {},
    batches: 0,
    stored: 0,
    repeats: 0,
    refused: 0,
    receivedBytes: 0,
    rawBytes: 0,
    gaps: 0,
    violations: 0,
    violationExamples: [],
  }
}

/** The Prometheus text format, version 0.0.4. */
export function metricsText(stats: CloudStats): string {
  const lines: string[] = []
  const family = (
    name: string,
    type: 'counter' | 'gauge',
    help: string,
    values: ReadonlyArray<readonly [labels: Readonly<Record<string, string>>, value: number]>,
  ): void => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`)
    for (const [labels, value] of values) {
      const pairs = Object.entries(labels).map(([key, text]) => `${key}="${text}"`)
      lines.push(`${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`)
    }
  }
  const one = (value: number): Array<readonly [Record<string, string>, number]> => [[{}, value]]
  family('cloud_requests_total', 'counter', 'Ingest requests.', one(stats.requests))
  const answers = Object.entries(stats.answers).map(
    ([status, value]) => [{ status }, value] as const,
  )
  family('cloud_answers_total', 'counter', 'Answers by status.', answers)
  family(
    'cloud_records_stored_total',
    'counter',
    'Records stored since the start.',
    one(stats.stored),
  )
  family(
    'cloud_records_repeated_total',
    'counter',
    'Records skipped because their seq was known.',
    one(stats.repeats),
  )
  family(
    'cloud_records_refused_total',
    'counter',
    'Records that a fault refused.',
    one(stats.refused),
  )
  family(
    'cloud_received_bytes_total',
    'counter',
    'Request bodies as they came.',
    one(stats.receivedBytes),
  )
  family('cloud_raw_bytes_total', 'counter', 'Request bodies, uncompressed.', one(stats.rawBytes))
  family('cloud_gaps_total', 'counter', 'Gaps reported.', one(stats.gaps))
  family(
    'cloud_contract_violations_total',
    'counter',
    'Requests that broke the contract.',
    one(stats.violations),
  )
  const faults = Object.entries(stats.faults).map(([kind, value]) => [{ kind }, value] as const)
  family('cloud_faults_total', 'counter', 'Faults that took effect, by kind.', faults)
  const queue = (
    pick: (stats: QueueStats) => number,
  ): Array<readonly [Record<string, string>, number]> =>
    stats.queues.map((entry) => {
      const { gateway, spool, stream } = entry
      return [{ gateway, spool, stream }, pick(entry)] as const
    })
  family(
    'cloud_queue_records',
    'gauge',
    'Records in the store.',
    queue((entry) => entry.records),
  )
  family(
    'cloud_queue_bytes',
    'gauge',
    'Bytes of lines in the store.',
    queue((entry) => entry.bytes),
  )
  family(
    'cloud_queue_highest_seq',
    'gauge',
    'The one number of the queue.',
    queue((entry) => entry.highest),
  )
  family(
    'cloud_queue_gap_seqs',
    'gauge',
    'Seqs that gaps say will never come.',
    queue((entry) => entry.gapSeqs),
  )
  const missing = queue((entry) => entry.missingSeqs)
  family(
    'cloud_queue_missing_seqs',
    'gauge',
    'Missing seqs without a gap: worth an alarm.',
    missing,
  )
  return `${lines.join('\n')}\n`
}
