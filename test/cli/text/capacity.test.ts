import { describe, expect, test } from 'vitest'
import {
  outageCapacity,
  reservedBytes,
  storedBytesPerMessage,
} from '../../../gateway/cli/text/capacity.ts'
import { loadConfig } from '../../../gateway/config/load.ts'
import { SCHEMA } from '../../../gateway/configuration.ts'

function configOf(env: Record<string, string>) {
  return loadConfig(SCHEMA, { file: null, cwd: '/', env }).config
}

describe('how long an outage the limits hold', () => {
  test('is maxBytes over what a message takes: whole lines alone, half of them in blocks of five', () => {
    expect(storedBytesPerMessage(1, 50)).toBe(600)
    expect(storedBytesPerMessage(10, 50)).toBe(600)
    expect(storedBytesPerMessage(100, 50)).toBe(270)
    const [capacity] = outageCapacity(configOf({}))
    const gib = 1024 ** 3
    expect(capacity?.hours.map(Math.floor)).toEqual(
      [600, 6_000, 27_000].map((bytes) => Math.floor(gib / bytes / 3_600)),
    )
    expect(capacity?.limitedByAge).toBe(false)
  })

  test('never promises more than the measured compression at any rate', () => {
    for (const rate of [1, 10, 100, 1_000, 10_000])
      expect(storedBytesPerMessage(rate, 50)).toBeGreaterThanOrEqual(500 * 0.48)
  })

  test('ends with maxAge where that is shorter', () => {
    const [capacity] = outageCapacity(configOf({ SLUICE__STREAMS__TELEMETRY__MAX_AGE: '24h' }))
    expect(capacity?.hours[0]).toBe(24)
    expect(capacity?.hours[2]).toBeLessThan(24)
    expect(capacity?.limitedByAge).toBe(true)
  })

  test('ends with the disk where that is less than maxBytes', () => {
    const gib = 1024 ** 3
    const [free] = outageCapacity(configOf({}), 20 * gib)
    expect(free?.limitedByDisk).toBe(false)
    const [little] = outageCapacity(configOf({}), 300 * 1024 ** 2)
    expect(little?.limitedByDisk).toBe(true)
    expect(little?.hours[0]).toBeCloseTo((44 * 1024 ** 2) / 600 / 3_600)
    expect(outageCapacity(configOf({}), 0)[0]?.hours).toEqual([0, 0, 0])
  })

  test('reserves room for every stream and for both kinds of its dead letters', () => {
    const config = configOf({
      SLUICE__STREAMS__B: '{ maxBytes: 1MiB, deadLetters: { maxBytes: 2MiB } }',
    })
    const mib = 1024 ** 2
    expect(reservedBytes(config)).toBe(1024 * mib + 128 * mib + mib + 4 * mib)
  })
})
