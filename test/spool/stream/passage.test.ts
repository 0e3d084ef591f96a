/** How far a stream with `ack: delivered` has got, through a spool on disk. */
import { describe, expect, it } from 'vitest'
import { planBatch } from '../../../gateway/drain/policy/batcher.ts'
import type { Lane, Passage, Ticket, TicketRange } from '../../../gateway/ports/appender.ts'
import type { Bounds, Run } from '../../../gateway/ports/stream-queue.ts'
import type { SpoolQueue } from '../../../gateway/spool/queue/queue.ts'
import type { Spool } from '../../../gateway/spool/spool.ts'
import { segmentKey } from '../../../gateway/spool/store/keys.ts'
import { StreamPassage } from '../../../gateway/spool/stream/passage.ts'
import type { OpenCommit } from '../../../gateway/spool/stream/stream.ts'
import { heldStores } from '../../support/held-store.ts'
import {
  durable,
  ENCODER,
  lanes,
  message,
  openSpool,
  pinNext,
  queueOf,
  SINK,
  STREAM,
  settleAll,
} from '../../support/spool-fixture.ts'
import { useFolder } from '../../support/spool-test.ts'

const folder = useFolder()

const NOTHING_ON_ITS_WAY = Number.POSITIVE_INFINITY

async function open(): Promise<Spool> {
  const streams = { telemetry: { ...STREAM, ack: 'delivered' as const } }
  return (await openSpool(folder.path, { streams })).spool
}

function passageOf(spool: Spool): Passage {
  const passage = spool.appender.streams[0]?.passage
  if (!passage) throw new Error('nothing waits for delivery')
  return passage
}

/** One record, one commit. */
async function append(spool: Spool, n: number): Promise<Ticket> {
  const ticket = spool.appender.append(lanes(spool, 'd', 't'), message(`{"n":${n}}`))
  await durable(spool, ticket)
  return ticket
}

/** The next append of the test makes the commit. */
const IN_MEMORY: OpenCommit = {
  add: () => undefined,
  durable: async () => undefined,
  touch: () => 0,
  grew: () => undefined,
  settled: () => undefined,
  awaited: () => undefined,
  read: async () => undefined,
  reindex: async () => undefined,
}

const SETTLED = { refused: [], deadLetter: [], gapsReported: true, keepOuterLastSeq: null }

describe('a stream that is awaited', () => {
  const limits = { maxRecords: 3, maxBytes: 1_000_000 }

  /** As the drain does: up to three records at a time. */
  function pinning(spool: Spool): SpoolQueue {
    const queue = queueOf(spool)
    const plan = (runs: readonly Run[]): Bounds | null => planBatch(runs, limits)?.bounds ?? null
    queue.pinWithCommits(plan, ENCODER, limits)
    return queue
  }

  it('I4: a commit pins its own records, as many as fit; the next one the rest and what came since', async () => {
    const spool = await open()
    const queue = pinning(spool)
    const to = lanes(spool, 'd', 't')
    let ticket = 0
    for (let n = 1; n <= 5; n += 1) ticket = spool.appender.append(to, message(`${n}`))
    expect(queue.pin).toBeNull()
    await durable(spool, ticket)
    expect(queue.pin).toMatchObject({ firstSeq: 1, lastSeq: 3, recordCount: 3 })
    const first = queue.pin && (await queue.load(queue.pin, ENCODER))
    if (!first) throw new Error('nothing is in flight')
    const settled = settleAll(queue, first)
    expect(queue.pin).toBeNull()
    await durable(spool, spool.appender.append(to, message('6')))
    await settled
    expect(queue.pin).toMatchObject({ firstSeq: 4, lastSeq: 6 })
    await spool.stop()
    const again = await open()
    expect(queueOf(again).pin).toMatchObject({ firstSeq: 4, lastSeq: 6 })
    await again.stop()
  })

  it('I4: a pin whose commit failed is none: its records have other seqs by then', async () => {
    const stores = heldStores()
    const streams = { telemetry: { ...STREAM, ack: 'delivered' as const } }
    const { spool } = await openSpool(folder.path, { streams, openStore: stores.openStore })
    const queue = pinning(spool)
    stores.failNext('before')
    const to = lanes(spool, 'd', 't')
    await durable(spool, spool.appender.append(to, message('1')))
    expect(stores.failures()).toBe(1)
    expect(queue.pin).toMatchObject({ firstSeq: 2, lastSeq: 2 })
    const batch = queue.pin && (await queue.load(queue.pin, ENCODER))
    expect(batch?.seqs()).toEqual([2])
    await spool.stop()
  })

  it('nobody sees a pin before its commit is durable', async () => {
    const stores = heldStores()
    const streams = { telemetry: { ...STREAM, ack: 'delivered' as const } }
    const { spool } = await openSpool(folder.path, { streams, openStore: stores.openStore })
    const queue = pinning(spool)
    stores.hold()
    const ticket = spool.appender.append(lanes(spool, 'd', 't'), message('1'))
    await stores.held()
    expect(queue.pin).toBeNull()
    expect(queue.pendingRecords).toBe(0)
    stores.release()
    await durable(spool, ticket)
    expect(queue.pin).toMatchObject({ firstSeq: 1, lastSeq: 1 })
    await spool.stop()
  })
})

