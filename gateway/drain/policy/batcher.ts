/**
 * When is a batch full, and what is in it. Pure: runs and limits in, bounds out.
 *
 * A batch is a run of whole blocks; a block is sliced only if it alone is above the limits (they
 * shrank, or the sink found it too large). A batch never mixes identities; the oldest identity
 * comes first because the queue gives it first.
 */
import type { Bounds, Run } from '../../ports/stream-queue.ts'

export interface BatchLimits {
  readonly maxRecords: number
  /** Uncompressed NDJSON bytes. */
  readonly maxBytes: number
}

export interface Plan {
  readonly bounds: Bounds
  readonly rawBytes: number
  /** Nothing can join it: it need not linger. False with every run in it: more runs may fill it. */
  readonly full: boolean
  /** When the oldest record of its first run was received, ms since the epoch. */
  readonly receivedAtMs: number
}

/** The next batch from runs in queue order; null without runs. Takes at least one record. */
export function planBatch(runs: readonly Run[], limits: BatchLimits): Plan | null {
  const first = runs[0]
  if (!first) return null
  const head = sliceToFit(first, limits)
  let recordCount = head.recordCount
  let rawBytes = head.rawBytes
  let lastSeq = lastSeqOf(head)
  let full = head !== first || recordCount >= limits.maxRecords || rawBytes >= limits.maxBytes
  let taken = 1
  for (; !full && taken < runs.length; taken++) {
    const run = runs[taken]
    if (!run) break
    full =
      run.spoolId !== first.spoolId ||
      recordCount + run.recordCount > limits.maxRecords ||
      rawBytes + run.rawBytes > limits.maxBytes
    if (full) break
    recordCount += run.recordCount
    rawBytes += run.rawBytes
    lastSeq = lastSeqOf(run)
    full = recordCount === limits.maxRecords || rawBytes === limits.maxBytes
  }
  return {
    bounds: { spoolId: first.spoolId, firstSeq: first.firstSeq, lastSeq, recordCount },
    rawBytes,
    full,
    receivedAtMs: first.receivedAtMs,
  }
}

/**
 * How long a plan still waits for company, ms; 0: send it. `waitedMs`: how long its first record
 * has been seen waiting, by the monotonic clock, so that a wall clock that was set back cannot hold
 * it for longer than `lingerMs`.
 */
export function lingerLeftMs(
  plan: Plan,
  lingerMs: number,
  waitedMs: number,
  nowWallMs: number,
): number {
  if (plan.full) return 0
  const ageMs = Math.max(waitedMs, nowWallMs - plan.receivedAtMs)
  return Math.max(0, lingerMs - ageMs)
}

/**
 * What of the runs belongs to the identity and is at or below `lastSeq`. Runs are in queue order.
 */
export function clipRuns(runs: readonly Run[], spoolId: string, lastSeq: number): Run[] {
  const clipped: Run[] = []
  for (const run of runs) {
    if (run.spoolId !== spoolId || run.firstSeq > lastSeq) break
    clipped.push(firstOf(run, Math.min(run.recordCount, lastSeq - run.firstSeq + 1)))
  }
  return clipped
}

export function countRecords(runs: readonly Run[]): number {
  return runs.reduce((sum, run) => sum + run.recordCount, 0)
}

/** The first `count` records of the runs. */
export function takeRecords(runs: readonly Run[], count: number): Run[] {
  const taken: Run[] = []
  let left = count
  for (const run of runs) {
    if (left <= 0) break
    const part = firstOf(run, Math.min(run.recordCount, left))
    taken.push(part)
    left -= part.recordCount
  }
  return taken
}

/** Bounds of all records of the runs, which are of one identity. */
export function boundsOf(runs: readonly Run[]): Bounds {
  const first = runs[0]
  const last = runs.at(-1)
  if (!first || !last) throw new Error('bounds of nothing')
  return {
    spoolId: first.spoolId,
    firstSeq: first.firstSeq,
    lastSeq: lastSeqOf(last),
    recordCount: countRecords(runs),
  }
}

function lastSeqOf(run: Run): number {
  return run.firstSeq + run.recordCount - 1
}

function sliceToFit(run: Run, limits: BatchLimits): Run {
  const byBytes = Math.floor((run.recordCount * limits.maxBytes) / Math.max(1, run.rawBytes))
  return firstOf(run, Math.max(1, Math.min(run.recordCount, limits.maxRecords, byBytes)))
}

/** The first records of a run; their bytes in proportion of their number. */
function firstOf(run: Run, recordCount: number): Run {
  if (recordCount >= run.recordCount) return run
  return {
    ...run,
    recordCount,
    rawBytes: Math.ceil((run.rawBytes * recordCount) / run.recordCount),
  }
}
