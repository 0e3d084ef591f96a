import { describe, expect, test } from 'vitest'
import { Random } from '../../device-sim/random.ts'

const take = (random: Random, count: number): number[] =>
  Array.from({ length: count }, () => random.next())

describe('random', () => {
  test('the same seed and label give the same numbers, another label gives others', () => {
    expect(take(new Random(7, 'a'), 50)).toEqual(take(new Random(7, 'a'), 50))
    expect(take(new Random(7, 'a'), 50)).not.toEqual(take(new Random(7, 'b'), 50))
    expect(take(new Random(7, 'a'), 50)).not.toEqual(take(new Random(8, 'a'), 50))
  })

  test('numbers are spread evenly, for neighbouring seeds too', () => {
    for (const seed of [0, 1, 2, 3]) {
      const buckets = Array.from({ length: 10 }, () => 0)
      for (const value of take(new Random(seed), 20_000)) {
        const bucket = Math.floor(value * 10)
        buckets[bucket] = (buckets[bucket] ?? 0) + 1
      }
      for (const count of buckets) expect(Math.abs(count - 2000)).toBeLessThan(200)
    }
  })

  test('normal numbers have mean 0 and deviation 1, exponential ones the mean asked for', () => {
    const random = new Random('moments')
    const normals = Array.from({ length: 20_000 }, () => random.normal())
    const mean = normals.reduce((sum, value) => sum + value, 0) / normals.length
    const deviation = Math.sqrt(
      normals.reduce((sum, value) => sum + (value - mean) ** 2, 0) / normals.length,
    )
    expect(Math.abs(mean)).toBeLessThan(0.03)
    expect(Math.abs(deviation - 1)).toBeLessThan(0.03)
    const waits = Array.from({ length: 20_000 }, () => random.exponential(1 / 500))
    expect(waits.reduce((sum, value) => sum + value, 0) / waits.length).toBeGreaterThan(480)
    expect(waits.reduce((sum, value) => sum + value, 0) / waits.length).toBeLessThan(520)
    expect(random.exponential(0)).toBe(Number.POSITIVE_INFINITY)
  })
})
