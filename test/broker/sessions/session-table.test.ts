/**
 * The session table as a journal: bounds, expiry, and that any replay gives the state that was (I3,
 * I7).
 */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { NO_TICKET } from '../../../gateway/broker/sessions/packet-ids.ts'
import { replaySessionLog } from '../../../gateway/broker/sessions/session-log.ts'
import { SessionTable } from '../../../gateway/broker/sessions/session-table.ts'

const limits = { maxSessions: 1_000, sessionExpiry: 8_000 }
const none = (): void => {}

function stateOf(table: SessionTable, clients: readonly string[]): readonly unknown[] {
  return clients.map((clientId) => {
    const session = table.find(clientId)
    // One without an expiry ends with the run.
    return session === undefined || table.expiryOf(session) === 0
      ? null
      : {
          subscribed: session.subscribed,
          expiryMs: table.expiryOf(session),
          ids: [...session.ids.entries()].sort((a, b) => a[0] - b[0]),
        }
  })
}

const CLIENTS = ['a', 'b', 'ü', '']

const operation = fc.record({
  kind: fc.constantFrom(
    'open',
    'leave',
    'drop',
    'add',
    'wait',
    'remove',
    'subscribe',
    'expiry',
    'commit',
    'checkpoint',
  ),
  client: fc.constantFrom(...CLIENTS),
  id: fc.integer({ min: 1, max: 5 }),
  hash: fc.integer({ min: 0, max: 3 }),
})

test('I3: after any run of operations, checkpoint and changes replay to the durable state', () => {
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 80 }), (operations) => {
      const table = new SessionTable(limits, () => 0)
      let checkpoint: Uint8Array | null = null
      let changes: Uint8Array[] = []
      for (const { kind, client, id, hash } of operations) {
        const session = table.find(client)
        if (kind === 'open') table.open(client, none)
        else if (kind === 'checkpoint') {
          checkpoint = table.checkpoint()
          changes = []
        } else if (kind === 'commit') {
          const collected = table.collect()
          if (collected !== null) changes.push(collected)
        } else if (session === undefined) continue
        else if (kind === 'leave') table.leave(session)
        else if (kind === 'drop') table.drop(session)
        else if (kind === 'add') table.addId(session, id, hash, 0xffffffff, 1)
        else if (kind === 'wait') table.addId(session, id, hash, 7, NO_TICKET)
        else if (kind === 'remove') table.removeId(session, id)
        else if (kind === 'expiry') table.setExpiry(session, hash === 3 ? null : hash * 1_000)
        else table.markSubscribed(session)
      }
      const last = table.collect()
      if (last !== null) changes.push(last)
      const replayed = new SessionTable(limits, () => 0)
      expect(replayed.recover({ checkpoint, changes })).toBeNull()
      // What waits is in no commit.
      const before = stateOf(table, CLIENTS)
      expect(stateOf(replayed, CLIENTS)).toEqual(before)
      expect(replayed.size).toBe(before.filter((state) => state !== null).length)
    }),
    { numRuns: 500 },
  )
})

test('I7: a value that cannot be read is reported; what stands before and behind it is used', () => {
  const table = new SessionTable(limits, () => 0)
  const { session } = table.open('a', none)!
  table.addId(session, 1, 2, 3, 1)
  const first = table.collect()!
  table.addId(session, 2, 2, 3, 1)
  const second = table.collect()!
  for (const broken of [
    Buffer.of(9),
    Buffer.of(1, 99, 1),
    Buffer.of(1, 3, 1, 0),
    Buffer.alloc(0),
  ]) {
    const replayed = new SessionTable(limits, () => 0)
    expect(replayed.recover({ checkpoint: null, changes: [first, broken, second] })).not.toBeNull()
    expect([...replayed.find('a')!.ids.entries()]).toEqual([
      [1, 2, 3],
      [2, 2, 3],
    ])
  }
})

test('a session expires after its time without a connection, counted over restarts, whatever the wall clock says', () => {
  let now = 0
  const table = new SessionTable(limits, () => now)
  const { session } = table.open('a', none)!
  table.addId(session, 1, 2, 3, 1)
  now = 100_000
  expect(table.expire()).toEqual([])
  table.leave(session)
  now += 5_000
  expect(table.expire()).toEqual([])
  const changes = [table.collect()!]

  let later = 3
  const restarted = new SessionTable(limits, () => later)
  restarted.recover({ checkpoint: null, changes })
  later += 2_999
  expect(restarted.expire()).toEqual([])
  later += 1
  expect(restarted.expire()).toEqual([{ clientId: 'a', why: 'expired', openPacketIds: 1 }])
  expect(restarted.openIds).toBe(0)
})

test('coming back starts the time anew', () => {
  let now = 0
  const table = new SessionTable(limits, () => now)
  const { session } = table.open('a', none)!
  table.leave(session)
  now = 7_000
  table.expire()
  table.open('a', none)
  table.leave(session)
  now = 14_000
  expect(table.expire()).toEqual([])
  now = 15_000
  expect(table.expire()).toHaveLength(1)
})

test('at the bound a dead subscriber gives way to a client that lives; never one with open ids, nor one that is there', () => {
  const table = new SessionTable({ ...limits, maxSessions: 4 }, () => 0)
  const ended: string[] = []
  const open = (clientId: string) => table.open(clientId, (session) => ended.push(session.clientId))
  const [exchange, late, early] = ['exchange', 'late', 'early'].map(
    (clientId) => open(clientId)!.session,
  )
  table.addId(exchange!, 1, 2, 3, 1)
  for (const session of [exchange!, early!, late!]) {
    table.markSubscribed(session)
    table.leave(session)
  }
  table.leave(open('idle')!.session)
  for (const clientId of ['a', 'b', 'c']) expect(open(clientId)).not.toBeNull()
  expect(ended).toEqual(['idle', 'early', 'late'])
  expect(open('d')).toBeNull()
})

test('at the bound the session that is away longest gives way', () => {
  const table = new SessionTable({ ...limits, maxSessions: 2 }, () => 0)
  const ended: string[] = []
  const open = (clientId: string) => table.open(clientId, (session) => ended.push(session.clientId))
  const a = open('a')!
  const b = open('b')!
  expect(open('c')).toBeNull()
  table.leave(b.session)
  table.leave(a.session)
  expect(open('c')).not.toBeNull()
  expect(ended).toEqual(['b'])
})

test('version 0.4.0, which reads a value up to the first expiry, misses nothing else of it', () => {
  const table = new SessionTable(limits, () => 0)
  const fill = (client: string): void => {
    const { session } = table.open(client, none, 1_000)!
    table.addId(session, 7, 1, 2, 1)
    table.markSubscribed(session)
  }
  fill('a')
  fill('b')
  const changes = table.collect()!
  const seen: string[] = []
  const note =
    (what: string) =>
    (...given: readonly unknown[]): void => {
      seen.push([what, ...given].join(' '))
    }
  const reader = {
    open: note('open'),
    drop: note('drop'),
    addId: note('addId'),
    removeId: note('removeId'),
    subscribed: note('subscribed'),
    idle: note('idle'),
    expiry: () => {
      throw new Error('unknown operation 7')
    },
  }
  for (const value of [changes, table.checkpoint()]) {
    seen.length = 0
    expect(() => replaySessionLog(value, reader)).toThrow('unknown operation 7')
    expect(seen.toSorted()).toEqual([
      'addId 1 7 1 2',
      'addId 2 7 1 2',
      'open 1 a',
      'open 2 b',
      'subscribed 1',
      'subscribed 2',
    ])
  }
})
