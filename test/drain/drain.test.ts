import { describe, expect, it } from 'vitest'
import { idempotencyKey } from '../../gateway/sink/http/encode.ts'
import {
  ACKED,
  ackedThrough,
  answer,
  Bench,
  encoder,
  LOST,
  listed,
  MALFORMED,
  REFUSED,
  refusal,
  TOO_LARGE,
  UNAUTHORIZED,
  unavailable,
} from './harness.ts'

describe('batches and pins', () => {
  it('I4: the pin of a batch is durable before its first send', async () => {
    const bench = new Bench()
    bench.append(3)
    bench.store.commit()
    await bench.drain.start()
    await new Promise((resolve) => setImmediate(resolve))
    expect(bench.queue.pin).toMatchObject({ firstSeq: 1, lastSeq: 3 })
    expect(bench.sink.requests).toHaveLength(0)
    bench.store.beginCommit()
    await new Promise((resolve) => setImmediate(resolve))
    expect(bench.sink.requests).toHaveLength(0)
    bench.store.endCommit()
    await new Promise((resolve) => setImmediate(resolve))
    expect(bench.sink.current.seqs).toEqual([1, 2, 3])
  })

  it('I4: the settle of a batch and the pin of the next ride in one commit', async () => {
    const bench = new Bench()
    bench.append(10)
    bench.store.commit()
    bench.append(10)
    bench.store.commit()
    await bench.start()
    const before = bench.store.shared.commits
    await bench.answer(ACKED)
    expect(bench.store.shared.commits).toBe(before + 1)
    expect(bench.sink.current.seqs).toEqual([11, 12, 13, 14, 15, 16, 17, 18, 19, 20])
  })

  it('I4: after a kill the same batch goes out first, byte for byte, whatever came meanwhile', async () => {
    const bench = new Bench()
    bench.append(3)
    await bench.start()
    const first = bench.sink.current
    bench.append(3)
    await bench.settle()
    await bench.restart()
    const again = bench.sink.current
    expect(again.text).toBe(first.text)
    expect(again.batch).toMatchObject({ firstSeq: 1, lastSeq: 3, crc32: first.batch.crc32 })
    expect(bench.eventTypes()).toContain('drain.batch-resumed')
    await bench.answer(ACKED)
    expect(bench.sink.current.seqs).toEqual([4, 5, 6])
  })

  it('waits for company as long as linger says, and not at all for a full batch', async () => {
    const bench = new Bench({ config: { linger: 50 } })
    await bench.start()
    bench.append(4)
    await bench.settle()
    await bench.pass(49)
    expect(bench.sink.requests).toHaveLength(0)
    bench.append(2)
    await bench.settle()
    await bench.pass(1)
    expect(bench.sink.current.seqs).toEqual([1, 2, 3, 4, 5, 6])
    await bench.answer(ACKED)
    bench.append(10)
    await bench.settle()
    expect(bench.sink.current.batch.recordCount).toBe(10)
  })

  it('lingers no longer when the wall clock is set back', async () => {
    const bench = new Bench({ config: { linger: 50 } })
    await bench.start()
    bench.append(1)
    await bench.settle()
    bench.clock.setWall(0)
    await bench.pass(50)
    expect(bench.sink.current.seqs).toEqual([1])
  })

  it('never mixes identities in a batch and drains the older one first', async () => {
    const bench = new Bench()
    bench.append(2)
    bench.store.newIdentity()
    bench.append(2)
    await bench.start()
    expect(bench.sink.current.batch).toMatchObject({ spoolId: 'spool1', firstSeq: 1, lastSeq: 2 })
    await bench.answer(ACKED)
    expect(bench.sink.current.batch).toMatchObject({ spoolId: 'spool2', firstSeq: 1, lastSeq: 2 })
  })

  it('makes a new batch of what is left when a pinned block is found damaged', async () => {
    const bench = new Bench()
    bench.append(3)
    await bench.start()
    expect(bench.sink.current.seqs).toEqual([1, 2, 3])
    bench.queue.damage(2)
    bench.store.commit()
    await bench.restart()
    expect(bench.eventTypes()).toContain('drain.batch-dissolved')
    expect(bench.sink.current.seqs).toEqual([1, 3])
    expect(bench.sink.current.gaps).toContain('2-2;reason=corrupt')
  })

  it('tries again after the spool could not read', async () => {
    const bench = new Bench()
    bench.append(2)
    bench.queue.loadErrors.push(new Error('EIO'))
    await bench.start()
    expect(bench.sink.requests).toHaveLength(0)
    expect(bench.eventTypes()).toContain('drain.queue-failed')
    await bench.pass(1000)
    expect(bench.sink.current.seqs).toEqual([1, 2])
  })

  it('does not spin on a batch that cannot be read, not even as the probe of a hold', async () => {
    const bench = new Bench()
    bench.append(2)
    const hold = {
      reason: 'answer',
      status: 431,
      detail: 'answered 431',
      sinceMs: 1,
      stream: null,
      accepted: null,
    }
    void bench.store.notes.set('drain/hold/cloud/telemetry', JSON.stringify(hold))
    for (let i = 0; i < 5; i++) bench.queue.loadErrors.push(new Error('EIO'))
    await bench.start()
    expect(bench.eventTypes().filter((type) => type === 'drain.queue-failed')).toHaveLength(1)
    expect(bench.streamState.state).toBe('held')
    for (let i = 0; i < 5; i++) await bench.pass(60_000)
    await bench.answer(ACKED)
    expect(bench.streamState.state).toBe('ok')
    expect(bench.queue.pendingRecords).toBe(0)
  })

  it('I4: a batch in flight whose form was changed goes out as a batch of its own', async () => {
    const bench = new Bench()
    bench.append(3)
    await bench.start()
    const { batch: before } = bench.sink.current
    expect(before.formerFingerprints).toEqual([])
    await bench.restart({ encoder: encoder('gzip') })
    const { batch: after, seqs } = bench.sink.current
    expect(seqs).toEqual([1, 2, 3])
    expect(after.formerFingerprints).toEqual([before.fingerprint])
    expect(idempotencyKey(after)).not.toBe(idempotencyKey(before))
    await bench.answer(LOST)
    await bench.pass(60_000)
    expect(idempotencyKey(bench.sink.current.batch)).toBe(idempotencyKey(after))
    await bench.answer(ACKED)
    bench.append(1)
    await bench.settle()
    expect(bench.sink.current.batch.formerFingerprints).toEqual([])
  })

  it('repeats gaps until a request that carried them is fully acked', async () => {
    const bench = new Bench()
    bench.append(4)
    bench.store.commit()
    bench.queue.dropOldest()
    await bench.start()
    expect(bench.sink.current.gaps).toBe('1-1;reason=dropped-oldest')
    await bench.answer(ackedThrough(2))
    expect(bench.sink.current.seqs).toEqual([3, 4])
    expect(bench.sink.current.gaps).toBe('1-1;reason=dropped-oldest')
    await bench.answer(ACKED)
    bench.append(1)
    await bench.settle()
    expect(bench.sink.current.gaps).toBeNull()
  })
})

