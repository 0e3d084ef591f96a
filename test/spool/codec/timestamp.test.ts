import fc from 'fast-check'
import { expect, test } from 'vitest'
import { timestampMs } from '../../../gateway/spool/codec/timestamp.ts'

test('a text gives the time that it was made of, whatever came before it', () => {
  const somewhere = fc.integer({ min: 0, max: 253_402_300_799_999 })
  const near = fc.integer({ min: 1_795_403_100_000, max: 1_795_403_400_000 })
  fc.assert(
    fc.property(fc.array(fc.oneof(somewhere, near), { minLength: 1 }), (all) => {
      for (const ms of all) expect(timestampMs(new Date(ms).toISOString())).toBe(ms)
    }),
  )
})

test('another form is read as Date.parse reads it', () => {
  expect(timestampMs('2026-11-23T03:05:00.123Z')).toBe(1_795_403_100_123)
  expect(timestampMs('2026-11-23T03:05:00Z')).toBe(1_795_403_100_000)
  expect(timestampMs('2026-11-23T03:05:00.1234Z')).toBe(1_795_403_100_123)
  expect(timestampMs('soon')).toBeNaN()
})
