/**
 * Where the blocks of one stream lie, in order: the ordinal of a block is its place in the stream's
 * life. Only the ends are held in memory: the open tail, and the segments around the head. What
 * lies between is sealed, SEGMENT_BLOCKS at a time, into immutable values of their own, so ten
 * million pending records cost kilobytes (I6), and the next block is found by get, never by a scan
 * over other streams' backlogs or tombstones.
 */
import { deflateRawSync, inflateRawSync } from 'node:zlib'
import { checked, withCrc } from '../codec/checked.ts'
import type { StreamState } from './state.ts'

/** Blocks in one sealed segment. */
export const SEGMENT_BLOCKS = 1024

export interface BlockMeta {
  readonly commit: number
  readonly index: number
  /** Index into the stream's identities. */
  readonly identity: number
  readonly firstSeq: number
  readonly count: number
  readonly rawBytes: number
  readonly storedBytes: number
  readonly oldestMs: number
  /** When its newest record was taken, in spool time. */
  readonly spoolTimeMs: number
}

/** A sealed segment: `commit` is the commit that stored it. */
export interface SegmentRef {
  readonly commit: number
  readonly firstOrdinal: number
  readonly blocks: number
  readonly records: number
  readonly rawBytes: number
  readonly storedBytes: number
}

export type PackedMeta = readonly number[]
export type PackedSegment = readonly number[]

export function packMeta(m: BlockMeta): PackedMeta {
  const { commit, index, identity, firstSeq, count, rawBytes, storedBytes, oldestMs, spoolTimeMs } =
    m
  return [commit, index, identity, firstSeq, count, rawBytes, storedBytes, oldestMs, spoolTimeMs]
}

export function unpackMeta(p: PackedMeta): BlockMeta {
  const n = (i: number): number => p[i] ?? 0
  return {
    commit: n(0),
    index: n(1),
    identity: n(2),
    firstSeq: n(3),
    count: n(4),
    rawBytes: n(5),
    storedBytes: n(6),
    oldestMs: n(7),
    spoolTimeMs: n(8),
  }
}

export function packSegment(s: SegmentRef): PackedSegment {
  return [s.commit, s.firstOrdinal, s.blocks, s.records, s.rawBytes, s.storedBytes]
}

export function unpackSegment(p: PackedSegment): SegmentRef {
  const n = (i: number): number => p[i] ?? 0
  return {
    commit: n(0),
    firstOrdinal: n(1),
    blocks: n(2),
    records: n(3),
    rawBytes: n(4),
    storedBytes: n(5),
  }
}

function encodeSegment(metas: readonly BlockMeta[]): Buffer {
  return withCrc(deflateRawSync(JSON.stringify(metas.map(packMeta))))
}

/** null: missing or damaged. */
export function decodeSegment(value: Buffer | undefined): BlockMeta[] | null {
  const packed = checked(value)
  if (packed === null) return null
  return (JSON.parse(inflateRawSync(packed).toString('utf8')) as PackedMeta[]).map(unpackMeta)
}

export class BlockIndex {
  /** Sealed segments that are not passed yet, oldest first. */
  #sealed: SegmentRef[]
  /** Metas of sealed segments near the head, by first ordinal. */
  readonly #loaded = new Map<number, readonly BlockMeta[]>()
  #tail: BlockMeta[]
  #tailOrdinal: number

  constructor(
    sealed: readonly SegmentRef[] = [],
    tail: readonly BlockMeta[] = [],
    tailOrdinal = 0,
  ) {
    this.#sealed = [...sealed]
    this.#tail = [...tail]
    this.#tailOrdinal = tailOrdinal
  }

  get sealed(): readonly SegmentRef[] {
    return this.#sealed
  }

  get tail(): readonly BlockMeta[] {
    return this.#tail
  }

  get tailOrdinal(): number {
    return this.#tailOrdinal
  }

  /** Ordinal that the next block gets. */
  get nextOrdinal(): number {
    return this.#tailOrdinal + this.#tail.length
  }

  push(meta: BlockMeta): void {
    this.#tail.push(meta)
  }

