import { describe, expect, test } from 'vitest'
import { FAULT_KINDS, type FaultKind } from '../../../device-sim/cloud/faults/faults.ts'
import { demoPlan, faultsStillDue } from '../../../device-sim/demo/plan.ts'

describe('demo plan', () => {
  const seeds = Array.from({ length: 200 }, (_, index) => String(index))

  test('the same seed gives the same day, another one another', () => {
    expect(demoPlan('7', 200, 45_000)).toEqual(demoPlan('7', 200, 45_000))
    expect(demoPlan('7', 200, 45_000)).not.toEqual(demoPlan('8', 200, 45_000))
  })

  test.each([5000, 12_000, 45_000])(
    'every fault comes in a day of %d ms, while readings still come',
    (durationMs) => {
      for (const seed of seeds) {
        const plan = demoPlan(seed, 200, durationMs)
        const kinds = plan.cloudFaults.map((fault) => fault.kind)
        for (const kind of ['outage', 'busy', 'lost-answer', 'partial'] as const) {
          expect(kinds, `seed ${seed}`).toContain(kind)
        }
        for (const { afterMs = 0 } of plan.cloudFaults) {
          expect(afterMs, `seed ${seed}`).toBeLessThanOrEqual(0.9 * durationMs)
        }
        expect(plan.fleetFaults.dropsPerMinute).toBeGreaterThan(0)
      }
    },
  )

  test('the gateway is killed in the middle of the outage', () => {
    for (const seed of seeds) {
      const { outage, killAtMs, downMs } = demoPlan(seed, 200, 45_000)
      expect(killAtMs, `seed ${seed}`).toBeGreaterThan(outage.fromMs)
      expect(killAtMs, `seed ${seed}`).toBeLessThan(outage.untilMs)
      expect(killAtMs / 45_000).toBeGreaterThan(0.35)
      expect(killAtMs / 45_000).toBeLessThan(0.65)
      expect(downMs).toBeGreaterThanOrEqual(500)
    }
  })

  test('small fleets and short days have drops, too', () => {
    for (const [devices, seconds] of [
      [2, 5],
      [40, 12],
      [200, 45],
    ] as const) {
      const { dropsPerMinute, between } = demoPlan('1', devices, seconds * 1000).fleetFaults
      const minutes = between === null ? 0 : (between.untilMs - between.fromMs) / 60_000
      expect(dropsPerMinute * devices * minutes).toBeGreaterThanOrEqual(19.9)
    }
  })

  test('when the fleet stops only faults that never took effect are still due', () => {
    const { cloudFaults } = demoPlan('1', 200, 45_000)
    const fired = (...kinds: readonly FaultKind[]): Record<FaultKind, number> => {
      const counts = FAULT_KINDS.map((kind) => [kind, kinds.includes(kind) ? 1 : 0] as const)
      return Object.fromEntries(counts) as Record<FaultKind, number>
    }
    expect(faultsStillDue(cloudFaults, fired('outage', 'busy', 'lost-answer'))).toEqual([])
    const due = faultsStillDue(cloudFaults, fired('outage', 'busy'))
    expect(due).toMatchObject([{ kind: 'lost-answer', afterMs: 0, count: 1 }])
    expect(faultsStillDue(cloudFaults, fired())).toHaveLength(3)
  })
})
