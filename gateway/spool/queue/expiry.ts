/**
 * Which records of a block are left out of a batch because their device wanted them gone by then
 * (Message Expiry Interval, MQTT 5.0 section 3.3.2.3.3; `messageExpiry: honor`). Pure.
 *
 * A mark of the stream's state says as of when its seqs are judged; see {@link ExpiryMark}. Age is
 * spool time, so a clock that is set expires nothing.
 */
import { expirySecondsOf, lineOffsets, mayExpire, seqOfLine } from '../codec/record.ts'
import type { ExpiryMark } from '../stream/state.ts'

/** Lines of a block, or of a slice of one, with what they are judged by. */
interface JudgedLines {
  readonly lines: Uint8Array
  readonly firstSeq: number
  /** Of the block, ms. */
  readonly spoolTimeMs: number
}

interface Judged {
  /** What stays, where something does not: its lines, and its seqs, ascending. */
  readonly rest: { readonly raw: Uint8Array; readonly kept: readonly number[] } | null
  readonly leftOut: readonly number[]
  /** Spool time at which the first of the others expires; Infinity: none ever does. */
  readonly nextExpiryMs: number
}

const NOTHING_EXPIRES: Judged = {
  rest: null,
  leftOut: [],
  nextExpiryMs: Number.POSITIVE_INFINITY,
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

export function judgeExpiry(
  { lines, firstSeq, spoolTimeMs }: JudgedLines,
  marks: readonly ExpiryMark[],
): Judged {
  if (marks.length === 0 || !mayExpire(lines)) return NOTHING_EXPIRES
  const offsets = lineOffsets(lines)
  const kept: number[] = []
  const leftOut: number[] = []
  const parts: Uint8Array[] = []
  let nextExpiryMs = Number.POSITIVE_INFINITY
  for (let i = 0; i + 1 < offsets.length; i += 1) {
    const line = lines.subarray(offsets[i], offsets[i + 1])
    const seq = firstSeq + i
    const mark = markOf(seq, marks)
    const expiresAtMs = mark === undefined ? null : expiryMs(line, spoolTimeMs)
    if (mark !== undefined && expiresAtMs !== null && expiresAtMs <= mark.asOfMs) {
      leftOut.push(seq)
      continue
    }
    if (expiresAtMs !== null) nextExpiryMs = Math.min(nextExpiryMs, expiresAtMs)
    kept.push(seq)
    parts.push(line)
  }
  const rest = leftOut.length === 0 ? null : { raw: Buffer.concat(parts), kept }
  return { rest, leftOut, nextExpiryMs }
}

/** What a receiver is told: whole seconds, at least 1; null: it does not expire. */
export function expirySecondsLeft(
  line: Uint8Array,
  spoolTimeMs: number,
  marks: readonly ExpiryMark[],
): number | null {
  const mark = marks.length === 0 ? undefined : markOf(seqOfLine(line), marks)
  const expiresAtMs = mark === undefined ? null : expiryMs(line, spoolTimeMs)
  if (mark === undefined || expiresAtMs === null) return null
  return Math.max(1, Math.ceil((expiresAtMs - mark.asOfMs) / 1000))
}

function markOf(seq: number, marks: readonly ExpiryMark[]): ExpiryMark | undefined {
  return marks.find(({ first, last }) => seq >= first && seq <= last)
}

/** Spool time; null: it never expires. */
function expiryMs(line: Uint8Array, spoolTimeMs: number): number | null {
  const seconds = expirySecondsOf(line)
  return seconds === null ? null : spoolTimeMs + seconds * 1000
}