describe('answers', () => {
  it('I2: a partial ack ends the batch; the remainder is a new one in the same commit, sent at once', async () => {
    const bench = new Bench()
    bench.append(4)
    await bench.start()
    bench.append(1)
    await bench.settle()
    const before = bench.store.shared.commits
    await bench.answer(ackedThrough(2))
    expect(bench.store.shared.commits).toBe(before + 1)
    expect(bench.sink.current.seqs).toEqual([3, 4, 5])
    expect(bench.store.durableState('telemetry').pin).toMatchObject({ firstSeq: 3, lastSeq: 5 })
  })

  it('backs off before it repeats a record listed as 503, even with progress before it', async () => {
    const bench = new Bench()
    bench.append(4)
    await bench.start()
    await bench.answer(listed({ seq: 3, verdict: 'retry', code: '503', reason: null }))
    expect(bench.sink.open).toHaveLength(0)
    expect(bench.queue.state.delivered).toBe(2)
    await bench.pass(1000)
    expect(bench.sink.current.seqs).toEqual([3, 4])
  })

  it('I8: an answer that settles nothing backs off like 503 and sends the same bytes', async () => {
    const bench = new Bench()
    bench.append(2)
    await bench.start()
    const { text } = bench.sink.current
    await bench.answer(ackedThrough(0))
    expect(bench.sink.open).toHaveLength(0)
    expect(bench.streamState.state).toBe('retrying')
    await bench.pass(1000)
    expect(bench.sink.current.text).toBe(text)
  })

  it('I8: a lost answer is tried again for ever, with growing waits up to a minute', async () => {
    const bench = new Bench({ random: () => 0.999_999 })
    bench.append(1)
    await bench.start()
    for (let i = 0; i < 12; i++) {
      await bench.answer(LOST)
      await bench.pass(60_000)
    }
    const times = bench.sink.requests.map(({ atMs }) => atMs)
    const waits = times.slice(1).map((at, i) => at - (times[i] ?? 0))
    expect(Math.max(...waits)).toBeLessThanOrEqual(60_000)
    expect(bench.sink.requests).toHaveLength(13)
    expect(bench.events.filter(({ type }) => type === 'drain.retrying')).toHaveLength(1)
    expect(bench.state).toMatchObject({ state: 'retrying', detail: 'connection reset' })
    await bench.answer(ACKED)
    expect(bench.state).toMatchObject({ state: 'ok', detail: null })
    expect(bench.eventTypes()).toContain('drain.recovered')
  })

  it('holds after five malformed answers in a row, and a restart does not end it', async () => {
    const bench = new Bench()
    bench.append(1)
    await bench.start()
    for (let i = 0; i < 5; i++) {
      await bench.answer(MALFORMED)
      await bench.pass(59_000)
      if (i < 4) expect(bench.sink.open).toHaveLength(1)
    }
    expect(bench.sink.open).toHaveLength(0)
    expect(bench.streamState).toMatchObject({ state: 'held', reason: 'malformed' })
    await bench.restart()
    await bench.answer(MALFORMED)
    expect(bench.streamState).toMatchObject({ state: 'held', reason: 'malformed' })
    await bench.pass(60_000)
    await bench.answer(ACKED)
    expect(bench.streamState.state).toBe('ok')
    expect(bench.queue.pendingRecords).toBe(0)
  })

  it('I8: ackedThrough above everything ever sent is the sign of a clone: held, nothing settled', async () => {
    const bench = new Bench()
    bench.append(3)
    await bench.start()
    await bench.answer(ackedThrough(4))
    expect(bench.streamState).toMatchObject({ state: 'held', reason: 'clone' })
    expect(bench.queue.pendingRecords).toBe(3)
  })

  it('takes ackedThrough above the batch but not above what was ever sent for this batch only', async () => {
    const bench = new Bench()
    bench.append(4)
    await bench.start()
    await bench.answer(ackedThrough(1, [refusal(2)]))
    await bench.answer(ACKED)
    expect(bench.queue.state.delivered).toBe(3)
    bench.append(2)
    await bench.settle()
    await bench.answer(ackedThrough(6))
    expect(bench.queue.pendingRecords).toBe(0)
  })
})

