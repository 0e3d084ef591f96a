/**
 * Fault 6, the sink: the fast selection, on real gateway processes. `SLUICE_SEED` repeats a run.
 */
import { afterAll, describe, expect, test } from 'vitest'
import { reapProcesses } from '../../support/process.ts'
import { SEED } from '../../support/seed.ts'
import { certificate, credentials, day, retryAfter } from './scenarios.ts'

afterAll(reapProcesses)

// Side by side: they wait more than they work.
describe.concurrent(`a sink that misbehaves (SLUICE_SEED=${SEED})`, () => {
  test.each([
    ['I8: Retry-After as a date is waited for across a SIGKILL', () => retryAfter(503, 'date', 4)],
    ['I8: wrong credentials are held, and a new secret is tried at once', credentials],
    ['I8: a renewed certificate is trusted as soon as its authority is', certificate],
    ['I4: one key, the same bytes, through misdeeds and SIGKILLs', () => day(String(SEED), 4, 2)],
  ])(
    '%s',
    async (_, scenario) => {
      const happened = await scenario()
      for (const [what, count] of Object.entries(happened)) {
        if (what !== 'kills' && what !== 'requests into them')
          expect(count, what).toBeGreaterThan(0)
      }
    },
    120_000,
  )
})
