import { expect, test } from 'vitest'
import { seedFrom } from './seed.ts'

test('one seed by default, another by number, a new one on request', () => {
  expect(seedFrom(undefined)).toBe(seedFrom(''))
  expect(seedFrom('7')).toBe(7)
  expect(seedFrom('2147483647')).toBe(2147483647)
  const drawn = Array.from({ length: 20 }, () => seedFrom('random'))
  expect(new Set(drawn).size).toBeGreaterThan(1)
})

test.each(['-1', '1.5', 'seven', '2147483648', '1e3'])('refuses %s with what to give', (given) => {
  expect(() => seedFrom(given)).toThrow('give an integer from 0 to 2147483647, or random')
})
