/**
 * The file sink under faults of its disk, the fast selection; the long campaign is campaign.ts.
 */
import { afterEach, expect, test } from 'vitest'
import { Random } from '../../../device-sim/random.ts'
import { reapProcesses } from '../../support/process.ts'
import { SEED } from '../../support/seed.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { SURVIVALS } from '../power/disk-model.ts'
import { CALLS, DEFECTS, drawFailingCall, runErrnos, runKill, runPowerCuts } from './runs.ts'
import { stickDay } from './stick.ts'

afterEach(reapProcesses)

const seed = String(SEED)

/** Each step of a recording, and each way of what survives in turn. */
function everyStep(steps: number): { at: number; survival: (typeof SURVIVALS)[number] }[] {
  return Array.from({ length: steps }, (_, at) => ({
    at: at + 1,
    survival: SURVIVALS[at % SURVIVALS.length] ?? 'none',
  }))
}

describeWithTool('gcc', `files and what may happen to them (SLUICE_SEED=${SEED})`, () => {
  test('I1, I4: behind a power cut at any step all that was acked is there, and nothing in pieces', async () => {
    const { cuts, faults } = await runPowerCuts(seed, 4, everyStep, new Random(seed, 'cuts'))
    expect(cuts).toBeGreaterThan(50)
    expect(faults).toEqual([])
  })

  test.each(DEFECTS)('power cuts show a planted defect: %s', async (defect) => {
    const random = new Random(seed, defect)
    const { faults } = await runPowerCuts(seed, 3, everyStep, random, defect)
    expect(faults).not.toEqual([])
  })

  test('I1, I4: a kill at any call loses nothing, and leaves nothing in pieces or twice', async () => {
    const points = (['open', 'write', 'sync', 'rename'] as const).flatMap((call) =>
      [1, 2, 3].map((nth) => ({ call, nth })),
    )
    let killed = 0
    for (const { call, nth } of points) {
      const faults = await runKill(seed, 2, call, nth)
      if (faults === null) continue
      killed++
      expect(faults, `killed at ${call} ${nth}`).toEqual([])
    }
    expect(killed).toBeGreaterThan(8)
  })

  test('I8: a call that fails keeps the batch, and the batch is there in the end', async () => {
    const random = new Random(seed, 'errnos')
    const drawn = Array.from({ length: 60 }, () => drawFailingCall(random))
    const each = CALLS.map((call) => ({ call, nth: 1, error: 'EIO', stays: false }) as const)
    const result = await runErrnos(seed, [...each, ...drawn])
    expect(result?.faults).toEqual([])
    const fired = new Set(result?.fired.map((fault) => fault.split(' ')[1]))
    expect(fired, 'each kind of call failed').toEqual(new Set(CALLS))
  })
})

test('I1, I2, I4: a gateway whose stick comes and goes, that is killed and set up anew, has each record in one file', async () => {
  const happened = await stickDay(seed, 4)
  for (const [what, times] of Object.entries(happened)) expect(times, what).toBeGreaterThan(0)
})
