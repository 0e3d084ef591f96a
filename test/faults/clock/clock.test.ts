/**
 * Fault 9, the clock: the fast selection, on real gateway processes. `SLUICE_SEED` repeats a run.
 */
import { afterAll, describe, expect, test } from 'vitest'
import { reapProcesses } from '../../support/process.ts'
import { SEED } from '../../support/seed.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { HOUR_MS, YEAR_MS } from './clock-bench.ts'
import {
  agesCount,
  anything,
  certificates,
  drift,
  fiftyYears,
  retryAfter,
  startIn1970,
} from './scenarios.ts'

const seed = String(SEED)

afterAll(reapProcesses)

describeWithTool('gcc', `a wall clock that is wrong (SLUICE_SEED=${SEED})`, () => {
  // They wait more than they work.
  describe.concurrent('side by side', () => {
    test.each([
      [
        'I2 I8: from 1970 to now: nothing expires, what was taken before is marked and stays',
        startIn1970,
      ],
      [
        'I8: fifty years on and an hour back: a backlog that may live for an hour stays',
        fiftyYears,
      ],
      [
        'I8: a Retry-After in seconds over a jump back',
        () => retryAfter('seconds', -HOUR_MS, 'goes on'),
      ],
      [
        'I8: a Retry-After as a date over fifty years and a reboot',
        () => retryAfter('date', 50 * YEAR_MS, 'reboots'),
      ],
      ['I2: drift and jumps disturb no order, keepalive or session', () => drift(seed)],
      ['I8: a certificate out of its time holds the data until the clock is set', certificates],
      ['I8: ages count on through a jump back, a restart and a reboot', agesCount],
      ['I1 I2 I8: anything at any time', () => anything(seed, 8)],
    ])(
      '%s',
      async (_, scenario) => {
        for (const count of Object.values(await scenario())) expect(count).toBeGreaterThan(0)
      },
      240_000,
    )
  })
})
