/** Fault 7, poison: the fast selection, on real gateway processes. `SLUICE_SEED` repeats a run. */
import { afterAll, describe, expect, test } from 'vitest'
import { Random } from '../../../device-sim/random.ts'
import { reapProcesses } from '../../support/process.ts'
import { SEED } from '../../support/seed.ts'
import { COMBINATIONS, type Combination, combine, MISHAPS, RECEIVERS } from './mishaps.ts'
import {
  boundedLetters,
  type Happened,
  needle,
  parkedByHand,
  refusesEverything,
  refusesShare,
  stumbles,
  stumblesAtAll,
} from './scenarios.ts'

const seed = String(SEED)
/**
 * One combination of each mishap, at a request that comes: halving eight takes four at the least.
 */
function selection(name: string): Combination[] {
  const random = new Random(seed, name)
  const most = name.endsWith('whole requests') ? 4 : 1
  const early = COMBINATIONS.filter(({ at }) => at <= most)
  return Object.keys(MISHAPS).map((mishap) => {
    const mine = early.filter((one) => one.mishap === mishap)
    return mine[random.below(mine.length)]!
  })
}

afterAll(reapProcesses)

/** Gateways at one time: more than the machine has processors only delay each other's start. */
const lanes: Promise<unknown>[] = [Promise.resolve(), Promise.resolve(), Promise.resolve()]

async function inTurn<T>(scenario: () => Promise<T>): Promise<T> {
  const before = lanes.shift()
  const mine = (async (): Promise<T> => {
    await before
    return await scenario()
  })()
  lanes.push(mine.catch(() => undefined))
  return await mine
}

// Side by side: they wait more than they work.
describe.concurrent(`poison (SLUICE_SEED=${SEED})`, () => {
  test.each([
    [
      'I9: one record among 1,000 for which requests are answered 422 is found, and the other 999 are stored once',
      () => needle(seed, 422),
    ],
    ['I9: the same with 400 and a SIGKILL on the way', () => needle(seed, 400, { kill: true })],
    [
      'I8: a sink that refuses everything is held after 100 parked, and through SIGKILLs nothing becomes a dead letter',
      () => refusesEverything(seed),
    ],
    [
      'I8: a sink that refuses three of five is held, and nothing more is given up',
      () => refusesShare(3),
    ],
    ['I9: a sink that refuses two of five is believed', () => refusesShare(2)],
    [
      'I6, I9: dead letters without room hold the stream, survive a SIGKILL, and make room by requeueing',
      () => boundedLetters('hold'),
    ],
    ...Object.keys(RECEIVERS).map((name): [string, () => Promise<Happened>] => [
      `I2, I4, I9: refusal, lost answers and SIGKILLs against a receiver that ${name}`,
      () => combine(name, selection(name)),
    ]),
    [
      'I8, I9: one record that is answered 500 is set aside alone',
      () => stumbles(seed, 'answered 500'),
    ],
    ['I8, I9: one record that a firewall answers 403', () => stumbles(seed, 'answered 403')],
    ['I5, I9: the first record of a lone stream, set aside by an operator', parkedByHand],
    ['I8: 403 to everything sets nothing aside', () => stumblesAtAll('answered 403')],
    [
      'I6, I9: with drop-oldest the oldest dead letters go, counted',
      () => boundedLetters('drop-oldest'),
    ],
  ])(
    '%s',
    async (_, scenario) => {
      const happened = await inTurn(scenario)
      for (const [what, count] of Object.entries(happened)) {
        if (what !== 'kills') expect(count, what).toBeGreaterThan(0)
      }
    },
    240_000,
  )
})
