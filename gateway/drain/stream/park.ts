/**
 * `sluice streams park`: on an operator's word the first record that waits is parked, as if the
 * sink had refused it. What follows is the same: a dead letter once a later record was accepted
 * (I5, I9). Nothing else may be done to the queue meanwhile.
 */

import type { BatchEncoder } from '../../ports/sink.ts'
import type { Bounds, StreamQueue } from '../../ports/stream-queue.ts'
import { boundsOf, clipRuns } from '../policy/batcher.ts'

/** Why the record cannot be parked, and which one can. */
export class ParkError extends Error {
  readonly code = 'SLUICE_NOT_NEXT'
}

export const SET_ASIDE = 'set aside by an operator'

/** Runs of a batch that is still protected behind the record. */
const MAX_RUNS = 65_536

/** While no sink drains the stream: what is left of a batch in flight keeps its form. */
export function formOfPin({ pin }: StreamQueue): BatchEncoder {
  return { fingerprint: pin?.fingerprint ?? 'none', stitches: null, gapsThatFit: () => 0 }
}

/** Durable when it resolves. @throws ParkError */
export async function parkFirst(
  queue: StreamQueue,
  seq: number,
  encoder: BatchEncoder,
): Promise<void> {
  const { stream } = queue
  const next = queue.ahead(1)[0]
  if (next === undefined) throw new ParkError(`stream ${stream} has no record that waits`)
  const { spoolId, firstSeq } = next
  if (firstSeq !== seq) {
    throw new ParkError(
      `only the first record that waits in stream ${stream} can be set aside, ` +
        `and that is ${firstSeq}, not ${seq}`,
    )
  }
  const alone: Bounds = { spoolId, firstSeq, lastSeq: seq, recordCount: 1 }
  const pinned = queue.pin === null ? queue.pinBatch(alone, encoder) : queue.split(alone)
  const [loaded] = await Promise.all([queue.load(pinned.pin, encoder), pinned.durable])
  if (loaded === null)
    throw new ParkError(`record ${seq} of stream ${stream} is damaged and was counted`)
  const isExpired = loaded.batch.recordCount === 0
  const refused = isExpired
    ? []
    : [{ seq, code: null, reason: SET_ASIDE, line: await loaded.line(seq) }]
  const { outerLastSeq } = pinned.pin
  const goesOn = outerLastSeq > seq
  // One commit: what was sent with it stays protected.
  const settled = queue.settle({
    throughSeq: seq,
    refused,
    deadLetter: [],
    gapsReported: false,
    keepOuterLastSeq: goesOn ? outerLastSeq : null,
  })
  const left = goesOn ? clipRuns(queue.ahead(MAX_RUNS), spoolId, outerLastSeq) : []
  if (left.length > 0) await queue.pinBatch(boundsOf(left), encoder).durable
  await settled
  if (isExpired) {
    const what = `record ${seq} of stream ${stream} had expired, as its device wanted, and was counted`
    throw new ParkError(what)
  }
}