describe('a passage', () => {
  it('goes on with the settled records, commit by commit, and tells', async () => {
    const spool = await open()
    let told = 0
    spool.appender.onPassed(() => {
      told += 1
    })
    expect(passageOf(spool).through).toBe(NOTHING_ON_ITS_WAY)
    const [one, two] = [await append(spool, 1), await append(spool, 2)]
    expect(passageOf(spool).through).toBeLessThan(one)
    const queue = queueOf(spool)
    const batch = await pinNext(queue, 1)
    if (!batch) throw new Error('nothing pending')
    const settled = settleAll(queue, batch)
    // At once: the sink has it.
    expect(passageOf(spool).through).toBeGreaterThanOrEqual(one)
    expect(passageOf(spool).through).toBeLessThan(two)
    expect(told).toBe(1)
    await settled
    const rest = await pinNext(queue, 1)
    if (rest) await settleAll(queue, rest)
    expect(passageOf(spool).through).toBe(NOTHING_ON_ITS_WAY)
    await spool.stop()
  })

  it('waits for a parked record until it is a dead letter that is durable', async () => {
    const spool = await open()
    const one = await append(spool, 1)
    await append(spool, 2)
    const queue = queueOf(spool)
    const batch = await pinNext(queue, 1)
    if (!batch) throw new Error('nothing pending')
    const refused = [{ seq: 1, code: '422', reason: 'no', line: await batch.line(1) }]
    await queue.settle({ ...SETTLED, throughSeq: 1, refused })
    expect(passageOf(spool).through).toBeLessThan(one)
    const next = await pinNext(queue, 1)
    if (!next) throw new Error('nothing pending')
    const buried = queue.settle({ ...SETTLED, throughSeq: 2, deadLetter: [1] })
    expect(passageOf(spool).through).toBeLessThan(one)
    await buried
    expect(passageOf(spool).through).toBe(NOTHING_ON_ITS_WAY)
    expect(passageOf(spool).isLost(one)).toBe(false)
    await spool.stop()
  })

  it('I1: records of a commit that failed are on their way under its ticket, too', async () => {
    const stores = heldStores()
    const streams = { telemetry: { ...STREAM, ack: 'delivered' as const } }
    const { spool } = await openSpool(folder.path, { streams, openStore: stores.openStore })
    stores.failNext('before')
    const ticket = await append(spool, 1)
    expect(stores.failures()).toBe(1)
    expect(spool.appender.durableTicket).toBeGreaterThan(ticket)
    expect(passageOf(spool).through).toBeLessThan(ticket)
    const batch = await pinNext(queueOf(spool), 1)
    if (batch) await settleAll(queueOf(spool), batch)
    expect(passageOf(spool).through).toBe(NOTHING_ON_ITS_WAY)
    await spool.stop()
  })

  it('I1: who is told of one stream sees what the same commit brought to the others', async () => {
    const delivered = { ...STREAM, ack: 'delivered' as const }
    const streams = { telemetry: delivered, other: delivered }
    const { spool } = await openSpool(folder.path, { streams })
    const only = (name: string): Lane[] => lanes(spool, 'd', 't', [name])
    await durable(spool, spool.appender.append(only('telemetry'), message('1')))
    const queue = queueOf(spool)
    const batch = await pinNext(queue, 1)
    if (!batch) throw new Error('nothing pending')
    const refused = [{ seq: 1, code: '422', reason: 'no', line: await batch.line(1) }]
    const buried = queue.settle({ ...SETTLED, throughSeq: 1, refused, deadLetter: [1] })
    const ticket = spool.appender.append(only('other'), message('2'))
    const other = spool.appender.streams.find(({ name }) => name === 'other')?.passage
    const seen: (Ticket | undefined)[] = []
    spool.appender.onPassed(() => seen.push(other?.through))
    await buried
    expect(spool.appender.durableTicket).toBe(ticket)
    expect(seen).toEqual([ticket - 1])
    await spool.stop()
  })

  it('I9: what is neither delivered nor kept is lost, and told as that', async () => {
    const spool = await open()
    const lost: Ticket[] = []
    spool.appender.onPassed((ranges) => lost.push(...ranges.map(({ first }) => first)))
    const atOnce: TicketRange[] = []
    spool.appender.onLost((range) => atOnce.push(range))
    const [one, two] = [await append(spool, 1), await append(spool, 2)]
    const queue = queueOf(spool)
    const { index } = queue.spool
    const meta = index.at(0)
    if (!meta) throw new Error('no block')
    queue.spool.drop([{ ordinal: 0, meta, firstSeq: 1, count: 1 }], 'corrupt', IN_MEMORY)
    // While the commit that holds the gap is still open.
    expect([atOnce, lost]).toEqual([[{ first: one, last: one }], []])
    await append(spool, 3)
    expect(lost).toEqual([one])
    expect(passageOf(spool).isLost(one)).toBe(true)
    expect(passageOf(spool).isLost(two)).toBe(false)
    expect(passageOf(spool).through).toBeLessThan(two)
    await spool.stop()
  })

  /** A queue that is long enough for one, and the first segment of its index. */
  async function withSegment(): Promise<{ readonly spool: Spool; readonly key: Buffer }> {
    const streams = { telemetry: { ...STREAM, ack: 'delivered' as const } }
    const sinks = { cloud: { ...SINK, maxBatchRecords: 2 } }
    const { spool } = await openSpool(folder.path, { streams, sinks })
    const to = lanes(spool, 'd', 't')
    // One record a block.
    for (let commit = 0; commit < 4; commit += 1) {
      let ticket = 0
      for (let n = 0; n < 700; n += 1) ticket = spool.appender.append(to, message(`${n}`))
      await durable(spool, ticket)
    }
    const { index, state } = queueOf(spool).spool
    const [segment] = index.sealed
    if (!segment) throw new Error('no segment')
    return { spool, key: segmentKey(segment.commit, state.id) }
  }

  it('I5, I7: a start whose first segment of the index is gone finds every record', async () => {
    const { spool: first, key } = await withSegment()
    await first.committer.store.write([{ type: 'del', key }])
    await first.stop()
    const spool = await open()
    const { counters } = queueOf(spool).spool.state
    expect(counters).toMatchObject({ received: 2800, dropped: { corrupt: 0 } })
    expect(queueOf(spool).pendingRecords).toBe(2800)
    expect(passageOf(spool).through).toBe(-1)
    expect(passageOf(spool).isLost(0)).toBe(false)
    await spool.stop()
  })

  it('I9: a start that misses records says so to whoever asks, of all that it found', () => {
    const passage = new StreamPassage()
    passage.found({ identity: 0, seq: 1 })
    passage.foundShort()
    const lost: TicketRange[] = []
    passage.onAdvance((ranges) => lost.push(...ranges))
    expect(lost).toEqual([{ first: 0, last: 0 }])
    expect(passage.isLost(0)).toBe(true)
    passage.committed({ first: 1, last: 1 }, { identity: 0, seq: 2 })
    expect(passage.isLost(1)).toBe(false)
    expect(passage.through).toBe(0)
  })

  it('I9: of what is on its way nothing is acknowledged, where nobody knows what of it is lost', () => {
    const passage = new StreamPassage()
    for (const n of [3, 4, 7]) passage.committed({ first: n, last: n }, { identity: 0, seq: n })
    passage.lostSome()
    expect(passage.through).toBe(NOTHING_ON_ITS_WAY)
    expect([2, 3, 4, 7, 8].map((n) => passage.isLost(n))).toEqual([false, true, true, true, false])
  })

  it('after a start everything that is pending has ticket 0, which packet ids of a start have', async () => {
    const first = await open()
    await append(first, 1)
    await append(first, 2)
    await first.stop()
    const spool = await open()
    expect(passageOf(spool).through).toBe(-1)
    const later = await append(spool, 3)
    const queue = queueOf(spool)
    for (const through of [-1, later - 1, NOTHING_ON_ITS_WAY]) {
      const batch = await pinNext(queue, 1)
      if (batch) await settleAll(queue, batch)
      expect(passageOf(spool).through).toBe(through)
    }
    await spool.stop()
  })

  it('an outage of any length takes bounded memory: late legs are joined, never acknowledged early', () => {
    const passage = new StreamPassage()
    const commits = 10_000
    for (let n = 1; n <= commits; n += 1)
      passage.committed({ first: n, last: n }, { identity: 0, seq: n })
    for (let seq = 1; seq <= commits; seq += 1) {
      passage.advanced({ identity: 0, seq })
      if (passage.through !== NOTHING_ON_ITS_WAY)
        expect(passage.through, `of seq ${seq}`).toBeLessThanOrEqual(seq)
    }
    expect(passage.through).toBe(NOTHING_ON_ITS_WAY)
  })
})
