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
  const lines = [
    ...COUNTERS.map(([name, help, pick]) => family(name, 'counter', help, [[{}, pick(stats)]])),
    ...BY_LABEL.map(([name, help, label, pick]) =>
      family(
        name,
        'counter',
        help,
        Object.entries(pick(stats)).map(([text, value]) => [{ [label]: text }, value]),
      ),
    ),
    ...QUEUE_GAUGES.map(([name, help, pick]) =>
      family(
        name,
        'gauge',
        help,
        stats.queues.map((queue) => [queueLabels(queue), pick(queue)]),
      ),
    ),
  ]
  return `${lines.flat().join('\n')}\n`
}

type Sample = readonly [labels: Readonly<Record<string, string>>, value: number]

const COUNTERS: ReadonlyArray<
  readonly [name: string, help: string, pick: (stats: CloudStats) => number]
> = [
  ['cloud_requests_total', 'Ingest requests.', (stats) => stats.requests],
  ['cloud_records_stored_total', 'Records stored since the start.', (stats) => stats.stored],
  [
    'cloud_records_repeated_total',
    'Records skipped because their seq was known.',
    (stats) => stats.repeats,
  ],
  ['cloud_records_refused_total', 'Records that a fault refused.', (stats) => stats.refused],
  ['cloud_received_bytes_total', 'Request bodies as they came.', (stats) => stats.receivedBytes],
  ['cloud_raw_bytes_total', 'Request bodies, uncompressed.', (stats) => stats.rawBytes],
  ['cloud_gaps_total', 'Gaps reported.', (stats) => stats.gaps],
  [
    'cloud_contract_violations_total',
    'Requests that broke the contract.',
    (stats) => stats.violations,
  ],
]

const BY_LABEL: ReadonlyArray<
  readonly [
    name: string,
    help: string,
    label: string,
    pick: (stats: CloudStats) => Readonly<Record<string, number>>,
  ]
> = [
  ['cloud_answers_total', 'Answers by status.', 'status', (stats) => stats.answers],
  ['cloud_faults_total', 'Faults that took effect, by kind.', 'kind', (stats) => stats.faults],
]

const QUEUE_GAUGES: ReadonlyArray<
  readonly [name: string, help: string, pick: (queue: QueueStats) => number]
> = [
  ['cloud_queue_records', 'Records in the store.', (queue) => queue.records],
  ['cloud_queue_bytes', 'Bytes of lines in the store.', (queue) => queue.bytes],
  ['cloud_queue_highest_seq', 'The one number of the queue.', (queue) => queue.highest],
  ['cloud_queue_gap_seqs', 'Seqs that gaps say will never come.', (queue) => queue.gapSeqs],
  [
    'cloud_queue_missing_seqs',
    'Missing seqs without a gap: worth an alarm.',
    (queue) => queue.missingSeqs,
  ],
]

function queueLabels({ gateway, spool, stream }: QueueStats): Sample[0] {
  return { gateway, spool, stream }
}

function family(
  name: string,
  type: 'counter' | 'gauge',
  help: string,
  samples: readonly Sample[],
): string[] {
  const lines = samples.map(([labels, value]) => {
    const pairs = Object.entries(labels).map(([key, text]) => `${key}="${text}"`)
    return `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`
  })
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines]
}
