/**
 * Fault 7 against a real gateway process: records that the sink refuses, and sinks that refuse too
 * much to be believed, with SIGKILLs. What each answer does to a batch is shown in test/drain; here
 * its promises, through commits, kills and HTTP.
 */
import assert from 'node:assert/strict'
import { Random } from '../../../device-sim/random.ts'
import type { StreamStatus } from '../../../gateway/ports/status.ts'
import { ByIdReceiver, type Receiver, type ReceiverRules } from '../../support/model-receivers.ts'
import type { Step } from '../../support/scripted-sink.ts'
import { numberOf, PoisonBench, type PoisonRecord, pause } from './poison-bench.ts'

/** Of a scenario: what happened, by name. */
export type Happened = Record<string, number>

/** `parkedLimit` and `judgedFrom` of the contract. */
const PARKED_LIMIT = 100
const JUDGED_FROM = 100
/** While a held stream is watched, it would have been asked dozens of times without the hold. */
const WATCHED_MS = 1_000

const wholeRequests = (rules: ReceiverRules): Receiver => new ByIdReceiver(rules, 'whole')
const byName = (rules: ReceiverRules): Receiver => new ByIdReceiver(rules, 'list')

/**
 * One refused reading among so many in one batch, and the answer to a request that has it is 400 or
 * 422, nothing more.
 */
export async function needle(
  seed: string,
  status: 400 | 422,
  options: { readonly count?: number; readonly kill?: boolean } = {},
): Promise<Happened> {
  const { count = 1_000, kill = false } = options
  const random = new Random(seed, 'needle')
  const bad = random.below(count)
  const killAt = kill ? 2 + random.below(8) : Number.POSITIVE_INFINITY
  const sink = { maxBatchRecords: count, linger: '20s' }
  return await PoisonBench.run(
    async (bench) => {
      let refused = 0
      let isKilling = false
      bench.sink.plan = ({ lines }) => {
        isKilling ||= bench.sink.seen.length === killAt
        if (isKilling && bench.kills === 0) return { step: { halfOpen: true } }
        if (!lines.some((line) => line.includes('"bad":true'))) return { step: null }
        refused += 1
        return { step: { status } }
      }
      await bench.publish(count, (index) => (index === bad ? { bad: true } : {}))
      if (kill) {
        await bench.until('it is to be killed', () => isKilling)
        await bench.killAndRestart()
      }
      await bench.untilJudged()
      const extra = bench.sink.seen.length - 1
      // What was under way at a SIGKILL is sent once more.
      const allowed = 2 * Math.log2(count) + 2 + bench.kills
      assert(
        extra <= allowed,
        `${extra} extra requests to find reading ${bad + 1} of ${count}, over ${allowed}`,
      )
      // Something behind it, if it was the last.
      bench.sink.plan = null
      await bench.publish(count)
      assert.deepEqual((await bench.closeBooks()).map(numberOf), [bad + 1])
      assert(refused > 0 && bench.kills === (kill ? 1 : 0), 'the fault did not fire')
      return {
        'requests refused for one record': refused,
        'extra requests': extra,
        kills: bench.kills,
      }
    },
    { newReceiver: wholeRequests, sink },
  )
}

/**
 * Everything is refused, after some readings were taken. Held after 100 parked; a SIGKILL before
 * (at so many requests) and one behind it change nothing; the sink is well again, and every reading
 * arrives.
 */
export async function refusesEverything(seed: string): Promise<Happened> {
  const random = new Random(seed, 'everything')
  const killAt = 10 + random.below(150)
  return await PoisonBench.run(
    async (bench) => {
      await bench.publish(30)
      await bench.until('some were taken', ({ counters }) => counters.delivered === 30)
      let refused = 0
      bench.sink.plan = () => {
        refused += 1
        return { step: { status: refused % 2 === 0 ? 400 : 422 } }
      }
      await bench.publish(250)
      await bench.until('it is killed', () => refused >= killAt)
      await bench.killAndRestart()
      const isHeld = async (): Promise<void> => {
        const stream = await bench.until(
          'the stream is held, with all in its place',
          ({ delivery, parked }) => delivery.state === 'held' && parked === 0,
        )
        assert.equal(
          stream.counters.deadLettered,
          0,
          'I8: a sink that refuses everything is not obeyed',
        )
        assert.equal(stream.counters.pending, 250)
      }
      await isHeld()
      const most = refused
      assert(
        most > PARKED_LIMIT,
        `held after ${most} requests: 100 records cannot have been parked`,
      )
      await bench.killAndRestart()
      await isHeld()
      await bench.publish(20)
      await watch(bench, 270)
      bench.sink.plan = null
      await bench.retry()
      assert.deepEqual(await bench.closeBooks(), [])
      return { 'requests of a sink that refuses everything': refused, holds: 1, kills: bench.kills }
    },
    { sink: { maxBatchRecords: 64 } },
  )
}

