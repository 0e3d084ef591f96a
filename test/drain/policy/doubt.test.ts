/**
 * One record that a sink stumbles over, whatever it answers to it, stops neither its sink nor its
 * stream; and no outage, wrong credential or flapping sink ever parks anything (I8).
 */
import { describe, expect, it } from 'vitest'
import { Doubt } from '../../../gateway/drain/policy/doubt.ts'
import type { Verdict } from '../../../gateway/drain/policy/retry-policy.ts'
import { CONTRACT_RULES } from '../../../gateway/drain/policy/rules.ts'
import type { SinkAnswer } from '../../../gateway/ports/sink.ts'
import {
  ACKED,
  answer,
  Bench,
  LOST,
  MALFORMED,
  seeded,
  TIMED_OUT,
  unavailable,
} from '../harness.ts'

const FORBIDDEN = answer({ kind: 'hold', scope: 'sink', detail: 'answered 403' }, 403)
const UNSENT = answer({ kind: 'retry', retryAfterMs: null, detail: 'refused', unsent: true }, null)

const SHAPES: Readonly<Record<string, SinkAnswer>> = {
  '403 of a firewall': FORBIDDEN,
  '500': unavailable(null, 500),
  '502 of a proxy behind which it crashes': unavailable(null, 502),
  'a connection that is reset': LOST,
  'no answer in time': TIMED_OUT,
  'an answer that makes no sense': MALFORMED,
}

const streams = ['a', 'b'].map((name) => ({ name, sink: 'cloud' }))

/** Lets time pass; each time another record comes on `fresh` streams. */
async function goOn(
  bench: Bench,
  steps: number,
  fresh: readonly string[],
  stepMs = 5_000,
): Promise<void> {
  for (let i = 0; i < steps; i++) {
    for (const name of fresh) bench.append(1, name)
    await bench.settle()
    await bench.pass(stepMs)
  }
}

describe('one record that the sink stumbles over', () => {
  it.each(Object.entries(SHAPES))(
    'I8 I9: %s: among others of a lone stream it is found, parked, and all others are delivered in order',
    async (_, poison) => {
      const bench = new Bench({ config: { maxBatchRecords: 50 } })
      bench.append(50)
      const bad = 23
      bench.sink.auto = (__, { seqs }) => (seqs.includes(bad) ? poison : ACKED)
      await bench.start()
      await goOn(bench, 200, [], 10_000)
      expect(bench.queue.pendingRecords).toBe(0)
      expect(bench.queue.state.deadLetters.map(({ record }) => record.seq)).toEqual([bad])
      expect(bench.queue.state.delivered).toBe(49)
      expect(bench.state.state).toBe('ok')
    },
  )

  it.each(Object.entries(SHAPES))(
    'I8 I9: %s: alone at the head of its stream, others of the sink go on, and it is parked',
    async (_, poison) => {
      const bench = new Bench({ streams })
      bench.sink.auto = ({ stream }, { seqs }) =>
        stream === 'a' && seqs.includes(1) ? poison : ACKED
      await bench.start()
      bench.append(1, 'a')
      await goOn(bench, 100, ['b'])
      expect(bench.store.queue('b').pendingRecords).toBe(0)
      bench.append(3, 'a')
      await goOn(bench, 10, ['b'])
      const { state } = bench.store.queue('a')
      expect(state.deadLetters.map(({ record, reason }) => [record.seq, reason])).toEqual([
        [1, expect.stringContaining('again and again, while records around it were taken')],
      ])
      expect(bench.store.queue('a').pendingRecords).toBe(0)
    },
  )

  it.each([1, 3])(
    'I8 I9: one in each stream, that costs a time-out a try: each is found, with %i requests at a time',
    async (maxInFlight) => {
      const three = ['a', 'b', 'c'].map((name) => ({ name, sink: 'cloud' }))
      const bench = new Bench({ streams: three, config: { maxInFlight, maxBatchRecords: 50 } })
      for (const { name } of three) bench.append(50, name)
      // That of b has nothing before it: it can only be told once others are taken.
      const bad: Readonly<Record<string, number>> = { a: 23, b: 1, c: 40 }
      bench.sink.auto = ({ stream }, request) => {
        const isBad = request.seqs.includes(bad[stream] ?? 0)
        bench.clock.setTimer(isBad ? 30_000 : 10, () => request.answer(isBad ? TIMED_OUT : ACKED))
        return null
      }
      await bench.start()
      await goOn(bench, 3000, [], 1_000)
      for (const { name } of three) {
        const { state } = bench.store.queue(name)
        expect([name, state.delivered, state.deadLetters.map(({ record }) => record.seq)]).toEqual([
          name,
          49,
          [bad[name]],
        ])
      }
    },
  )

  it('I8: too many of them hold the stream, with everything back in its place', async () => {
    const bench = new Bench({ streams, rules: { parkedLimit: 5 }, config: { maxRefusedShare: 1 } })
    bench.append(30, 'a')
    bench.sink.auto = ({ stream }) => (stream === 'a' ? unavailable(null, 500) : ACKED)
    await bench.start()
    await goOn(bench, 300, ['b'])
    const a = bench.store.queue('a')
    expect(bench.state.streams[0]).toMatchObject({ state: 'held', reason: 'refusals' })
    expect([a.state.parked.length, a.state.deadLetters.length, a.pendingRecords]).toEqual([
      0, 0, 30,
    ])
  })
})

