import { describe, expect, it } from 'vitest'
import {
  ByIdReceiver,
  OneNumberReceiver,
  type Receiver,
  type ReceiverRules,
} from '../support/model-receivers.ts'
import { type ModelCounts, openMemorySpool, runModel } from './model.ts'

const RECEIVERS: Readonly<Record<string, (rules: ReceiverRules) => Receiver>> = {
  'one number per queue': (rules) => new OneNumberReceiver(rules),
  'dedupes by id, names what it refuses': (rules) => new ByIdReceiver(rules, 'list'),
  'dedupes by id, refuses whole requests': (rules) => new ByIdReceiver(rules, 'whole'),
}

const RUNS = Number(process.env['SLUICE_MODEL_RUNS'] ?? 1500)
const SEED = process.env['SLUICE_MODEL_SEED']

describe('the model of the contract', () => {
  for (const [name, newReceiver] of Object.entries(RECEIVERS)) {
    it(`I2 I4 I8 I9: nothing lost, nothing twice, in order, against a receiver that ${name}`, async () => {
      const total: Partial<ModelCounts> = {}
      const seeds =
        SEED === undefined ? Array.from({ length: RUNS }, (_, i) => i + 1) : [Number(SEED)]
      for (const seed of seeds) {
        try {
          const counts = await runModel({ seed, openSpool: openMemorySpool, newReceiver })
          for (const [what, count] of Object.entries(counts)) {
            const key = what as keyof ModelCounts
            total[key] = (total[key] ?? 0) + count
          }
        } catch (error) {
          throw new Error(`run it again with SLUICE_MODEL_SEED=${seed}`, { cause: error })
        }
      }
      if (SEED !== undefined) return
      // The path under test was taken.
      for (const [what, count] of Object.entries(total))
        expect([what, count > 0]).toEqual([what, true])
    }, 180_000)
  }
})
