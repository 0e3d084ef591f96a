/** What pure code decides about ages and waits, under clocks that do as they like. `FAULT_SEED` repeats a run. */
import { expect, test } from 'vitest'
import { ageRun, ageTotals } from './ages.ts'

const RUNS = 3_000
const STEPS = 60

const seed = process.env['FAULT_SEED'] ?? String(Math.floor(Math.random() * 2 ** 31))

test(`I8: nothing expires before its time, nor much later; waits are kept (FAULT_SEED=${seed})`, () => {
  const totals = ageTotals()
  for (let run = 0; run < RUNS; run += 1) ageRun(`${seed}-${run}`, STEPS, totals)
  for (const [what, count] of Object.entries(totals)) expect(count, what).toBeGreaterThan(RUNS)
})
