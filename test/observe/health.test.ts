/** Health: what makes an orchestrator act, and what must not. */
import { describe, expect, test } from 'vitest'
import { liveness, readiness, WEDGED_AFTER_SECONDS } from '../../gateway/observe/health.ts'
import { broker, spool } from './fake-sources.ts'

describe('liveness', () => {
  test('a commit that does not end makes it fail, with the reason', () => {
    expect(liveness(spool({ commitRunningSeconds: WEDGED_AFTER_SECONDS - 1 })).ok).toBe(true)
    const wedged = liveness(spool({ commitRunningSeconds: WEDGED_AFTER_SECONDS }))
    expect(wedged.ok).toBe(false)
    expect(wedged.reasons).toEqual([
      'a commit has been running for 120 s: the disk does not answer',
    ])
  })

  test('I6: a full or failed disk does not: a restart would not help', () => {
    for (const state of ['read-only', 'storage-failed'] as const)
      expect(liveness(spool({ state })).ok).toBe(true)
  })
})

describe('readiness', () => {
  test('says why messages are not taken', () => {
    const health = readiness(
      broker({ accepting: false }),
      spool({ state: 'read-only', why: '12 MiB free, 256 MiB wanted' }),
    )
    expect(health.reasons).toEqual([
      'the broker does not accept messages: it is starting or stopping',
      'the spool is read-only: 12 MiB free, 256 MiB wanted',
    ])
  })

  test('is given while the broker listens and the spool can write', () => {
    expect(readiness(broker(), spool())).toEqual({ ok: true, reasons: [] })
  })
})
