/** The forecast of a full disk or stream against simulated boxes whose end is known. */
import { expect, test } from 'vitest'
import {
  FillHistory,
  hoursUntil,
  SAMPLE_INTERVAL_MS,
  WINDOW_MS,
} from '../../gateway/observe/forecast.ts'
import { buildStatus, fillLevels } from '../../gateway/observe/status.ts'
import { fakeSources, NOW_MS, spool, stream } from './fake-sources.ts'

const HOUR_MS = 3_600_000
const GIB = 1024 ** 3

/** Mulberry32. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296
  }
}

interface Box {
  /** Bytes an hour, as of a moment. */
  readonly rate: (atMs: number) => number
  /** Bytes by which merged files make the level swing. */
  readonly swing?: number
  readonly seed: number
}

/** What each sample says, and how long there really is room from then on. */
function simulate({ rate, swing = 0, seed }: Box, fullBytes: number, untilMs: number) {
  const chance = random(seed)
  const history = new FillHistory()
  const said: { atMs: number; hours: number | null; levelBytes: number }[] = []
  let bytes = 0
  for (let atMs = 0; atMs <= untilMs; atMs += SAMPLE_INTERVAL_MS) {
    // Devices come in bursts: up to 30 % more or less in ten seconds.
    bytes += (rate(atMs) * SAMPLE_INTERVAL_MS * (0.7 + 0.6 * chance())) / HOUR_MS
    history.note(atMs, new Map([['box', bytes + swing * chance()]]))
    said.push({ atMs, hours: history.hoursUntil('box', fullBytes), levelBytes: bytes })
  }
  return said
}

test.each([1, 2, 3, 4, 5].map((seed) => ({ seed })))(
  'a steady fill: within 10 % of the truth from the first window on (seed $seed)',
  ({ seed }) => {
    const perHour = 200 * 1024 ** 2
    const said = simulate({ rate: () => perHour, seed }, 8 * GIB, 2 * HOUR_MS)
    const known = said.filter(({ atMs }) => atMs >= WINDOW_MS)
    expect(known.length).toBeGreaterThan(600)
    for (const { hours, levelBytes } of known) {
      const truth = (8 * GIB - levelBytes) / perHour
      expect(Math.abs((hours ?? Number.NaN) / truth - 1)).toBeLessThan(0.1)
    }
  },
)

test('a link that goes down: the new pace is known one window later, something after three minutes', () => {
  const downAtMs = HOUR_MS
  const perHour = 400 * 1024 ** 2
  const rate = (atMs: number): number => (atMs < downAtMs ? 0 : perHour)
  const said = simulate({ rate, swing: 64 * 1024, seed: 7 }, 4 * GIB, 2 * HOUR_MS)
  expect(said.filter(({ atMs, hours }) => atMs < downAtMs && hours !== null)).toEqual([])
  expect(said.find(({ hours }) => hours !== null)?.atMs).toBeLessThan(downAtMs + 180_000)
  for (const { atMs, hours, levelBytes } of said) {
    if (atMs < downAtMs + WINDOW_MS + SAMPLE_INTERVAL_MS) continue
    const truth = (4 * GIB - levelBytes) / perHour
    expect(Math.abs((hours ?? Number.NaN) / truth - 1)).toBeLessThan(0.1)
  }
})

test('what swings without growing, and what drains, is not filling', () => {
  const swings = simulate({ rate: () => 0, swing: 64 * 1024 ** 2, seed: 3 }, GIB, 4 * HOUR_MS)
  const wrong = swings.filter(({ hours }) => hours !== null)
  expect(wrong.length / swings.length).toBeLessThan(0.02)
  const drains = simulate({ rate: () => -(1024 ** 2), seed: 3 }, GIB, HOUR_MS)
  expect(drains.every(({ hours }) => hours === null)).toBe(true)
})

test('a full one has no time left, an unknown one no forecast, a slow one none for ever', () => {
  const line = (perSample: number, from: number) =>
    Array.from({ length: 20 }, (_, i) => ({
      atMs: i * SAMPLE_INTERVAL_MS,
      bytes: from + i * perSample,
    }))
  expect(hoursUntil(line(0, GIB), GIB)).toBe(0)
  expect(hoursUntil([], GIB)).toBeNull()
  expect(hoursUntil(line(1_000, 0).slice(0, 5), GIB)).toBeNull()
  expect(hoursUntil(line(0.001, 0), GIB)).toBeNull()
  expect(hoursUntil(line(1_000_000, 0), GIB)).toBeCloseTo((GIB - 19e6) / 1e6 / 360, 5)
})

test('status says it of each stream and of the disk, whose free bytes fall', () => {
  const { sources, state } = fakeSources()
  const history = new FillHistory()
  for (let i = 0; i < 20; i++) {
    state.streams = [stream({ storedBytes: i * 10_000_000, maxBytes: GIB }), stream({ name: 'b' })]
    state.spool = spool({ freeBytes: 2 * GIB - i * 20_000_000, minFreeBytes: GIB })
    history.note(i * SAMPLE_INTERVAL_MS, fillLevels(sources))
  }
  const status = buildStatus(sources, NOW_MS, null, history)
  expect(status.streams.map(({ hoursUntilFull }) => hoursUntilFull)).toEqual([
    expect.closeTo((GIB - 19e7) / 1e7 / 360, 5),
    null,
  ])
  expect(status.spool.hoursUntilFull).toBeCloseTo((GIB - 38e7) / 2e7 / 360, 5)
  expect(buildStatus(sources, NOW_MS).spool.hoursUntilFull).toBeNull()
})
