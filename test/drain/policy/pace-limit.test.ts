/**
 * How large a batch is: by the pace of its link, by time-outs, by what a sink refuses for its size,
 * by new limits.
 */
import { describe, expect, it } from 'vitest'
import { PaceLimit } from '../../../gateway/drain/policy/pace-limit.ts'
import type { Batch, SinkAnswer } from '../../../gateway/ports/sink.ts'
import { ACKED, Bench, LOST, REFUSED, TIMED_OUT } from '../harness.ts'

const MAX = 4 * 1024 * 1024

/** A link of so many bytes each ms behind which every request takes `constantMs` besides. */
function takes(bytes: number, perMs: number, constantMs = 0): number {
  return constantMs + bytes / perMs
}

/** What batches are like once they have been what the limit says for a while. */
function sizesOver(limit: PaceLimit, ms: (bytes: number) => number, tries = 12): number[] {
  const sizes: number[] = []
  for (let i = 0; i < tries; i++) {
    sizes.push(limit.maxBytes)
    limit.answered(limit.maxBytes, ms(limit.maxBytes))
  }
  return sizes
}

describe('PaceLimit', () => {
  it('a fast link never has a limit, whatever the round trip', () => {
    for (const constantMs of [0, 300, 14_000]) {
      const limit = new PaceLimit(MAX, 30_000, null)
      for (const bytes of [200, 5_000, MAX, 300, MAX])
        limit.answered(bytes, takes(bytes, 100_000, constantMs))
      expect(limit.learnedBytes).toBeNull()
    }
  })

  it('on a thin link a batch comes to take half of the time-out, and stays there', () => {
    const limit = new PaceLimit(MAX, 30_000, null)
    limit.answered(200, takes(200, 8, 400))
    const sizes = sizesOver(limit, (bytes) => takes(bytes, 8, 400))
    for (const bytes of sizes.slice(6)) {
      expect(takes(bytes, 8, 400)).toBeGreaterThan(10_000)
      expect(takes(bytes, 8, 400)).toBeLessThan(16_000)
    }
  })

  it('a sink that needs as long for half of it gets whole batches', () => {
    const limit = new PaceLimit(MAX, 30_000, null)
    const sizes = sizesOver(limit, () => 20_000)
    expect(sizes.filter((bytes) => bytes < MAX).length).toBeLessThan(3)
    expect(sizes.at(-1)).toBe(MAX)
  })

  it('grows back in some tries when the link is well again, and is never over the configuration', () => {
    const limit = new PaceLimit(MAX, 30_000, 1024)
    expect(sizesOver(limit, (bytes) => takes(bytes, 100_000), 14).at(-1)).toBe(MAX)
    expect(new PaceLimit(1000, 30_000, 5000).maxBytes).toBe(1000)
    limit.timedOut(MAX)
    expect(limit.learnedBytes).toBe(MAX / 2)
    for (let i = 0; i < 40; i++) limit.timedOut(limit.maxBytes)
    expect(limit.maxBytes).toBe(256)
  })
})

/** A sink behind a link on which a request gets through only up to so many bytes. */
function thin(maxBytes: number): (batch: Batch) => SinkAnswer {
  return (batch) => (batch.bodyBytes > maxBytes ? TIMED_OUT : ACKED)
}

