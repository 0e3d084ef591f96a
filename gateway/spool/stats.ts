/** Plain numbers that the spool counts on its hot path; read at scrape, never reset. */
import type { ConservationCounters, DeadLetterCounters } from '../ports/status.ts'
import { LatencyHistogram } from '../shared/latency-histogram.ts'

/** Of the duration of a commit: an fsync on flash at the low end, a stalled disk at the high. */
const COMMIT_BUCKETS_SECONDS: readonly number[] = [
  0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60,
]

export interface SpoolStats {
  commits: number
  failedCommits: number
  committedRecords: number
  /** Uncompressed NDJSON and what became of it in the store. */
  rawBytes: number
  storedBytes: number
  /** Wall clock, ms; null: none since this start. */
  lastCommitAtMs: number | null
  readonly commitSeconds: LatencyHistogram
}

export function createSpoolStats(): SpoolStats {
  return {
    commits: 0,
    failedCommits: 0,
    committedRecords: 0,
    rawBytes: 0,
    storedBytes: 0,
    lastCommitAtMs: null,
    commitSeconds: new LatencyHistogram(COMMIT_BUCKETS_SECONDS),
  }
}

/** One stream, for one look: committed values (I5), which are what a restart would find. */
export interface StreamStats {
  readonly name: string
  /** Name of its sink; null for an orphaned stream, unless an operator gave it to one. */
  readonly sink: string | null
  /** 0 (first) to 9. */
  readonly priority: number
  /** True: the spool holds records of it, the configuration does not name it. */
  readonly orphaned: boolean
  /** Identity under which new records are numbered. */
  readonly spoolId: string
  readonly counters: ConservationCounters
  readonly deadLetters: DeadLetterCounters
  /** Uncompressed NDJSON bytes of the pending records. */
  readonly backlogBytes: number
  /** Bytes of its stored values, the number that `maxBytes` limits. */
  readonly storedBytes: number
  /** 0 for an orphaned stream. */
  readonly maxBytes: number
  /** When the oldest pending record was received, ms since the epoch; null without one. */
  readonly oldestReceivedAtMs: number | null
  /** Identity of the head; differs from `spoolId` while an older identity drains. */
  readonly headSpoolId: string
  /** Lowest seq that is not settled; equals `nextSeq` if nothing is pending. */
  readonly headSeq: number
  readonly nextSeq: number
  /** Refused records that wait for the proof that the sink does not refuse everything. */
  readonly parked: number
  /** Payloads of `payload: text` that were no UTF-8 and travel as base64, since the start. */
  readonly illFormedTexts: number
}
