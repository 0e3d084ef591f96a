import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatDuration, formatSize, parseDuration, parseSize } from '../../gateway/config/units.ts'

describe('sizes', () => {
  test.each([
    ['0', 0],
    [4096, 4096],
    ['4096', 4096],
    ['4096B', 4096],
    ['256KiB', 262_144],
    ['1.5 GiB', 1_610_612_736],
    ['1.1KiB', null],
    ['1GB', null],
    ['1gib', null],
    ['-1', null],
    [-1, null],
    [1.5, null],
    ['1e3', null],
    ['', null],
    [null, null],
    [true, null],
  ])('%j are %j bytes', (input, bytes) => {
    const parsed = parseSize(input)
    expect('value' in parsed ? parsed.value : null).toBe(bytes)
  })

  test('a mistaken unit gets the right one as its fix', () => {
    expect(parseSize('10MB')).toEqual({ fix: 'write 10MiB' })
    expect(parseSize('2g')).toEqual({ fix: 'write 2GiB' })
  })

  test('what is printed is read as the same number', () => {
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (bytes) => {
        expect(parseSize(formatSize(bytes))).toEqual({ value: bytes })
      }),
    )
  })
})

describe('durations', () => {
  test.each([
    ['50ms', 50],
    ['1.5h', 5_400_000],
    ['30 s', 30_000],
    ['7d', 604_800_000],
    ['0s', 0],
    ['30', null],
    [30, null],
    [0, null],
    ['0.1ms', null],
    ['5 minutes', null],
    ['1h30m', null],
    [null, null],
  ])('%j are %j ms', (input, ms) => {
    const parsed = parseDuration(input)
    expect('value' in parsed ? parsed.value : null).toBe(ms)
  })

  test('a bare number is told to bring its unit, a long unit its short form', () => {
    expect(parseDuration(30)).toEqual({ fix: 'add the unit, for example 30s or 30ms' })
    expect(parseDuration('5', { min: 60_000, max: 3_600_000 })).toEqual({
      fix: 'add the unit, for example 5m',
    })
    expect(parseDuration(0, { min: 60_000 })).toEqual({ fix: 'add the unit: ms, s, m, h or d' })
    expect(parseDuration('5 minutes')).toEqual({ fix: 'write 5m' })
    expect(parseDuration('2hrs')).toEqual({ fix: 'write 2h' })
  })

  test('what is printed is read as the same number', () => {
    fc.assert(
      fc.property(fc.nat({ max: Number.MAX_SAFE_INTEGER }), (ms) => {
        expect(parseDuration(formatDuration(ms))).toEqual({ value: ms })
      }),
    )
  })
})