describe('a batch that does not get through in time', () => {
  it('is taken apart at its second time-out in a row, and halved until it gets through; later ones are made to fit', async () => {
    const bench = new Bench({ config: { maxBatchRecords: 1000 } })
    bench.append(64, 'telemetry', { payload: 'x'.repeat(50) })
    bench.sink.auto = thin(1500)
    await bench.start()
    expect(bench.sink.requests).toHaveLength(1)
    for (let i = 0; i < 60 && bench.queue.pendingRecords > 0; i++) await bench.pass(60_000)
    expect(bench.queue.pendingRecords).toBe(0)
    const sizes = bench.sink.requests.map(({ batch }) => batch.recordCount)
    expect(sizes.slice(0, 3)).toEqual([64, 64, 1])
    expect(sizes.filter((n) => n > 16)).toHaveLength(3)
    expect(bench.state.learnedBatchBytes).toBeLessThan(1500)
    await bench.restart()
    expect(bench.state.learnedBatchBytes).toBeLessThan(3000)
  })

  it('an outage halves nothing: no answer at all is no time-out of a batch', async () => {
    const bench = new Bench({ config: { maxBatchRecords: 1000 } })
    bench.append(64)
    let tries = 0
    bench.sink.auto = () => (tries++ % 2 === 0 ? TIMED_OUT : LOST)
    await bench.start()
    for (let i = 0; i < 20; i++) await bench.pass(60_000)
    expect(tries).toBeGreaterThan(15)
    const sizes = bench.sink.requests.map(({ batch }) => batch.recordCount)
    expect(new Set(sizes.slice(0, 10))).toEqual(new Set([64]))
    expect(bench.state.learnedBatchBytes).toBeNull()
    // One record tells that the sink is back, all the others follow.
    const before = bench.sink.requests.length
    bench.sink.auto = () => ACKED
    await bench.pass(60_000)
    expect(bench.queue.pendingRecords).toBe(0)
    expect(bench.sink.requests.length).toBeLessThanOrEqual(before + 2)
  })
})

describe('a batch in flight and new limits', () => {
  it('is cut to lower limits at the start, and what is left of it stays protected', async () => {
    const bench = new Bench({ config: { maxBatchRecords: 100 } })
    bench.append(20)
    bench.sink.auto = () => LOST
    await bench.start()
    expect(bench.sink.requests[0]?.batch.recordCount).toBe(20)
    await bench.restart({ config: { maxBatchRecords: 6 } })
    expect(bench.sink.requests[0]?.batch).toMatchObject({ firstSeq: 1, lastSeq: 6 })
    expect(bench.queue.pin).toMatchObject({ lastSeq: 6, outerLastSeq: 20 })
    bench.sink.auto = () => ACKED
    await bench.pass(60_000)
    await bench.pass(60_000)
    expect(bench.queue.pendingRecords).toBe(0)
    expect(Math.max(...bench.sink.requests.map(({ batch }) => batch.recordCount))).toBe(6)
  })

  it('I4: is the same bytes under limits that are the same or higher', async () => {
    const bench = new Bench({ config: { maxBatchRecords: 20 } })
    bench.append(20)
    bench.sink.auto = () => LOST
    await bench.start()
    for (const maxBatchRecords of [20, 50]) {
      await bench.restart({ config: { maxBatchRecords } })
      expect(bench.sink.requests[0]?.batch).toMatchObject({ firstSeq: 1, lastSeq: 20 })
    }
  })
})

describe('a sink that refuses what is too large with 400', () => {
  const run = async (isBad: (seq: number) => boolean): Promise<Bench> => {
    const bench = new Bench({ config: { maxBatchRecords: 1000, maxBatchBytes: 1024 * 1024 } })
    bench.append(512, 'telemetry', { payload: 'x'.repeat(1000) })
    bench.sink.auto = (batch, request) =>
      batch.bodyBytes > 40_000 || request.seqs.some(isBad) ? REFUSED : ACKED
    await bench.start()
    expect(bench.queue.pendingRecords).toBe(0)
    return bench
  }

  it('the size that it takes is learned from the pieces: it is not asked again with more', async () => {
    const bench = await run(() => false)
    const refused = bench.sink.requests.filter(({ batch }) => batch.bodyBytes > 40_000)
    expect(refused.length).toBeLessThanOrEqual(5)
    expect(bench.queue.state.deadLettered).toBe(0)
    expect(bench.state.learnedBatchBytes).toBeGreaterThan(20_000)
  })

  it('I9: nothing is learned where a record was refused', async () => {
    const bench = new Bench({ config: { maxBatchRecords: 1000, maxBatchBytes: 1024 * 1024 } })
    bench.append(512, 'telemetry', { payload: 'x'.repeat(1000) })
    bench.sink.auto = (_, request) => (request.seqs.includes(137) ? REFUSED : ACKED)
    await bench.start()
    expect(bench.state.learnedBatchBytes).toBeNull()
    expect(bench.queue.state.deadLettered).toBe(1)
  })
})
