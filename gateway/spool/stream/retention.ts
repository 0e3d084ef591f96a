/**
 * Which blocks an operator's limits remove (I8): the oldest, whole, never one of the batch in flight. A pure decision
 * over what lies ahead; the caller applies it in the commit that is open.
 */
import type { BlockIndex, BlockMeta } from './block-index.ts'
import { type StreamState, unskipped } from './stream-state.ts'

export interface Doomed {
  readonly ordinal: number
  readonly meta: BlockMeta
  /** Records of it that are still pending. */
  readonly firstSeq: number
  readonly count: number
}

/** The first ordinal that retention may touch: the head, or what lies behind the pinned range. */
export function firstUnpinned(state: StreamState, index: BlockIndex): number {
  const { pin } = state
  let ordinal = unskipped(state, state.head.ordinal)
  if (!pin) return ordinal
  for (;;) {
    const meta = index.at(ordinal)
    const pinned =
      meta !== undefined &&
      (meta.identity < pin.identity || (meta.identity === pin.identity && meta.firstSeq <= pin.outerLastSeq))
    if (!pinned) return ordinal
    ordinal = unskipped(state, ordinal + 1)
  }
}

/** Oldest blocks that may go, from the first unpinned, while `wanted` says so; stops at what is not in memory. */
export function doomedBlocks(
  state: StreamState,
  index: BlockIndex,
  wanted: (meta: BlockMeta, freedBytes: number) => boolean,
): Doomed[] {
  const doomed: Doomed[] = []
  let freedBytes = 0
  let ordinal = firstUnpinned(state, index)
  for (;;) {
    const meta = index.at(ordinal)
    if (!meta || !wanted(meta, freedBytes)) return doomed
    const settled = ordinal === state.head.ordinal ? state.head.index : 0
    doomed.push({ ordinal, meta, firstSeq: meta.firstSeq + settled, count: meta.count - settled })
    freedBytes += meta.storedBytes
    ordinal = unskipped(state, ordinal + 1)
  }
}