describe('Retry-After', () => {
  it('is never cut short, neither by a success of another stream nor by an operator', async () => {
    const bench = new Bench({ streams: ['telemetry', 'events'], config: { maxInFlight: 2 } })
    bench.append(1)
    bench.append(1, 'events')
    await bench.start()
    const [a, b] = bench.sink.open
    a?.answer(unavailable(90_000))
    b?.answer(ACKED)
    await bench.settle()
    bench.append(1, 'events')
    await bench.settle()
    bench.drain.retryNow('cloud')
    bench.sink.change()
    await bench.pass(89_999)
    expect(bench.sink.requests).toHaveLength(2)
    await bench.pass(1)
    expect(bench.sink.requests.length).toBeGreaterThan(2)
  })

  it('binds a sink that is held, too, if it comes with the answer to an earlier request', async () => {
    const bench = new Bench({ streams: ['telemetry', 'events'], config: { maxInFlight: 2 } })
    bench.append(1)
    bench.append(1, 'events')
    await bench.start()
    const [a, b] = bench.sink.open
    a?.answer(UNAUTHORIZED)
    await bench.settle()
    b?.answer(unavailable(90_000))
    await bench.settle()
    await bench.pass(89_999)
    expect(bench.sink.requests).toHaveLength(2)
    await bench.pass(1)
    expect(bench.sink.requests).toHaveLength(3)
  })

  it('survives a restart: what is left of it is waited for, and after a reboot the full wait', async () => {
    const bench = new Bench()
    bench.append(1)
    await bench.start()
    await bench.answer(unavailable(100_000))
    await bench.pass(30_000)
    await bench.restart({ downMs: 20_000 })
    await bench.pass(49_999)
    expect(bench.sink.requests).toHaveLength(0)
    await bench.restart({ reboot: true, downMs: 500_000 })
    await bench.pass(99_999)
    expect(bench.sink.requests).toHaveLength(0)
    await bench.pass(1)
    expect(bench.sink.requests).toHaveLength(1)
    await bench.answer(ACKED)
    await bench.restart({ reboot: true })
    bench.append(1)
    await bench.settle()
    expect(bench.sink.requests).toHaveLength(1)
  })

  it('beside verdicts it delays what is sent again', async () => {
    const bench = new Bench()
    bench.append(3)
    await bench.start()
    await bench.answer(
      answer({ kind: 'verdicts', ackedThrough: 1, listed: [], retryAfterMs: 20_000 }),
    )
    await bench.pass(19_999)
    expect(bench.sink.open).toHaveLength(0)
    await bench.pass(1)
    expect(bench.sink.current.seqs).toEqual([2, 3])
  })

  it('spreads many gateways that were told the same moment over recoveryJitter', async () => {
    const bench = new Bench({ config: { recoveryJitter: 40_000 } })
    bench.append(1)
    await bench.start()
    await bench.answer(unavailable(10_000))
    await bench.pass(29_999)
    expect(bench.sink.open).toHaveLength(0)
    await bench.pass(1)
    expect(bench.sink.open).toHaveLength(1)
  })
})

