/**
 * A stream's index from the blocks that were found, whatever was lost (I7): which of them are still
 * pending, in which order, where the head is, and which numbers will never come. Plain rules over
 * state and blocks; no IO.
 */
import type { BlockMeta } from './block-index.ts'
import type { StoredGap, StreamState } from './state.ts'
import { addGap, headAtFirst, startIdentity, takeSeqs } from './transitions.ts'

export interface FoundBlock {
  readonly meta: Omit<BlockMeta, 'identity'>
  readonly spoolId: string
  readonly streamId: number
  /** null: the store does not have it; it was found in a damaged file. */
  readonly key: Buffer | null
}

export interface PendingBlock extends FoundBlock {
  readonly identity: number
}

/**
 * Those that are pending, in order. Passed are those that the state knows to be settled, or
 * reported as a gap: a repair, and a scan of raw files, bring deleted ones back. Of two that
 * overlap the larger counts: the other is the copy of one of its records.
 */
export function selectPending(
  state: StreamState,
  blocks: readonly FoundBlock[],
): { readonly pending: PendingBlock[]; readonly passed: FoundBlock[] } {
  const identities = identify(state, blocks)
  const ordered = blocks
    .map((block): PendingBlock => ({ ...block, identity: identities.get(block.spoolId) ?? 0 }))
    .sort(
      (a, b) =>
        a.identity - b.identity || a.meta.firstSeq - b.meta.firstSeq || b.meta.count - a.meta.count,
    )
  const pending: PendingBlock[] = []
  const passed: FoundBlock[] = []
  for (const block of ordered) {
    const { identity, meta } = block
    const before = pending.at(-1)
    const isRepeated =
      before !== undefined &&
      before.identity === identity &&
      meta.firstSeq < before.meta.firstSeq + before.meta.count
    if (isRepeated || isPassed(state, block)) passed.push(block)
    else pending.push(block)
  }
  return { pending, passed }
}

/** Numbers of the blocks' spool ids; one that the state does not know came after it. */
function identify(state: StreamState, blocks: readonly FoundBlock[]): Map<string, number> {
  const numbers = new Map(state.identities.map(({ spoolId }, i) => [spoolId, i]))
  const unknown = blocks.filter(({ spoolId }) => !numbers.has(spoolId))
  const commitOf = ({ key, meta }: FoundBlock): number =>
    key ? meta.commit : Number.MAX_SAFE_INTEGER
  for (const { spoolId } of unknown.toSorted((a, b) => commitOf(a) - commitOf(b))) {
    if (numbers.has(spoolId)) continue
    const gateway = state.identities.at(-1)?.gateway ?? ''
    numbers.set(spoolId, startIdentity(state, { spoolId, gateway }))
  }
  return numbers
}

function isPassed(state: StreamState, { identity, meta }: PendingBlock): boolean {
  const { settled } = state
  const last = meta.firstSeq + meta.count - 1
  if (identity < settled.identity) return true
  const first =
    identity === settled.identity ? Math.max(meta.firstSeq, settled.seq + 1) : meta.firstSeq
  if (first > last) return true
  return [...state.gaps, ...state.gapsTail].some((gap) => {
    return gap.identity === identity && gap.first <= first && gap.last >= last
  })
}

/**
 * The blocks become the whole index, with ordinals dealt anew from 0; numbers that none of them
 * has, between settled and the last of them, become gaps.
 */
export function reindex(state: StreamState, metas: readonly BlockMeta[]): void {
  const { settled } = state
  const first = metas[0]
  const index = first && first.identity === settled.identity ? settled.seq + 1 - first.firstSeq : 0
  headAtFirst(state, Math.max(0, index))
  let identity = settled.identity
  let next = settled.seq + 1
  for (const meta of metas) {
    // The last numbers of an earlier identity are not known.
    if (meta.identity !== identity) next = 1
    identity = meta.identity
    addUnknownGaps(state, identity, next, meta.firstSeq - 1)
    next = Math.max(next, meta.firstSeq + meta.count)
  }
}

/**
 * At an opening: behind the last block nothing is under way, so numbers up to the next one are
 * lost, too.
 */
export function closeEnd(state: StreamState, metas: readonly BlockMeta[]): void {
  const identity = state.identities.length - 1
  const last = metas.at(-1)
  const isLast = last?.identity === identity
  const settled = state.settled.identity === identity ? state.settled.seq : 0
  const next = Math.max(isLast ? last.firstSeq + last.count : 1, settled + 1)
  addUnknownGaps(state, identity, next, state.nextSeq - 1)
  if (next > state.nextSeq) takeSeqs(state, next - state.nextSeq)
}

/** Of a hole, what no known gap covers. */
function addUnknownGaps(state: StreamState, identity: number, first: number, last: number): void {
  if (last < first) return
  let from = first
  const overlaps = (g: StoredGap): boolean =>
    g.identity === identity && g.last >= first && g.first <= last
  const known = [...state.gaps, ...state.gapsTail].filter(overlaps)
  for (const gap of known.sort((a, b) => a.first - b.first)) {
    if (gap.first > from)
      addGap(state, { identity, first: from, last: gap.first - 1, reason: 'corrupt' })
    from = Math.max(from, gap.last + 1)
  }
  addGap(state, { identity, first: from, last, reason: 'corrupt' })
}
