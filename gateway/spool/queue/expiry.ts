/**
 * Which records of a block are left out of a batch because their device wanted them gone by then
 * (Message Expiry Interval, MQTT 5.0 section 3.3.2.3.3; `messageExpiry: honor`). Pure.
 *
 * A mark of the stream's state says as of when its seqs are judged; see {@link ExpiryMark}. Age is
 * spool time, so a clock that is set expires nothing.
 */
import { expirySecondsOf, lineOffsets, mayExpire, seqOfLine } from '../codec/record.ts'
import type { ExpiryMark } from '../stream/state.ts'

/** The records of a block that stay, where some do not. */
export interface Thinned {
  /** Their lines. */
  readonly raw: Uint8Array
  /** Their seqs, ascending. */
  readonly kept: readonly number[]
  readonly leftOut: readonly number[]
}

/** Lines of a block, or of a slice of one, with what they are judged by. */
export interface JudgedLines {
  readonly lines: Uint8Array
  readonly firstSeq: number
  /** Of the block, ms. */
  readonly spoolTimeMs: number
}

/** Marks of the identity that say something of the seqs; mostly none. */
export function marksOver(
  marks: readonly ExpiryMark[],
  identity: number,
  firstSeq: number,
  lastSeq: number,
): readonly ExpiryMark[] {
  if (marks.length === 0) return marks
  return marks.filter(
    (mark) => mark.identity === identity && mark.first <= lastSeq && mark.last >= firstSeq,
  )
}

/** null: all records stay. */
export function thinned(
  { lines, firstSeq, spoolTimeMs }: JudgedLines,
  marks: readonly ExpiryMark[],
): Thinned | null {
  if (marks.length === 0 || !mayExpire(lines)) return null
  const offsets = lineOffsets(lines)
  const kept: number[] = []
  const leftOut: number[] = []
  const parts: Uint8Array[] = []
  for (let i = 0; i + 1 < offsets.length; i += 1) {
    const line = lines.subarray(offsets[i], offsets[i + 1])
    const seq = firstSeq + i
    const leftMs = expiryLeftMs(line, seq, spoolTimeMs, marks)
    if (leftMs !== null && leftMs <= 0) leftOut.push(seq)
    else {
      kept.push(seq)
      parts.push(line)
    }
  }
  return leftOut.length === 0 ? null : { raw: Buffer.concat(parts), kept, leftOut }
}

/** What a receiver is told: whole seconds, at least 1; null: it does not expire. */
export function expirySecondsLeft(
  line: Uint8Array,
  spoolTimeMs: number,
  marks: readonly ExpiryMark[],
): number | null {
  if (marks.length === 0) return null
  const leftMs = expiryLeftMs(line, seqOfLine(line), spoolTimeMs, marks)
  return leftMs === null ? null : Math.max(1, Math.ceil(leftMs / 1000))
}

/** As of its mark; null: it has no expiry, or no mark. */
function expiryLeftMs(
  line: Uint8Array,
  seq: number,
  spoolTimeMs: number,
  marks: readonly ExpiryMark[],
): number | null {
  const mark = marks.find(({ first, last }) => seq >= first && seq <= last)
  const seconds = mark === undefined ? null : expirySecondsOf(line)
  return mark === undefined || seconds === null ? null : spoolTimeMs + seconds * 1000 - mark.asOfMs
}