describe('holds of a sink', () => {
  it('I8: an authentication error holds the whole sink; one probe a minute, not one per stream', async () => {
    const streams = ['a', 'b', 'c'].map((name) => ({ name, sink: 'cloud' }))
    const bench = new Bench({ streams, config: { maxInFlight: 3 } })
    for (const { name } of streams) bench.append(2, name)
    await bench.start()
    expect(bench.sink.open).toHaveLength(3)
    for (const request of bench.sink.open) request.answer(UNAUTHORIZED)
    await bench.settle()
    expect(bench.state).toMatchObject({ state: 'held', reason: 'answer', detail: 'answered 401' })
    // Every second probe is another stream's: it may be this batch alone that is answered so.
    for (const stream of ['a', 'b', 'a', 'c']) {
      await bench.pass(59_999)
      expect(bench.sink.open).toHaveLength(0)
      await bench.pass(1)
      expect(bench.sink.current.batch).toMatchObject({ stream, firstSeq: 1 })
      await bench.answer(UNAUTHORIZED)
    }
    expect(bench.events.filter(({ type }) => type === 'drain.held')).toHaveLength(1)
    await bench.pass(60_000)
    bench.sink.auto = () => ACKED
    await bench.answer(ACKED)
    expect(bench.state.state).toBe('ok')
    for (const { name } of streams) expect(bench.store.queue(name).pendingRecords).toBe(0)
  })

  it('probes again at once when it is asked to while a probe is on its way', async () => {
    const bench = new Bench()
    bench.append(1)
    await bench.start()
    await bench.answer(UNAUTHORIZED)
    await bench.pass(60_000)
    expect(bench.sink.open).toHaveLength(1)
    await bench.pass(10)
    bench.drain.retryNow('cloud')
    await bench.answer(UNAUTHORIZED)
    expect(bench.sink.open).toHaveLength(1)
    await bench.answer(UNAUTHORIZED)
    expect(bench.sink.open).toHaveLength(0)
  })

  it('probes at once after a changed secret, an operator, and a restart', async () => {
    const bench = new Bench()
    bench.append(1)
    await bench.start()
    await bench.answer(UNAUTHORIZED)
    bench.sink.change()
    await bench.settle()
    await bench.answer(UNAUTHORIZED)
    bench.drain.retryNow('cloud')
    await bench.settle()
    await bench.answer(UNAUTHORIZED)
    expect(bench.sink.open).toHaveLength(0)
    const { sinceMs } = bench.state
    await bench.restart({ downMs: 5_000 })
    expect(bench.state).toMatchObject({ state: 'held', sinceMs })
    await bench.answer(ACKED)
    expect(bench.state.state).toBe('ok')
    await bench.restart()
    expect(bench.state.state).toBe('ok')
  })

  it('goes on being held when the probe gets no answer at all, and ends with a 503', async () => {
    const bench = new Bench()
    bench.append(1)
    await bench.start()
    await bench.answer(UNAUTHORIZED)
    await bench.pass(60_000)
    await bench.answer(LOST)
    expect(bench.state).toMatchObject({ state: 'held', detail: 'connection reset' })
    await bench.pass(59_999)
    expect(bench.sink.open).toHaveLength(0)
    await bench.pass(1)
    await bench.answer(unavailable())
    expect(bench.state.state).toBe('retrying')
  })

  it('one stream whose batch always times out does not stop the others', async () => {
    const bench = new Bench({ streams: ['slow', 'good'] })
    bench.append(1, 'slow')
    for (let i = 0; i < 30; i++) {
      bench.append(1, 'good')
      bench.store.commit()
    }
    bench.sink.auto = (batch) => (batch.stream === 'slow' ? LOST : ACKED)
    await bench.start()
    for (let i = 0; i < 20; i++) await bench.pass(1_000)
    expect(bench.store.queue('good').pendingRecords).toBe(0)
    expect(bench.store.queue('slow').pendingRecords).toBe(1)
    const slow = bench.sink.requests.filter(({ batch }) => batch.stream === 'slow').length
    expect(slow).toBeLessThan(15)
  })
})

