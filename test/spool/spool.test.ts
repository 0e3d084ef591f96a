import { uptime } from 'node:os'
import { describe, expect, it } from 'vitest'
import { parseCommitKey } from '../../gateway/spool/store/keys.ts'
import { keptByCounters, pendingByCounters } from '../../gateway/spool/stream/counters.ts'
import { addGap, MAX_GAPS_IN_STATE } from '../../gateway/spool/stream/transitions.ts'
import { heldStores } from '../support/held-store.ts'
import {
  bodyOf,
  durable,
  ENCODER,
  gapsOf,
  lanes,
  linesOf,
  message,
  openSpool,
  pinNext,
  queueOf,
  SINK,
  STREAM,
  settleAll,
} from '../support/spool-fixture.ts'
import { useFolder } from '../support/spool-test.ts'

const folder = useFolder()

describe('a spool', () => {
  it('gives back what was appended, in order, after it was stopped and opened again', async () => {
    const first = await openSpool(folder.path)
    const to = lanes(first.spool, 'press-7', 'plant/press-7/temp')
    let ticket = 0
    for (let n = 1; n <= 1000; n++) ticket = first.spool.appender.append(to, message(`{"n":${n}}`))
    await durable(first.spool, ticket)
    expect(queueOf(first.spool).pendingRecords).toBe(1000)
    await first.spool.stop()

    const { spool } = await openSpool(folder.path)
    const queue = queueOf(spool)
    expect(queue.pendingRecords).toBe(1000)
    const batch = await pinNext(queue, 700)
    if (!batch) throw new Error('nothing pending')
    const lines = await linesOf(batch)
    expect(lines.map((l) => l.seq)).toEqual(Array.from({ length: 700 }, (_, i) => i + 1))
    expect(lines[41]).toMatchObject({
      id: `edge-01:${spool.spoolId}:telemetry:42`,
      seq: 42,
      device: 'press-7',
      topic: 'plant/press-7/temp',
      qos: 1,
      receivedAt: '2026-11-23T03:05:00.123Z',
      payload: { n: 42 },
    })
    await settleAll(queue, batch)
    const rest = await pinNext(queue, 700)
    if (!rest) throw new Error('nothing pending')
    expect((await linesOf(rest)).map((l) => l.seq)).toEqual(
      Array.from({ length: 300 }, (_, i) => i + 701),
    )
    await settleAll(queue, rest)
    expect(queue.pendingRecords).toBe(0)
    const { counters } = queue.spool.view
    expect(counters).toMatchObject({ received: 1000, delivered: 1000 })
    expect(pendingByCounters(counters)).toBe(0)
    await spool.stop()
  })

  it('I4: sends the batch in flight again with the same bytes after a stop without a settle', async () => {
    const first = await openSpool(folder.path)
    const to = lanes(first.spool, 'd', 't')
    let ticket = 0
    for (let n = 1; n <= 2000; n++)
      ticket = first.spool.appender.append(to, message(`{"n":${n},"x":"${'y'.repeat(n % 90)}"}`))
    await durable(first.spool, ticket)
    const batch = await pinNext(queueOf(first.spool), 1234)
    await first.spool.stop()
    const { spool } = await openSpool(folder.path)
    const queue = queueOf(spool)
    expect(queue.pin).toEqual(batch?.pin)
    const again = queue.pin && (await queue.load(queue.pin, ENCODER))
    expect(again && (await bodyOf(again))).toEqual(batch && (await bodyOf(batch)))
    expect(again?.batch.crc32).toBe(batch?.batch.crc32)
    await spool.stop()
  })

  it('marks records that were received while the wall clock was unset, with boot and uptime', async () => {
    const { spool } = await openSpool(folder.path)
    const to = lanes(spool, 'd', 't')
    spool.appender.append(to, message('1', { receivedAtMs: 12_345 }))
    await durable(spool, spool.appender.append(to, message('2')))
    const batch = await pinNext(queueOf(spool), 2)
    const [unset, set] = batch ? await linesOf(batch) : []
    expect(unset).toMatchObject({
      receivedAt: '1970-01-01T00:00:12.345Z',
      clock: 'unset',
      bootId: expect.any(String),
    })
    expect(unset).toHaveProperty('uptimeMs', expect.any(Number))
    expect(set).not.toHaveProperty('clock')
    await spool.stop()
  })

  it('dates a record without a clock by the uptime of its arrival, also if it waited since', async () => {
    const { spool } = await openSpool(folder.path)
    const to = lanes(spool, 'd', 't')
    const fromMs = uptime() * 1000
    const arrivedMs = performance.now()
    const toMs = uptime() * 1000
    await new Promise((resolve) => setTimeout(resolve, 300))
    await durable(
      spool,
      spool.appender.append(to, message('1', { receivedAtMs: 12_345, arrivedMs })),
    )
    const batch = await pinNext(queueOf(spool), 1)
    const [line] = batch ? await linesOf(batch) : []
    const { uptimeMs } = line as unknown as { readonly uptimeMs: number }
    // /proc/uptime has hundredths, and is read a moment beside the other clock.
    expect(uptimeMs).toBeGreaterThan(fromMs - 100)
    expect(uptimeMs).toBeLessThan(toMs + 100)
    await spool.stop()
  })

  it('I5, I9: parks a refused record, and makes it a dead letter that can be requeued under a new id', async () => {
    const { spool } = await openSpool(folder.path)
    const to = lanes(spool, 'd', 't')
    let ticket = 0
    for (let n = 1; n <= 10; n++) ticket = spool.appender.append(to, message(`{"n":${n}}`))
    await durable(spool, ticket)
    const queue = queueOf(spool)
    const batch = await pinNext(queue, 5)
    if (!batch) throw new Error('nothing pending')
    const line = await batch.line(3)
    const refused = [{ seq: 3, code: '422', reason: 'no', line }]
    await queue.settle({
      throughSeq: 5,
      refused,
      deadLetter: [],
      gapsReported: true,
      keepOuterLastSeq: null,
    })
    expect(queue.parked.map((p) => p.seq)).toEqual([3])
    expect(queue.spool.view.counters).toMatchObject({ delivered: 4, deadLettered: 0 })
    expect(pendingByCounters(queue.spool.view.counters)).toBe(6)

    const rest = await pinNext(queue, 5)
    if (!rest) throw new Error('nothing pending')
    await queue.settle({
      throughSeq: 10,
      refused: [],
      deadLetter: [3],
      gapsReported: true,
      keepOuterLastSeq: null,
    })
    expect(queue.parked).toEqual([])
    expect(queue.spool.view.counters).toMatchObject({ delivered: 9, deadLettered: 1 })
    expect(queue.spool.state.gaps).toEqual([
      { identity: 0, first: 3, last: 3, reason: 'dead-lettered' },
    ])
    const [letter] = await spool.deadLetters.list('telemetry', null, 10)
    expect(letter).toMatchObject({ seq: 3, status: 422, reason: 'no', origin: 'refused' })

    expect(await spool.deadLetters.requeue('telemetry', 'all')).toEqual({
      requeued: 1,
      skipped: [],
    })
    expect(keptByCounters(queue.spool.view.counters)).toBe(0)
    const requeued = await pinNext(queue, 5)
    expect(requeued && (await linesOf(requeued))).toEqual([
      expect.objectContaining({
        seq: 11,
        requeuedFrom: `edge-01:${spool.spoolId}:telemetry:3`,
        payload: { n: 3 },
      }),
    ])
    expect(requeued && gapsOf(requeued)).toBe('3-3;reason=dead-lettered')
    await spool.stop()
  })

  it('I9: reports every gap once and in order, however many there are, without writing them all with each commit', async () => {
    const { spool } = await openSpool(folder.path)
    const queue = queueOf(spool)
    const { state } = queue.spool
    // More than requests can carry for a while, as from a sink that refuses every other record.
    const count = 2 * MAX_GAPS_IN_STATE + 700
    for (let i = 0; i < count; i++) {
      addGap(state, { identity: 0, first: 10 * i + 1, last: 10 * i + 1, reason: 'dead-lettered' })
      if (i % 300 === 299) {
        spool.appender.append(lanes(spool, 'd', 't'), message('0'))
        await spool.committer.durable()
      }
    }
    await durable(spool, spool.appender.append(lanes(spool, 'd', 't'), message('0')))
    expect(state.gapPages.next).toBeGreaterThan(state.gapPages.first)
    expect(state.gaps.length + state.gapsTail.length).toBeLessThan(2.5 * MAX_GAPS_IN_STATE)
    await spool.stop()
    const again = await openSpool(folder.path)
    const reopened = queueOf(again.spool)
    const reported: string[] = []
    for (let i = 0; i < 200 && reported.length < count; i++) {
      await durable(
        again.spool,
        again.spool.appender.append(lanes(again.spool, 'd', 't'), message('1')),
      )
      const batch = await pinNext(reopened, 1)
      if (!batch) throw new Error('nothing pending')
      reported.push(...(gapsOf(batch)?.split(', ') ?? []))
      await settleAll(reopened, batch)
    }
    expect(reported).toEqual(
      Array.from({ length: count }, (_, i) => `${10 * i + 1}-${10 * i + 1};reason=dead-lettered`),
    )
    await again.spool.stop()
  })

  it('I9: makes a record that was parked under an earlier spool id a dead letter, too', async () => {
    const { spool } = await openSpool(folder.path)
    const to = lanes(spool, 'd', 't')
    const queue = queueOf(spool)
    await durable(spool, spool.appender.append(to, message('1')))
    const batch = await pinNext(queue, 1)
    if (!batch) throw new Error('nothing pending')
    const refused = [{ seq: 1, code: '422', reason: 'no', line: await batch.line(1) }]
    await queue.settle({
      throughSeq: 1,
      refused,
      deadLetter: [],
      gapsReported: true,
      keepOuterLastSeq: null,
    })
    const { spoolId } = batch.pin
    await spool.newId('test')
    await durable(spool, spool.appender.append(to, message('2')))
    await pinNext(queue, 1)
    await queue.settle({
      throughSeq: 1,
      refused: [],
      deadLetter: [],
      deadLetterEarlier: [{ spoolId, seq: 1 }],
      gapsReported: true,
      keepOuterLastSeq: null,
    })
    expect(queue.parked).toEqual([])
    expect(queue.spool.state.gaps).toEqual([
      { identity: 0, first: 1, last: 1, reason: 'dead-lettered' },
    ])
    await durable(spool, spool.appender.append(to, message('3')))
    const next = await pinNext(queue, 1)
    expect(next && gapsOf(next)).toBe(`1-1;reason=dead-lettered;spool=${spoolId}`)
    await spool.stop()
  })

  it('I9: keeps a message that is too large whole while there is room, and requeues it', async () => {
    const streams = { telemetry: { ...STREAM, maxRecordBytes: 2000 } }
    const { spool } = await openSpool(folder.path, { streams })
    const text = '"'.padEnd(2001, 'x')
    await durable(spool, spool.appender.append(lanes(spool, 'd', 't'), message(text)))
    const [letter] = await spool.deadLetters.list('telemetry', null, 10)
    expect(letter?.truncated).toBeNull()
    const { payloadBase64 } = JSON.parse(letter?.line ?? '') as { payloadBase64: string }
    expect(Buffer.from(payloadBase64, 'base64').toString()).toBe(text)
    expect(await spool.deadLetters.requeue('telemetry', 'all')).toEqual({
      requeued: 1,
      skipped: [],
    })
    await spool.stop()
  })

  it('I6, I9: with hold a refused message waits for room among the dead letters, and none is removed', async () => {
    const deadLetters = { maxBytes: 8_000, maxAge: null, whenFull: 'hold' as const }
    const streams = {
      telemetry: { ...STREAM, payload: 'json' as const, maxRecordBytes: 2000, deadLetters },
    }
    const { spool, events } = await openSpool(folder.path, { streams })
    const to = lanes(spool, 'd', 't')
    const bad = message(`no JSON ${'x'.repeat(500)}`)
    let kept = 0
    let ticket = 0
    for (
      let next = spool.appender.append(to, bad);
      next !== 0;
      next = spool.appender.append(to, bad)
    ) {
      ticket = next
      kept++
    }
    await durable(spool, ticket)
    expect(kept).toBeGreaterThan(3)
    expect(events).toContainEqual({
      type: 'spool.dead-letters-full',
      stream: 'telemetry',
      maxBytes: 8_000,
    })
    await spool.deadLetters.tidy()
    expect(await spool.deadLetters.list('telemetry', null, 100)).toHaveLength(kept)
    const large = message('"'.padEnd(3000, 'x'))
    expect(spool.appender.append(to, large), 'not even cut').toBe(0)
    expect(
      spool.appender.append(to, message('{"good":true}')),
      'others do not wait',
    ).toBeGreaterThan(0)
    expect(spool.appender.append(to, { ...bad, qos: 0 })).toBeGreaterThan(0)
    await durable(spool, spool.appender.touch())
    const { counters } = queueOf(spool).spool.view
    expect(counters).toMatchObject({ received: kept + 2, deadLettered: kept })
    expect(counters.dropped['full-qos0']).toBe(1)
    expect(pendingByCounters(counters)).toBe(1)
    const hasSpace = new Promise<void>((resolve) => spool.appender.onSpace(resolve))
    expect(spool.appender.append(to, large)).toBe(0)
    await spool.deadLetters.purge('telemetry', 'all')
    await hasSpace
    expect(spool.appender.append(to, large)).toBeGreaterThan(0)
    await spool.stop()
  })

  it('with drop-oldest the oldest make room, counted', async () => {
    const deadLetters = { maxBytes: 8_000, maxAge: null, whenFull: 'drop-oldest' as const }
    const streams = { telemetry: { ...STREAM, payload: 'json' as const, deadLetters } }
    const { spool } = await openSpool(folder.path, { streams })
    const to = lanes(spool, 'd', 't')
    for (let n = 0; n < 40; n++)
      expect(spool.appender.append(to, message(`no JSON ${n}`.padEnd(500)))).not.toBe(0)
    await durable(spool, spool.appender.touch())
    await spool.deadLetters.tidy()
    const letters = await spool.deadLetters.list('telemetry', null, 100)
    const removed = queueOf(spool).spool.view.counters.deadLettersRemoved.quota
    expect(removed).toBeGreaterThan(20)
    expect(letters).toHaveLength(40 - removed)
    expect(letters.at(-1)?.id).toMatch(/:d40$/)
    await spool.stop()
  })

  it('I9: acknowledges and keeps a message that breaks the rules of its stream, with its first KiB if it has no room', async () => {
    const deadLetters = { ...STREAM.deadLetters, maxBytes: 4_000 }
    const streams = {
      telemetry: { ...STREAM, payload: 'json' as const, maxRecordBytes: 2000, deadLetters },
    }
    const { spool } = await openSpool(folder.path, { streams })
    const to = lanes(spool, 'd', 't')
    spool.appender.append(to, message('not json'))
    await durable(spool, spool.appender.append(to, message('"'.padEnd(2001, 'x'))))
    const letters = await spool.deadLetters.list('telemetry', null, 10)
    expect(letters.map((l) => [l.id.split(':')[3], l.origin, l.truncated?.bytes ?? null])).toEqual([
      ['d1', 'ingest', null],
      ['d2', 'ingest', 2001],
    ])
    expect(letters[0]?.line).not.toContain('"seq"')
    const { counters } = queueOf(spool).spool.view
    expect(counters).toMatchObject({ received: 2, deadLettered: 2 })
    expect(pendingByCounters(counters)).toBe(0)
    const result = await spool.deadLetters.requeue('telemetry', 'all')
    expect(result).toEqual({ requeued: 1, skipped: [letters[1]?.id] })
    await spool.stop()
  })

  it('I9: keeps a message that the broker refuses whole, as a dead letter that waits for no room and can be requeued', async () => {
    const streams = { telemetry: { ...STREAM, maxBytes: 1_024 } }
    const { spool } = await openSpool(folder.path, { streams })
    const topic = `t/${'x'.repeat(65_000)}`
    const to = lanes(spool, 'd', topic)
    const refusal = 'the topic is too long'
    expect(spool.appender.append(to, message('"'.padEnd(2_000, 'x')))).toBe(0)
    await durable(spool, spool.appender.append(to, message('{"whole":true}', { refusal })))
    const [letter] = await spool.deadLetters.list('telemetry', null, 10)
    expect(letter).toMatchObject({ origin: 'ingest', reason: refusal, truncated: null })
    expect(letter?.line).toContain('"payload":{"whole":true}')
    expect(letter?.line).toContain(topic)
    expect(queueOf(spool).spool.view.counters).toMatchObject({ received: 1, deadLettered: 1 })
    expect(await spool.deadLetters.requeue('telemetry', 'all')).toEqual({
      requeued: 1,
      skipped: [],
    })
    await spool.stop()
  })

  it('I6: makes QoS 1 wait for a full stream, drops QoS 0 counted, and has room again after a settle', async () => {
    const streams = { telemetry: { ...STREAM, maxBytes: 20_000 } }
    const { spool } = await openSpool(folder.path, { streams })
    const to = lanes(spool, 'd', 't')
    let taken = 0
    let ticket = 0
    for (;;) {
      const payload = JSON.stringify({
        taken,
        noise: Array.from({ length: 20 }, () => Math.random()),
      })
      const next = spool.appender.append(to, message(payload))
      if (next === 0) break
      ticket = next
      taken++
    }
    await durable(spool, ticket)
    expect(taken).toBeGreaterThan(10)
    let space = 0
    spool.appender.onSpace(() => space++)
    while (spool.appender.append(to, message('x'.repeat(400))) !== 0) taken++
    const before = queueOf(spool).spool.state.counters.received
    spool.appender.append(to, message('{}', { qos: 0 }))
    expect(queueOf(spool).spool.state.counters.dropped['full-qos0'] + taken + 1).toBeGreaterThan(
      before,
    )
    const queue = queueOf(spool)
    for (let batch = await pinNext(queue, 100); batch; batch = await pinNext(queue, 100))
      await settleAll(queue, batch)
    expect(space).toBeGreaterThan(0)
    expect(spool.appender.append(to, message('{}'))).toBeGreaterThan(0)
    await spool.stop()
  })

  it('I8, I9: drops the oldest blocks only behind the batch in flight, counted and as a gap', async () => {
    const streams = { telemetry: { ...STREAM, maxBytes: 30_000, whenFull: 'drop-oldest' as const } }
    const { spool } = await openSpool(folder.path, { streams })
    const to = lanes(spool, 'd', 't')
    const noise = (n: number): string =>
      JSON.stringify({ n, noise: Array.from({ length: 20 }, () => Math.random()) })
    const send = async (from: number, to_: number): Promise<void> => {
      for (let n = from; n <= to_; n++)
        await durable(spool, spool.appender.append(to, message(noise(n))))
    }
    await send(1, 10)
    const queue = queueOf(spool)
    const batch = await pinNext(queue, 4)
    if (!batch) throw new Error('nothing pending')
    await send(11, 200)
    expect(queue.spool.storedBytes).toBeLessThan(32_000)
    const reread = await queue.load(batch.pin, ENCODER)
    expect(reread && (await bodyOf(reread))).toEqual(await bodyOf(batch))
    await settleAll(queue, batch)
    const next = await pinNext(queue, 1000)
    if (!next) throw new Error('nothing pending')
    const { counters } = queue.spool.state
    const dropped = counters.dropped['dropped-oldest']
    expect(dropped).toBeGreaterThan(50)
    expect(next.pin.firstSeq).toBe(4 + dropped + 1)
    expect(gapsOf(next)).toBe(`5-${4 + dropped};reason=dropped-oldest`)
    expect(pendingByCounters(counters)).toBe(queue.pendingRecords)
    await spool.stop()
    const again = await openSpool(folder.path, { streams })
    expect(queueOf(again.spool).pendingRecords).toBe(200 - 4 - dropped)
    await again.spool.stop()
  })

  it('I8, I9: drops nothing that was sent and went back to its place', async () => {
    const streams = { telemetry: { ...STREAM, maxBytes: 4_000, whenFull: 'drop-oldest' as const } }
    const { spool } = await openSpool(folder.path, { streams })
    const to = lanes(spool, 'd', 't')
    const send = async (records: number): Promise<void> => {
      for (let n = 1; n <= records; n++)
        await durable(spool, spool.appender.append(to, message(JSON.stringify({ n }))))
    }
    const queue = queueOf(spool)
    await send(4)
    await pinNext(queue, 4)
    // The sink is not believed: a smaller batch is the probe.
    await queue.returnParked()
    await pinNext(queue, 1)
    await send(100)
    const ahead = queue.ahead(5).map(({ firstSeq }) => firstSeq)
    expect(ahead.slice(0, 4)).toEqual([1, 2, 3, 4])
    expect(ahead[4], 'the oldest behind them were dropped').toBeGreaterThan(50)
    await spool.stop()
  })

  it('lets one message go into several streams in one commit, or into none while one of them is full', async () => {
    const streams = { alarms: { ...STREAM, maxBytes: 1500 }, telemetry: STREAM }
    const { spool } = await openSpool(folder.path, { streams, sinks: { cloud: SINK } })
    const both = lanes(spool, 'd', 't')
    let count = 0
    while (spool.appender.append(both, message('{"alarm":true}')) !== 0) count++
    expect(count).toBeGreaterThan(1)
    expect(queueOf(spool, 'alarms').spool.state.counters.received).toBe(count)
    expect(queueOf(spool, 'telemetry').spool.state.counters.received).toBe(count)
    expect(
      spool.appender.append(lanes(spool, 'd', 't', ['telemetry']), message('{}')),
    ).toBeGreaterThan(0)
    await spool.stop()
  })

  it('I6, I7: seals the middle of a long backlog away from memory, and finds every block again after a crash', async () => {
    const stores = heldStores()
    const sinks = { cloud: { ...SINK, maxBatchRecords: 2 } }
    const { spool } = await openSpool(folder.path, { sinks, openStore: stores.openStore })
    const to = lanes(spool, 'd', 't')
    let n = 0
    // One record a block; each commit may seal one segment.
    for (let commit = 0; commit < 12; commit++) {
      let ticket = 0
      for (let i = 0; i < 700; i++) ticket = spool.appender.append(to, message(`{"n":${++n}}`))
      await durable(spool, ticket)
    }
    const { index } = queueOf(spool).spool
    expect(index.sealed.length).toBeGreaterThanOrEqual(5)
    expect(
      index.at(index.sealed[4]?.firstOrdinal ?? 0),
      'the middle is not in memory',
    ).toBeUndefined()
    await stores.crash()

    const again = await openSpool(folder.path, { sinks })
    const queue = queueOf(again.spool)
    expect(again.spool.damage).toEqual([])
    expect(queue.pendingRecords).toBe(n)
    const seqs: number[] = []
    while (queue.pendingRecords > 0) {
      const ready = new Promise<void>((resolve) => queue.onReady(resolve))
      const batch = await pinNext(queue, 900)
      if (!batch) {
        await ready
        continue
      }
      seqs.push(...(await linesOf(batch)).map((l) => l.seq))
      await settleAll(queue, batch)
    }
    expect(seqs).toEqual(Array.from({ length: n }, (_, i) => i + 1))
    expect(queue.spool.storedBytes).toBe(0)
    await again.spool.stop()
    const third = await openSpool(folder.path, { sinks })
    expect(queueOf(third.spool).pendingRecords).toBe(0)
    const left: unknown[] = []
    for await (const key of third.spool.committer.store.keys({
      gte: Buffer.from('b'),
      lt: Buffer.from('c'),
    })) {
      left.push(parseCommitKey(key)?.kind)
    }
    expect(left.length).toBeLessThan(100)
    expect(new Set(left), 'no block and no segment is left').toEqual(new Set(['state']))
    await third.spool.stop()
  })

  it('I6: drops the oldest behind a pin for as long as an outage lasts, far beyond what is in memory', async () => {
    const sinks = { cloud: { ...SINK, maxBatchRecords: 2 } }
    const maxBytes = 1024 * 1024
    const streams = { telemetry: { ...STREAM, whenFull: 'drop-oldest' as const, maxBytes } }
    const stores = heldStores()
    const { spool } = await openSpool(folder.path, { sinks, streams, openStore: stores.openStore })
    const to = lanes(spool, 'd', 't')
    const queue = queueOf(spool)
    let n = 0
    const append = async (records: number): Promise<void> => {
      let ticket = 0
      for (let i = 0; i < records; i++) ticket = spool.appender.append(to, message(`{"n":${++n}}`))
      expect(ticket).toBeGreaterThan(0)
      await durable(spool, ticket)
    }
    await append(2)
    const batch = await pinNext(queue, 2)
    // One record a block.
    for (let commit = 0; commit < 24; commit++) await append(700)
    const { index, state } = queue.spool
    const dropped = state.counters.dropped['dropped-oldest']
    const kept = queue.pendingRecords
    expect(dropped, 'it dropped beyond the segments near the head').toBeGreaterThan(5 * 1024)
    expect(kept).toBe(n - dropped)
    // The headers of the newest commit's blocks are not known before it.
    expect(queue.spool.storedBytes).toBeLessThanOrEqual(maxBytes * 1.1)
    expect(index.sealed.length * 1024, 'what it passed is forgotten').toBeLessThan(kept + 2 * 1024)
    await stores.crash()

    const again = await openSpool(folder.path, { sinks, streams })
    expect(again.spool.damage).toEqual([])
    const resumed = queueOf(again.spool)
    expect(resumed.pendingRecords).toBe(kept)
    const first = resumed.pin && (await resumed.load(resumed.pin, ENCODER))
    expect(first && (await bodyOf(first))).toEqual(batch && (await bodyOf(batch)))
    if (first) await settleAll(resumed, first)
    const seqs: number[] = []
    while (resumed.pendingRecords > 0) {
      const ready = new Promise<void>((resolve) => resumed.onReady(resolve))
      const next = await pinNext(resumed, 900)
      if (!next) {
        await ready
        continue
      }
      seqs.push(...(await linesOf(next)).map((line) => line.seq))
      await settleAll(resumed, next)
    }
    // What the last commit brought too much of goes with the next one.
    const late = resumed.spool.state.counters.dropped['dropped-oldest'] - dropped
    expect(seqs).toHaveLength(kept - 2 - late)
    expect(seqs).toEqual(seqs.toSorted((a, b) => a - b))
    expect(seqs.at(-1)).toBe(n)
    await again.spool.stop()
  })
})
