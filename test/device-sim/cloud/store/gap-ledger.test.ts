import { describe, expect, test } from 'vitest'
import { readGaps } from '../../../../device-sim/cloud/head.ts'
import { GapLedger, type GapNote, subtract } from '../../../../device-sim/cloud/store/gap-ledger.ts'

describe('a missing seq', () => {
  test('is worth an alarm only once a later gap-free batch was acked', () => {
    const ledger = new GapLedger()
    ledger.miss({ first: 5, last: 6 }, 9)
    expect(ledger.ackedGapFree(7)).toEqual([])
    expect(ledger.ackedGapFree(9)).toEqual([])
    expect(ledger.alarms).toEqual([])
    expect(ledger.ackedGapFree(10)).toEqual([{ note: 'alarm', first: 5, last: 6 }])
    expect(ledger.alarms).toEqual([{ first: 5, last: 6 }])
    expect(ledger.unexplained).toEqual([])
  })

  test('is explained by a gap, before or after, in one piece or several', () => {
    const ledger = new GapLedger()
    ledger.report({ first: 1, last: 3, reason: 'expired' })
    expect(ledger.miss({ first: 1, last: 8 }, 9)).toEqual([
      { note: 'missing', first: 4, last: 8, through: 9 },
    ])
    ledger.report({ first: 5, last: 6, reason: 'corrupt' })
    expect(ledger.unexplained).toEqual([
      { first: 4, last: 4, through: 9 },
      { first: 7, last: 8, through: 9 },
    ])
    ledger.report({ first: 7, last: 8, reason: 'dead-lettered' })
    ledger.report({ first: 4, last: 4, reason: 'unused' })
    expect(ledger.ackedGapFree(100)).toEqual([])
  })

  test('noticed again after a kill is noted once', () => {
    const ledger = new GapLedger()
    ledger.miss({ first: 5, last: 6 }, 9)
    expect(ledger.miss({ first: 5, last: 6 }, 9)).toEqual([])
  })

  test('a gap that comes after the alarm takes it back', () => {
    const ledger = new GapLedger()
    ledger.miss({ first: 5, last: 6 }, 9)
    ledger.ackedGapFree(10)
    ledger.report({ first: 5, last: 5, reason: 'dead-lettered' })
    expect(ledger.alarms).toEqual([{ first: 6, last: 6 }])
  })
})

test('replaying the notes restores the ledger', () => {
  const ledger = new GapLedger()
  const notes: Array<GapNote | null> = [
    ...ledger.miss({ first: 2, last: 4 }, 9),
    ...ledger.miss({ first: 7, last: 7 }, 9),
    ledger.report({ first: 3, last: 3, reason: 'expired' }),
    ledger.report({ first: 3, last: 3, reason: 'expired' }),
    ...ledger.ackedGapFree(10),
    ...ledger.miss({ first: 20, last: 21 }, 25),
  ]
  const again = new GapLedger()
  for (const note of notes) if (note !== null) again.replay(note)
  expect([again.gaps, again.unexplained, again.alarms]).toEqual([
    ledger.gaps,
    ledger.unexplained,
    ledger.alarms,
  ])
  expect(ledger.gaps).toHaveLength(1)
})

test('a gap that a later record lies in is found, a gap between records is not', () => {
  const ledger = new GapLedger()
  ledger.report({ first: 10, last: 12, reason: 'expired' })
  expect(ledger.overlap({ first: 8, last: 15 }, [{ first: 10, last: 12 }])).toBeNull()
  expect(ledger.overlap({ first: 8, last: 15 }, [{ first: 10, last: 11 }])).toMatchObject({
    first: 10,
    last: 12,
  })
  expect(ledger.overlap({ first: 13, last: 15 }, [])).toBeNull()
})

test('ranges are subtracted at both ends, in the middle, whole, and not at all', () => {
  const from = [{ first: 1, last: 10 }]
  expect(subtract(from, [{ first: 1, last: 3 }])).toEqual([{ first: 4, last: 10 }])
  expect(subtract(from, [{ first: 9, last: 20 }])).toEqual([{ first: 1, last: 8 }])
  expect(subtract(from, [{ first: 4, last: 5 }])).toEqual([
    { first: 1, last: 3 },
    { first: 6, last: 10 },
  ])
  expect(subtract(from, [{ first: 1, last: 10 }])).toEqual([])
  expect(subtract(from, [{ first: 11, last: 12 }])).toEqual(from)
})

describe('Sluice-Gap', () => {
  test('is a list of ranges with a reason, some of an earlier identity', () => {
    expect(readGaps('3-9;reason=expired, 11-11;reason=unused;spool=old1', 'new1')).toEqual([
      { first: 3, last: 9, reason: 'expired', spool: 'new1' },
      { first: 11, last: 11, reason: 'unused', spool: 'old1' },
    ])
    expect(readGaps('', 'new1')).toEqual([])
  })

  test.each([
    '3',
    '9-3;reason=expired',
    '3-9',
    '3-9;reason=bored',
    '0-9;reason=expired',
    '3-9;reason=expired;spool=A/B',
    ',',
  ])('is refused: %j', (header) => {
    expect(typeof readGaps(header, 'new1')).toBe('string')
  })

  test('has at most 2,048 bytes', () => {
    const part = '1000000-1000001;reason=expired,'
    expect(typeof readGaps(part.repeat(70).slice(0, -1), 'new1')).toBe('string')
    expect(readGaps(part.repeat(60).slice(0, -1), 'new1')).toHaveLength(60)
  })
})