describe('refused records', () => {
  it('I9: one bad record is found by halving, parked, and a dead letter once a later one was accepted', async () => {
    const bench = new Bench()
    bench.append(8)
    bench.sink.auto = (_, request) => (request.seqs.includes(6) ? REFUSED : ACKED)
    await bench.start()
    expect(bench.queue.state.deadLetters.map(({ record }) => record.seq)).toEqual([6])
    expect(bench.queue.state.delivered).toBe(7)
    expect(bench.queue.pendingRecords).toBe(0)
    expect(bench.eventTypes()).toEqual(['drain.parked', 'drain.dead-lettered'])
  })

  it('I8: the last record of a stream stays parked until a later one was accepted', async () => {
    const bench = new Bench()
    bench.append(2)
    bench.sink.auto = (_, request) => (request.seqs.includes(2) ? REFUSED : ACKED)
    await bench.start()
    expect(bench.queue.parked.map(({ seq }) => seq)).toEqual([2])
    await bench.restart()
    expect(bench.queue.parked.map(({ seq }) => seq)).toEqual([2])
    bench.append(1)
    await bench.settle()
    expect(bench.queue.parked).toEqual([])
    expect(bench.queue.state.deadLettered).toBe(1)
  })

  it('I9: a record parked under an earlier identity becomes a dead letter with the next one', async () => {
    const bench = new Bench()
    bench.append(1)
    bench.sink.auto = (batch) => (batch.spoolId === 'spool1' ? REFUSED : ACKED)
    await bench.start()
    expect(bench.queue.parked).toHaveLength(1)
    bench.store.newIdentity()
    bench.append(1)
    await bench.settle()
    expect(bench.queue.parked).toHaveLength(0)
    expect(bench.queue.state.deadLetters[0]?.record.spoolId).toBe('spool1')
  })

  it('a refused record is parked durably before any later record of its stream is sent', async () => {
    const bench = new Bench()
    bench.append(3)
    await bench.start()
    await bench.answer(ackedThrough(1, [refusal(2)]))
    expect(bench.store.durableState('telemetry').parked.map(({ record }) => record.seq)).toEqual([
      2,
    ])
    expect(bench.sink.current.seqs).toEqual([3])
  })

  it('413 halves, and the learned limit is kept across a restart', async () => {
    const bench = new Bench({ config: { maxBatchRecords: 1000 } })
    bench.append(16, 'telemetry', { pad: 'x'.repeat(100) })
    bench.sink.auto = (batch) => (batch.bodyBytes > 700 ? TOO_LARGE : ACKED)
    await bench.start()
    expect(bench.queue.pendingRecords).toBe(0)
    const learned = bench.state.learnedBatchBytes
    expect(learned).toBeLessThanOrEqual(1400)
    await bench.restart()
    expect(bench.state.learnedBatchBytes).toBe(learned)
    bench.append(16, 'telemetry', { pad: 'x'.repeat(100) })
    await bench.settle()
    expect(bench.queue.pendingRecords).toBe(0)
    expect(bench.sink.requests[0]?.batch.bodyBytes).toBeLessThanOrEqual(1400)
  })

  it('I8: a single record answered 413 is parked like any other and kept whole', async () => {
    const bench = new Bench()
    bench.append(1, 'telemetry', { pad: 'x'.repeat(3000) })
    bench.append(2)
    bench.sink.auto = (batch) => (batch.bodyBytes > 2000 ? TOO_LARGE : ACKED)
    await bench.start()
    expect(bench.queue.state.deadLetters.map(({ record }) => record.line.length > 3000)).toEqual([
      true,
    ])
    expect(bench.events).toContainEqual(
      expect.objectContaining({ type: 'drain.parked', seq: 1, tooLarge: true }),
    )
    expect(bench.queue.state.delivered).toBe(2)
  })

  it('holds the stream when its dead letters have no room, and goes on when there is room again', async () => {
    const streams = [{ name: 'telemetry', sink: 'cloud', deadLetterBytes: 130 }]
    const bench = new Bench({ streams })
    bench.append(12)
    bench.sink.auto = (_, request) => {
      const bad = request.seqs.filter((seq) => seq % 3 === 0)
      return listed(...bad.map((seq) => refusal(seq)))
    }
    await bench.start()
    expect(bench.streamState).toMatchObject({ state: 'held', reason: 'dead-letters-full' })
    const kept = bench.queue.state.deadLetters.length
    expect(kept).toBeGreaterThan(0)
    expect(bench.queue.parked).toHaveLength(3 - kept)
    const sent = bench.sink.requests.length
    await bench.pass(120_000)
    await bench.restart()
    expect(bench.sink.requests).toHaveLength(0)
    expect(sent).toBe(1)
    while (bench.queue.takeDeadLetter()) {}
    await bench.pass(60_000)
    expect(bench.queue.state.dropped).toBe(0)
    expect(bench.queue.state.deadLettered).toBeGreaterThan(kept)
    expect(bench.queue.state.deadLettered + bench.queue.parked.length).toBe(4)
  })
})

