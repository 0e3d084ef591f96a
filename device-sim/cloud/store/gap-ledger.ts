/**
 * Which seqs of a queue are missing, which of them the gateway explained by a gap, and which are
 * worth an alarm: those without a gap once a later gap-free batch was acked (ingest contract,
 * "Exactly once with one number"). Not earlier: a gap may ride on a later batch than the one that
 * revealed the hole. Pure; the queue makes it durable.
 */
import type { Gap } from '../head.ts'
import type { SeqRange } from './lines.ts'

/** One durable note of the ledger; replaying all of a queue's notes in order restores it. */
export type GapNote =
  | { readonly note: 'gap'; readonly first: number; readonly last: number; readonly reason: string }
  | {
      readonly note: 'missing'
      readonly first: number
      readonly last: number
      readonly through: number
    }
  | { readonly note: 'alarm'; readonly first: number; readonly last: number }

/** `through`: last seq of the batch that revealed the hole; a later batch begins behind it. */
interface Hole extends SeqRange {
  readonly through: number
}

export class GapLedger {
  #gaps: Array<SeqRange & { readonly reason: string }> = []
  #unexplained: Hole[] = []
  #alarms: SeqRange[] = []

  /** As reported, in order of arrival, repeats left out. */
  get gaps(): ReadonlyArray<SeqRange & { readonly reason: string }> {
    return this.#gaps
  }

  /** Missing and not explained, but no alarm yet. */
  get unexplained(): readonly SeqRange[] {
    return this.#unexplained
  }

  /**
   * Missing without a gap although a later gap-free batch was acked. A gap that comes after all
   * takes it back.
   */
  get alarms(): readonly SeqRange[] {
    return this.#alarms
  }

  replay(note: GapNote): void {
    if (note.note === 'gap') this.#explain(note)
    else if (note.note === 'missing') this.#unexplained.push(holeOf(note))
    else this.#raise(note)
  }

  /** A gap was reported. The note to keep, or null: it is known. */
  report(gap: Pick<Gap, 'first' | 'last' | 'reason'>): GapNote | null {
    const { first, last, reason } = gap
    if (this.#gaps.some((one) => one.first === first && one.last === last && one.reason === reason))
      return null
    this.#explain({ first, last, reason })
    return { note: 'gap', first, last, reason }
  }

  /**
   * These seqs were passed over by a batch that ends at `through`. Notes to keep: what of them is
   * neither explained by a gap nor noted already.
   */
  miss(range: SeqRange, through: number): GapNote[] {
    const open = subtract(
      [{ ...range, through }],
      [...this.#gaps, ...this.#unexplained, ...this.#alarms],
    )
    this.#unexplained.push(...open.map(holeOf))
    return open.map((hole) => ({ note: 'missing', ...holeOf(hole) }))
  }

  /**
   * A batch without a gap report that begins at `firstSeq` was acked in full: holes that an earlier
   * batch revealed are alarms now. A repeat or the remainder of the batch that revealed a hole is
   * not later: it begins before its end.
   */
  ackedGapFree(firstSeq: number): GapNote[] {
    const due = this.#unexplained.filter((hole) => hole.through < firstSeq)
    for (const hole of due) this.#raise(hole)
    return due.map(({ first, last }) => ({ note: 'alarm', first, last }))
  }

  /**
   * A gap must not overlap a record that comes later: the first reported gap that holds one of
   * these seqs.
   */
  overlap(stored: SeqRange, missing: readonly SeqRange[]): SeqRange | null {
    for (const gap of this.#gaps) {
      const first = Math.max(gap.first, stored.first)
      const last = Math.min(gap.last, stored.last)
      if (first <= last && subtract([{ first, last }], missing).length > 0) return gap
    }
    return null
  }

  #explain(gap: SeqRange & { readonly reason: string }): void {
    this.#gaps.push({ first: gap.first, last: gap.last, reason: gap.reason })
    this.#unexplained = subtract(this.#unexplained, [gap])
    this.#alarms = subtract(this.#alarms, [gap])
  }

  #raise(range: SeqRange): void {
    this.#unexplained = subtract(this.#unexplained, [range])
    this.#alarms.push({ first: range.first, last: range.last })
  }
}

function holeOf({ first, last, through }: Hole): Hole {
  return { first, last, through }
}

/** What is in `ranges` and in none of `holes`; other members of a range stay with its parts. */
export function subtract<T extends SeqRange>(
  ranges: readonly T[],
  holes: readonly SeqRange[],
): T[] {
  let rest = [...ranges]
  for (const hole of holes) {
    rest = rest.flatMap((range) => {
      if (hole.last < range.first || hole.first > range.last) return [range]
      const parts: T[] = []
      if (hole.first > range.first) parts.push({ ...range, last: hole.first - 1 })
      if (hole.last < range.last) parts.push({ ...range, first: hole.last + 1 })
      return parts
    })
  }
  return rest
}
