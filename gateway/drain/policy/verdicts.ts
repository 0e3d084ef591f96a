/**
 * What an answer with verdicts says of each record of its batch: every sentence of the ingest
 * contract about `ackedThrough` and `rejected`. Pure. Serves I2 (a prefix is settled, the rest is
 * sent again in order), I4 and I8 (an answer that makes no sense acks nothing).
 */
import type { Listed, SinkAnswer } from '../../ports/sink.ts'

/**
 * The batch that was answered. `seqs` costs O(records) and is asked only where single records
 * matter.
 */
export interface AnsweredBatch {
  readonly firstSeq: number
  readonly lastSeq: number
  readonly recordCount: number
  seqs(): readonly number[]
  /** Highest seq ever sent under the batch's identity. */
  readonly highestSentSeq: number
}

/** Records with their verdict, in order of seq: a run of acked ones, or one that was refused. */
export type RecordRun =
  | { readonly kind: 'acked'; readonly lastSeq: number; readonly count: number }
  | {
      readonly kind: 'refused'
      readonly lastSeq: number
      readonly count: 1
      readonly listed: Listed
    }

/** The verdicts on single records, as far as they count. */
export interface RecordVerdicts {
  readonly kind: 'consistent'
  /** Everything up to the first record that is to be sent again: a gapless prefix of the batch. */
  readonly runs: readonly RecordRun[]
  readonly acked: number
  readonly refused: number
  /** First record that is to be sent again; null: none. */
  readonly resendFrom: number | null
  /** The sink asked for that record later: only after backoff. */
  readonly resendAfterBackoff: boolean
}

/** `clone`: the sink knows seqs that this spool never sent, so there are two of us. */
export interface Contradiction {
  readonly kind: 'malformed' | 'clone'
  readonly detail: string
}

export function recordVerdicts(
  answer: Extract<SinkAnswer, { readonly kind: 'verdicts' }>,
  batch: AnsweredBatch,
): RecordVerdicts | Contradiction {
  const { ackedThrough, listed } = answer
  if (ackedThrough !== null && !isSeq(ackedThrough)) {
    return {
      kind: 'malformed',
      detail: `ackedThrough is ${ackedThrough}, not an integer from 0 to 2^53-1`,
    }
  }
  if (ackedThrough !== null && ackedThrough > batch.highestSentSeq) {
    const sent = `${batch.highestSentSeq}, the highest seq ever sent under this spool id`
    const detail = `ackedThrough ${ackedThrough} is above ${sent}`
    return { kind: 'clone', detail }
  }
  if (listed.length === 0 && (ackedThrough === null || ackedThrough >= batch.lastSeq)) {
    const all: RecordRun = { kind: 'acked', lastSeq: batch.lastSeq, count: batch.recordCount }
    return consistent([all], null, false)
  }
  if (listed.length === 0 && ackedThrough !== null && ackedThrough < batch.firstSeq) {
    return consistent([], batch.firstSeq, false)
  }
  return walk(ackedThrough, listed, batch)
}

/** Goes through the records in order and stops at the first one that is to be sent again. */
function walk(
  ackedThrough: number | null,
  listed: readonly Listed[],
  batch: AnsweredBatch,
): RecordVerdicts | Contradiction {
  const seqs = batch.seqs()
  const bySeq = index(listed, new Set(seqs))
  if (typeof bySeq === 'string') return { kind: 'malformed', detail: bySeq }
  const runs: RecordRun[] = []
  let acked: { lastSeq: number; count: number } | null = null
  const flush = (): void => {
    if (acked) runs.push({ kind: 'acked', ...acked })
    acked = null
  }
  for (const seq of seqs) {
    const one = bySeq.get(seq)
    const verdict =
      one?.verdict ?? (ackedThrough === null || seq <= ackedThrough ? 'acked' : 'resend')
    if (verdict === 'retry' || verdict === 'resend') {
      flush()
      return consistent(runs, seq, verdict === 'retry')
    }
    if (verdict === 'refused' && one) {
      flush()
      runs.push({ kind: 'refused', lastSeq: seq, count: 1, listed: one })
    } else {
      acked = { lastSeq: seq, count: countOf(acked) + 1 }
    }
  }
  flush()
  return consistent(runs, null, false)
}

function countOf(run: { readonly count: number } | null): number {
  return run?.count ?? 0
}

function index(listed: readonly Listed[], seqs: ReadonlySet<number>): Map<number, Listed> | string {
  const bySeq = new Map<number, Listed>()
  for (const one of listed) {
    if (!isSeq(one.seq)) return `rejected names ${String(one.seq)}, which is no seq`
    if (!seqs.has(one.seq)) return `rejected names seq ${one.seq}, which is not in the batch`
    const known = bySeq.get(one.seq)
    if (known && known.verdict !== one.verdict) {
      return `rejected names seq ${one.seq} twice, with different verdicts`
    }
    bySeq.set(one.seq, one)
  }
  return bySeq
}

function consistent(
  runs: readonly RecordRun[],
  resendFrom: number | null,
  resendAfterBackoff: boolean,
): RecordVerdicts {
  let acked = 0
  let refused = 0
  for (const run of runs) {
    if (run.kind === 'acked') acked += run.count
    else refused++
  }
  return { kind: 'consistent', runs, acked, refused, resendFrom, resendAfterBackoff }
}

function isSeq(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

/** A record that was refused with the whole request, because it was alone in it. */
export function refusedRun(seq: number, code: string | null, reason: string): RecordRun {
  return {
    kind: 'refused',
    lastSeq: seq,
    count: 1,
    listed: { seq, verdict: 'refused', code, reason },
  }
}
