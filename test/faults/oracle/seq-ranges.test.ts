import fc from 'fast-check'
import { expect, test } from 'vitest'
import { SeqRanges } from './seq-ranges.ts'

test('a set of ranges holds what was added, however the ranges lie to each other', () => {
  const range = fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 0, max: 12 }))
  fc.assert(
    fc.property(fc.array(range, { maxLength: 30 }), (added) => {
      const ranges = new SeqRanges()
      const plain = new Set<number>()
      for (const [first, more] of added) {
        ranges.add(first, first + more)
        for (let n = first; n <= first + more; n++) plain.add(n)
      }
      expect(ranges.size).toBe(plain.size)
      for (let n = 0; n <= 75; n++) {
        expect(ranges.has(n), String(n)).toBe(plain.has(n))
        const inside = [n, n + 1, n + 2].find((m) => plain.has(m))
        expect(ranges.overlap(n, n + 2), String(n)).toBe(inside ?? null)
      }
    }),
  )
})

test('an empty range adds nothing', () => {
  const ranges = new SeqRanges()
  ranges.add(5, 4)
  expect([ranges.size, ranges.has(5), ranges.has(4)]).toEqual([0, false, false])
})
