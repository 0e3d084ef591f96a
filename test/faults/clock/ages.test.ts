/**
 * What pure code decides about ages and waits, under clocks that do as they like. `SLUICE_SEED`
 * repeats a run.
 */
import { expect, test } from 'vitest'
import { SEED } from '../../support/seed.ts'
import { ageRun, ageTotals } from './ages.ts'

const RUNS = 3_000
const STEPS = 60

test(`I8: nothing expires before its time, nor much later; waits are kept (SLUICE_SEED=${SEED})`, () => {
  const totals = ageTotals()
  for (let run = 0; run < RUNS; run += 1) ageRun(`${SEED}-${run}`, STEPS, totals)
  for (const [what, count] of Object.entries(totals)) expect(count, what).toBeGreaterThan(RUNS)
})
