/**
 * Finding refused records by halving, in ascending order, when a batch was refused as a whole; and
 * cutting a batch that is too large. Pure: what is sent next, given what is left of the batch that
 * was split.
 *
 * A suspect range is known to hold a refused record. While its first half is acked, the bad one is
 * in its second half, which need not be sent whole to know it: one bad record among n costs at most
 * log2(n) + 2 requests more than none (the contract of this stage is 2 * log2(n) + 2).
 */

import type { Bounds, Run } from '../../ports/stream-queue.ts'
import {
  type BatchLimits,
  boundsOf,
  clipRuns,
  countRecords,
  planBatch,
  takeRecords,
} from './batcher.ts'

/** The first half of the runs, at least one record. They hold two or more, of one identity. */
export function firstHalf(runs: readonly Run[]): Bounds {
  return boundsOf(takeRecords(runs, Math.max(1, Math.floor(countRecords(runs) / 2))))
}

/**
 * The next piece of a split batch; null: nothing of it is left. `runs`: the queue from its head, at
 * least through `outer.lastSeq`. `suspectLastSeq`: one of the records from the head through it was
 * refused with others; null: none.
 */
export function nextPiece(
  runs: readonly Run[],
  outer: { readonly spoolId: string; readonly lastSeq: number },
  suspectLastSeq: number | null,
  limits: BatchLimits,
): Bounds | null {
  const rest = clipRuns(runs, outer.spoolId, outer.lastSeq)
  if (rest.length === 0) return null
  const suspects = suspectLastSeq === null ? [] : clipRuns(rest, outer.spoolId, suspectLastSeq)
  const count = countRecords(suspects)
  if (count === 0) return planBatch(rest, limits)?.bounds ?? null
  const piece = takeRecords(suspects, Math.max(1, Math.floor(count / 2)))
  return planBatch(piece, limits)?.bounds ?? null
}

/**
 * What is left of the suspect range, as far as limits allow; without one, of the batch that was
 * split. null: nothing.
 */
export function allSuspects(
  runs: readonly Run[],
  outer: { readonly spoolId: string; readonly lastSeq: number },
  suspectLastSeq: number | null,
  limits: BatchLimits,
): Bounds | null {
  const rest = clipRuns(runs, outer.spoolId, outer.lastSeq)
  const suspects = suspectLastSeq === null ? [] : clipRuns(rest, outer.spoolId, suspectLastSeq)
  return planBatch(suspects.length === 0 ? rest : suspects, limits)?.bounds ?? null
}
