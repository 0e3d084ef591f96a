/**
 * Refusal, lost answer and kill in every combination, through each of the contract's model
 * receivers: at so many requests behind the publishing of eight readings, of which one is bad, one
 * thing goes wrong. And seeded days of all of it at once.
 */
import assert from 'node:assert/strict'
import { Random } from '../../../device-sim/random.ts'
import {
  ByIdReceiver,
  OneNumberReceiver,
  type Receiver,
  type ReceiverRules,
} from '../../support/model-receivers.ts'
import type { Deed } from '../sink/faulty-sink.ts'
import { isJudged, PoisonBench, type PoisonRecord, pause } from './poison-bench.ts'
import { expectRequeued, type Happened, requeueAll } from './scenarios.ts'

export const RECEIVERS: Readonly<Record<string, (rules: ReceiverRules) => Receiver>> = {
  'keeps one number per queue': (rules) => new OneNumberReceiver(rules),
  'dedupes by id, names what it refuses': (rules) => new ByIdReceiver(rules, 'list'),
  'dedupes by id, refuses whole requests': (rules) => new ByIdReceiver(rules, 'whole'),
}

export type ReceiverName = keyof typeof RECEIVERS

interface Mishap {
  readonly deed: Deed
  /** SIGKILL so long after the request came, ms; null: none. */
  readonly killAfterMs: number | null
}

/** An answer that is withheld is lost with the process that waits for it. */
export const MISHAPS: Readonly<Record<string, Mishap>> = {
  'answer lost, nothing stored': { deed: { step: { drop: 'before' } }, killAfterMs: null },
  'answer lost behind storing': {
    deed: { stores: true, step: { drop: 'after' } },
    killAfterMs: null,
  },
  'killed before storing': { deed: { step: { halfOpen: true } }, killAfterMs: 0 },
  'killed behind storing': { deed: { stores: true, step: { halfOpen: true } }, killAfterMs: 0 },
  'killed behind the answer': { deed: { step: null }, killAfterMs: 2 },
}

export interface Combination {
  readonly mishap: string
  /** Which of the eight is bad, from 0. */
  readonly place: number
  /** Which request it befalls, from 1. */
  readonly at: number
}

const BATCH = 8
/** The first, one within, and the last: that one stays parked until the next readings come. */
const PLACES = [0, 3, 7]
const MAX_REQUESTS = 7

export const COMBINATIONS: readonly Combination[] = Object.keys(MISHAPS).flatMap((mishap) =>
  PLACES.flatMap((place) =>
    Array.from({ length: MAX_REQUESTS }, (_, index) => ({ mishap, place, at: index + 1 })),
  ),
)

/**
 * One combination after the other on one gateway; the books are checked at each step, and closed at
 * the end.
 */
export async function combine(
  name: ReceiverName,
  combinations: readonly Combination[],
): Promise<Happened> {
  const newReceiver = RECEIVERS[name]
  assert(newReceiver)
  return await PoisonBench.run(
    async (bench) => {
      const happened: Happened = { refused: 0 }
      for (const one of combinations) await befall(bench, one, happened)
      bench.sink.plan = null
      await bench.publish(BATCH)
      const letters = await bench.closeBooks()
      assert.equal(letters.length, combinations.length, 'I9: one of each eight')
      assert(letters.every(({ payload }) => payload.bad))
      happened['refused'] = letters.length
      return happened
    },
    { newReceiver, sink: { maxBatchRecords: BATCH, linger: '1s' } },
  )
}

async function befall(bench: PoisonBench, one: Combination, happened: Happened): Promise<void> {
  const mishap = MISHAPS[one.mishap]
  assert(mishap)
  let requests = 0
  let killAtMs: number | null = null
  bench.sink.plan = () => {
    requests += 1
    if (requests !== one.at) return { step: null }
    happened[one.mishap] = (happened[one.mishap] ?? 0) + 1
    if (mishap.killAfterMs !== null) killAtMs = performance.now() + mishap.killAfterMs
    return mishap.deed
  }
  await bench.publish(BATCH, (index) => (index === one.place ? { bad: true } : {}))
  for (;;) {
    if (killAtMs !== null) {
      await pause(Math.max(0, killAtMs - performance.now()))
      killAtMs = null
      await bench.killAndRestart()
    }
    if (isJudged(await bench.books()) && killAtMs === null) return
    await pause(2)
  }
}

/** Above it a request is answered 413. A reading alone may be, too. */
const TOO_LARGE_BYTES = 4_000
const BURSTS = 6

/**
 * Bursts of readings, some bad and some too large; answers lost, requests too large, kills at any
 * moment.
 */
export async function day(seed: string, name: ReceiverName): Promise<Happened> {
  const random = new Random(seed, 'poison day')
  const newReceiver = RECEIVERS[name]
  assert(newReceiver)
  const happened: Happened = {}
  const count = (what: string): void => void (happened[what] = (happened[what] ?? 0) + 1)
  return await PoisonBench.run(
    async (bench) => {
      let calm = false
      let wentWrong = false
      bench.sink.plan = ({ body, lines }) => {
        // Before anything is stored: it must not keep what it refuses.
        if (!calm && (body?.length ?? 0) > TOO_LARGE_BYTES) {
          count(lines.length === 1 ? '413 for one record' : '413')
          return { step: { status: 413 } }
        }
        // Never twice in a row, or the backoff grows to a minute.
        if (!calm && !wentWrong && random.chance(0.15)) {
          wentWrong = true
          const stores = random.chance(0.5)
          count(stores ? 'answer lost behind storing' : 'answer lost, nothing stored')
          return { stores, step: { drop: stores ? 'after' : 'before' } }
        }
        wentWrong = false
        if (lines.some((line) => line.includes('"bad":true') && !line.includes('requeuedFrom'))) {
          count('requests with bad records')
        }
        return { step: null }
      }
      for (let burst = 0; burst < BURSTS; burst += 1) {
        await bench.publish(10 + random.below(50), () => ({
          ...(random.chance(0.08) ? { bad: true } : {}),
          ...(random.chance(0.03) ? { text: 'x'.repeat(TOO_LARGE_BYTES) } : {}),
        }))
        if (random.chance(0.3)) await bench.untilJudged()
        if (!random.chance(0.6)) continue
        await pause(random.below(300))
        await bench.killAndRestart()
        count('kills')
      }
      await bench.untilJudged()
      calm = true
      await bench.publish(1)
      const letters = await bench.closeBooks()
      const refused = bench.published.filter(({ bad, text }) => bad === true || text !== undefined)
      assert.deepEqual(
        lettersOf(letters),
        refused.map(({ n }) => n),
        'I9: what is refused, and nothing else',
      )
      if (random.chance(0.5)) await bench.killAndRestart()
      const requeued = await requeueAll(bench)
      await bench.until('they are delivered', ({ counters }) => counters.pending === 0)
      expectRequeued(bench, requeued)
      assert.deepEqual(await bench.closeBooks(), [])
      happened['dead letters requeued'] = requeued.length
      return happened
    },
    { newReceiver, seed, sink: { maxBatchRecords: 40, maxRefusedShare: 1 } },
  )
}

const lettersOf = (letters: readonly PoisonRecord[]): number[] =>
  letters.map(({ payload }) => payload.n).toSorted((a, b) => a - b)
