/**
 * A batch's body, cut into lines and judged by seq: the rule "exactly once with one number" of the
 * ingest contract, as a pure function over bytes. Fast because it never makes a string of a line
 * that looks like the contract's own example: the seq stands behind a prefix that is the same in
 * the whole queue. Any other shape goes through JSON.parse. Not here: storing, answering, faults (a
 * judge is handed in).
 */

const LF = 0x0a
const ZERO = 0x30
const NINE = 0x39
const COMMA = 0x2c
const CLOSE = 0x7d
const AFTER_ID = Buffer.from('","seq":')

/** First and last, both included. */
export interface SeqRange {
  readonly first: number
  readonly last: number
}

/**
 * What a judge says of a record that is new: store it, refuse it for good, or leave it (and all
 * behind it) for later.
 */
export type Judgement = 'store' | 'refuse' | 'postpone'

/**
 * Asked for each new record in order, until the first that is not stored. `index` counts the new
 * ones from 0.
 */
export type Judge = (line: Uint8Array, seq: number, index: number) => Judgement

/** What a batch says of itself, from its head. */
export interface BatchClaim {
  readonly gateway: string
  readonly spool: string
  readonly stream: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly recordCount: number
}

export interface Judged {
  /** Lines at or below the highest seq: repeats. */
  readonly repeats: number
  /** New lines to store: one run of bytes. */
  readonly stored: number
  readonly fromByte: number
  readonly toByte: number
  /** Of the run to store; 0 without one. */
  readonly firstStored: number
  readonly lastStored: number
  /** Seqs between the highest and the last stored that are not in the batch, in order. */
  readonly missing: readonly SeqRange[]
  /** The first line that is not stored, and why; null: all are. */
  readonly stop: { readonly seq: number; readonly refused: boolean } | null
}

/** Where a line's seq stands in lines of one queue. */
export function linePrefix(claim: Pick<BatchClaim, 'gateway' | 'spool' | 'stream'>): Buffer {
  return Buffer.from(`{"id":"${claim.gateway}:${claim.spool}:${claim.stream}:`)
}

/**
 * The seq of the line `body[start..end)`: from its bytes if it begins as the contract's example
 * does and both numbers agree, else by JSON.parse. -1: it has none. The fast way looks at nothing
 * behind the seq but the last character.
 */
export function seqOfLine(body: Buffer, start: number, end: number, prefix: Buffer): number {
  const fast = fastSeq(body, start, end, prefix)
  return fast === -1 ? slowSeq(body, start, end) : fast
}

function fastSeq(body: Buffer, start: number, end: number, prefix: Buffer): number {
  let at = start
  if (end - start < prefix.length + AFTER_ID.length + 3) return -1
  for (let n = 0; n < prefix.length; n += 1, at += 1) if (body[at] !== prefix[n]) return -1
  let id = 0
  let byte = body[at] as number
  while (byte >= ZERO && byte <= NINE) {
    id = id * 10 + (byte - ZERO)
    at += 1
    byte = body[at] as number
  }
  for (let n = 0; n < AFTER_ID.length; n += 1, at += 1) if (body[at] !== AFTER_ID[n]) return -1
  let seq = 0
  byte = body[at] as number
  while (byte >= ZERO && byte <= NINE) {
    seq = seq * 10 + (byte - ZERO)
    at += 1
    byte = body[at] as number
  }
  const whole = (byte === COMMA || byte === CLOSE) && body[end - 1] === CLOSE
  return whole && seq === id && seq > 0 && Number.isSafeInteger(seq) ? seq : -1
}

function slowSeq(body: Buffer, start: number, end: number): number {
  try {
    const record = JSON.parse(body.toString('utf8', start, end)) as {
      readonly seq?: unknown
    } | null
    const seq = record?.seq
    return typeof seq === 'number' && Number.isSafeInteger(seq) && seq > 0 ? seq : -1
  } catch {
    return -1
  }
}

/** Calls `visit` for each line of `body[from..to)` that has a seq. */
export function eachLine(
  body: Buffer,
  prefix: Buffer,
  visit: (seq: number, line: Buffer) => void,
  from = 0,
  to = body.length,
): void {
  for (let start = from; start < to; ) {
    const end = body.indexOf(LF, start)
    if (end === -1) return
    const seq = seqOfLine(body, start, end, prefix)
    if (seq !== -1) visit(seq, body.subarray(start, end))
    start = end + 1
  }
}

/**
 * Goes through the lines in order, as the contract's rule says: skip every seq at or below
 * `highest`, take the next ones, stop at the first that the judge does not store. A string says how
 * the body breaks the contract; then nothing of it may be stored.
 */
export function judgeLines(
  body: Buffer,
  claim: BatchClaim,
  highest: number,
  judge: Judge | null,
): Judged | string {
  const prefix = linePrefix(claim)
  const missing: SeqRange[] = []
  let [repeats, stored, fromByte, toByte, firstStored, lastStored] = [0, 0, 0, 0, 0, 0]
  let stop: Judged['stop'] = null
  let [lines, firstSeq, before] = [0, 0, 0]
  for (let start = 0; start < body.length; lines += 1) {
    const end = body.indexOf(LF, start)
    if (end === -1) return 'the last line does not end with LF'
    const seq = seqOfLine(body, start, end, prefix)
    if (seq === -1) return `line ${lines + 1} is no record: no seq`
    if (seq <= before) return `line ${lines + 1} has seq ${seq} behind ${before}`
    if (lines === 0) firstSeq = seq
    before = seq
    if (seq <= highest) {
      repeats += 1
    } else if (stop === null) {
      const judgement = judge === null ? 'store' : judge(body.subarray(start, end), seq, stored)
      if (judgement === 'store') {
        if (stored === 0) {
          firstStored = seq
          fromByte = start
          lastStored = highest
        }
        if (seq > lastStored + 1) missing.push({ first: lastStored + 1, last: seq - 1 })
        stored += 1
        lastStored = seq
        toByte = end + 1
      } else {
        stop = { seq, refused: judgement === 'refuse' }
      }
    }
    start = end + 1
  }
  if (lines !== claim.recordCount)
    return `${lines} lines, but Sluice-Record-Count is ${claim.recordCount}`
  if (firstSeq !== claim.firstSeq)
    return `first seq ${firstSeq}, but Sluice-First-Seq is ${claim.firstSeq}`
  if (before !== claim.lastSeq) return `last seq ${before}, but Sluice-Last-Seq is ${claim.lastSeq}`
  return { repeats, stored, fromByte, toByte, firstStored, lastStored, missing, stop }
}
