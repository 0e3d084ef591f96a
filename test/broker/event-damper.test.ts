import { describe, expect, test } from 'vitest'
import { EventDamper } from '../../gateway/broker/event-damper.ts'
import { DAMPING_WINDOW_MS } from '../../gateway/shared/time/damping.ts'

describe('the damper', () => {
  test('lets one event per key and minute through, with the number of those left out before', () => {
    let now = 0
    const damper = new EventDamper(() => now)
    expect([damper.pass('a'), damper.pass('a'), damper.pass('a'), damper.pass('b')]).toEqual([
      0,
      null,
      null,
      0,
    ])
    now = DAMPING_WINDOW_MS - 1
    expect(damper.pass('a')).toBeNull()
    now = DAMPING_WINDOW_MS
    expect(damper.pass('a')).toBe(3)
    expect(damper.pass('a')).toBeNull()
  })

  test('I6: keys that an outsider invents share one slot beyond a thousand, until the old ones are over', () => {
    let now = 0
    const damper = new EventDamper(() => now)
    for (let i = 0; i < 1_000; i += 1) expect(damper.pass(`key ${i}`)).toBe(0)
    expect(damper.pass('one more')).toBe(0)
    expect(damper.pass('and another')).toBeNull()
    expect(damper.pass('key 5')).toBeNull()
    now = DAMPING_WINDOW_MS
    expect([damper.pass('new'), damper.pass('newer')]).toEqual([0, 0])
  })
})
