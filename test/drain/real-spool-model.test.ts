/**
 * The contract's model on the real spool: real blocks, commits, kills and rejected writes, against
 * both kinds of receivers.
 */
import { describe, expect, it } from 'vitest'
import {
  ByIdReceiver,
  OneNumberReceiver,
  type Receiver,
  type ReceiverRules,
} from '../support/model-receivers.ts'
import { newRealSpools } from '../support/real-model-spool.ts'
import { type ModelCounts, runModel } from './model.ts'

const RECEIVERS: Readonly<Record<string, (rules: ReceiverRules) => Receiver>> = {
  'one number per queue': (rules) => new OneNumberReceiver(rules),
  'dedupes by id, names what it refuses': (rules) => new ByIdReceiver(rules, 'list'),
  'dedupes by id, refuses whole requests': (rules) => new ByIdReceiver(rules, 'whole'),
}

/** Of each receiver; without it as many as fit into the time. */
const RUNS = process.env['SLUICE_MODEL_RUNS']
const TIME_MS = 13_000
const MIN_RUNS = 8
/** So many runs take every path. */
const TELLING_RUNS = 25
const SEED = process.env['SLUICE_MODEL_SEED']

describe('the model of the contract on the real spool', () => {
  for (const [name, newReceiver] of Object.entries(RECEIVERS)) {
    it(`I2 I4 I8 I9: nothing lost, nothing twice, in order, against a receiver that ${name}`, async (context) => {
      const total = new Map<string, number>()
      const beganMs = performance.now()
      const isEnough = (runs: number): boolean => {
        if (SEED !== undefined) return true
        if (RUNS !== undefined) return runs >= Number(RUNS)
        return runs >= MIN_RUNS && performance.now() - beganMs > TIME_MS
      }
      const first = Number(SEED ?? 1)
      let seed = first
      do {
        const counts = await runOne(seed, newReceiver)
        for (const [what, count] of Object.entries(counts))
          total.set(what, (total.get(what) ?? 0) + count)
        seed++
      } while (!isEnough(seed - first))
      await context.annotate(`${seed - first} runs`)
      if (seed - first < TELLING_RUNS) return
      // The path under test was taken.
      for (const [what, count] of total) expect([what, count > 0]).toEqual([what, true])
    }, 600_000)
  }
})

async function runOne(
  seed: number,
  newReceiver: (rules: ReceiverRules) => Receiver,
): Promise<ModelCounts & { readonly rejectedBefore: number; readonly rejectedAfter: number }> {
  const spools = await newRealSpools(seed)
  try {
    const counts = await runModel({ seed, openSpool: spools.open, newReceiver })
    const { before, after } = spools.rejected
    return { ...counts, rejectedBefore: before, rejectedAfter: after }
  } catch (error) {
    throw new Error(`run it again with SLUICE_MODEL_SEED=${seed}`, { cause: error })
  } finally {
    await spools.close()
  }
}