/** A held stream is quiet, and gives nothing up: no dead letter, and all that is pending stays. */
async function watch(bench: PoisonBench, pending: number): Promise<void> {
  const before = await bench.books()
  const asked = bench.sink.seen.length
  await new Promise((resolve) => {
    setTimeout(resolve, WATCHED_MS)
  })
  const after = await bench.books()
  assert.equal(after.delivery.state, 'held')
  assert.equal(
    after.counters.deadLettered,
    before.counters.deadLettered,
    'I8: a held stream gives nothing up',
  )
  assert.equal(after.counters.pending, pending)
  // Those that came meanwhile and a probe that was due.
  assert(
    bench.sink.seen.length - asked <= 1,
    `${bench.sink.seen.length - asked} requests into a hold`,
  )
}

/**
 * So many of five readings are refused, one by one. From 100 judged on, more than half hold the
 * stream; fewer never do.
 */
export async function refusesShare(ofFive: 2 | 3): Promise<Happened> {
  const isHeld = ofFive > 2.5
  return await PoisonBench.run(
    async (bench) => {
      await bench.publish(1_000, (index) => (index % 5 < ofFive ? { bad: true } : {}))
      if (!isHeld) {
        await bench.publish(1)
        assert.equal((await bench.closeBooks()).length, (1_000 * ofFive) / 5)
        assert.equal(bench.gateway.countOf('drain.held'), 0)
        return { 'shares below the limit': 1 }
      }
      const held = await bench.until(
        'the stream is held, with all in its place',
        ({ delivery, parked }) => delivery.state === 'held' && parked === 0,
      )
      const { deadLettered, pending } = held.counters
      assert.match(held.delivery.why ?? '', /of the last/)
      assert(
        deadLettered <= JUDGED_FROM,
        `${deadLettered} dead letters: more than the records that it needs`,
      )
      await watch(bench, pending)
      // Its probe is refused as a whole, or it would rightly end the hold.
      bench.sink.plan = () => ({ step: { status: 422 } })
      await bench.killAndRestart()
      await watch(bench, pending)
      bench.sink.plan = null
      bench.judge.refuses = () => false
      await bench.retry()
      assert.equal(
        (await bench.closeBooks()).length,
        deadLettered,
        'I8: all behind the hold was delivered',
      )
      return { 'shares above the limit': 1, holds: 1, kills: bench.kills }
    },
    { sink: { maxBatchRecords: 50 } },
  )
}

const READINGS = 400

/**
 * Room for a few dead letters only. `hold`: the rest waits for the operator; `drop-oldest`: the
 * oldest go, counted.
 */
export async function boundedLetters(whenFull: 'hold' | 'drop-oldest'): Promise<Happened> {
  const maxBytes = 4_096
  return await PoisonBench.run(
    async (bench) => {
      await bench.publish(READINGS, (index) => (index % 4 === 0 ? { bad: true } : {}))
      await bench.publish(1)
      if (whenFull === 'drop-oldest') return await dropsOldest(bench, maxBytes)
      const isBound = ({ delivery, counters }: StreamStatus): boolean =>
        delivery.state === 'held' && counters.deadLettered > 0
      const bound = await bench.until('held for want of room', isBound)
      assert.match(bound.delivery.why ?? '', /no room/)
      const letters = await bench.deadLetters()
      assert(letters.length > 0 && bound.deadLetters.keptBytes <= maxBytes, 'I6: bounded')
      await bench.killAndRestart()
      await bench.until('held again', isBound)
      assert.deepEqual(await bench.deadLetters(), letters, 'I9: dead letters survive a SIGKILL')
      // They take the room that requeueing makes, piece by piece.
      const requeued: PoisonRecord[] = []
      while (requeued.length < READINGS / 4) {
        const before = requeued.length
        requeued.push(...(await requeueAll(bench)))
        assert(requeued.length > before, 'I9: requeueing makes room, and the stream goes on')
        const next = await bench.until(
          'more have room',
          ({ deadLetters, counters }) => deadLetters.kept > 0 || counters.pending === 0,
        )
        assert(next.deadLetters.keptBytes <= maxBytes, 'I6: bounded')
      }
      assert.deepEqual(await bench.closeBooks(), [])
      expectRequeued(bench, requeued)
      return { 'dead letters requeued': requeued.length, holds: 1, kills: bench.kills }
    },
    { newReceiver: byName, stream: { maxRecordBytes: 1_024, deadLetters: { maxBytes, whenFull } } },
  )
}

/** Returns what was requeued, as it was. */
export async function requeueAll(bench: PoisonBench): Promise<PoisonRecord[]> {
  const letters = (await bench.deadLetters()).map(
    ({ record }) => JSON.parse(record) as PoisonRecord,
  )
  assert.equal(await bench.requeue(), letters.length)
  return letters
}

/** Each is at the sink as a new record that names its old id, with its time and content. */
export function expectRequeued(bench: PoisonBench, letters: readonly PoisonRecord[]): void {
  const back = new Map(bench.stored.map((record) => [record.requeuedFrom, record]))
  for (const { id, receivedAt, payload } of letters) {
    const record = back.get(id)
    assert.deepEqual(
      { payload: record?.payload, receivedAt: record?.receivedAt },
      { payload, receivedAt },
      'a requeued record keeps what it was',
    )
    assert.notEqual(record?.id, id, 'an id is never used again (I4)')
  }
}

