/** Fault 6, the sink: the fast selection, on real gateway processes. `FAULT_SEED` repeats a run. */
import { afterAll, describe, expect, test } from 'vitest'
import { reapProcesses } from '../../support/process.ts'
import { certificate, credentials, day, retryAfter } from './scenarios.ts'

const seed = process.env['FAULT_SEED'] ?? String(Math.floor(Math.random() * 2 ** 31))

afterAll(reapProcesses)

// Side by side: they wait more than they work.
describe.concurrent(`a sink that misbehaves (FAULT_SEED=${seed})`, () => {
  test.each([
    ['I8: Retry-After as a date is waited for across a SIGKILL', () => retryAfter(503, 'date', 4)],
    ['I8: wrong credentials are held, and a new secret is tried at once', credentials],
    ['I8: a renewed certificate is trusted as soon as its authority is', certificate],
    ['I4: one key, the same bytes, through misdeeds and SIGKILLs', () => day(seed, 4, 2)],
  ])(
    '%s',
    async (_, scenario) => {
      const happened = await scenario()
      for (const [what, count] of Object.entries(happened)) {
        if (what !== 'kills' && what !== 'requests into them') expect(count, what).toBeGreaterThan(0)
      }
    },
    120_000,
  )
})
