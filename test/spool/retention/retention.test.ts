import { describe, expect, it } from 'vitest'
import { pinnedBlocks, RetentionMarks } from '../../../gateway/spool/retention/retention.ts'
import {
  BlockIndex,
  type BlockMeta,
  SEGMENT_BLOCKS,
} from '../../../gateway/spool/stream/block-index.ts'
import { newStreamState } from '../../../gateway/spool/stream/state.ts'
import { pinned, unpinned } from '../../../gateway/spool/stream/transitions.ts'

/** Of one record each, seq 1 at ordinal 0. */
function block(ordinal: number): BlockMeta {
  return {
    commit: ordinal,
    index: 0,
    identity: 0,
    firstSeq: ordinal + 1,
    count: 1,
    rawBytes: 40,
    storedBytes: 10,
    oldestMs: 0,
    spoolTimeMs: 0,
  }
}

const pin = {
  spoolId: 's',
  identity: 0,
  firstSeq: 1,
  gapCount: 0,
  fingerprint: 'test',
}

describe('what retention leaves alone', () => {
  it('I4, I9: is all that was sent, in segments too that come into memory one by one', () => {
    const state = newStreamState('telemetry', 1, { spoolId: 's', gateway: 'edge-01' })
    const whole = new BlockIndex()
    for (let n = 0; n < 4 * SEGMENT_BLOCKS; n++) whole.push(block(n))
    const values = new Map<number, readonly BlockMeta[]>()
    for (let ordinal = 0; whole.seal(1) !== null; ordinal += SEGMENT_BLOCKS)
      values.set(
        ordinal,
        Array.from({ length: SEGMENT_BLOCKS }, (_, i) => block(ordinal + i)),
      )
    expect(whole.sealed.length).toBe(3)
    const sent = 2 * SEGMENT_BLOCKS + 7
    pinned(state, { ...pin, lastSeq: sent, recordCount: sent, outerLastSeq: sent })
    unpinned(state)
    pinned(state, { ...pin, lastSeq: 1, recordCount: 1, outerLastSeq: 1 })
    expect(pinnedBlocks(state, whole)).toEqual({ end: sent, bytes: 10 * sent, isWhole: true })

    // As after a start: no segment is in memory.
    const index = new BlockIndex(whole.sealed, whole.tail, whole.tailOrdinal)
    const marks = new RetentionMarks()
    for (const ref of whole.sealed) {
      const known = marks.pinnedBlocks(state, index)
      expect(known).toEqual({
        end: ref.firstOrdinal,
        bytes: 10 * ref.firstOrdinal,
        isWhole: false,
      })
      index.load(ref, values.get(ref.firstOrdinal) ?? [])
    }
    expect(marks.pinnedBlocks(state, index)).toEqual({ end: sent, bytes: 10 * sent, isWhole: true })
  })
})
