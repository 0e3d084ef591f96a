/** The histogram that broker, spool and sinks count their latencies in. */
import { expect, test } from 'vitest'
import { LatencyHistogram } from '../../gateway/shared/latency-histogram.ts'

test('a bound belongs to its own bucket, and what is above the last one is counted as the rest', () => {
  const histogram = new LatencyHistogram([0.01, 0.1])
  for (const seconds of [0, 0.01, 0.010001, 0.1, 0.11, 1e9]) histogram.observe(seconds)
  expect(histogram.counts).toEqual([2, 2, 2])
  expect(histogram.count).toBe(6)
})

test('one observation can stand for many of the same duration', () => {
  const histogram = new LatencyHistogram([1])
  histogram.observe(0.5, 7)
  histogram.observe(2)
  expect(histogram).toMatchObject({ counts: [7, 1], count: 8, sumSeconds: 5.5 })
})

test('two histograms with the same bounds count for themselves', () => {
  const bounds = [1]
  const [one, other] = [new LatencyHistogram(bounds), new LatencyHistogram(bounds)]
  one.observe(0.5)
  expect(other).toMatchObject({ counts: [0, 0], count: 0, sumSeconds: 0 })
})
