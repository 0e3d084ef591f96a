import { describe, expect, test } from 'vitest'
import {
  outageCapacity,
  reservedBytes,
  roomWarnings,
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
    const [free] = outageCapacity(configOf({}), { freeBytes: 20 * gib, usedBytes: 0 })
    expect(free?.limitedByDisk).toBe(false)
    const [little] = outageCapacity(configOf({}), {
      freeBytes: 280 * 1024 ** 2,
      usedBytes: 20 * 1024 ** 2,
    })
    expect(little?.limitedByDisk).toBe(true)
    expect(little?.hours[0]).toBeCloseTo((44 * 1024 ** 2) / 600 / 3_600)
    expect(outageCapacity(configOf({}), { freeBytes: 0, usedBytes: 0 })[0]?.hours).toEqual([
      0, 0, 0,
    ])
  })

  test('a disk is too small by what is free and what the spool has of it already', () => {
    const mib = 1024 ** 2
    const config = configOf({})
    expect(roomWarnings(config, { freeBytes: 300 * mib, usedBytes: 1_200 * mib })).toEqual([])
    expect(roomWarnings(config, { freeBytes: 300 * mib, usedBytes: 1_000 * mib })).toEqual([
      'streams: the sum of maxBytes (1.1 GiB, dead letters included) and spool.minFreeBytes exceed the free disk (300 MiB, and 1000 MiB that the data folder holds); ingest would close before the limits are reached',
    ])
    expect(roomWarnings(config, { freeBytes: 900 * mib, usedBytes: 0 })).toEqual([
      'streams: the sum of maxBytes (1.1 GiB, dead letters included) exceeds the free disk (900 MiB); the disk would be full before the limits are reached. Lower maxBytes, or give the spool a larger disk',
    ])
    const full = { freeBytes: 200 * mib, usedBytes: 2_000 * mib }
    expect(roomWarnings(config, full)).toEqual([
      'spool.minFreeBytes: 200 MiB of disk are free, less than 256 MiB: no message would be accepted',
    ])
  })

  test('reserves room for every stream and for both kinds of its dead letters', () => {
    const config = configOf({
      SLUICE__STREAMS__B: '{ maxBytes: 1MiB, deadLetters: { maxBytes: 2MiB } }',
    })
    const mib = 1024 ** 2
    expect(reservedBytes(config)).toBe(1024 * mib + 128 * mib + mib + 4 * mib)
  })
})
