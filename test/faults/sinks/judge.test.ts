/** The judge of the campaign sees what it is there for. */
import { describe, expect, test } from 'vitest'
import { judge, repeatsIn } from './judge.ts'
import type { StoredReading } from './receiver.ts'

const EXACTLY = { delivery: 'exactly once', window: 0, disturbances: 9 } as const
const AT_LEAST = { delivery: 'at least once', window: 3, disturbances: 1 } as const

/** Of one device; its seqs are its numbers. */
function stored(...numbers: readonly number[]): StoredReading[] {
  return numbers.map((n) => ({ id: `edge-01:spool:telemetry:${n}`, device: 'press-1', n }))
}

function devices(...acked: readonly number[]) {
  return [{ clientId: 'press-1', acked }]
}

describe('exactly once', () => {
  test('all there, once, in order; more than was acknowledged may be there', () => {
    expect(judge(EXACTLY, stored(1, 2, 3, 4), devices(1, 2, 3))).toEqual([])
  })

  test.each([
    ['I1', stored(1, 2), devices(1, 2, 3)],
    ['I2', stored(2, 1, 3), devices(1, 2, 3)],
    ['I4: there more than once', stored(1, 2, 2, 3), devices(1, 2, 3)],
    ['I4: edge-01', [...stored(1, 2), { ...stored(2)[0]!, n: 3 }], devices(1, 2)],
  ])('%s', (words, readings, known) => {
    expect(judge(EXACTLY, readings, known).join('\n')).toContain(words)
  })
})

describe('at least once', () => {
  test('a window may come again, of each fault', () => {
    expect(judge(AT_LEAST, stored(1, 2, 3, 1, 2, 3, 4), devices(1, 2, 3, 4))).toEqual([])
  })

  test.each([
    ['more than a window', stored(1, 2, 3, 4, 1, 2, 3, 4)],
    ['2 repeats, and 1 faults', stored(1, 2, 1, 3, 4, 3)],
    ['2 repeats, and 1 faults', stored(1, 2, 1, 2, 1, 2)],
    ['I2', stored(1, 3, 2)],
  ])('%s', (words, readings) => {
    expect(judge(AT_LEAST, readings, devices(1, 2)).join('\n')).toContain(words)
  })
})

test('repeats of one queue and device are told apart by what is new between them', () => {
  expect(repeatsIn(stored(1, 2, 3, 2, 3, 4, 4, 5)).map(({ seqs }) => seqs)).toEqual([[2, 3], [4]])
})
