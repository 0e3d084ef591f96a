/**
 * How delivery stands, as status and metrics say it: a sink and its streams never contradict each
 * other.
 */
import { describe, expect, it } from 'vitest'
import { ACKED, Bench, LOST, UNAUTHORIZED, unavailable } from './harness.ts'

const twoStreams = [
  { name: 'a', sink: 'cloud', priority: 0 },
  { name: 'b', sink: 'cloud', priority: 1 },
]

describe('how delivery stands', () => {
  it('I8: a sink that answers 500 to everything is retrying, since its first failure', async () => {
    const bench = new Bench({ streams: twoStreams })
    bench.append(1, 'a')
    bench.sink.auto = () => ACKED
    await bench.start()
    expect(bench.state.state).toBe('ok')
    bench.sink.auto = () => unavailable(null, 500)
    await bench.pass(1_000)
    bench.append(1, 'a')
    await bench.settle()
    const sinceMs = bench.clock.wallMs()
    bench.append(1, 'b')
    for (let i = 0; i < 10; i++) await bench.pass(10_000)
    expect(bench.state).toMatchObject({ state: 'retrying', sinceMs, detail: 'answered 500' })
    expect(bench.state.nextTryAtMs).toBeGreaterThan(bench.clock.wallMs())
    bench.sink.auto = () => ACKED
    await bench.pass(120_000)
    expect(bench.state).toMatchObject({
      state: 'ok',
      sinceMs: null,
      detail: null,
      nextTryAtMs: null,
    })
  })

  it('a stream that fails while others get through is its own trouble: the sink is ok', async () => {
    const bench = new Bench({ streams: twoStreams })
    bench.sink.auto = ({ stream }) => (stream === 'a' ? unavailable(null, 500) : ACKED)
    await bench.start()
    bench.append(1, 'a')
    bench.append(1, 'b')
    await bench.settle()
    expect(bench.state.state).toBe('ok')
    expect(bench.state.streams.map(({ state }) => state)).toEqual(['retrying', 'ok'])
  })

  it('no stream does better than its sink: down or held, each of them says so, with the reason', async () => {
    const bench = new Bench({ streams: twoStreams })
    bench.append(1, 'a')
    bench.sink.auto = () => LOST
    await bench.start()
    expect(bench.state.streams).toMatchObject([
      { stream: 'a', state: 'retrying', detail: 'connection reset' },
      { stream: 'b', state: 'retrying', detail: 'connection reset' },
    ])
    bench.sink.auto = () => UNAUTHORIZED
    await bench.pass(60_000)
    const { nextTryAtMs } = bench.state
    const held = { state: 'held', reason: 'answer', detail: 'answered 401', nextTryAtMs }
    expect(bench.state.streams).toMatchObject([
      { stream: 'a', ...held },
      { stream: 'b', ...held },
    ])
  })

  it('a hold that the sink watches names no next try, until an answer says otherwise', async () => {
    const bench = new Bench({ streams: twoStreams })
    bench.append(1, 'a')
    bench.sink.auto = () => ({ ...UNAUTHORIZED, watched: true })
    await bench.start()
    expect(bench.state).toMatchObject({ state: 'held', nextTryAtMs: null })
    expect(bench.state.streams.map(({ nextTryAtMs }) => nextTryAtMs)).toEqual([null, null])
    bench.sink.auto = () => UNAUTHORIZED
    await bench.pass(60_000)
    expect(bench.state.state).toBe('held')
    expect(bench.state.nextTryAtMs).toBeGreaterThan(bench.clock.wallMs())
  })

  it('a stream held for refusals whose sink then wants other credentials says that first, and the rest besides', async () => {
    const bench = new Bench({ rules: { parkedLimit: 2 } })
    bench.append(4)
    const refused = {
      code: '422',
      sinkDateMs: null,
      kind: 'refused',
      detail: 'answered 422',
    } as const
    bench.sink.auto = () => refused
    await bench.start()
    expect(bench.streamState).toMatchObject({ state: 'held', reason: 'refusals' })
    const own = bench.streamState.detail
    bench.sink.auto = () => UNAUTHORIZED
    await bench.pass(60_000)
    expect(bench.state).toMatchObject({ state: 'held', detail: 'answered 401' })
    expect(bench.streamState).toMatchObject({
      state: 'held',
      reason: 'answer',
      detail: `answered 401; besides: ${own}`,
    })
    bench.sink.auto = () => LOST
    await bench.pass(60_000)
    bench.sink.auto = () => unavailable(null, 500)
    await bench.pass(60_000)
    expect(bench.streamState).toMatchObject({ state: 'held', reason: 'refusals' })
  })
})
