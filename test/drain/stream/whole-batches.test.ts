/** Batches of a sink that knows them by names of their own. */
import { expect, it } from 'vitest'
import { ACKED, Bench, encoder, LOST, UNAUTHORIZED } from '../harness.ts'

const WHOLE = { ...encoder('identity'), keepsWhole: true } as const

it.each([LOST, UNAUTHORIZED])(
  'I4: a batch that may have arrived is never taken apart, however often it fails',
  async (failure) => {
    const bench = new Bench({ encoder: WHOLE })
    bench.sink.auto = () => failure
    bench.append(8)
    await bench.start()
    for (let i = 0; i < 30; i++) await bench.pass(60_000)
    expect(bench.sink.requests.length).toBeGreaterThan(10)
    for (const { seqs } of bench.sink.requests) expect(seqs).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
    bench.sink.auto = () => ACKED
    await bench.pass(60_000)
    expect(bench.queue.pendingRecords).toBe(0)
  },
)

it('a sink that takes any batch has it taken apart in the end', async () => {
  const bench = new Bench()
  bench.sink.auto = () => LOST
  bench.append(8)
  await bench.start()
  for (let i = 0; i < 30; i++) await bench.pass(60_000)
  expect(bench.sink.requests.some(({ seqs }) => seqs.length < 8)).toBe(true)
})

it('I4: nor is it for lower limits after a restart', async () => {
  const bench = new Bench({ encoder: WHOLE, config: { maxBatchRecords: 20 } })
  bench.append(20)
  bench.sink.auto = () => LOST
  await bench.start()
  await bench.restart({ config: { maxBatchRecords: 6 } })
  expect(bench.sink.requests[0]?.batch).toMatchObject({ firstSeq: 1, lastSeq: 20 })
})

it('a batch has at most as many records as its sink takes now', async () => {
  let most = 4
  const windowed = {
    ...encoder('identity'),
    get maxBatchRecords() {
      return most
    },
  }
  const bench = new Bench({ encoder: windowed, config: { maxBatchRecords: 10 } })
  bench.append(30)
  bench.sink.auto = () => {
    most = 3
    return ACKED
  }
  await bench.start()
  for (let i = 0; i < 20; i++) await bench.pass(1000)
  const sizes = bench.sink.requests.map(({ seqs }) => seqs.length)
  expect(sizes.slice(0, 3)).toEqual([4, 3, 3])
  expect(bench.queue.pendingRecords).toBe(0)
})
