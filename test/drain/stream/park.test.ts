/** `sluice streams park`: an operator's word about the first record that waits. */
import { describe, expect, it } from 'vitest'
import { formOfPin, parkFirst } from '../../../gateway/drain/stream/park.ts'
import { ACKED, Bench, TOO_LARGE, unavailable } from '../harness.ts'

const FAILS = unavailable(null, 500)

describe('a record that an operator sets aside', () => {
  it('I5 I9: is parked, what waits behind it goes on at once, and it is a dead letter once a later one was taken', async () => {
    const bench = new Bench()
    bench.sink.auto = (_, { seqs }) => (seqs.includes(1) ? FAILS : ACKED)
    bench.append(1)
    await bench.start()
    for (let i = 0; i < 10; i++) await bench.pass(60_000)
    expect(bench.streamState.detail).toContain(
      'if record 1 is to blame: sluice streams park telemetry 1',
    )
    const parking = bench.drain.park('telemetry', 1)
    await bench.settle()
    expect(await parking).toBe(true)
    expect(bench.queue.parked).toMatchObject([{ seq: 1, reason: 'set aside by an operator' }])
    expect(bench.state.state).toBe('ok')
    bench.append(3)
    await bench.settle()
    expect(bench.queue.state.deadLetters.map(({ record }) => record.seq)).toEqual([1])
    expect([bench.queue.state.delivered, bench.queue.pendingRecords]).toEqual([3, 0])
    expect(bench.state.state).toBe('ok')
  })

  it('waits for the try that is in progress, and the rest of its batch stays protected', async () => {
    const bench = new Bench()
    bench.append(5)
    await bench.start()
    const parking = bench.drain.park('telemetry', 1)
    await bench.settle()
    expect(bench.queue.parked).toEqual([])
    await bench.answer(FAILS)
    expect(await parking).toBe(true)
    expect(bench.queue.parked).toMatchObject([{ seq: 1 }])
    expect(bench.queue.pin).toMatchObject({ firstSeq: 2, lastSeq: 5 })
    expect(bench.sink.current.seqs).toEqual([2, 3, 4, 5])
    await bench.answer(ACKED)
    expect(bench.queue.state.deadLettered).toBe(1)
  })

  it('of a batch that was split the whole rest stays protected', async () => {
    const bench = new Bench()
    bench.append(8)
    await bench.start()
    await bench.answer(TOO_LARGE)
    const parking = bench.drain.park('telemetry', 1)
    await bench.answer(FAILS)
    expect(await parking).toBe(true)
    expect(bench.queue.pin?.outerLastSeq).toBe(8)
    bench.sink.auto = () => ACKED
    await bench.answer(ACKED)
    expect([bench.queue.state.delivered, bench.queue.state.deadLettered]).toEqual([7, 1])
  })

  it('is the first one that waits and no other, and there is one', async () => {
    const bench = new Bench()
    bench.append(3)
    bench.sink.auto = () => FAILS
    await bench.start()
    await expect(bench.drain.park('telemetry', 2)).rejects.toThrow('and that is 1, not 2')
    expect(await bench.drain.park('nobody', 1)).toBe(false)
    bench.sink.auto = () => ACKED
    // A try that began before may have failed still.
    for (let i = 0; i < 2; i++) await bench.pass(60_000)
    await expect(bench.drain.park('telemetry', 4)).rejects.toThrow('has no record that waits')
  })

  it('survives a kill before and behind the commit', async () => {
    for (const isCommitted of [false, true]) {
      const bench = new Bench()
      bench.append(3)
      bench.sink.auto = () => FAILS
      await bench.start()
      void bench.drain.park('telemetry', 1)
      await Promise.resolve()
      if (isCommitted) await bench.settle()
      bench.sink.auto = () => ACKED
      await bench.restart()
      await bench.pass(60_000)
      const { delivered, deadLettered } = bench.queue.state
      expect([delivered, deadLettered]).toEqual(isCommitted ? [2, 1] : [3, 0])
    }
  })

  it('works on a folder of a gateway that is stopped', async () => {
    const bench = new Bench()
    bench.append(3)
    await bench.settle()
    const parking = parkFirst(bench.queue, 1, formOfPin(bench.queue))
    await bench.settle()
    await parking
    bench.sink.auto = () => ACKED
    await bench.start()
    expect([bench.queue.state.delivered, bench.queue.state.deadLettered]).toEqual([2, 1])
  })
})
