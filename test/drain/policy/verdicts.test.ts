import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type AnsweredBatch,
  type Contradiction,
  type RecordVerdicts,
  recordVerdicts,
} from '../../../gateway/drain/policy/verdicts.ts'
import type { Listed } from '../../../gateway/ports/sink.ts'

function batchOf(seqs: readonly number[], highestSentSeq = seqs.at(-1) ?? 0): AnsweredBatch {
  const firstSeq = seqs[0] ?? 0
  const lastSeq = seqs.at(-1) ?? 0
  return { firstSeq, lastSeq, recordCount: seqs.length, seqs: () => seqs, highestSentSeq }
}

function judge(
  batch: AnsweredBatch,
  ackedThrough: number | null,
  listed: readonly Listed[] = [],
): RecordVerdicts | Contradiction {
  return recordVerdicts(
    { kind: 'verdicts', code: '200', sinkDateMs: null, ackedThrough, listed },
    batch,
  )
}

function consistent(verdicts: RecordVerdicts | Contradiction): RecordVerdicts {
  if (verdicts.kind !== 'consistent') throw new Error(`${verdicts.kind}: ${verdicts.detail}`)
  return verdicts
}

const acked = (seq: number): Listed => ({ seq, verdict: 'acked', code: '409', reason: null })
const later = (seq: number): Listed => ({ seq, verdict: 'retry', code: '503', reason: null })
const refused = (seq: number): Listed => ({ seq, verdict: 'refused', code: '422', reason: 'no' })

const FIVE = batchOf([10, 11, 12, 13, 14], 20)

describe('recordVerdicts', () => {
  it('no members: every record is acked', () => {
    expect(consistent(judge(FIVE, null))).toMatchObject({ acked: 5, refused: 0, resendFrom: null })
  })

  it('ackedThrough n: up to n acked, the rest sent again', () => {
    expect(consistent(judge(FIVE, 12))).toMatchObject({
      acked: 3,
      resendFrom: 13,
      resendAfterBackoff: false,
    })
    expect(consistent(judge(FIVE, 9))).toMatchObject({ acked: 0, resendFrom: 10 })
    expect(consistent(judge(FIVE, 0))).toMatchObject({ acked: 0, resendFrom: 10 })
  })

  it('n above the last acks this batch only; above everything ever sent it is a clone', () => {
    expect(consistent(judge(FIVE, 20))).toMatchObject({ acked: 5, resendFrom: null })
    expect(judge(FIVE, 21).kind).toBe('clone')
  })

  it('listed: refused ones are refused, unlisted ones acked', () => {
    expect(consistent(judge(FIVE, null, [refused(11), refused(13)]))).toMatchObject({
      acked: 3,
      refused: 2,
      resendFrom: null,
    })
  })

  it('a record listed for later stops everything behind it, after backoff', () => {
    expect(consistent(judge(FIVE, null, [later(12), refused(13)]))).toMatchObject({
      acked: 2,
      refused: 0,
      resendFrom: 12,
      resendAfterBackoff: true,
    })
  })

  it('listed beats ackedThrough, in both directions', () => {
    expect(consistent(judge(FIVE, 14, [later(11)]))).toMatchObject({ acked: 1, resendFrom: 11 })
    expect(consistent(judge(FIVE, 14, [refused(11)]))).toMatchObject({
      acked: 4,
      refused: 1,
      resendFrom: null,
    })
    expect(consistent(judge(FIVE, 10, [acked(11)]))).toMatchObject({ acked: 2, resendFrom: 12 })
  })

  it('ackedThrough n with n+1 refused goes on behind n+1', () => {
    expect(consistent(judge(FIVE, 11, [refused(12)]))).toMatchObject({
      acked: 2,
      refused: 1,
      resendFrom: 13,
    })
    expect(consistent(judge(FIVE, 9, [refused(10)]))).toMatchObject({
      acked: 0,
      refused: 1,
      resendFrom: 11,
    })
  })

  it('verdicts behind the first record to be sent again are ignored', () => {
    expect(consistent(judge(FIVE, 10, [refused(13)]))).toMatchObject({
      acked: 1,
      refused: 0,
      resendFrom: 11,
    })
  })

  it('malformed: a seq that is not in the batch, a hole of it included; wrong types; contradictions', () => {
    const holey = batchOf([10, 12, 14])
    expect(judge(holey, null, [refused(11)]).kind).toBe('malformed')
    expect(judge(holey, null, [refused(15)]).kind).toBe('malformed')
    expect(judge(holey, 12, [later(12), refused(99)]).kind).toBe('malformed')
    for (const n of [-1, 1.5, Number.NaN, 2 ** 53]) expect(judge(FIVE, n).kind).toBe('malformed')
    expect(judge(FIVE, null, [refused(11), acked(11)]).kind).toBe('malformed')
    expect(judge(FIVE, null, [refused(11), refused(11)]).kind).toBe('consistent')
  })

  it('asks for the single seqs only where single records matter', () => {
    const big = { ...FIVE, seqs: (): number[] => expect.unreachable() }
    for (const n of [null, 14, 15, 9, 0]) expect(judge(big, n).kind).toBe('consistent')
  })

  it('I4 I8: agrees with the sentences of the contract, whatever is listed', () => {
    const someSeqs = fc
      .uniqueArray(fc.integer({ min: 1, max: 30 }), { minLength: 1 })
      .map((seqs) => {
        return seqs.toSorted((a, b) => a - b)
      })
    const scenario = someSeqs.chain((seqs) => {
      const one = fc
        .constantFrom(...seqs)
        .chain((seq) => fc.constantFrom(acked(seq), later(seq), refused(seq)))
      const listed = fc.uniqueArray(one, { selector: ({ seq }) => seq })
      return fc.record({
        seqs: fc.constant(seqs),
        listed,
        n: fc.option(fc.integer({ min: 0, max: 40 })),
      })
    })
    fc.assert(
      fc.property(scenario, ({ seqs, listed, n }) => {
        const verdict = consistent(judge(batchOf(seqs, 40), n, listed))
        const named = new Map(listed.map((entry) => [entry.seq, entry.verdict]))
        const again = seqs.filter((seq) => {
          return named.has(seq) ? named.get(seq) === 'retry' : n !== null && seq > n
        })
        const from = again[0] ?? null
        const settled = seqs.filter((seq) => from === null || seq < from)
        const bad = settled.filter((seq) => named.get(seq) === 'refused')
        expect(verdict.resendFrom).toBe(from)
        expect(verdict.acked).toBe(settled.length - bad.length)
        const runs = verdict.runs
          .filter((run) => run.kind === 'refused')
          .map(({ lastSeq }) => lastSeq)
        expect(runs).toEqual(bad)
        expect(verdict.runs.reduce((sum, { count }) => sum + count, 0)).toBe(settled.length)
        expect(verdict.runs.at(-1)?.lastSeq).toBe(settled.at(-1))
      }),
    )
  })
})
