import { expect, test } from 'vitest'
import { parseHttpDate, parseRetryAfter } from '../../../../gateway/sink/http/client/http-date.ts'

const NOV_1994 = Date.UTC(1994, 10, 6, 8, 49, 37)

test.each([
  ['IMF-fixdate', 'Sun, 06 Nov 1994 08:49:37 GMT'],
  ['RFC 850', 'Sunday, 06-Nov-94 08:49:37 GMT'],
  ['asctime', 'Sun Nov  6 08:49:37 1994'],
  ['no weekday', '06 Nov 1994 08:49:37 GMT'],
  ['one-digit day', 'Sun, 6 Nov 1994 8:49:37 GMT'],
  ['a wrong weekday', 'Fri, 06 Nov 1994 08:49:37 GMT'],
  ['UTC for GMT', 'Sun, 06 Nov 1994 08:49:37 UTC'],
  ['an offset', 'Sun, 06 Nov 1994 09:49:37 +0100'],
  ['a western offset', 'Sun, 06 Nov 1994 03:19:37 -05:30'],
  ['no zone', 'Sun, 06 Nov 1994 08:49:37'],
  ['lower case and spaces', '  sun, 06 nov 1994 08:49:37 gmt '],
  ['ISO 8601', '1994-11-06T08:49:37Z'],
  ['ISO 8601 with a fraction', '1994-11-06T08:49:37.250Z'],
])('a date is read: %s', (_, text) => {
  expect(parseHttpDate(text)).toBe(NOV_1994)
})

test('dates do not depend on the time zone of the box', () => {
  const before = process.env['TZ']
  try {
    process.env['TZ'] = 'Asia/Kolkata'
    expect(parseHttpDate('Sun Nov  6 08:49:37 1994')).toBe(NOV_1994)
    expect(parseHttpDate('1994-11-06T08:49:37')).toBe(NOV_1994)
  } finally {
    if (before === undefined) delete process.env['TZ']
    else process.env['TZ'] = before
  }
})

test.each([
  '',
  'soon',
  'Sun, 32 Nov 1994 08:49:37 GMT',
  'Sun, 06 Nox 1994 08:49:37 GMT',
  '06 Nov 1994 25:00:00 GMT',
  '120',
])('what is no date is none: %j', (text) => {
  expect(parseHttpDate(text)).toBeNull()
})

const HOUR = 3_600_000

test.each([
  ['seconds', '120', null, 120_000],
  ['zero', '0', null, 0],
  ['a fraction, rounded up to whole ms', '1.5', null, 1500],
  ['spaces around', ' 7 ', null, 7000],
  ['seconds are cut at the limit', '86400', null, HOUR],
  ['more digits than a number holds', '9'.repeat(400), null, HOUR],
  ['negative', '-5', NOV_1994, null],
  ['words', 'later', NOV_1994, null],
  ['a date counts from the Date of the answer', 'Sun, 06 Nov 1994 08:50:07 GMT', NOV_1994, 30_000],
  ['a date without a Date is ignored', 'Sun, 06 Nov 1994 08:50:07 GMT', null, null],
  ['a date in the past', 'Sun, 06 Nov 1994 08:00:00 GMT', NOV_1994, 0],
  ['a date far away is cut, too', 'Sun, 06 Nov 2094 08:00:00 GMT', NOV_1994, HOUR],
])('Retry-After: %s', (_, value, dateMs, wait) => {
  expect(parseRetryAfter(value, dateMs, HOUR)).toBe(wait)
})
