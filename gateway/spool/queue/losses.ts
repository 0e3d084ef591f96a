/**
 * Records that could be neither read nor salvaged: counted as corrupt, reported as a gap, and told
 * (I7, I9).
 */
import type { BlockMeta } from '../stream/block-index.ts'
import type { Aside } from '../stream/state.ts'
import type { OpenCommit, SpoolStream } from '../stream/stream.ts'
import { copyLost } from '../stream/transitions.ts'

/** The pending records of a block. */
export function loseBlock(
  stream: SpoolStream,
  ordinal: number,
  meta: BlockMeta,
  commit: OpenCommit,
): void {
  const { head } = stream.state
  const settled = ordinal === head.ordinal ? head.index : 0
  const doomed = { ordinal, meta, firstSeq: meta.firstSeq + settled, count: meta.count - settled }
  stream.drop([doomed], 'corrupt', commit)
  tell(stream, meta.identity, doomed.firstSeq, doomed.count)
}

/** A parked or returned record, whose copy is damaged. */
export function loseCopy(stream: SpoolStream, aside: Aside): void {
  stream.passage?.lost(aside.identity, aside.seq)
  copyLost(stream.state, aside)
  stream.storedBytes -= aside.bytes
  tell(stream, aside.identity, aside.seq, 1)
}

function tell(stream: SpoolStream, identity: number, firstSeq: number, records: number): void {
  stream.emit({
    type: 'spool.records-lost',
    stream: stream.name,
    spoolId: stream.state.identities[identity]?.spoolId ?? '',
    firstSeq,
    lastSeq: firstSeq + records - 1,
    records,
  })
}
