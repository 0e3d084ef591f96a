/**
 * An operator sets the first record that waits aside: it is parked as if the sink had refused it,
 * and what follows from that is the same (a dead letter once a later record was accepted; I5, I9).
 * Nothing else may be done to the queue meanwhile.
 */

import type { Bounds, StreamQueue } from '../../ports/stream-queue.ts'
import { boundsOf, clipRuns } from '../policy/batcher.ts'

/** What is wrong with the word of the operator, and what to do instead. */
export class SetAsideError extends Error {
  readonly code = 'SLUICE_NOT_NEXT'
}

const REASON = 'set aside by an operator'

/** Runs of a batch that is still protected behind the record. */
const LOOK_RUNS = 65_536

/** Durable when it resolves. @throws SetAsideError */
export async function setAside(
  queue: StreamQueue,
  seq: number,
  encoding: 'gzip' | 'identity',
): Promise<void> {
  const { stream } = queue
  const next = queue.ahead(1)[0]
  if (next === undefined) throw new SetAsideError(`stream ${stream} has no record that waits`)
  const { spoolId, firstSeq } = next
  if (firstSeq !== seq) {
    throw new SetAsideError(
      `only the first record that waits in stream ${stream} can be set aside, and that is ${firstSeq}, not ${seq}`,
    )
  }
  const alone: Bounds = { spoolId, firstSeq, lastSeq: seq, recordCount: 1 }
  const pinned = queue.pin === null ? queue.pinBatch(alone, encoding) : queue.split(alone)
  const [loaded] = await Promise.all([queue.load(pinned.pin), pinned.durable])
  if (loaded === null)
    throw new SetAsideError(`record ${seq} of stream ${stream} is damaged and was counted`)
  const line = await loaded.line(seq)
  const { outerLastSeq } = pinned.pin
  const goesOn = outerLastSeq > seq
  // One commit: what was sent with it stays protected.
  const settled = queue.settle({
    throughSeq: seq,
    refused: [{ seq, status: null, reason: REASON, line }],
    deadLetter: [],
    gapsReported: false,
    keepOuterLastSeq: goesOn ? outerLastSeq : null,
  })
  const left = goesOn ? clipRuns(queue.ahead(LOOK_RUNS), spoolId, outerLastSeq) : []
  if (left.length > 0) await queue.pinBatch(boundsOf(left), encoding).durable
  await settled
}