describe('dead letters without room', () => {
  it('I6, I9: make room piece by piece, also when what waits would never have room all at once', async () => {
    const streams = [{ name: 'telemetry', sink: 'cloud', deadLetterBytes: 300 }]
    const bench = new Bench({ streams, config: { maxBatchRecords: 100, maxRefusedShare: 1 } })
    bench.append(40)
    bench.sink.auto = (_, request) =>
      listed(...request.seqs.filter((seq) => seq < 30).map((seq) => refusal(seq)))
    await bench.start()
    const seen: number[] = []
    for (let round = 0; bench.queue.parked.length > 0; round++) {
      expect(round).toBeLessThan(29)
      expect(bench.streamState).toMatchObject({ state: 'held', reason: 'dead-letters-full' })
      const kept = bench.queue.state.deadLetters
      expect(kept.length).toBeGreaterThan(0)
      expect(kept.reduce((sum, { record }) => sum + record.line.length, 0)).toBeLessThanOrEqual(300)
      seen.push(...kept.map(({ record }) => record.seq))
      while (bench.queue.takeDeadLetter()) {}
      bench.append(1)
      await bench.settle()
      // Nothing is sent into the hold.
      if (bench.queue.parked.length > 0) expect(bench.sink.requests).toHaveLength(1)
    }
    expect(bench.streamState.state).toBe('ok')
    seen.push(...bench.queue.state.deadLetters.map(({ record }) => record.seq))
    expect(seen).toEqual(Array.from({ length: 29 }, (_, i) => i + 1))
    expect(bench.queue.state.deadLettered).toBe(29)
  })

  it('I9: one that alone is above the limit is kept, or the stream would wait for ever', async () => {
    const streams = [{ name: 'telemetry', sink: 'cloud', deadLetterBytes: 10 }]
    const bench = new Bench({ streams })
    bench.append(3)
    bench.sink.auto = (_, request) =>
      listed(...request.seqs.filter((seq) => seq === 2).map((seq) => refusal(seq)))
    await bench.start()
    expect(bench.queue.state.deadLettered).toBe(1)
    expect(bench.streamState.state).toBe('ok')
  })
})

