import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type BatchLimits,
  boundsOf,
  clipRuns,
  countRecords,
  lingerLeftMs,
  planBatch,
  takeRecords,
} from '../../../gateway/drain/policy/batcher.ts'
import type { Run } from '../../../gateway/ports/stream-queue.ts'

/** Runs in queue order: identities one after the other, seqs rising with holes. */
const someRuns = fc
  .array(
    fc.record({
      newIdentity: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
      hole: fc.integer({ min: 0, max: 3 }),
      recordCount: fc.integer({ min: 1, max: 20 }),
      bytesEach: fc.integer({ min: 1, max: 300 }),
    }),
    { maxLength: 12 },
  )
  .map((parts) => {
    let identity = 0
    let next = 1
    return parts.map(({ newIdentity, hole, recordCount, bytesEach }): Run => {
      if (newIdentity) {
        identity++
        next = 1
      }
      const firstSeq = next + hole
      next = firstSeq + recordCount
      return {
        spoolId: `s${identity}`,
        firstSeq,
        recordCount,
        rawBytes: recordCount * bytesEach,
        receivedAtMs: 0,
      }
    })
  })

const someLimits: fc.Arbitrary<BatchLimits> = fc.record({
  maxRecords: fc.integer({ min: 1, max: 60 }),
  maxBytes: fc.integer({ min: 1, max: 5000 }),
})

const seqsOf = (runs: readonly Run[]): string[] => {
  return runs.flatMap((run) =>
    Array.from({ length: run.recordCount }, (_, i) => `${run.spoolId}:${run.firstSeq + i}`),
  )
}

describe('planBatch', () => {
  it('takes a prefix of one identity, never more than the limits unless a single record is larger', () => {
    fc.assert(
      fc.property(someRuns, someLimits, (runs, limits) => {
        const plan = planBatch(runs, limits)
        expect(plan === null).toBe(runs.length === 0)
        if (plan === null) return
        const { bounds } = plan
        const prefix = takeRecords(runs, bounds.recordCount)
        expect(boundsOf(prefix)).toEqual(bounds)
        expect(new Set(prefix.map(({ spoolId }) => spoolId))).toEqual(new Set([runs[0]?.spoolId]))
        expect(bounds.recordCount).toBeLessThanOrEqual(limits.maxRecords)
        if (bounds.recordCount > 1) expect(plan.rawBytes).toBeLessThanOrEqual(limits.maxBytes)
      }),
    )
  })

  it('slices only a block that alone is above the limits', () => {
    fc.assert(
      fc.property(someRuns, someLimits, (runs, limits) => {
        const plan = planBatch(runs, limits)
        const [first] = runs
        if (plan === null || first === undefined) return
        const fits = first.recordCount <= limits.maxRecords && first.rawBytes <= limits.maxBytes
        const ends = runs.map((_, i) => countRecords(runs.slice(0, i + 1)))
        if (fits) expect(ends).toContain(plan.bounds.recordCount)
        else expect(plan.bounds.recordCount).toBeLessThanOrEqual(first.recordCount)
      }),
    )
  })

  it('is full exactly if the next block does not fit, is of another identity, or a limit is reached', () => {
    fc.assert(
      fc.property(someRuns, someLimits, (runs, limits) => {
        const plan = planBatch(runs, limits)
        if (plan === null) return
        const { recordCount, spoolId } = plan.bounds
        const rest = clipRuns(runs, spoolId, Number.MAX_SAFE_INTEGER)
        const more = planBatch(rest, { maxRecords: 1e9, maxBytes: 1e9 })
        const reached = recordCount >= limits.maxRecords || plan.rawBytes >= limits.maxBytes
        const joinable =
          !reached && recordCount === more?.bounds.recordCount && rest.length === runs.length
        expect(plan.full).toBe(!joinable)
      }),
    )
  })

  it('cuts a slice in proportion of its bytes', () => {
    const run: Run = {
      spoolId: 's',
      firstSeq: 5,
      recordCount: 100,
      rawBytes: 10_000,
      receivedAtMs: 0,
    }
    expect(planBatch([run], { maxRecords: 1000, maxBytes: 2_500 })?.bounds).toEqual({
      spoolId: 's',
      firstSeq: 5,
      lastSeq: 29,
      recordCount: 25,
    })
    expect(planBatch([run], { maxRecords: 1000, maxBytes: 10 })?.bounds.recordCount).toBe(1)
  })
})

describe('clipRuns and takeRecords', () => {
  it('give the records of the identity at or below a seq, and the first so many', () => {
    fc.assert(
      fc.property(someRuns, fc.integer({ min: 0, max: 80 }), (runs, n) => {
        const spoolId = runs[0]?.spoolId ?? 's0'
        const wanted = seqsOf(runs.filter((run) => run.spoolId === spoolId)).filter((one) => {
          return Number(one.split(':')[1]) <= n
        })
        expect(seqsOf(clipRuns(runs, spoolId, n))).toEqual(wanted)
        expect(seqsOf(takeRecords(runs, n))).toEqual(seqsOf(runs).slice(0, n))
      }),
    )
  })
})

describe('lingerLeftMs', () => {
  const plan = {
    bounds: { spoolId: 's', firstSeq: 1, lastSeq: 1, recordCount: 1 },
    rawBytes: 1,
    full: false,
    receivedAtMs: 1000,
  }

  it('waits from the time of arrival, not at all when full', () => {
    expect(lingerLeftMs(plan, 50, 0, 1020)).toBe(30)
    expect(lingerLeftMs(plan, 50, 0, 9999)).toBe(0)
    expect(lingerLeftMs({ ...plan, full: true }, 50, 0, 1000)).toBe(0)
  })

  it('never waits longer than linger, whatever the wall clock says', () => {
    fc.assert(
      fc.property(fc.integer(), fc.nat(200), fc.nat(200), (nowMs, lingerMs, waitedMs) => {
        const left = lingerLeftMs(plan, lingerMs, waitedMs, nowMs)
        expect(left).toBeGreaterThanOrEqual(0)
        expect(left + waitedMs).toBeLessThanOrEqual(Math.max(lingerMs, waitedMs))
      }),
    )
  })
})
