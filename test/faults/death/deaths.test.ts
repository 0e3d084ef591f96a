/**
 * The fast selection of process deaths: each point once, and each planted defect until the oracle
 * sees it. The long campaign is campaign.ts.
 */
import { afterAll, describe, expect, test } from 'vitest'
import { readText, sources } from '../../docs/source-tree.ts'
import { reapProcesses } from '../../support/process.ts'
import { SEED } from '../../support/seed.ts'
import type { SinkMood } from '../oracle/ledger-sink.ts'
import { MISSED, runDeaths } from './deaths.ts'
import { type DeathPoint, type Defect, INNER_POINTS, OUTER_POINTS } from './points.ts'

const TIMEOUT_MS = 240_000
const say = (): void => undefined

afterAll(reapProcesses)

describe.concurrent(`process death (SLUICE_SEED=${SEED})`, () => {
  // A lease takes 50,000 readings: the long campaign's.
  const points: readonly DeathPoint[] = [...INNER_POINTS, ...OUTER_POINTS].filter(
    (point) => !point.startsWith('lease'),
  )

  // Two gateways, which share the points: while one starts, the other's traffic runs.
  test.each([0, 1])(
    'I1 to I5: no acknowledged reading is lost, doubled or out of order, and the balance holds (%i)',
    async (half) => {
      const mine = points.filter((_, i) => i % 2 === half)
      const report = await runDeaths({ deaths: mine.length, seed: SEED + half, points: mine, say })
      expect(report.faults, JSON.stringify(report)).toEqual([])
      expect(report.deaths).toBe(mine.length)
      // Steps differ from start to start, and a stop may be over before its point.
      expect(report.points[MISSED] ?? 0, JSON.stringify(report.points)).toBeLessThanOrEqual(2)
      const reached = mine.filter((point) => report.points[point] !== undefined)
      expect(reached.length, JSON.stringify(report.points)).toBeGreaterThanOrEqual(mine.length - 4)
      expect(report.readings).toBeGreaterThan(100)
    },
    TIMEOUT_MS,
  )
})

/** Not each of them comes at a moment that brings a defect to light. */
const MOST_DEATHS = 10

interface Planted {
  readonly defect: Defect
  readonly seenAs: RegExp
  readonly points: readonly DeathPoint[]
  readonly mood: SinkMood
}

const PLANTED: readonly Planted[] = [
  {
    defect: 'ack-before-commit',
    seenAs: /I1: acknowledged, and not at the sink/,
    points: ['commit.before'],
    mood: 'ok',
  },
  {
    defect: 'qos2-ids-in-memory',
    seenAs: /I3: stored more than once/,
    points: ['commit.after'],
    mood: 'ok',
  },
  {
    defect: 'delete-before-answer',
    // By the readings that are missing, or by what the gateway says of them first.
    seenAs: /I1: acknowledged, and not at the sink|I5: delivered: the gateway counts/,
    // What deletes there without an answer is the defect.
    points: ['settle.after'],
    mood: 'refused',
  },
  { defect: 'counters-outside-batch', seenAs: /I5: /, points: ['settle.after'], mood: 'ok' },
  {
    defect: 'expiry-in-memory',
    seenAs: /its session is there after \d+ ms without it/,
    points: ['random.running'],
    mood: 'ok',
  },
]

describe.concurrent('the oracle sees a planted defect', () => {
  test.each(PLANTED)(
    '$defect',
    async ({ defect, seenAs, points, mood }) => {
      const report = await runDeaths({ deaths: MOST_DEATHS, seed: SEED, points, mood, defect, say })
      expect(report.deaths, 'a defect shows itself only behind a death').toBeGreaterThan(0)
      expect(report.faults.join('\n')).toMatch(seenAs)
    },
    TIMEOUT_MS,
  )
})

test('the product knows nothing of it: no file of it names what turns a death or a defect on', () => {
  const named = /SLUICE_TEST|test\/faults/
  const files = sources('gateway', 'device-sim')
  expect(files.length).toBeGreaterThan(100)
  expect(files.filter(({ text }) => named.test(text)).map(({ path }) => path)).toEqual([])
  const { start } = (JSON.parse(readText('package.json')) as { scripts: Record<string, string> })
    .scripts
  expect(start).not.toMatch(/--import|NODE_OPTIONS/)
})