describe('a sink that refuses everything', () => {
  const many = { config: { maxBatchRecords: 1000 } }

  it('I8: is held after 100 parked records; nothing is dead-lettered and everything is back in order', async () => {
    const bench = new Bench(many)
    bench.append(500)
    bench.sink.auto = () => REFUSED
    await bench.start()
    expect(bench.streamState).toMatchObject({ state: 'held', reason: 'refusals' })
    expect(bench.streamState.detail).toContain('without accepting one (the last: answered 400)')
    expect(bench.queue.state.deadLettered).toBe(0)
    expect(bench.queue.parked).toEqual([])
    expect(bench.queue.pending.map(({ seq }) => seq)).toEqual(
      Array.from({ length: 500 }, (_, i) => i + 1),
    )
    expect(bench.eventTypes().filter((type) => type === 'drain.parked')).toHaveLength(99)
    const sent = bench.sink.requests.length
    await bench.pass(60_000)
    expect(bench.sink.requests.length).toBe(sent + 1)
    expect(bench.sink.requests.at(-1)?.seqs[0]).toBe(1)
    await bench.restart()
    expect(bench.streamState).toMatchObject({ state: 'held', reason: 'refusals' })
  })

  it('I8: with verdicts by name it is held at once and not one of 500 refusals is believed', async () => {
    const bench = new Bench(many)
    bench.append(500)
    bench.sink.auto = (_, request) => listed(...request.seqs.map((seq) => refusal(seq)))
    await bench.start()
    expect(bench.streamState.reason).toBe('refusals')
    expect(bench.queue.pendingRecords).toBe(500)
    expect(bench.queue.state.deadLettered).toBe(0)
  })

  it('I8: refusing more than maxRefusedShare of the last records holds the stream', async () => {
    const bench = new Bench({ config: { maxRefusedShare: 0.1 } })
    bench.append(400)
    bench.sink.auto = (_, request) => {
      return listed(...request.seqs.filter((seq) => seq % 5 === 0).map((seq) => refusal(seq)))
    }
    await bench.start()
    expect(bench.streamState).toMatchObject({ state: 'held', reason: 'refusals' })
    // From 100 judged records on: what was dead-lettered before is all there is.
    expect(bench.queue.state.deadLettered).toBeLessThanOrEqual(20)
    expect(bench.queue.parked).toEqual([])
  })

  it('the probe ends the hold once a record is acked', async () => {
    const bench = new Bench(many)
    bench.append(300)
    bench.sink.auto = () => REFUSED
    await bench.start()
    bench.sink.auto = () => ACKED
    await bench.pass(60_000)
    expect(bench.streamState.state).toBe('ok')
    expect(bench.queue.state.delivered).toBe(300)
    expect(bench.queue.pendingRecords).toBe(0)
  })

  it('smaller and smaller probes find that the sink is well again behind one bad record', async () => {
    const bench = new Bench(many)
    bench.append(300)
    bench.sink.auto = () => REFUSED
    await bench.start()
    bench.sink.auto = (_, request) => (request.seqs.includes(200) ? REFUSED : ACKED)
    for (let i = 0; i < 4; i++) await bench.pass(60_000)
    expect(bench.streamState.state).toBe('ok')
    expect(bench.queue.state.deadLetters.map(({ record }) => record.seq)).toEqual([200])
    expect(bench.queue.state.delivered).toBe(299)
  })

  it('sinks retry: one full round of halving without the limit gets past more than 100 bad records', async () => {
    const bench = new Bench(many)
    bench.append(300)
    bench.sink.auto = (_, request) => (request.seqs.some((seq) => seq <= 150) ? REFUSED : ACKED)
    await bench.start()
    expect(bench.streamState.reason).toBe('refusals')
    await bench.pass(600_000)
    expect(bench.streamState.reason).toBe('refusals')
    expect(bench.queue.state.deadLettered).toBe(0)
    bench.drain.retryNow('cloud')
    await bench.settle()
    expect(bench.streamState.state).toBe('ok')
    expect(bench.queue.state.delivered).toBe(150)
    expect(bench.queue.state.deadLettered).toBe(150)
  })

  it('I8 I9: while it is held no record is dropped that a sink may have stored', async () => {
    const config = { maxBatchRecords: 6, maxRefusedShare: 1 }
    const bench = new Bench({ rules: { parkedLimit: 4 }, config })
    bench.append(2)
    await bench.start()
    await bench.answer(listed(refusal(1), refusal(2)))
    bench.append(6)
    await bench.settle()
    // It stored 5 to 8 behind the refusal that was one too many.
    await bench.answer(listed(refusal(3), refusal(4)))
    expect(bench.streamState.reason).toBe('refusals')
    expect(bench.queue.pin).toMatchObject({ firstSeq: 1, lastSeq: 2, outerLastSeq: 2 })
    bench.append(2)
    await bench.settle()
    const dropped = [bench.queue.dropOldest(), bench.queue.dropOldest(), bench.queue.dropOldest()]
    expect(dropped.map((record) => record?.seq)).toEqual([9, 10, undefined])
  })

  it('a round that finds nothing good gives everything back', async () => {
    const bench = new Bench(many)
    bench.append(150)
    bench.sink.auto = () => REFUSED
    await bench.start()
    bench.drain.retryNow('cloud')
    await bench.settle()
    expect(bench.streamState.reason).toBe('refusals')
    expect(bench.queue.parked).toEqual([])
    expect(bench.queue.pending.map(({ seq }) => seq)).toEqual(
      Array.from({ length: 150 }, (_, i) => i + 1),
    )
    const parked = bench.eventTypes().filter((type) => type === 'drain.parked')
    expect(parked.length).toBeGreaterThanOrEqual(150)
  })
})

