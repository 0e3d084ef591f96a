/** The readings that people see arrive: the last of each device, bounded, whatever devices send. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { arrivalLine, showArrivals } from '../../../device-sim/cli/arrivals.ts'
import { LatestReadings, SHOWN_CHARACTERS } from '../../../device-sim/cloud/latest.ts'

const AT_MS = new Date(2026, 10, 27, 14, 3, 22).getTime()

/** Stored lines as the cloud hands them over. */
function lines(...records: readonly object[]): Buffer {
  return Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join(''))
}

function reading(device: string, n: number): object {
  return { id: `g:s:t:${n}`, seq: n, device, topic: `plant/${device}/temp`, payload: { n } }
}

function take(latest: LatestReadings, ...records: readonly object[]): void {
  latest.take('telemetry', lines(...records), records.length, AT_MS)
}

test('the last reading of each device, newest first, and only what came after a number', () => {
  const latest = new LatestReadings()
  take(latest, reading('a', 1), reading('b', 2), reading('a', 3))
  const shown = (after?: number) =>
    latest.perDevice(10, after).map(({ device, payload }) => `${device} ${payload}`)
  expect(shown()).toEqual(['a {"n":3}', 'b {"n":2}'])
  expect(shown(2)).toEqual(['a {"n":3}'])
  expect(shown(3)).toEqual([])
  expect(latest.perDevice(1)).toHaveLength(1)
  take(latest, reading('c', 4))
  expect(shown(3)).toEqual(['c {"n":4}'])
  expect(latest.total).toBe(4)
})

test('of large batches only the end is kept, and of all only so much', () => {
  const latest = new LatestReadings()
  for (let batch = 0; batch < 50; batch++)
    take(
      latest,
      ...Array.from({ length: 1_000 }, (_, n) => reading(`d${n}`, batch * 1_000 + n + 1)),
    )
  expect(latest.total).toBe(50_000)
  const all = latest.perDevice(100_000)
  expect(all[0]).toMatchObject({ device: 'd999', number: 50_000, payload: '{"n":50000}' })
  expect(all).toHaveLength(50)
})

test('payloads that are base64, no object, too long, or in a line that is too long to be read', () => {
  const latest = new LatestReadings()
  const shown = (record: object): string => {
    take(latest, { device: 'd', topic: 't', ...record })
    return latest.perDevice(1)[0]?.payload ?? ''
  }
  expect(shown({ payloadBase64: 'AAE=' })).toBe('base64 AAE=')
  expect(shown({ payloadBase64: '/w==' })).toBe('base64 /w==')
  expect(shown({ payloadBase64: Buffer.from('21,5 °C').toString('base64') })).toBe('21,5 °C')
  expect(shown({ payloadBase64: '' })).toBe('(empty)')
  expect(shown({ payload: 21.5 })).toBe('21.5')
  expect(shown({ payload: null })).toBe('null')
  expect(shown({ payload: 'x'.repeat(500) })).toHaveLength(SHOWN_CHARACTERS + 1)
  expect(shown({ payload: 'x'.repeat(50_000) })).toMatch(/^\{"device":"d"/)
})

test('what devices chose cannot steer the terminal, and fits into it', () => {
  const one = {
    number: 1,
    storedAtMs: AT_MS,
    stream: 's',
    device: 'd\u001B[31m',
    topic: 't\u202E',
    payload: 'x'.repeat(99),
  }
  const line = arrivalLine(one, 60)
  expect(line).toMatch(/^14:03:22 {2}d\uFFFD\[31m {2}t\uFFFD {2}x+…$/)
  expect(line).toHaveLength(60)
})

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

test('the first reading shows at once, a flood as five lines a second and a number', () => {
  const latest = new LatestReadings()
  const shown: string[] = []
  const arrivals = showArrivals(
    latest,
    (line) => shown.push(line),
    () => 80,
  )
  take(latest, reading('first', 1))
  arrivals.notice()
  expect(shown).toHaveLength(1)
  expect(shown[0]).toContain('first  plant/first/temp  {"n":1}')
  for (let n = 0; n < 1_000; n++) {
    take(latest, reading(`d${n}`, n + 2))
    arrivals.notice()
  }
  expect(shown).toHaveLength(1)
  vi.advanceTimersByTime(1_000)
  expect(shown).toHaveLength(7)
  expect(shown[5]).toContain('d999')
  expect(shown[6]).toMatch(/and 995 more$/)
  // The pause counts from the last lines, not from the first notice.
  take(latest, reading('soon', 5_000))
  arrivals.notice()
  expect(shown).toHaveLength(7)
  vi.advanceTimersByTime(1_000)
  expect(shown).toHaveLength(8)
  vi.advanceTimersByTime(10_000)
  expect(shown).toHaveLength(8)
  take(latest, reading('last', 9_999))
  arrivals.stop()
  expect(shown.at(-1)).toContain('last')
})
