/**
 * Records whose device wanted them gone by now (Message Expiry Interval), through a spool on disk
 * whose clock stands until the test sets it.
 */
import { beforeEach, describe, expect, it } from 'vitest'
import type { MessageProperties } from '../../../gateway/ports/appender.ts'
import type { LoadedBatch } from '../../../gateway/ports/stream-queue.ts'
import type { Spool } from '../../../gateway/spool/spool.ts'
import { pendingByCounters } from '../../../gateway/spool/stream/counters.ts'
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
  STREAM,
  settleAll,
} from '../../support/spool-fixture.ts'
import { useFolder } from '../../support/spool-test.ts'
import { VirtualClock } from '../../support/virtual-clock.ts'

const folder = useFolder()
let clock: VirtualClock
beforeEach(() => {
  clock = new VirtualClock()
})

const NONE: MessageProperties = {
  expirySeconds: null,
  payloadFormat: null,
  contentType: null,
  responseTopic: null,
  correlationData: null,
  userProperties: [],
}

async function open(messageExpiry: 'honor' | 'ignore' = 'honor'): Promise<Spool> {
  const streams = { telemetry: { ...STREAM, messageExpiry } }
  return (await openSpool(folder.path, { streams, clock, nowMs: () => clock.wallMs() })).spool
}

/** A record for each, in one block; null: it does not expire. */
async function append(spool: Spool, expiries: readonly (number | null)[]): Promise<void> {
  const to = lanes(spool, 'd', 't')
  let ticket = 0
  for (const [n, expirySeconds] of expiries.entries()) {
    // A payload may say what it likes.
    const payload = JSON.stringify({ n, messageExpiry: 1, requeuedFrom: 'nowhere' })
    const properties = { ...NONE, expirySeconds }
    ticket = spool.appender.append(to, message(payload, { properties }))
  }
  await durable(spool, ticket)
}

async function seqsOf(batch: LoadedBatch | null): Promise<number[]> {
  if (batch === null) throw new Error('nothing is pending')
  const seqs = (await linesOf(batch)).map(({ seq }) => seq)
  expect(batch.seqs()).toEqual(seqs)
  expect(batch.batch.recordCount).toBe(seqs.length)
  return seqs
}

function balanceOf(spool: Spool) {
  const { counters } = queueOf(spool).spool.state
  expect(pendingByCounters(counters)).toBe(queueOf(spool).pendingRecords)
  return { delivered: counters.delivered, expired: counters.dropped['expired-by-device'] }
}

async function load(spool: Spool): Promise<LoadedBatch> {
  const { pin } = queueOf(spool)
  const loaded = pin === null ? null : await queueOf(spool).load(pin, ENCODER)
  if (loaded === null) throw new Error('nothing is in flight')
  return loaded
}