describe('pace and end', () => {
  it('maxBytesPerSecond caps what is sent', async () => {
    const bench = new Bench({ config: { maxBytesPerSecond: 1000, maxBatchRecords: 10 } })
    bench.append(100, 'telemetry', { pad: 'x'.repeat(50) })
    bench.sink.auto = () => ACKED
    await bench.start()
    for (let i = 0; i < 10; i++) await bench.pass(500)
    const sent = bench.sink.requests.reduce((sum, { batch }) => sum + batch.bodyBytes, 0)
    const largest = Math.max(...bench.sink.requests.map(({ batch }) => batch.bodyBytes))
    expect(sent).toBeGreaterThan(4000)
    expect(sent).toBeLessThanOrEqual(5000 + largest)
  })

  it('stop lets a request in progress end and settles it', async () => {
    const bench = new Bench()
    bench.append(2)
    await bench.start()
    const stopped = bench.drain.stop(10_000)
    bench.append(2)
    await bench.answer(ACKED)
    await stopped
    expect(bench.store.durableState('telemetry').delivered).toBe(2)
    expect(bench.sink.open).toHaveLength(0)
  })

  it('stop cuts a request off at the deadline; its batch stays pinned', async () => {
    const bench = new Bench()
    bench.append(2)
    await bench.start()
    const request = bench.sink.current
    const stopped = bench.drain.stop(10_000)
    await bench.pass(9_999)
    expect(request.signal.aborted).toBe(false)
    await bench.pass(1)
    expect(request.signal.aborted).toBe(true)
    await stopped
    expect(bench.queue.pin).toMatchObject({ firstSeq: 1, lastSeq: 2 })
  })
})
