/** Connects are told again a few at a time, from the first to the last, twice. */
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Retelling } from '../../../gateway/broker/takeover/retelling.ts'

const BATCH = 200
const SECOND_MS = 1_000
const ROUND_PAUSE_MS = 10_000

beforeEach(() => vi.useFakeTimers())
afterEach(() => vi.useRealTimers())

function start(count: number) {
  const connects = new Map(Array.from({ length: count }, (_, n) => [`${n}`, n]))
  const told: number[][] = []
  let isConnected = true
  const retelling = new Retelling(connects, (batch) => {
    if (isConnected) told.push([...batch])
    return isConnected
  })
  const cut = (): void => {
    isConnected = false
  }
  const reconnect = (): void => {
    isConnected = true
    retelling.begin()
  }
  return { connects, told, retelling, cut, reconnect }
}

test('ten thousand take five seconds, two hundred at once, and come once more', () => {
  const { told, retelling } = start(10_000)
  retelling.begin()
  expect(told).toHaveLength(1)
  vi.advanceTimersByTime(SECOND_MS)
  expect(told.length).toBeGreaterThan(8)
  expect(told.length).toBeLessThan(12)
  vi.advanceTimersByTime(4 * SECOND_MS)
  const all = Array.from({ length: 10_000 }, (_, n) => n)
  expect(told.flat()).toEqual(all)
  expect(Math.max(...told.map(({ length }) => length))).toBe(BATCH)
  vi.advanceTimersByTime(ROUND_PAUSE_MS + 6 * SECOND_MS)
  expect(told.flat()).toEqual([...all, ...all])
  expect(vi.getTimerCount()).toBe(0)
})

test('what comes and goes meanwhile is told, and is not', () => {
  const { connects, told, retelling } = start(2 * BATCH)
  retelling.begin()
  connects.delete('399')
  connects.set('new', -1)
  vi.advanceTimersByTime(SECOND_MS)
  expect(told.flat()).not.toContain(399)
  expect(told.flat()).toContain(-1)
})

test('without a connection it ends, and begins with the first one at the next', () => {
  const { told, retelling, cut, reconnect } = start(2 * BATCH)
  retelling.begin()
  cut()
  vi.advanceTimersByTime(SECOND_MS)
  expect(told).toHaveLength(1)
  expect(vi.getTimerCount()).toBe(0)
  reconnect()
  vi.advanceTimersByTime(SECOND_MS)
  expect(told).toHaveLength(3)
  expect(told[1]?.[0]).toBe(0)
  // A connection that came again at once.
  reconnect()
  expect(told[3]?.[0]).toBe(0)
  retelling.stop()
  expect(vi.getTimerCount()).toBe(0)
})

test('nobody is here: nothing is told', () => {
  const { told, retelling } = start(0)
  retelling.begin()
  vi.advanceTimersByTime(ROUND_PAUSE_MS + SECOND_MS)
  expect(told).toEqual([])
  expect(vi.getTimerCount()).toBe(0)
})
