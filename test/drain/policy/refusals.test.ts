import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { boundsOf, clipRuns } from '../../../gateway/drain/policy/batcher.ts'
import { firstHalf, nextPiece } from '../../../gateway/drain/policy/refusals.ts'
import type { Bounds, Run } from '../../../gateway/ports/stream-queue.ts'
import { ACKED, Bench, listed, REFUSED, refusal } from '../harness.ts'

const WIDE = { maxRecords: 1e9, maxBytes: 1e12 }

interface Found {
  readonly parked: readonly number[]
  readonly acked: readonly number[]
  readonly requests: number
}

/**
 * Halves a batch of seqs 1 to n against a sink that answers 400 when one of `bad` is in the
 * request.
 */
function halve(n: number, bad: ReadonlySet<number>): Found {
  const parked: number[] = []
  const acked: number[] = []
  let head = 1
  let requests = 0
  let suspect: number | null = null
  const runsFrom = (): Run[] => {
    return [
      {
        spoolId: 's',
        firstSeq: head,
        recordCount: n - head + 1,
        rawBytes: 100 * (n - head + 1),
        receivedAtMs: 0,
      },
    ]
  }
  let piece: Bounds | null = { spoolId: 's', firstSeq: 1, lastSeq: n, recordCount: n }
  while (piece !== null) {
    requests++
    const { firstSeq, lastSeq }: Bounds = piece
    expect(firstSeq).toBe(head)
    const isBad = [...bad].some((seq) => seq >= firstSeq && seq <= lastSeq)
    if (isBad && firstSeq < lastSeq) {
      suspect = lastSeq
      piece = firstHalf(clipRuns(runsFrom(), 's', lastSeq))
      continue
    }
    if (isBad) parked.push(firstSeq)
    else for (let seq = firstSeq; seq <= lastSeq; seq++) acked.push(seq)
    head = lastSeq + 1
    piece = head > n ? null : nextPiece(runsFrom(), { spoolId: 's', lastSeq: n }, suspect, WIDE)
  }
  return { parked, acked, requests }
}

describe('halving', () => {
  it('finds one bad record among n with at most 2 log2(n) + 2 more requests than none', () => {
    for (const n of [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 100, 255, 256, 257]) {
      for (let bad = 1; bad <= n; bad++) {
        const { parked, requests } = halve(n, new Set([bad]))
        expect(parked).toEqual([bad])
        expect([n, bad, requests - 1 <= 2 * Math.log2(n) + 2]).toEqual([n, bad, true])
      }
    }
    for (const bad of [1, 2, 4999, 5000, 5001, 9999, 10_000]) {
      expect(halve(10_000, new Set([bad])).requests - 1).toBeLessThanOrEqual(
        2 * Math.log2(10_000) + 2,
      )
    }
  })

  it('finds every bad record, in ascending order, and acks every other one once', () => {
    const scenario = fc.integer({ min: 1, max: 200 }).chain((n) => {
      return fc.tuple(fc.constant(n), fc.uniqueArray(fc.integer({ min: 1, max: n })))
    })
    fc.assert(
      fc.property(scenario, ([n, bad]) => {
        const { parked, acked } = halve(n, new Set(bad))
        expect(parked).toEqual(bad.toSorted((a, b) => a - b))
        expect(acked).toEqual(
          Array.from({ length: n }, (_, i) => i + 1).filter((seq) => !bad.includes(seq)),
        )
      }),
    )
  })

  it('keeps a piece within the limits that a 413 taught, and skips holes', () => {
    const runs: Run[] = [
      { spoolId: 's', firstSeq: 3, recordCount: 1, rawBytes: 100, receivedAtMs: 0 },
      { spoolId: 's', firstSeq: 10, recordCount: 20, rawBytes: 2000, receivedAtMs: 0 },
      { spoolId: 't', firstSeq: 1, recordCount: 5, rawBytes: 500, receivedAtMs: 0 },
    ]
    const outer = { spoolId: 's', lastSeq: 25 }
    expect(nextPiece(runs, outer, null, { maxRecords: 100, maxBytes: 500 })).toEqual(
      boundsOf(runs.slice(0, 1)),
    )
    expect(nextPiece(runs.slice(1), outer, null, { maxRecords: 100, maxBytes: 500 })).toMatchObject(
      {
        recordCount: 5,
      },
    )
    expect(nextPiece(runs, outer, 12, WIDE)).toMatchObject({
      firstSeq: 3,
      lastSeq: 10,
      recordCount: 2,
    })
    expect(nextPiece(runs.slice(2), outer, null, WIDE)).toBeNull()
  })
})

describe('halving in the loop', () => {
  it.each([2, 9, 64, 200])(
    'I9: one bad record among %i costs at most 2 log2(n) + 2 more requests, at any place',
    async (n) => {
      for (const bad of new Set([1, 2, Math.ceil(n / 2), n - 1, n])) {
        const bench = new Bench({ config: { maxBatchRecords: n } })
        bench.append(n)
        bench.sink.auto = (_, request) => (request.seqs.includes(bad) ? REFUSED : ACKED)
        await bench.start()
        expect(bench.queue.state.delivered).toBe(n - 1)
        expect(bench.sink.requests.length - 1).toBeLessThanOrEqual(2 * Math.log2(n) + 2)
        expect(bench.clock.monotonicMs()).toBe(1000)
      }
    },
  )

  it('costs one more request when the sink names it', async () => {
    const bench = new Bench({ config: { maxBatchRecords: 100 } })
    bench.append(100)
    bench.sink.auto = (_, request) => (request.seqs.includes(40) ? listed(refusal(40)) : ACKED)
    await bench.start()
    expect(bench.sink.requests).toHaveLength(1)
    expect(bench.queue.state.deadLettered).toBe(1)
  })

  it('I4: a kill in the middle of the halving loses nothing and repeats the same piece', async () => {
    for (let kills = 1; kills <= 7; kills++) {
      const bench = new Bench({ config: { maxBatchRecords: 64 } })
      bench.append(64)
      await bench.start()
      for (let i = 0; i < kills && bench.sink.open.length > 0; i++) {
        await bench.answer(bench.sink.current.seqs.includes(23) ? REFUSED : ACKED)
      }
      const cut = bench.sink.open[0]?.text
      await bench.restart()
      expect(bench.sink.open[0]?.text).toBe(cut)
      while (bench.sink.open.length > 0)
        await bench.answer(bench.sink.current.seqs.includes(23) ? REFUSED : ACKED)
      expect(bench.queue.state.delivered).toBe(63)
      expect(bench.queue.state.deadLetters.map(({ record }) => record.seq)).toEqual([23])
    }
  })
})
