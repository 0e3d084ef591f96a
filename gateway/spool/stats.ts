/** Plain numbers that the spool counts on its hot path; read at scrape, never reset. */
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