  /** undefined: behind the end, or in a segment that is not loaded (see `missingAt`). */
  at(ordinal: number): BlockMeta | undefined {
    if (ordinal >= this.#tailOrdinal) return this.#tail[ordinal - this.#tailOrdinal]
    for (const [first, metas] of this.#loaded) {
      if (ordinal >= first && ordinal < first + metas.length) return metas[ordinal - first]
    }
    return undefined
  }

  /** The segment that must be loaded before `at(ordinal)` can answer, or null. */
  missingAt(ordinal: number): SegmentRef | null {
    if (ordinal >= this.#tailOrdinal) return null
    const ref = this.#sealed.find(
      (s) => ordinal >= s.firstOrdinal && ordinal < s.firstOrdinal + s.blocks,
    )
    return ref && !this.#loaded.has(ref.firstOrdinal) ? ref : null
  }

  load(ref: SegmentRef, metas: readonly BlockMeta[]): void {
    this.#loaded.set(ref.firstOrdinal, metas)
  }

  /**
   * Takes the oldest SEGMENT_BLOCKS of the tail into a segment, when there are twice as many; null:
   * not yet.
   */
  seal(commit: number): { readonly ref: SegmentRef; readonly value: Buffer } | null {
    if (this.#tail.length < 2 * SEGMENT_BLOCKS) return null
    const metas = this.#tail.slice(0, SEGMENT_BLOCKS)
    const total = (pick: (m: BlockMeta) => number): number => metas.reduce((n, m) => n + pick(m), 0)
    const ref: SegmentRef = {
      commit,
      firstOrdinal: this.#tailOrdinal,
      blocks: metas.length,
      records: total((m) => m.count),
      rawBytes: total((m) => m.rawBytes),
      storedBytes: total((m) => m.storedBytes),
    }
    this.#sealed.push(ref)
    this.#loaded.set(ref.firstOrdinal, metas)
    this.#tail = this.#tail.slice(SEGMENT_BLOCKS)
    this.#tailOrdinal += SEGMENT_BLOCKS
    return { ref, value: encodeSegment(metas) }
  }

  /**
   * Forgets what lies wholly below the ordinal; returns the segments whose values may be deleted.
   */
  release(headOrdinal: number): SegmentRef[] {
    const passed: SegmentRef[] = []
    while (
      this.#sealed[0] &&
      this.#sealed[0].firstOrdinal + this.#sealed[0].blocks <= headOrdinal
    ) {
      const ref = this.#sealed.shift() as SegmentRef
      this.#loaded.delete(ref.firstOrdinal)
      passed.push(ref)
    }
    if (this.#sealed.length === 0 && headOrdinal > this.#tailOrdinal) {
      const gone = Math.min(headOrdinal - this.#tailOrdinal, this.#tail.length)
      // Shifting one by one would cost O(tail) each; a passed prefix is cut once it is worth it.
      if (gone >= SEGMENT_BLOCKS / 4 || gone === this.#tail.length) {
        this.#tail = this.#tail.slice(gone)
        this.#tailOrdinal += gone
      }
    }
    return passed
  }

  /**
   * Forgets sealed segments of which every block was dropped: behind a pin that an outage keeps for
   * weeks they are many. The newest stays, its value may not be durable yet. Returns those whose
   * values may be deleted.
   */
  releaseSkipped(skips: ReadonlyArray<readonly [from: number, to: number]>): SegmentRef[] {
    if (skips.length === 0) return []
    const newest = this.#sealed.at(-1)
    const isSkipped = (ref: SegmentRef): boolean =>
      ref !== newest &&
      skips.some(([from, to]) => from <= ref.firstOrdinal && to >= ref.firstOrdinal + ref.blocks)
    const skipped = this.#sealed.filter(isSkipped)
    if (skipped.length === 0) return skipped
    this.#sealed = this.#sealed.filter((ref) => !isSkipped(ref))
    for (const { firstOrdinal } of skipped) this.#loaded.delete(firstOrdinal)
    return skipped
  }

  /** Keeps the loaded segments near the head, and near the ordinal at which retention goes on. */
  trimLoaded(headOrdinal: number, retentionOrdinal: number): void {
    for (const first of this.#loaded.keys()) {
      const isNear = (ordinal: number): boolean => first <= ordinal + 3 * SEGMENT_BLOCKS
      if (isNear(headOrdinal)) continue
      const isBefore = first + SEGMENT_BLOCKS <= retentionOrdinal
      if (isBefore || !isNear(retentionOrdinal)) this.#loaded.delete(first)
    }
  }
}

/** What is pending in the blocks of the index: behind the head, and not skipped. */
export function pendingIn(
  index: BlockIndex,
  { head, skips }: Pick<StreamState, 'head' | 'skips'>,
): { readonly records: number; readonly rawBytes: number; readonly storedBytes: number } {
  const total = { records: 0, rawBytes: 0, storedBytes: 0 }
  const add = ({ records, rawBytes, storedBytes }: typeof total): void => {
    total.records += records
    total.rawBytes += rawBytes
    total.storedBytes += storedBytes
  }
  const isSkipped = (ordinal: number): boolean =>
    skips.some(([from, to]) => ordinal >= from && ordinal < to)
  const addBlock = (meta: BlockMeta, ordinal: number): void => {
    if (ordinal < head.ordinal || isSkipped(ordinal)) return
    add({ ...meta, records: meta.count - (ordinal === head.ordinal ? head.index : 0) })
  }
  for (const ref of index.sealed) {
    const end = ref.firstOrdinal + ref.blocks
    const isTouched =
      ref.firstOrdinal <= head.ordinal ||
      skips.some(([from, to]) => from < end && to > ref.firstOrdinal)
    if (!isTouched) {
      add(ref)
      continue
    }
    for (let ordinal = ref.firstOrdinal; ordinal < end; ordinal++) {
      const meta = index.at(ordinal)
      if (meta) addBlock(meta, ordinal)
    }
  }
  index.tail.forEach((meta, i) => {
    addBlock(meta, index.tailOrdinal + i)
  })
  return total
}
