import { describe, expect, it } from 'vitest'
import { LearnedLimit } from '../../../gateway/drain/policy/learned-limit.ts'

describe('LearnedLimit', () => {
  it('halves what was too large, and grows back slowly, then faster, to the configured limit', () => {
    const limit = new LearnedLimit(1_000_000, null)
    limit.shrink(800_000, 0)
    expect(limit.maxBytes).toBe(400_000)
    limit.accepted(400_000, 29_999)
    expect(limit.maxBytes).toBe(400_000)
    const sizes: number[] = []
    for (let nowMs = 30_000; limit.learnedBytes !== null; nowMs += 30_000) {
      limit.accepted(limit.maxBytes, nowMs)
      sizes.push(limit.maxBytes)
      expect(nowMs).toBeLessThan(600_000)
    }
    expect(sizes[0]).toBe(406_250)
    expect(sizes).toEqual(sizes.toSorted((a, b) => a - b))
    expect(limit.maxBytes).toBe(1_000_000)
  })

  it('learns nothing from small batches, and never exceeds the configuration', () => {
    const limit = new LearnedLimit(10_000, 5_000)
    limit.accepted(100, 1e9)
    expect(limit.maxBytes).toBe(5_000)
    expect(new LearnedLimit(10_000, 20_000).maxBytes).toBe(10_000)
    limit.shrink(1_000_000, 0)
    expect(limit.maxBytes).toBe(5_000)
  })
})
