import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  chooseDeadLetters,
  isRipe,
  JudgedWindow,
  type Suspicion,
  weigh,
} from '../../../gateway/drain/policy/parking.ts'
import { CONTRACT_RULES } from '../../../gateway/drain/policy/rules.ts'
import type { RecordRun } from '../../../gateway/drain/policy/verdicts.ts'

const acked = (lastSeq: number, count: number): RecordRun => ({ kind: 'acked', lastSeq, count })
const refused = (seq: number): RecordRun => {
  return {
    kind: 'refused',
    lastSeq: seq,
    count: 1,
    listed: { seq, verdict: 'refused', code: '422', reason: null },
  }
}
const refusals = (first: number, count: number): RecordRun[] => {
  return Array.from({ length: count }, (_, i) => refused(first + i))
}

function suspicion(changes: Partial<Suspicion> = {}): Suspicion {
  return {
    window: new JudgedWindow(1000),
    unripe: 0,
    maxRefusedShare: 0.5,
    lifted: false,
    ...changes,
  }
}

describe('JudgedWindow', () => {
  it('counts the last so many, as a plain list would', () => {
    const pushes = fc.array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 30 })), {
      maxLength: 60,
    })
    fc.assert(
      fc.property(pushes, fc.integer({ min: 1, max: 50 }), (pushed, size) => {
        const window = new JudgedWindow(size)
        let plain: boolean[] = []
        for (const [isRefused, count] of pushed) {
          window.push(isRefused, count)
          plain = [...plain, ...Array.from({ length: count }, () => isRefused)].slice(-size)
          expect(window.total).toBe(plain.length)
          expect(window.refused).toBe(plain.filter(Boolean).length)
        }
      }),
    )
  })
})

describe('weigh', () => {
  it('settles everything judged while the refusals stay believable', () => {
    const runs = [acked(3, 3), refused(4), acked(9, 5)]
    expect(weigh(runs, suspicion(), CONTRACT_RULES)).toEqual({ runs, distrust: null })
  })

  it('I8: the 100th parked record without an acceptance holds, and is not settled', () => {
    const calm = weigh(refusals(1, 99), suspicion(), CONTRACT_RULES)
    expect(calm).toEqual({ runs: refusals(1, 99), distrust: null })
    const held = weigh(refusals(1, 100), suspicion(), CONTRACT_RULES)
    expect(held.runs).toEqual([])
    expect(held.distrust).toContain('100 records')
    expect(weigh([refused(7)], suspicion({ unripe: 99 }), CONTRACT_RULES).distrust).not.toBeNull()
    expect(
      weigh([acked(6, 1), refused(7)], suspicion({ unripe: 99 }), CONTRACT_RULES).distrust,
    ).toBeNull()
  })

  it('I8: too large a share of refusals holds from 100 judged on, never before', () => {
    const runs = Array.from({ length: 60 }, (_, i) => [
      refused(3 * i + 1),
      refused(3 * i + 2),
      acked(3 * i + 3, 1),
    ]).flat()
    const before = weigh(runs.slice(0, 99), suspicion(), CONTRACT_RULES)
    expect(before.distrust).toBeNull()
    const believed = weigh(runs, suspicion(), CONTRACT_RULES)
    expect(believed.distrust).toContain('of the last 100 records')
    // What is believed ends with the last acked record before the one too many.
    expect(believed.runs).toEqual(runs.slice(0, 99))
    expect(believed.runs.at(-1)).toMatchObject({ kind: 'acked', lastSeq: 99 })
  })

  it('maxRefusedShare 1 leaves only the limit on parked records', () => {
    const runs = Array.from({ length: 200 }, (_, i) => [
      ...refusals(100 * i + 1, 98),
      acked(100 * i + 99, 1),
    ]).flat()
    expect(weigh(runs, suspicion({ maxRefusedShare: 1 }), CONTRACT_RULES).distrust).toBeNull()
  })

  it('a round that an operator asked for is not ended and does not count', () => {
    const window = new JudgedWindow(1000)
    const lifted = suspicion({ lifted: true, unripe: 300, window })
    const believed = weigh(refusals(1, 500), lifted, CONTRACT_RULES)
    expect(believed).toEqual({ runs: refusals(1, 500), distrust: null })
    expect(window.total).toBe(0)
  })

  it('what is believed is a prefix; of a sink that is not believed it ends with an accepted record', () => {
    const someRuns = fc
      .array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 40 })), { minLength: 1 })
      .map((parts) => {
        let seq = 0
        return parts.map(([isRefused, count]): RecordRun => {
          seq += isRefused ? 1 : count
          return isRefused ? refused(seq) : acked(seq, count)
        })
      })
    const rules = { ...CONTRACT_RULES, parkedLimit: 3, judgedFrom: 10, judgedWindow: 30 }
    fc.assert(
      fc.property(someRuns, fc.nat(2), (runs, unripe) => {
        const { runs: believed, distrust } = weigh(runs, suspicion({ unripe }), rules)
        expect(believed).toEqual(runs.slice(0, believed.length))
        if (distrust === null) expect(believed).toHaveLength(runs.length)
        else expect(believed.at(-1)?.kind).not.toBe('refused')
      }),
    )
  })
})

describe('isRipe and chooseDeadLetters', () => {
  const parked = (
    seq: number,
    spoolId = 'b',
    bytes = 10,
  ): { spoolId: string; seq: number; bytes: number } => {
    return { spoolId, seq, bytes }
  }
  const room = (): boolean => true

  it('I8: only a later acceptance makes a parked record a dead letter', () => {
    expect(chooseDeadLetters([parked(5)], null, 'b', room)).toEqual({
      seqs: [],
      earlier: [],
      left: 0,
    })
    expect(chooseDeadLetters([parked(5)], { spoolId: 'b', seq: 4 }, 'b', room).seqs).toEqual([])
    expect(chooseDeadLetters([parked(5)], { spoolId: 'b', seq: 6 }, 'b', room).seqs).toEqual([5])
  })

  it('an acceptance under the batch identity covers all earlier ones; under an earlier one only its own', () => {
    const both = [parked(50, 'a'), parked(5, 'b')]
    const now = chooseDeadLetters(both, { spoolId: 'b', seq: 6 }, 'b', room)
    expect(now).toEqual({ seqs: [5], earlier: [{ spoolId: 'a', seq: 50 }], left: 0 })
    const old = chooseDeadLetters(both, { spoolId: 'a', seq: 99 }, 'b', room)
    expect(old).toEqual({ seqs: [], earlier: [{ spoolId: 'a', seq: 50 }], left: 0 })
    expect(isRipe(parked(5, 'b'), { spoolId: 'a', seq: 99 }, 'b')).toBe(false)
  })

  it('takes the oldest as far as there is room', () => {
    const all = [parked(1), parked(2), parked(3, 'b', 1)]
    const choice = chooseDeadLetters(all, { spoolId: 'b', seq: 9 }, 'b', (bytes) => bytes <= 15)
    expect(choice).toEqual({ seqs: [1], earlier: [], left: 2 })
  })
})
