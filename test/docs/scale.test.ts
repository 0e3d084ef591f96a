/** The simulation behind the table of gateways/packaging/cluster: what it must hold to be believed. */
import { describe, expect, test } from 'vitest'
import { clusterCost } from '../bench/cost-model.ts'
import { simulateScale } from '../bench/scale-simulation.ts'
import { SEED } from '../support/seed.ts'

describe.each([10_000, 100_000, 1_000_000])('%d devices', (devices) => {
  const figures = simulateScale(devices, SEED)
  const { gateways, connectsPerSecond } = clusterCost(devices)

  test('the same seed gives the same figures, another one others', () => {
    expect(simulateScale(devices, SEED)).toEqual(figures)
    expect(simulateScale(devices, SEED + 1)).not.toEqual(figures)
  })

  test('no gateway has less than its share of devices at the busiest, and none has much more', () => {
    for (const skew of [figures.skew, figures.skewWithoutOne]) {
      expect(skew).toBeGreaterThan(1)
      expect(skew).toBeLessThan(1.1)
    }
  })

  test('nobody is back sooner than the pace of CONNECTs allows, and retries cost no pace', () => {
    const busiest = (devices / gateways) * figures.skew
    const atLeastMs = (busiest / connectsPerSecond) * 1000
    expect(figures.allBackMs).toBeGreaterThanOrEqual(atLeastMs - 1_000)
    expect(figures.allBackMs).toBeLessThan(1.1 * atLeastMs + 1_000)
    expect(figures.halfBackMs).toBeLessThan(figures.allBackMs)
  })

  test('a device tries again only where the queue is longer than authTimeout', () => {
    const waits = figures.allBackMs > 11_000
    expect(figures.triesMost > 1).toBe(waits)
    expect(figures.triesMean).toBeGreaterThanOrEqual(1)
    expect(figures.triesMean).toBeLessThanOrEqual(figures.triesMost)
  })
})
