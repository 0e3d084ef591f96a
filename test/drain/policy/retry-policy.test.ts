import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Attempt, backoffMs, decide } from '../../../gateway/drain/policy/retry-policy.ts'
import { CONTRACT_RULES } from '../../../gateway/drain/policy/rules.ts'
import type { SinkAnswer } from '../../../gateway/ports/sink.ts'
import {
  ACKED,
  ackedThrough,
  answer,
  LOST,
  listed,
  MALFORMED,
  REFUSED,
  refusal,
  TOO_LARGE,
  unavailable,
} from '../harness.ts'

function attempt(changes: Partial<Attempt> = {}, recordCount = 3): Attempt {
  const seqs = Array.from({ length: recordCount }, (_, i) => i + 1)
  const batch = {
    firstSeq: 1,
    lastSeq: recordCount,
    recordCount,
    seqs: () => seqs,
    highestSentSeq: recordCount,
  }
  return { batch, malformedBefore: 0, timeoutsBefore: 0, othersGotThrough: false, ...changes }
}

const decided = (
  given: SinkAnswer,
  changes: Partial<Attempt> = {},
  recordCount = 3,
): ReturnType<typeof decide> => {
  return decide(given, attempt(changes, recordCount), CONTRACT_RULES)
}

describe('decide', () => {
  it('an ack is acked, a partial one with the rest at once', () => {
    expect(decided(ACKED)).toMatchObject({ kind: 'acked', resend: 'at-once' })
    expect(decided(ackedThrough(2))).toMatchObject({ kind: 'acked', resend: 'at-once' })
  })

  it('a record listed for later is sent again after backoff', () => {
    const later = listed({ seq: 2, verdict: 'retry', code: '429', reason: null })
    expect(decided(later)).toMatchObject({ kind: 'acked', resend: 'after-backoff' })
  })

  it('an answer that settles nothing is retried like 503; one that parks something is progress', () => {
    expect(decided(ackedThrough(0))).toMatchObject({ kind: 'retry', scope: 'stream' })
    expect(decided(ackedThrough(0, [refusal(1)]))).toMatchObject({ kind: 'acked' })
  })

  it('an answer that settles nothing is told with what it says of the record that waits', () => {
    const full = { code: '429', reason: 'es_rejected_execution_exception: queue is full' }
    expect(decided(listed({ seq: 1, verdict: 'retry', ...full }))).toMatchObject({
      detail: `acked nothing; of seq 1 it says 429: ${full.reason}`,
    })
    const silent = listed({ seq: 1, verdict: 'retry', code: null, reason: null })
    expect(decided(silent)).toMatchObject({ detail: 'acked nothing; of seq 1 it says later' })
    expect(decided(ackedThrough(0))).toMatchObject({ detail: 'acked nothing' })
  })

  it('400, 422 and 413 split a batch and park a single record', () => {
    expect(decided(REFUSED)).toMatchObject({ kind: 'split', why: 'refused' })
    expect(decided(TOO_LARGE)).toMatchObject({ kind: 'split', why: 'too-large' })
    expect(decided(REFUSED, {}, 1)).toMatchObject({ kind: 'park', why: 'refused' })
    expect(decided(TOO_LARGE, {}, 1)).toMatchObject({ kind: 'park', why: 'too-large' })
  })

  it('malformed answers are retried, and hold the stream at the fifth in a row', () => {
    expect(decided(MALFORMED, { malformedBefore: 3 })).toMatchObject({
      kind: 'retry',
      scope: 'stream',
      malformed: true,
    })
    expect(decided(MALFORMED, { malformedBefore: 4 })).toMatchObject({
      kind: 'hold',
      reason: 'malformed',
    })
    const stranger = listed(refusal(9))
    expect(decided(stranger)).toMatchObject({ kind: 'retry', malformed: true })
  })

  it('I8: a clone holds', () => {
    expect(decided(ackedThrough(4))).toMatchObject({
      kind: 'hold',
      scope: 'stream',
      reason: 'clone',
    })
  })

  it('faults of the connection and the service bind the sink, unless other streams get through', () => {
    for (const given of [
      LOST,
      unavailable(),
      unavailable(null, 429),
      unavailable(null, 502),
      unavailable(null, 504),
    ]) {
      expect(decided(given)).toMatchObject({ kind: 'retry', scope: 'sink' })
      expect(decided(given, { othersGotThrough: true })).toMatchObject({
        kind: 'retry',
        scope: 'stream',
      })
    }
  })

  it('500, 408, 409 and 425 may be due to what was sent: they bind one stream', () => {
    for (const status of [500, 408, 409, 425]) {
      expect(decided(unavailable(null, status))).toMatchObject({ kind: 'retry', scope: 'stream' })
    }
  })

  it('a Retry-After binds the sink, whatever the status and the others', () => {
    for (const status of [429, 503, 500]) {
      const given = unavailable(7000, status)
      expect(decided(given, { othersGotThrough: true })).toMatchObject({
        scope: 'sink',
        retryAfterMs: 7000,
      })
    }
  })

  it('I8: a hold keeps its scope', () => {
    for (const scope of ['sink', 'stream'] as const) {
      const given = answer({ kind: 'hold', scope, detail: 'answered 404' }, 404)
      expect(decided(given)).toMatchObject({ kind: 'hold', scope, reason: 'answer', code: '404' })
    }
  })
})

describe('backoffMs', () => {
  it('is full jitter from 0.5 s, doubling to 60 s', () => {
    const most = Array.from({ length: 10 }, (_, i) => backoffMs(i + 1, () => 1, CONTRACT_RULES))
    expect(most).toEqual([1000, 2000, 4000, 8000, 16_000, 32_000, 60_000, 60_000, 60_000, 60_000])
    expect(backoffMs(9, () => 0, CONTRACT_RULES)).toBe(500)
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 2000 }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (n, random) => {
          const ms = backoffMs(n, () => random, CONTRACT_RULES)
          expect(ms).toBeGreaterThanOrEqual(500)
          expect(ms).toBeLessThanOrEqual(60_000)
        },
      ),
    )
  })
})
