import { setImmediate as nextTurn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import {
  FULL_COMMIT_BYTES,
  LARGE_COMMIT_BYTES,
  MAX_WAITING_BYTES,
} from '../../../gateway/spool/commit/pace.ts'
import type { Spool } from '../../../gateway/spool/spool.ts'
import { pendingByCounters } from '../../../gateway/spool/stream/counters.ts'
import { spoolConfig } from '../../support/configs.ts'
import { heldStores } from '../../support/held-store.ts'
import {
  durable,
  gapsOf,
  lanes,
  linesOf,
  message,
  openSpool,
  pinNext,
  queueOf,
  settleAll,
} from '../../support/spool-fixture.ts'
import { useFolder } from '../../support/spool-test.ts'

const folder = useFolder()

describe('a commit', () => {
  it('I1: makes nothing durable before the store has fsynced it, whatever is appended meanwhile', async () => {
    const stores = heldStores()
    const { spool } = await openSpool(folder.path, { openStore: stores.openStore })
    const to = lanes(spool, 'd', 't')
    const told: number[] = []
    spool.appender.onDurable((ticket) => told.push(ticket))
    stores.hold()
    const held = stores.held()
    const first = spool.appender.append(to, message('{"n":1}'))
    await held
    const second = spool.appender.append(to, message('{"n":2}'))
    expect(second).toBe(first + 1)
    expect(told).toEqual([])
    expect(spool.appender.durableTicket).toBe(first - 1)
    expect(queueOf(spool).pendingRecords).toBe(0)
    stores.release()
    await durable(spool, second)
    expect(told).toEqual([first, second])
    expect(queueOf(spool).pendingRecords).toBe(2)
    await spool.stop()
  })

  it('I1, I4: after a write that failed, appends again under new seqs and reports the old ones as a gap', async () => {
    const stores = heldStores()
    const { spool, events } = await openSpool(folder.path, { openStore: stores.openStore })
    const to = lanes(spool, 'd', 't')
    await durable(spool, spool.appender.append(to, message('{"n":1}')))
    stores.hold()
    const held = stores.held()
    stores.failNext('before')
    spool.appender.append(to, message('{"n":2}'))
    const failed = spool.appender.append(to, message('{"n":3}'))
    await held
    const later = spool.appender.append(to, message('{"n":4}'))
    stores.release()
    expect(spool.appender.durableTicket).toBeLessThan(failed)
    await durable(spool, later)
    expect(stores.failures()).toBe(1)
    expect(stores.opened()).toBe(2)
    expect(events.map((e) => e.type)).toContain('spool.recovered')
    const queue = queueOf(spool)
    const batch = await pinNext(queue, 10)
    if (!batch) throw new Error('nothing pending')
    expect((await linesOf(batch)).map((l) => [l.seq, l.payload])).toEqual([
      [1, { n: 1 }],
      [5, { n: 2 }],
      [6, { n: 3 }],
      [7, { n: 4 }],
    ])
    expect((await linesOf(batch))[1]?.id).toBe(`edge-01:${spool.spoolId}:telemetry:5`)
    expect(gapsOf(batch)).toBe('2-4;reason=commit-failed')
    await settleAll(queue, batch)
    expect(queue.spool.view.counters).toMatchObject({ received: 4, delivered: 4 })
    expect(pendingByCounters(queue.spool.view.counters)).toBe(0)
    await spool.stop()
  })

  it('I1: keeps the records of a write that was reported as failed and turns out to be in the store', async () => {
    const stores = heldStores()
    const { spool } = await openSpool(folder.path, { openStore: stores.openStore })
    const to = lanes(spool, 'd', 't')
    stores.failNext('after')
    await durable(spool, spool.appender.append(to, message('{"n":1}')))
    expect(stores.failures()).toBe(1)
    await durable(spool, spool.appender.append(to, message('{"n":2}')))
    await spool.stop()
    const again = await openSpool(folder.path)
    const batch = await pinNext(queueOf(again.spool), 10)
    expect(batch && (await linesOf(batch)).map((l) => l.seq)).toEqual([1, 2])
    expect(batch && gapsOf(batch)).toBeNull()
    await again.spool.stop()
  })

  it('I3: carries a journal in the same commit as the records, through failures, checkpoints and reopenings', async () => {
    const stores = heldStores()
    const { spool } = await openSpool(folder.path, { openStore: stores.openStore })
    const changes: string[] = []
    const all: string[] = []
    const journal = {
      name: 'sessions',
      collect: () => (changes.length === 0 ? null : Buffer.from(changes.splice(0).join(''))),
      checkpoint: () => Buffer.from(all.join('')),
    }
    const change = (text: string): number => {
      changes.push(text)
      all.push(text)
      return spool.appender.touch()
    }
    expect(spool.appender.attach(journal)).toEqual({ checkpoint: null, changes: [] })
    await durable(spool, change('a'))
    stores.failNext('before')
    await durable(spool, change('b'))
    await durable(spool, change('c'))
    await spool.stop()
    // A start that nobody joins, such as a command on a stopped folder, must not lose it.
    await (await openSpool(folder.path)).spool.stop()
    const again = await openSpool(folder.path)
    const found = again.spool.appender.attach({
      name: 'sessions',
      collect: () => null,
      checkpoint: () => Buffer.from('abc'),
    })
    const text = [found.checkpoint ?? Buffer.alloc(0), ...found.changes]
      .map((b) => Buffer.from(b).toString())
      .join('')
    expect(text).toBe('abc')
    await again.spool.newId('a checkpoint')
    await again.spool.stop()
    const third = await openSpool(folder.path)
    const kept = third.spool.appender.attach(journal)
    expect(kept.checkpoint && Buffer.from(kept.checkpoint).toString()).toBe('abc')
    await third.spool.stop()
  })

  it('keeps small values in their own space across a reopening', async () => {
    const { spool } = await openSpool(folder.path)
    const retained = spool.appender.keyed('retained')
    retained.put('plant/a', Buffer.from('1'))
    retained.put('plant/b', Buffer.from('2'))
    await durable(spool, retained.delete('plant/a'))
    await spool.stop()
    const again = await openSpool(folder.path)
    const entries = await again.spool.appender.keyed('retained').entries()
    expect(entries.map(([k, v]) => [k, Buffer.from(v).toString()])).toEqual([['plant/b', '2']])
    await again.spool.stop()
  })
})

describe('the pace of commits, with no budget for small ones and an interval of a minute', () => {
  const config = spoolConfig({ commitInterval: 60_000, commitBurst: 0 })
  const half = message(`"${'x'.repeat(FULL_COMMIT_BYTES / 2)}"`)
  const LARGE = (2 * LARGE_COMMIT_BYTES) / FULL_COMMIT_BYTES

  /** A spool in the midst of an interval: what comes next waits, unless there is enough of it. */
  async function paced(): Promise<{ spool: Spool; append: (times: number) => number }> {
    const { spool } = await openSpool(folder.path, { config })
    const to = lanes(spool, 'd', 't')
    const append = (times: number): number => {
      let ticket = 0
      for (let i = 0; i < times; i += 1) ticket = spool.appender.append(to, half)
      return ticket
    }
    await committed(spool, append(LARGE))
    return { spool, append }
  }

  /** The commit is durable, and the next one may begin. */
  async function committed(spool: Spool, ticket: number): Promise<void> {
    await durable(spool, ticket)
    await nextTurn()
  }

  /**
   * One turn of the event loop later: what begins at once has begun, so that what comes then is of
   * the next commit. What waits for a timer has not, however long the turn took: it comes behind
   * this.
   */
  async function hasBegun(spool: Spool, ticket: number): Promise<boolean> {
    await nextTurn()
    return spool.appender.touch() > ticket
  }

  it('begins a full one when nothing more comes, and the next one at once', async () => {
    const { spool, append } = await paced()
    const waiting = append(2)
    expect(await hasBegun(spool, waiting)).toBe(false)
    await committed(spool, waiting)
    const eager = append(2)
    expect(await hasBegun(spool, eager)).toBe(true)
    await spool.stop()
  })

  it('begins a large one at once', async () => {
    const { spool, append } = await paced()
    const large = append(LARGE)
    expect(await hasBegun(spool, large)).toBe(true)
    await spool.stop()
  })

  it('begins at once where it settles a large batch: the one behind it waits for that', async () => {
    const { spool, append } = await paced()
    await committed(spool, append((2 * MAX_WAITING_BYTES) / FULL_COMMIT_BYTES))
    const queue = queueOf(spool)
    const pinned = pinNext(queue, 100)
    append(LARGE) // brings the pin along
    const batch = await pinned
    if (!batch) throw new Error('nothing pending')
    await nextTurn()
    const settled = settleAll(queue, batch)
    expect(await hasBegun(spool, spool.appender.touch())).toBe(true)
    await settled
    await spool.stop()
  })
})