/** The youngest that fit stay; the others were counted out. */
async function dropsOldest(bench: PoisonBench, maxBytes: number): Promise<Happened> {
  const stream = await bench.until(
    'all is judged, and the quota kept',
    ({ counters, deadLetters }) => counters.pending === 0 && deadLetters.keptBytes <= maxBytes,
  )
  assert.equal(stream.counters.deadLettered, READINGS / 4)
  const letters = await bench.deadLetters()
  const removed = stream.deadLetters.removed['quota'] ?? 0
  assert(removed > 0 && letters.length > 0)
  const bad = bench.published.filter((reading) => reading.bad).map(({ n }) => n)
  const kept = letters.map(({ record }) => numberOf(JSON.parse(record) as PoisonRecord))
  assert.deepEqual(kept, bad.slice(removed), 'the oldest go first')
  await bench.killAndRestart()
  const again = await bench.books()
  assert.deepEqual(again.deadLetters, stream.deadLetters)
  assert.deepEqual(await bench.deadLetters(), letters, 'I9: dead letters survive a SIGKILL')
  const requeued = await requeueAll(bench)
  await bench.until('they are delivered', ({ counters }) => counters.pending === 0)
  expectRequeued(bench, requeued)
  return {
    'dead letters removed by quota': removed,
    'dead letters requeued': requeued.length,
    kills: 1,
  }
}

/** What a sink does to a request for the content of one record. */
export const STUMBLES: Readonly<Record<string, Step>> = {
  'answered 500': { status: 500 },
  'answered 403': { status: 403 },
  reset: { drop: 'before' },
  'answered nonsense': { status: 207, body: { rejected: 'all' } },
}

/**
 * Requests with one reading of many come to nothing; all others are delivered, and it alone is set
 * aside.
 */
export async function stumbles(
  seed: string,
  how: string,
  options: { kill?: boolean } = {},
): Promise<Happened> {
  const step = STUMBLES[how]
  assert(step)
  const count = 60
  const bad = 8 + new Random(seed, how).below(count - 16)
  return await PoisonBench.run(
    async (bench) => {
      let stumbled = 0
      bench.sink.plan = ({ lines }) => {
        if (!lines.some((line) => line.includes('"bad":true'))) return { step: null }
        stumbled += 1
        return { step }
      }
      await bench.publish(count, (index) => (index === bad ? { bad: true } : {}))
      if (options.kill === true) await bench.killAndRestart()
      for (let found = false; !found; ) {
        // An operator who does not wait for backoff and probes.
        await bench.retry()
        await pause(100)
        const { counters, parked } = await bench.books()
        found = parked + counters.deadLettered > 0 && counters.pending === parked
      }
      const { length } = bench.sink.seen
      assert(length < 60, `${length} requests to find one of ${count}`)
      await bench.publish(5)
      assert.deepEqual(
        (await bench.closeBooks()).map(numberOf),
        [bad + 1],
        'I9: it alone is set aside',
      )
      assert(stumbled > 5, 'the fault did not fire')
      return { [`requests ${how}`]: stumbled, kills: bench.kills }
    },
    { sink: { maxBatchRecords: count, linger: '1s' } },
  )
}

/** To everything: nothing is parked, however often it is tried. */
export async function stumblesAtAll(how: string): Promise<Happened> {
  const step = STUMBLES[how]
  assert(step)
  return await PoisonBench.run(
    async (bench) => {
      const { seen } = bench.sink
      bench.sink.plan = () => ({ step })
      await bench.publish(60)
      while (seen.length < 60) {
        await bench.retry()
        await pause(20)
        const { counters, parked } = await bench.books()
        assert.equal(parked + counters.deadLettered, 0, 'I8: an outage parks nothing')
      }
      const stumbled = seen.length
      bench.sink.plan = null
      await bench.retry()
      await bench.until('all is delivered', ({ counters }) => counters.delivered === 60)
      assert.deepEqual(await bench.closeBooks(), [])
      return { [`requests ${how}, all of them`]: stumbled }
    },
    { sink: { maxBatchRecords: 20 } },
  )
}

/**
 * The first record of a lone stream is answered 500: nothing tells whose fault it is, until an
 * operator does.
 */
export async function parkedByHand(): Promise<Happened> {
  return await PoisonBench.run(
    async (bench) => {
      let stumbled = 0
      bench.sink.plan = ({ lines }) => {
        if (!lines.some((line) => line.includes('"bad":true'))) return { step: null }
        stumbled += 1
        return { step: { status: 500 } }
      }
      await bench.publish(1, () => ({ bad: true }))
      await bench.until('it fails', () => stumbled > 0)
      await bench.publish(20)
      const [first] = (await bench.gateway.status()).streams
      assert(first)
      await bench.park(first.headSeq)
      await bench.until('it is set aside', ({ counters }) => counters.deadLettered === 1)
      await bench.killAndRestart()
      assert.deepEqual((await bench.closeBooks()).map(numberOf), [1], 'I9: it alone is set aside')
      return { 'records parked by hand': 1, kills: bench.kills }
    },
    { sink: { maxBatchRecords: 10 } },
  )
}
