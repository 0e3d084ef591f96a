import { describe, expect, test } from 'vitest'
import {
  bytes,
  counted,
  hours,
  plain,
  plainLine,
  span,
  table,
} from '../../../gateway/shared/text/words.ts'

describe('words for people', () => {
  test('one is one', () => {
    expect([0, 1, 2_000].map((value) => counted(value, 'dead letter'))).toEqual([
      '0 dead letters',
      '1 dead letter',
      '2,000 dead letters',
    ])
  })

  test.each([
    [0, '0 B'],
    [1023, '1023 B'],
    [1536, '1.5 KiB'],
    [200 * 1024 ** 2, '200 MiB'],
    [1.25 * 1024 ** 3, '1.3 GiB'],
  ])('%d bytes are %s', (value, text) => expect(bytes(value)).toBe(text))

  test.each([
    [0, '0 s'],
    [59.9, '59 s'],
    [60, '1 min'],
    [3_725, '1 h 2 min'],
    [93_784, '1 d 2 h'],
    [86_401, '1 d'],
  ])('%d seconds are %s', (value, text) => expect(span(value)).toBe(text))

  test('hours are rounded down: no estimate promises more than it says', () => {
    expect(hours(9.99)).toBe('9.9 h')
    expect(hours(47.9)).toBe('47 h')
    expect(hours(336)).toBe('14 d')
    expect(hours(1_234.9)).toBe('51 d')
  })

  test('words from elsewhere cannot drive a terminal or turn the reading direction', () => {
    expect(plain('a\u001B[2Jb\u009Bc\u202Ed\ne')).toBe('a\uFFFD[2Jb\uFFFDc\uFFFDd\ne')
    expect(plainLine('a\nb\rc')).toBe('a b\uFFFDc')
  })

  test('a table lines up, numbers to the right', () => {
    expect(
      table([
        ['NAME', 'N'],
        ['a', '1,000'],
        ['bcdef', '2'],
      ]),
    ).toBe('NAME       N\na      1,000\nbcdef      2')
  })
})
