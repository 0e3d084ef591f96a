import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Schedule } from '../../../device-sim/fleet/schedule.ts'

describe('schedule', () => {
  test('whatever was asked for in whatever order runs in order of time, then of asking', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 0, max: 9 }), { maxLength: 60 }),
        async (times) => {
          const schedule = new Schedule(() => 100)
          const ran: Array<readonly [number, number]> = []
          const done = new Promise<void>((resolve) => {
            for (const [turn, atMs] of times.entries())
              schedule.at(atMs, () => ran.push([atMs, turn]))
            schedule.at(99, resolve)
          })
          await done
          const expected = times.map((atMs, turn) => [atMs, turn] as const)
          expect(ran).toEqual(expected.sort((a, b) => a[0] - b[0] || a[1] - b[1]))
        },
      ),
      { numRuns: 50 },
    )
  })

  test('nothing runs early, never means never, and stop ends all', async () => {
    const schedule = new Schedule()
    const early: number[] = []
    let never = false
    schedule.at(Number.POSITIVE_INFINITY, () => {
      never = true
    })
    const startMs = schedule.nowMs
    await new Promise<void>((resolve) => {
      for (const ms of [30, 10, 20]) {
        schedule.after(ms, () => {
          if (schedule.nowMs < startMs + ms) early.push(ms)
          if (ms === 30) resolve()
        })
      }
    })
    expect(early).toEqual([])
    schedule.after(1, () => {
      never = true
    })
    schedule.stop()
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(never).toBe(false)
  })
})
