/** Refused records that devices wait for, with nothing behind them (`ack: delivered`). */
import { describe, expect, it } from 'vitest'
import { ACKED, Bench, REFUSED, unavailable } from '../harness.ts'

const MINUTE_MS = 60_000
const FAILS = unavailable(null, 500)

/** The sink has refused `count` records, and their devices publish nothing more. */
async function strand(count: number): Promise<Bench> {
  const bench = new Bench()
  bench.append(count)
  bench.sink.auto = () => {
    bench.queue.isAwaited = true
    return REFUSED
  }
  await bench.start()
  expect(bench.queue.parked).toHaveLength(count)
  return bench
}

describe('refused records that devices wait for', () => {
  it('are said to be refused, and taken once the sink is well again', async () => {
    const bench = await strand(3)
    expect(bench.streamState).toMatchObject({
      state: 'retrying',
      detail: expect.stringMatching(/refused 3 records \(answered 400\).*devices wait/) as string,
    })
    bench.sink.auto = () => ACKED
    const before = bench.sink.requests.length
    await bench.pass(MINUTE_MS - 1_000)
    expect(bench.sink.requests).toHaveLength(before)
    await bench.pass(1_000)
    expect(bench.queue.state).toMatchObject({ delivered: 3, deadLettered: 0 })
    expect(bench.queue.parked).toEqual([])
    expect(bench.streamState).toMatchObject({ state: 'ok', detail: null })
  })

  it('are tried at once when an operator asks', async () => {
    const bench = await strand(3)
    bench.sink.auto = () => ACKED
    bench.drain.retryNow('cloud')
    await bench.settle()
    expect(bench.queue.state.delivered).toBe(3)
  })

  it('I8: that the same ones are refused again and again holds nothing, and gives nothing up', async () => {
    const bench = await strand(3)
    for (let n = 0; n < 120; n += 1) await bench.pass(MINUTE_MS)
    expect(bench.queue.parked).toHaveLength(3)
    expect(bench.queue.state.deadLettered).toBe(0)
    expect(bench.events.filter(({ type }) => type === 'drain.held')).toEqual([])
    // One that is taken behind them shows whose fault it was.
    bench.sink.auto = (_, { seqs }) => (seqs.includes(4) ? ACKED : REFUSED)
    bench.queue.isAwaited = false
    bench.append(1)
    await bench.settle()
    expect(bench.queue.state).toMatchObject({ delivered: 1, deadLettered: 3 })
  })

  it('one that an operator set aside stays there', async () => {
    const bench = new Bench()
    bench.append(1)
    await bench.start()
    bench.queue.isAwaited = true
    const parking = bench.drain.park('telemetry', 1)
    await bench.answer(FAILS)
    expect(await parking).toBe(true)
    expect(bench.queue.parked).toMatchObject([{ seq: 1 }])
    bench.sink.auto = () => ACKED
    const before = bench.sink.requests.length
    await bench.pass(2 * MINUTE_MS)
    expect(bench.sink.requests).toHaveLength(before)
  })

  it('without devices that wait they stay parked until a later one is taken', async () => {
    const bench = await strand(3)
    bench.queue.isAwaited = false
    const before = bench.sink.requests.length
    await bench.pass(10 * MINUTE_MS)
    expect(bench.sink.requests).toHaveLength(before)
    expect(bench.streamState.state).toBe('ok')
  })
})
