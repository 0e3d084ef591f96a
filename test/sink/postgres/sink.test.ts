/** What the PostgreSQL sink does with a real database. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Batch, Sink, SinkAnswer } from '../../../gateway/ports/sink.ts'
import type { PostgresSinkConfig } from '../../../gateway/sink/postgres/config.ts'
import { createPostgresSink } from '../../../gateway/sink/postgres/sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { batchOf, expired, never, recordId } from '../http/batches.ts'
import { batchOfPayloads } from './batches.ts'
import { freshTables, type TestTables } from './harness.ts'
import { Relay } from './relay.ts'
import { ADMIN, POSTGRES_TOOLS, PostgresServer } from './server.ts'

let server: PostgresServer
const sinks: Sink[] = []
const relays: Relay[] = []

function sinkTo(config: PostgresSinkConfig): ConfiguredSink {
  const sink = createPostgresSink({ name: 'warehouse', config, emit: () => undefined })
  sinks.push(sink)
  return sink
}

async function send(sink: Sink, batch: Batch): Promise<SinkAnswer> {
  return await sink.send(batch, never())
}

async function relayTo(config: PostgresSinkConfig): Promise<[Relay, PostgresSinkConfig]> {
  const relay = await Relay.to(() => server.port)
  relays.push(relay)
  return [relay, { ...config, port: relay.port }]
}

async function idsIn({ ask }: Pick<TestTables, 'ask'>): Promise<string[]> {
  const rows = await ask('select id from readings order by place')
  return rows.map(({ id }) => String(id))
}

function idsOf(...seqs: number[]): string[] {
  return seqs.map(recordId)
}

const isAcked = { kind: 'verdicts', ackedThrough: null, listed: [] }

describeWithTool(POSTGRES_TOOLS, 'a PostgreSQL sink', () => {
  beforeAll(async () => {
    server = await PostgresServer.start()
  }, 60_000)
  afterAll(async () => server?.close())
  afterEach(async () => {
    for (const sink of sinks.splice(0)) await sink.close()
    for (const relay of relays.splice(0)) await relay.close()
  })

  describe('exactly once', () => {
    test('a batch whose answer was lost is not stored again, by another sink and form too', async () => {
      const { config: direct, ...tables } = await freshTables(server)
      const [relay, config] = await relayTo(direct)
      relay.losesAnswer = true
      const answer = await send(sinkTo(config), batchOf(1, 5))
      expect(answer).toMatchObject({ kind: 'retry', scope: 'sink', answered: false })
      expect(answer).not.toHaveProperty('unsent')
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3, 4, 5))
      const other = sinkTo({
        ...config,
        columns: { id: '${id}', received_at: '${receivedAt}', payload: '${payload}' },
      })
      expect(await send(other, batchOf(1, 5))).toMatchObject(isAcked)
      expect(await send(other, batchOf(6, 7))).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3, 4, 5, 6, 7))
    })

    test('of a batch that is stored in part the rest is stored', async () => {
      const { config, ...tables } = await freshTables(server)
      await send(sinkTo(config), batchOf(1, 3))
      expect(await send(sinkTo(config), batchOf(1, 6))).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3, 4, 5, 6))
    })

    test('a piece of a batch that is stored is acked, with how far the database is', async () => {
      const { config } = await freshTables(server)
      await send(sinkTo(config), batchOf(1, 6))
      expect(await send(sinkTo(config), batchOf(1, 3))).toMatchObject({
        kind: 'verdicts',
        ackedThrough: 6,
      })
    })

    test('the same batch at the same time from several is stored once', async () => {
      const { config, ...tables } = await freshTables(server)
      const both = Array.from({ length: 6 }, () => sinkTo(config))
      for (const first of [1, 6, 11]) {
        const batch = batchOf(first, first + 4)
        const answers = await Promise.all(both.map((sink) => send(sink, batch)))
        for (const answer of answers) expect(answer).toMatchObject(isAcked)
      }
      expect(await idsIn(tables)).toEqual(idsOf(...Array.from({ length: 15 }, (_, i) => i + 1)))
    })

    test('the same numbers with other records are a clone, and nothing is stored', async () => {
      const { config, ...tables } = await freshTables(server)
      await send(sinkTo(config), batchOf(1, 3))
      const clone = batchOfPayloads(['{"celsius":1}', '{"celsius":2}', '{"celsius":3}'])
      expect(await send(sinkTo(config), clone)).toMatchObject({
        kind: 'hold',
        scope: 'stream',
        cloned: true,
        detail: expect.stringContaining('new-id') as string,
      })
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3))
    })

    test('a database that was rolled back is held, until somebody set the number', async () => {
      const { config, ...tables } = await freshTables(server)
      const sink = sinkTo(config)
      await send(sink, batchOf(1, 3))
      const dump = await tables.ask('select highest from sluice_queue')
      expect(dump).toEqual([{ highest: '3' }])
      await send(sink, batchOf(4, 6))
      await tables.ask('update sluice_queue set highest = 3; delete from readings where seq > 3')
      const answer = await send(sink, batchOf(7, 8))
      expect(answer).toMatchObject({ kind: 'hold', scope: 'stream' })
      const { detail } = answer as { readonly detail: string }
      expect(detail).toMatch(/acked this queue through 6 and knows it through 3/)
      const cure = /update "test_\d+"\."sluice_queue" set.*$/.exec(detail)?.[0] ?? ''
      await tables.ask(cure)
      expect(await send(sink, batchOf(7, 8))).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3, 7, 8))
    })

    test('a connection that is ended while a batch is stored', async () => {
      const { config, ...tables } = await freshTables(server)
      const sink = sinkTo(config)
      await send(sink, batchOf(1, 2))
      const lock = await server.connect()
      await lock.query(`begin; lock table ${config.table}`)
      const answering = send(sink, batchOf(3, 4))
      await waiting()
      await server.ask(
        `select pg_terminate_backend(pid) from pg_stat_activity where wait_event_type = 'Lock'`,
      )
      expect(await answering).toMatchObject({ kind: 'retry', scope: 'sink', code: '57P01' })
      await lock.end()
      expect(await send(sink, batchOf(3, 4))).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3, 4))
    })

    test('a statement that takes too long is cancelled, so that none piles up', async () => {
      const { config, ...tables } = await freshTables(server, { timeout: 700 })
      const sink = sinkTo(config)
      await send(sink, batchOf(1, 2))
      const lock = await server.connect()
      await lock.query(`begin; lock table ${config.table}`)
      for (let i = 0; i < 3; i++)
        expect(await send(sink, batchOf(3, 4))).toMatchObject({
          kind: 'retry',
          answered: false,
          transfer: { timedOut: true },
        })
      await expect.poll(countWaiting).toBe(0)
      await lock.end()
      expect(await send(sink, batchOf(3, 4))).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3, 4))
    })

    test('a server that is killed, and is back', async () => {
      const { config, ...tables } = await freshTables(server)
      const sink = sinkTo(config)
      await send(sink, batchOf(1, 3))
      expect(sink.health).toEqual({ connected: true, detail: null })
      await server.end('SIGKILL')
      expect(await send(sink, batchOf(4, 5))).toMatchObject({ kind: 'retry', scope: 'sink' })
      expect(await send(sink, batchOf(4, 5))).toMatchObject({ kind: 'retry', unsent: true })
      expect(sink.health).toMatchObject({ connected: false, detail: /ECONNREFUSED/ })
      await server.begin()
      expect(await send(sink, batchOf(4, 5))).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3, 4, 5))
    })
  })

  describe('a record that the database does not take', () => {
    const NUMBERS = ['{"celsius":1}', '{"celsius":"warm"}', '{"celsius":3}', '{"celsius":true}']

    test('is refused by name, and the others are stored in their order at once', async () => {
      const { config, ...tables } = await freshTables(server)
      const sink = sinkTo(config)
      const batch = batchOfPayloads(NUMBERS)
      const listed = [
        {
          seq: 2,
          verdict: 'refused',
          code: '22P02',
          reason:
            'unmappable: /celsius is not a number, as column celsius (double precision) wants',
        },
        { seq: 4, verdict: 'refused', code: '22P02' },
      ]
      expect(await send(sink, batch)).toMatchObject({ kind: 'verdicts', listed })
      expect(await idsIn(tables)).toEqual(idsOf(1, 3))
      // The last one is judged once more: the number says that nothing behind 3 is stored.
      expect(await send(sinkTo(config), batch)).toMatchObject({
        kind: 'verdicts',
        listed: [
          {
            seq: 2,
            verdict: 'refused',
            reason: expect.stringContaining('in an earlier try') as string,
          },
          { seq: 4, verdict: 'refused', code: '22P02' },
        ],
      })
      expect(await idsIn(tables)).toEqual(idsOf(1, 3))
    })

    test('is still refused when the answer to the commit is lost', async () => {
      const { config: direct, ...tables } = await freshTables(server)
      const [relay, config] = await relayTo(direct)
      const batch = batchOfPayloads([...NUMBERS, '{"celsius":5}'])
      relay.losesAfterCommit = true
      expect(await send(sinkTo(config), batch)).toMatchObject({ kind: 'retry' })
      expect(await idsIn(tables)).toEqual(idsOf(1, 3, 5))
      const again = await send(sinkTo(config), batch)
      expect(again).toMatchObject({ listed: [{ seq: 2 }, { seq: 4 }] })
      expect(await idsIn(tables)).toEqual(idsOf(1, 3, 5))
    })

    test('for a constraint, also one that is checked at the commit', async () => {
      const { config, ...tables } = await freshTables(server)
      await tables.ask(`alter table readings add check (celsius < 100),
         add constraint once unique (celsius) deferrable initially deferred`)
      const payloads = [1, 2, 1, 500, 3].map((celsius) => JSON.stringify({ celsius }))
      const answer = await send(sinkTo(config), batchOfPayloads(payloads))
      expect(answer).toMatchObject({
        listed: [
          { seq: 3, code: '23505', reason: expect.stringContaining('once') as string },
          { seq: 4, code: '23514' },
        ],
      })
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 5))
    })

    test('that is there already is skipped, if that is what was configured', async () => {
      const { config, ...tables } = await freshTables(server, { onConflict: 'skip' })
      await tables.ask('alter table readings add unique (celsius)')
      const payloads = [1, 2, 1].map((celsius) => JSON.stringify({ celsius }))
      expect(await send(sinkTo(config), batchOfPayloads(payloads))).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2))
    })

    test('for a NUL character, or for no JSON where JSON is wanted, is never sent', async () => {
      const { config, ...tables } = await freshTables(server)
      const batch = batchOfPayloads([
        '"\\u0000"',
        String.raw`"\\u0000 is a text"`,
        Buffer.from([255, 0]),
        '4',
      ])
      expect(await send(sinkTo(config), batch)).toMatchObject({
        listed: [
          { seq: 1, reason: /unmappable: .*NUL/ },
          { seq: 3, reason: /unmappable: the payload is not JSON/ },
        ],
      })
      expect(await idsIn(tables)).toEqual(idsOf(2, 4))
    })

    test('alone, or with all others, leaves the number where it is, and gaps are told', async () => {
      const { config, ...tables } = await freshTables(server)
      const sink = sinkTo(config)
      for (const payloads of [['"\\u0000"'], ['{"celsius":"a"}'], ['{"celsius":"a"}', '"\\u0000"']])
        expect(
          await send(sink, batchOfPayloads(payloads, { firstSeq: 3, gaps: [expired(1, 2)] })),
        ).toMatchObject({ kind: 'verdicts', listed: payloads.map(() => ({ verdict: 'refused' })) })
      const [row] = await tables.ask('select highest from sluice_queue')
      expect(row).toEqual({ highest: '0' })
      const gaps = 'select first_seq, last_seq, reason from sluice_gap'
      expect(await tables.ask(gaps)).toEqual([{ first_seq: '1', last_seq: '2', reason: 'expired' }])
    })

    test('many of them: each try leads on, and names at most a hundred', async () => {
      const { config, ...tables } = await freshTables(server)
      const sink = sinkTo(config)
      const payloads = Array.from({ length: 260 }, (_, i) =>
        i % 2 === 0 ? `{"celsius":${i}}` : '{"celsius":"x"}',
      )
      const refused: number[] = []
      for (let from = 1, tries = 0; from <= payloads.length; tries++) {
        expect(tries).toBeLessThan(3)
        const answer = await send(
          sink,
          batchOfPayloads(payloads.slice(from - 1), { firstSeq: from }),
        )
        if (answer.kind !== 'verdicts') throw new Error(JSON.stringify(answer))
        expect(answer.listed.length).toBeLessThanOrEqual(100)
        refused.push(...answer.listed.map(({ seq }) => seq))
        from = (answer.ackedThrough ?? payloads.length) + 1
      }
      expect(refused).toEqual(Array.from({ length: 130 }, (_, i) => 2 * i + 2))
      expect(await idsIn(tables)).toEqual(
        idsOf(...Array.from({ length: 130 }, (_, i) => 2 * i + 1)),
      )
    }, 30_000)

    test('by a word that is not known here is held, never refused', async () => {
      const { config, ...tables } = await freshTables(server)
      await tables.ask(`create function no() returns trigger language plpgsql as
         $$ begin raise exception 'the trigger says no'; end $$;
         create trigger no before insert on readings for each row execute function no()`)
      expect(await send(sinkTo(config), batchOf(1, 3))).toMatchObject({
        kind: 'hold',
        scope: 'stream',
        code: 'P0001',
        detail: 'P0001: the trigger says no',
      })
    })
  })

  describe('what an operator has to see to is held before anything is sent', () => {
    const held = (code: string | null, detail: RegExp) => ({
      kind: 'hold',
      scope: 'sink',
      code,
      detail: expect.stringMatching(detail) as string,
      unsent: true,
    })

    test.each([
      [
        'a table that is missing',
        'drop table readings',
        '42P01',
        /no table \S*readings; create it/,
      ],
      [
        'a column that is missing',
        'alter table readings drop celsius',
        '42703',
        /no column celsius/,
      ],
      [
        'a column that needs a value and gets none',
        'alter table readings add site text not null',
        '23502',
        /column site of \S*readings must have a value/,
      ],
      ['the table of queues', 'drop table sluice_queue', '42P01', /no table \S*sluice_queue/],
      ['the table of gaps', 'drop table sluice_gap', '42P01', /no table \S*sluice_gap/],
      [
        'a table of queues of another make',
        'alter table sluice_queue drop digest',
        '42703',
        /sluice_queue has no column digest/,
      ],
    ])('%s', async (_, change, code, detail) => {
      const { config, ...tables } = await freshTables(server)
      await tables.ask(change)
      expect(await send(sinkTo(config), batchOf(1, 3))).toMatchObject(held(code, detail))
    })

    test('a table that goes while batches are delivered, and comes back', async () => {
      const { config, ...tables } = await freshTables(server)
      const sink = sinkTo(config)
      await send(sink, batchOf(1, 2))
      await tables.ask('alter table readings rename to away')
      for (let i = 0; i < 2; i++)
        expect(await send(sink, batchOf(3, 4))).toMatchObject({ kind: 'hold', code: '42P01' })
      await tables.ask('alter table away rename to readings')
      expect(await send(sink, batchOf(3, 4))).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3, 4))
    })

    test('a table that is changed while batches are delivered: no record is refused for it', async () => {
      const { config, ...tables } = await freshTables(server)
      const sink = sinkTo(config)
      await send(sink, batchOf(1, 2))
      await tables.ask(`alter table readings add site text not null default 'hall';
        alter table readings alter site drop default`)
      for (let i = 0; i < 2; i++)
        expect(await send(sink, batchOf(3, 4))).toMatchObject({ kind: 'hold', code: '23502' })
      await tables.ask('alter table readings alter site drop not null')
      expect(await send(sink, batchOf(3, 4))).toMatchObject(isAcked)
      await tables.ask('alter table readings drop celsius; alter table readings add celsius text')
      // A text was wanted where a number was: over the next connection it is one.
      const words = batchOfPayloads(['{"celsius":"cold"}'], { firstSeq: 5 })
      expect(await send(sink, words)).toMatchObject({
        kind: 'retry',
        scope: 'stream',
        detail: expect.stringContaining('was changed since') as string,
      })
      expect(await send(sink, words)).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3, 4, 5))
    })

    test('a column that becomes a narrower type rounds nothing: it takes its values or refuses', async () => {
      const { config, ...tables } = await freshTables(server)
      const sink = sinkTo(config)
      await send(sink, batchOf(1, 2))
      await tables.ask('alter table readings alter celsius type integer')
      const mixed = batchOfPayloads(['{"celsius":22}', '{"celsius":22.6}'], { firstSeq: 3 })
      expect(await send(sink, mixed)).toMatchObject({
        kind: 'retry',
        scope: 'stream',
        detail: expect.stringContaining('was changed since') as string,
      })
      expect(await idsIn(tables)).toEqual(idsOf(1, 2))
      expect(await send(sink, mixed)).toMatchObject({
        kind: 'verdicts',
        ackedThrough: null,
        listed: [{ seq: 4, verdict: 'refused', code: '22P02' }],
      })
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3))
    })

    test('a partition that is missing', async () => {
      const { config, ...tables } = await freshTables(server)
      await tables.ask(`drop table readings;
        create table readings (id text, seq bigint, device text, received_at timestamptz,
          celsius float8, payload jsonb, place bigserial) partition by range (received_at)`)
      const sink = sinkTo(config)
      for (const batch of [batchOf(1, 3), batchOf(1, 1)])
        expect(await send(sink, batch)).toMatchObject({
          kind: 'hold',
          scope: 'stream',
          code: '23514',
          detail: expect.stringContaining('no partition of relation') as string,
        })
      await tables.ask('create table readings_all partition of readings default')
      expect(await send(sink, batchOf(1, 3))).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3))
    })

    test('rights, a database that is not there, and a user that is not', async () => {
      const { config, ...tables } = await freshTables(server)
      await server.ask(`create role reader login; grant usage on schema ${tables.schema} to reader`)
      await server.allow(['host all all 127.0.0.1/32 trust'])
      expect(await send(sinkTo({ ...config, user: 'reader' }), batchOf(1, 2))).toMatchObject(
        held('42501', /may not insert in \S*readings; grant it/),
      )
      expect(await send(sinkTo({ ...config, database: 'none' }), batchOf(1, 2))).toMatchObject(
        held('3D000', /create the database/),
      )
      expect(await send(sinkTo({ ...config, user: 'nobody' }), batchOf(1, 2))).toMatchObject(
        held('28000', /pg_hba/),
      )
    })

    test('a wrong password, then the right one in its file', async () => {
      const { config } = await freshTables(server)
      await server.ask(`create role writer login superuser password 'right'`)
      await server.allow(['host all all 127.0.0.1/32 scram-sha-256'])
      const file = server.file('password', 'wrong\n')
      const sink = createPostgresSink({
        name: 'warehouse',
        config: { ...config, user: 'writer', password: { file } },
        emit: () => undefined,
        fileCheckMs: 5,
      })
      sinks.push(sink)
      expect(await send(sink, batchOf(1, 2))).toMatchObject(
        held('28P01', /check user and password/),
      )
      const changed = new Promise<void>((resolve) => sink.onChange(resolve))
      server.file('password', 'right\n')
      await changed
      expect(await send(sink, batchOf(1, 2))).toMatchObject(isAcked)
      expect(await send(sinkTo({ ...config, user: 'writer' }), batchOf(3, 4))).toMatchObject(
        held(null, /wants a password, and there is none/),
      )
    })
  })

  describe('a database that takes no writes', () => {
    test('of several hosts one that is gone and a standby are passed over', async () => {
      const { config, ...tables } = await freshTables(server)
      const standby = await PostgresServer.start({ default_transaction_read_only: 'on' })
      try {
        const hosts = `127.0.0.1:9,127.0.0.1:${standby.port},127.0.0.1:${server.port}`
        const url = `postgresql://${ADMIN}@${hosts}/${ADMIN}`
        const parts = { url, host: null, port: null, database: null, user: null }
        expect(await send(sinkTo({ ...config, ...parts }), batchOf(1, 2))).toMatchObject(isAcked)
        expect(await idsIn(tables)).toEqual(idsOf(1, 2))
        const alone = sinkTo({ ...config, port: standby.port })
        const readOnly = { kind: 'retry', scope: 'sink', code: '25006', unsent: true }
        expect(await send(alone, batchOf(1, 2))).toMatchObject(readOnly)
      } finally {
        await standby.close()
      }
    })

    test('since a moment ago is tried again, over another connection', async () => {
      const { config, ...tables } = await freshTables(server)
      const sink = sinkTo(config)
      await send(sink, batchOf(1, 2))
      // As a primary that was made a standby behind a name that stays.
      await tables.ask(
        `create function stop() returns trigger language plpgsql as
         $$ begin set transaction read only; return new; end $$;
         create trigger stop before update on sluice_queue for each row execute function stop()`,
      )
      const answer = await send(sink, batchOf(3, 4))
      expect(answer).toMatchObject({ kind: 'retry', scope: 'sink', code: '25006' })
      expect(sink.health.connected).toBe(false)
      await tables.ask('drop trigger stop on sluice_queue')
      expect(await send(sink, batchOf(3, 4))).toMatchObject(isAcked)
      expect(await idsIn(tables)).toEqual(idsOf(1, 2, 3, 4))
    })
  })

  test('what an ack means follows what the database keeps', async () => {
    const { config } = await freshTables(server)
    const sink = sinkTo(config)
    await send(sink, batchOf(1, 2))
    expect(sink.promise).toMatchObject({ delivery: 'exactly once', ack: 'durable' })
    await server.ask(`create role careless login superuser;
      alter role careless set synchronous_commit = off`)
    await server.allow(['host all all 127.0.0.1/32 trust'])
    const other = sinkTo({ ...config, user: 'careless' })
    expect(await send(other, batchOf(3, 4))).toMatchObject(isAcked)
    expect(other.promise.ack).toBe('in memory')
  })

  test('it keeps a connection, and opens it at the start', async () => {
    const sink = sinkTo((await freshTables(server)).config)
    expect(sink.health.connected).toBe(false)
    sink.start()
    await expect.poll(() => sink.health).toEqual({ connected: true, detail: null })
  })
})

/** Statements that wait for a lock. */
async function countWaiting(): Promise<number> {
  const waiting = `select pid from pg_stat_activity where wait_event_type = 'Lock'`
  return (await server.ask(waiting)).length
}

async function waiting(): Promise<void> {
  await expect.poll(countWaiting).toBeGreaterThan(0)
}
