import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { promisedShare, Scheduler } from '../../../gateway/drain/policy/scheduler.ts'
import { ACKED, Bench, seeded } from '../harness.ts'

interface Served {
  readonly name: string
  readonly bytes: number
}

/** Serves all streams, which never run dry. */
function serve(
  priorities: readonly number[],
  turns: number,
  bytesOf: (stream: number) => number,
): Served[] {
  const streams = priorities.map((priority, i) => ({ name: `s${i}`, priority }))
  const names = streams.map(({ name }) => name)
  const scheduler = new Scheduler(streams)
  return Array.from({ length: turns }, () => {
    const name = scheduler.pick(names) ?? ''
    const bytes = bytesOf(Number(name.slice(1)))
    scheduler.served(name, bytes, names)
    return { name, bytes }
  })
}

function worstShare(served: readonly Served[], streams: number): number {
  const window = 10 * streams
  let worst = 1
  for (let from = 0; from + window <= served.length; from++) {
    const part = served.slice(from, from + window)
    const all = part.reduce((sum, { bytes }) => sum + bytes, 0)
    for (let i = 0; i < streams; i++) {
      const own = part
        .filter(({ name }) => name === `s${i}`)
        .reduce((sum, { bytes }) => sum + bytes, 0)
      worst = Math.min(worst, own / all)
    }
  }
  return worst
}

describe('Scheduler', () => {
  it('serves priority 0 first and most', () => {
    const served = serve([0, 5, 9], 300, () => 1000)
    expect(served[0]?.name).toBe('s0')
    const first = served.filter(({ name }) => name === 's0').length
    expect(first / served.length).toBeGreaterThan(0.5)
  })

  it('gives every stream min(10 %, 1/(2n)) of the bytes of any 10 n batches in a row', () => {
    for (let n = 1; n <= 12; n++) {
      const served = serve(
        Array.from({ length: n }, (_, i) => i),
        40 * n,
        () => 1000,
      )
      expect([n, worstShare(served, n) >= promisedShare(n)]).toEqual([n, true])
    }
  })

  it('keeps that promise when the streams send batches of different sizes', () => {
    const sizes = fc.array(fc.integer({ min: 500, max: 1500 }), { minLength: 2, maxLength: 8 })
    fc.assert(
      fc.property(sizes, fc.integer(), (bytes, seed) => {
        const random = seeded(seed)
        const n = bytes.length
        const priorities = bytes.map((_, i) => i % 10)
        const served = serve(priorities, 60 * n, (i) => (bytes[i] ?? 0) * (0.8 + 0.4 * random()))
        // A batch is not divisible: whoever sends smaller ones than the others may be short by one
        // of them.
        const smallest = Math.min(...bytes) * 0.8
        const largest = Math.max(...bytes) * 1.2
        const slack = largest / (10 * n * smallest)
        expect(worstShare(served, n)).toBeGreaterThanOrEqual(promisedShare(n) - slack)
      }),
    )
  })

  it('does not make a stream pay for what it was sent while no other one waited', () => {
    const scheduler = new Scheduler([
      { name: 'high', priority: 0 },
      { name: 'low', priority: 9 },
    ])
    for (let i = 0; i < 1000; i++) scheduler.served('low', 1000, ['low'])
    let until = 0
    for (; until < 20; until++) {
      const name = scheduler.pick(['high', 'low']) ?? ''
      if (name === 'low') break
      scheduler.served(name, 1000, ['high', 'low'])
    }
    expect(until).toBeLessThan(10)
  })

  it('takes turns among equals', () => {
    const served = serve([3, 3, 3], 30, () => 100)
    for (let i = 0; i < 3; i++)
      expect(served.filter(({ name }) => name === `s${i}`)).toHaveLength(10)
  })
})

describe('priorities in the loop', () => {
  it('a backlog of low priority gets its share while the high one never runs dry', async () => {
    const bench = new Bench({
      streams: [
        { name: 'high', sink: 'cloud', priority: 0 },
        { name: 'low', sink: 'cloud', priority: 9 },
      ],
    })
    for (let i = 0; i < 60; i++) {
      bench.append(10, 'high')
      bench.append(10, 'low')
      bench.store.commit()
    }
    await bench.start()
    const order: string[] = []
    for (let i = 0; i < 60; i++) {
      order.push(bench.sink.current.batch.stream)
      await bench.answer(ACKED)
    }
    expect(order[0]).toBe('high')
    for (let from = 0; from + 20 <= order.length; from++) {
      expect(
        order.slice(from, from + 20).filter((name) => name === 'low').length,
      ).toBeGreaterThanOrEqual(2)
    }
    expect(order.filter((name) => name === 'high').length).toBeGreaterThan(45)
  })

  it('maxInFlight lets different streams go side by side, never one twice (I2)', async () => {
    const names = ['a', 'b', 'c']
    const bench = new Bench({ streams: names, config: { maxInFlight: 2 } })
    for (const name of names) {
      bench.append(10, name)
      bench.append(10, name)
    }
    await bench.start()
    for (let i = 0; i < 6; i++) {
      const open = bench.sink.open
      expect(open).toHaveLength(i < 5 ? 2 : 1)
      expect(new Set(open.map(({ batch }) => batch.stream)).size).toBe(open.length)
      open[0]?.answer(ACKED)
      await bench.settle()
    }
    for (const name of names) expect(bench.store.queue(name).pendingRecords).toBe(0)
  })
})