describe('I8: what is no evidence', () => {
  it.each(Object.entries({ ...SHAPES, 'no connection': UNSENT }))(
    '%s to everything parks nothing, however long, and all is delivered when it ends',
    async (_, trouble) => {
      for (const one of [['a'], ['a', 'b']]) {
        const bench = new Bench({ streams })
        for (const name of one) bench.append(25, name)
        bench.sink.auto = () => trouble
        await bench.start()
        for (let i = 0; i < 300; i++) {
          if (i % 10 === 0) bench.append(1, one.at(-1))
          await bench.pass(20_000)
          expect(bench.events.filter(({ type }) => type === 'drain.parked')).toEqual([])
        }
        bench.sink.auto = () => ACKED
        await goOn(bench, 40, [], 60_000)
        for (const { name } of streams) {
          const { state } = bench.store.queue(name)
          expect([state.records.length, state.deadLetters.length]).toEqual([0, 0])
        }
      }
    },
  )

  it('a sink that comes and goes parks nothing', async () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = seeded(seed)
      const bench = new Bench({ streams, random })
      let isUp = false
      const troubles = Object.values(SHAPES)
      let trouble = troubles[0] ?? LOST
      bench.sink.auto = () => (isUp ? ACKED : trouble)
      await bench.start()
      for (let i = 0; i < 300; i++) {
        if (random() < 0.3) {
          isUp = random() < 0.5
          trouble = troubles[Math.floor(random() * troubles.length)] ?? LOST
        }
        if (random() < 0.5) bench.append(1 + Math.floor(random() * 4), random() < 0.5 ? 'a' : 'b')
        await bench.settle()
        await bench.pass(random() * 8_000)
      }
      const parked = bench.events.filter(({ type }) => type === 'drain.parked')
      expect({ seed, parked }).toEqual({ seed, parked: [] })
    }
  })
})

describe('Doubt', () => {
  const failed: Verdict = {
    kind: 'retry',
    scope: 'stream',
    code: '500',
    answered: true,
    throttled: false,
    retryAfterMs: null,
    malformed: false,
    divide: false,
    detail: 'answered 500',
  }
  const one = { recordCount: 1, lastSeq: 7, isBeyondDoubt: false }
  const pairs = (doubt: Doubt, count: number, gapMs = 10): string[] =>
    Array.from({ length: count }, (_, i) => {
      if (gapMs < 0) doubt.begins(i * 1000 + gapMs)
      doubt.taken(i * 1000)
      if (gapMs >= 0) doubt.begins(i * 1000 + gapMs)
      return doubt.examine(failed, one).kind
    })

  it('parks after three times that others were taken and it failed at once, never for the first failure', () => {
    const doubt = new Doubt(CONTRACT_RULES)
    expect(pairs(doubt, 4)).toEqual(['retry', 'retry', 'retry', 'park'])
  })

  it('counts nothing that was taken long before, or after the try began', () => {
    const late = new Doubt(CONTRACT_RULES)
    expect(pairs(late, 20, CONTRACT_RULES.freshMs + 1)).not.toContain('park')
    const before = new Doubt(CONTRACT_RULES)
    expect(pairs(before, 20, -1)).not.toContain('park')
  })

  it('trouble of others, and a try that never left, wipe out what was counted', () => {
    const doubt = new Doubt(CONTRACT_RULES)
    pairs(doubt, 3)
    doubt.othersFailed()
    expect(pairs(doubt, 2)).toEqual(['retry', 'retry'])
    doubt.examine(failed, { ...one, isBeyondDoubt: true })
    expect(pairs(doubt, 2)).toEqual(['retry', 'retry'])
  })

  it('a sink that asks to wait is not in doubt', () => {
    const doubt = new Doubt(CONTRACT_RULES)
    const asked: Verdict = { ...failed, retryAfterMs: 1000 }
    for (let i = 0; i < 50; i++) {
      expect(doubt.examine(asked, { ...one, recordCount: 10 })).toEqual(asked)
    }
  })
})
