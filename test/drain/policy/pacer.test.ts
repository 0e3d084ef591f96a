import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Pacer, recoveryDelayMs } from '../../../gateway/drain/policy/pacer.ts'

describe('Pacer', () => {
  it('never lets more than the rate through, one batch of lead excepted', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 2 }), (batches) => {
        const pacer = new Pacer(1000)
        let nowMs = 0
        let sent = 0
        for (const bytes of batches) {
          nowMs = Math.max(nowMs, pacer.readyAtMs)
          expect(sent).toBeLessThanOrEqual(nowMs + 1e-6)
          pacer.sent(bytes, nowMs)
          sent += bytes
        }
      }),
    )
    const free = new Pacer(null)
    free.sent(1e9, 0)
    expect(free.readyAtMs).toBeLessThan(0)
  })

  it('does not save up what was not used', () => {
    const pacer = new Pacer(1000)
    pacer.sent(1000, 1_000_000)
    expect(pacer.readyAtMs).toBe(1_001_000)
  })

  it('spreads a recovery over the jitter', () => {
    expect(recoveryDelayMs(60_000, () => 0.25)).toBe(15_000)
  })
})