describe('messageExpiry', () => {
  it('ignore, the default: nothing expires, and records say nothing of it', async () => {
    const spool = await open('ignore')
    await append(spool, [1, null])
    clock.advance(3_600_000)
    const batch = await pinNext(queueOf(spool), 10)
    expect(await seqsOf(batch)).toEqual([1, 2])
    const [first] = batch === null ? [] : await linesOf(batch)
    expect(first).not.toHaveProperty('messageExpiry')
    await spool.stop()
  })

  it('I9: leaves out what has expired, counts it and reports it as gaps', async () => {
    const spool = await open()
    await append(spool, [5, 5, null, 60, 5, 4_294_967_295])
    clock.advance(5_000)
    const batch = await pinNext(queueOf(spool), 10)
    expect(await seqsOf(batch)).toEqual([3, 4, 6])
    expect(batch?.batch).toMatchObject({ firstSeq: 3, lastSeq: 6 })
    if (batch) await settleAll(queueOf(spool), batch)
    expect(balanceOf(spool)).toEqual({ delivered: 3, expired: 3 })
    await append(spool, [null])
    const next = await pinNext(queueOf(spool), 10)
    expect(next && gapsOf(next)).toBe('1-2;reason=expired-by-device, 5-5;reason=expired-by-device')
    await spool.stop()
  })

  it('tells a receiver what is left of it, whole seconds', async () => {
    const spool = await open()
    await append(spool, [5, 3, null])
    clock.advance(2_500)
    const batch = await pinNext(queueOf(spool), 10)
    const left: (number | null)[] = []
    for await (const { expirySeconds } of batch?.batch.records() ?? []) left.push(expirySeconds)
    expect(left).toEqual([3, 1, null])
    const [line] = batch === null ? [] : await linesOf(batch)
    expect(line).toMatchObject({ messageExpiry: 5 })
    await spool.stop()
  })

  it('I4: a batch in flight keeps its bytes, however late, over a restart and a split', async () => {
    const first = await open()
    await append(first, [1, 100, 100, 1, 100])
    clock.advance(1_000)
    const sent = await pinNext(queueOf(first), 10)
    if (sent === null) throw new Error('nothing is pending')
    expect(await seqsOf(sent)).toEqual([2, 3, 5])
    await first.stop()

    clock.advance(1_000_000)
    const spool = await open()
    const queue = queueOf(spool)
    const again = await load(spool)
    expect(await bodyOf(again)).toEqual(await bodyOf(sent))
    const { spoolId } = again.pin
    await queue.split({ spoolId, firstSeq: 1, lastSeq: 2, recordCount: 2 }).durable
    expect(await seqsOf(await load(spool))).toEqual([2])
    await queue.settle({
      throughSeq: 2,
      refused: [],
      deadLetter: [],
      gapsReported: false,
      keepOuterLastSeq: 5,
    })
    expect(balanceOf(spool)).toEqual({ delivered: 1, expired: 1 })
    // 3 and 5 may have arrived with the whole batch: they are not given up.
    const rest = await pinNext(queue, 10)
    expect(await seqsOf(rest)).toEqual([3, 5])
    if (rest) await settleAll(queue, rest)
    expect(balanceOf(spool)).toEqual({ delivered: 3, expired: 2 })
    expect(queue.spool.state.expiryMarks).toEqual([])
    await spool.stop()
  })

  it('with the last record of a batch goes what was left out behind it', async () => {
    const spool = await open()
    await append(spool, [null, 1, 1])
    clock.advance(1_000)
    const batch = await pinNext(queueOf(spool), 10)
    expect(batch?.batch).toMatchObject({ firstSeq: 1, lastSeq: 1, recordCount: 1 })
    await queueOf(spool).settle({
      throughSeq: 1,
      refused: [],
      deadLetter: [],
      gapsReported: true,
      keepOuterLastSeq: null,
    })
    expect(balanceOf(spool)).toEqual({ delivered: 1, expired: 2 })
    expect(queueOf(spool).pendingRecords).toBe(0)
    await spool.stop()
  })

  it('a batch of which nothing is left has no record', async () => {
    const spool = await open()
    await append(spool, [1, 2])
    clock.advance(2_000)
    const batch = await pinNext(queueOf(spool), 10)
    expect(await seqsOf(batch)).toEqual([])
    if (batch) await settleAll(queueOf(spool), batch)
    expect(balanceOf(spool)).toEqual({ delivered: 0, expired: 2 })
    await spool.stop()
  })

  it('a pin that never left may be dissolved: what is planned anew is judged anew', async () => {
    const spool = await open()
    await append(spool, [10, 1])
    clock.advance(1_000)
    expect(await seqsOf(await pinNext(queueOf(spool), 10))).toEqual([1])
    queueOf(spool).spool.dissolveUnsentPin()
    clock.advance(9_000)
    expect(await seqsOf(await pinNext(queueOf(spool), 10))).toEqual([])
    await spool.stop()
  })

  it('a batch that never left is judged anew before each try, one that left is not', async () => {
    const spool = await open()
    await append(spool, [1, 10, null])
    const queue = queueOf(spool)
    expect(await seqsOf(await pinNext(queue, 10))).toEqual([1, 2, 3])
    expect(queue.expirePin()).toBeNull()
    clock.advance(1_000)
    await queue.expirePin()?.durable
    expect(await seqsOf(await load(spool))).toEqual([2, 3])
    expect(queue.expirePin()).toBeNull()
    clock.advance(9_000)
    await queue.expirePin()?.durable
    expect(await seqsOf(await load(spool))).toEqual([3])
    await settleAll(queue, await load(spool))
    expect(balanceOf(spool)).toEqual({ delivered: 1, expired: 2 })
    await spool.stop()
  })

  it('what was requeued by an operator does not expire', async () => {
    const spool = await open()
    await append(spool, [1])
    const queue = queueOf(spool)
    const batch = await pinNext(queue, 1)
    if (!batch) throw new Error('nothing pending')
    const refused = [{ seq: 1, code: '422', reason: 'no', line: await batch.line(1) }]
    const common = { throughSeq: 1, refused, gapsReported: true, keepOuterLastSeq: null }
    await queue.settle({ ...common, deadLetter: [1] })
    await spool.deadLetters.requeue('telemetry', 'all')
    clock.advance(60_000)
    expect(await seqsOf(await pinNext(queue, 10))).toEqual([2])
    await spool.stop()
  })

  it('a wall clock that is set expires nothing', async () => {
    const spool = await open()
    await append(spool, [60])
    clock.setWall(clock.wallMs() + 365 * 86_400_000)
    expect(await seqsOf(await pinNext(queueOf(spool), 10))).toEqual([1])
    await spool.stop()
  })
})
