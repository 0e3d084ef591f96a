/** The last minutes as the page saw them: rates, holes, and a gateway that counts from zero. */
import { expect, test } from 'vitest'
import type { ConsoleSnapshot } from '../../../gateway/admin/console/live/answers.ts'
import { ConsoleHistory, seriesOf } from '../../../gateway/admin/console/live/history.ts'
import { buildStatus } from '../../../gateway/observe/status.ts'
import { fakeSources, NOW_MS, stream } from '../../observe/fake-sources.ts'

function snapshot(second: number, received: number): ConsoleSnapshot {
  const one = stream()
  const streams = [{ ...one, counters: { ...one.counters, received } }]
  const atMs = NOW_MS + second * 1_000
  return { atMs, status: buildStatus(fakeSources({ streams }).sources, atMs), devices: null }
}

test('rates are over the last ten seconds, and not known from one sample', () => {
  const history = new ConsoleHistory()
  history.add(snapshot(0, 0))
  expect(history.rates()).toBeNull()
  for (let second = 1; second <= 30; second += 1)
    history.add(snapshot(second, second <= 20 ? 0 : (second - 20) * 50))
  expect(history.rates()).toEqual({ received: 50, delivered: 0 })
})

test('holds fifteen minutes and no more', () => {
  const history = new ConsoleHistory()
  for (let second = 0; second < 1_000; second += 1) history.add(snapshot(second, second))
  expect(history.samples).toHaveLength(900)
  expect(history.samples[0]?.received).toBe(100)
})

test('the same snapshot twice is one, and a gateway that counts anew begins anew', () => {
  const history = new ConsoleHistory()
  for (const [second, received] of [
    [0, 500],
    [1, 510],
    [1, 510],
    [2, 3],
  ] as const)
    history.add(snapshot(second, received))
  expect(history.samples.map(({ received }) => received)).toEqual([3])
})

test('the first samples, which come closer, give way to a line of later ones', () => {
  const history = new ConsoleHistory()
  const times = (): number[] => history.samples.map(({ atMs }) => (atMs - NOW_MS) / 1_000)
  for (const second of [0, 0.2, 0.4, 1.4]) history.add(snapshot(second, 1))
  expect(times()).toEqual([0, 0.2, 0.4, 1.4])
  history.add(snapshot(2.4, 1))
  expect(times()).toEqual([0, 1.4, 2.4])
})

test('where nothing was seen the line has a hole', () => {
  const history = new ConsoleHistory()
  for (const second of [0, 1, 20]) history.add(snapshot(second, second))
  const [times, values] = seriesOf(history.samples, ({ received }) => received)
  expect(values).toEqual([0, 1, null, 20])
  expect(times.map((time) => time - NOW_MS / 1_000)).toEqual([0, 1, 2, 20])
})
