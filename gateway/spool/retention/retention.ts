/**
 * Which blocks an operator's limits remove (I8): the oldest, whole, never one that may have reached
 * the sink (I4), pinned or not: a gap must not be reported for a record that the sink stored (I9).
 * A pure decision over what lies ahead; the caller applies it in the commit that is open.
 *
 * `drop-oldest` never becomes `block`, whatever the limits of a batch are: a batch covers at most
 * PINNED_SHARE of `maxBytes`. Where what cannot be dropped is larger all the same (one large record,
 * parked ones, the pin of an earlier version), the stream has room for that share beside it.
 */
import type { BlockIndex, BlockMeta } from '../stream/block-index.ts'
import { type StreamState, unskipped } from '../stream/state.ts'

export interface Doomed {
  readonly ordinal: number
  readonly meta: BlockMeta
  /** Records of it that are still pending. */
  readonly firstSeq: number
  readonly count: number
}

/**
 * Of `maxBytes` of a stream that drops its oldest: what a batch may cover, and what is left behind
 * what cannot be dropped.
 */
export const PINNED_SHARE = 0.25

/** The blocks of the pin, and of what was sent and went back to its place. */
interface PinnedBlocks {
  /** The first ordinal behind them. */
  readonly end: number
  /** As stored. */
  readonly bytes: number
  /** False: what lies at `end` is not in memory, and may be one of them. */
  readonly isWhole: boolean
}

/** `counted`: as far as they are known; the count goes on from there. */
export function pinnedBlocks(
  state: StreamState,
  index: BlockIndex,
  counted: Omit<PinnedBlocks, 'isWhole'> = { end: state.head.ordinal, bytes: 0 },
): PinnedBlocks {
  const { pin, sent } = state
  let end = unskipped(state, counted.end)
  let { bytes } = counted
  for (let meta = index.at(end); meta !== undefined; meta = index.at(end)) {
    const isBefore = pin !== null && meta.identity < pin.identity
    if (!isBefore && meta.firstSeq > (sent[meta.identity] ?? 0))
      return { end, bytes, isWhole: true }
    bytes += meta.storedBytes
    end = unskipped(state, end + 1)
  }
  return { end, bytes, isWhole: index.missingAt(end) === null }
}

/**
 * Bytes that a stream may hold which drops its oldest, when `fixedBytes` of them cannot be dropped.
 */
export function roomBytes(maxBytes: number, fixedBytes: number): number {
  return Math.max(maxBytes, fixedBytes + maxBytes * PINNED_SHARE)
}

/**
 * Oldest blocks that may go, from the ordinal on, while `wanted` says so; stops at what is not in
 * memory.
 */
export function doomedBlocks(
  state: StreamState,
  index: BlockIndex,
  from: number,
  wanted: (meta: BlockMeta, freedBytes: number) => boolean,
): Doomed[] {
  const doomed: Doomed[] = []
  let freedBytes = 0
  let ordinal = unskipped(state, from)
  for (;;) {
    const meta = index.at(ordinal)
    if (!meta || !wanted(meta, freedBytes)) return doomed
    const settled = ordinal === state.head.ordinal ? state.head.index : 0
    doomed.push({ ordinal, meta, firstSeq: meta.firstSeq + settled, count: meta.count - settled })
    freedBytes += meta.storedBytes
    ordinal = unskipped(state, ordinal + 1)
  }
}

/** What retention remembers of a stream from commit to commit. */
export class RetentionMarks {
  /**
   * Stored bytes that no limit may drop: the pin's, and copies of parked and returned records. As
   * of the last commit.
   */
  fixedBytes = 0
  /** Where it goes on. */
  ordinal = 0
  #pinned: {
    readonly pin: StreamState['pin']
    readonly head: number
    readonly index: BlockIndex
    readonly blocks: PinnedBlocks
  } | null = null

  /** Counted once for each pin, head and index; block by block as they come into memory. */
  pinnedBlocks(state: StreamState, index: BlockIndex): PinnedBlocks {
    const { pin } = state
    const head = state.head.ordinal
    const known = this.#pinned
    const isSame = known?.pin === pin && known.head === head && known.index === index
    if (isSame && known.blocks.isWhole) return known.blocks
    const blocks = pinnedBlocks(state, index, isSame ? known.blocks : undefined)
    this.#pinned = { pin, head, index, blocks }
    return blocks
  }
}
