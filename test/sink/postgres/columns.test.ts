/** What a real PostgreSQL makes of each kind of mapping, in columns of many types. */
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { PostgresSinkConfig } from '../../../gateway/sink/postgres/config.ts'
import { createPostgresSink } from '../../../gateway/sink/postgres/sink.ts'
import { postgresType } from '../../../gateway/sink/postgres/type.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { never } from '../http/batches.ts'
import { batchOfPayloads } from './batches.ts'
import { freshTables } from './harness.ts'
import { POSTGRES_TOOLS, PostgresServer } from './server.ts'

let server: PostgresServer

/** Rows of a table of such columns, each with its type and what fills it. */
async function stored(
  columns: Readonly<Record<string, readonly [type: string, source: string]>>,
  payloads: readonly (string | Uint8Array)[],
  changes: Partial<PostgresSinkConfig> = {},
): Promise<Record<string, unknown>[]> {
  const sources = Object.fromEntries(Object.entries(columns).map(([name, [, of]]) => [name, of]))
  const { config, ask } = await freshTables(server, { ...changes, columns: sources })
  const name = (column: string) => `"${column.replaceAll('"', '""')}"`
  const types = Object.entries(columns).map(([column, [type]]) => `${name(column)} ${type}`)
  await ask(`drop table readings; create table readings (place serial, ${types.join(', ')})`)
  const sink = createPostgresSink({ name: 'warehouse', config, emit: () => undefined })
  try {
    const answer = await sink.send(batchOfPayloads(payloads), never())
    expect(answer).toMatchObject({ kind: 'verdicts', listed: [] })
    const texts = Object.keys(columns).map((column) => `${name(column)}::text as ${name(column)}`)
    return await ask(`set timezone to utc; select ${texts.join(', ')} from readings order by place`)
  } finally {
    await sink.close()
  }
}

describeWithTool(POSTGRES_TOOLS, 'columns', () => {
  beforeAll(async () => {
    server = await PostgresServer.start()
    await server.ask(`create type mood as enum ('good', 'bad')`)
  }, 60_000)
  afterAll(async () => server?.close())

  test('of what a record is', async () => {
    const rows = await stored(
      {
        id: ['text', '${id}'],
        seq: ['bigint', '${seq}'],
        seq_text: ['varchar(4)', '${seq}'],
        first: ['text', '${topic.0}'],
        last: ['text', '${topic.-1}'],
        none: ['text', '${topic.7}'],
        whose: ['text', '${gateway}/${stream}: $${qos} ${qos}'],
        arrival: ['timestamptz', '${receivedAt}'],
        arrival_ms: ['bigint', '${receivedAtMs}'],
        record: ['jsonb', '${record}'],
        constant: ['text', `it's; drop table readings; --`],
        'odd "name"; drop': ['text', '${device}'],
      },
      ['{"celsius":21.4}'],
    )
    const { record, ...others } = rows[0] ?? {}
    expect(others).toEqual({
      id: 'edge-01:k3f9x2m7q4w8z:telemetry:1',
      seq: '1',
      seq_text: '1',
      first: 'plant',
      last: 'temp',
      none: null,
      whose: 'edge-01/telemetry: ${qos} 1',
      arrival: '2026-11-23 03:05:00.123+00',
      arrival_ms: '1795403100123',
      constant: `it's; drop table readings; --`,
      'odd "name"; drop': 'press-7',
    })
    expect(JSON.parse(String(record))).toMatchObject({ seq: 1, payload: { celsius: 21.4 } })
  })

  test('of what a payload holds, with every digit, and NULL for what it has not', async () => {
    const digits = '12345678901234567890.12345678901234567890'
    const payload = `{"n":${digits},"big":9007199254740993,"ok":true,"mood":"bad","list":[1,2],
      "a/b":{"~":"deep"},"when":"2026-11-23T03:05:00.5+01:00","null":null,"tags":"{x,y}"}`
    const [row] = await stored(
      {
        n: ['numeric', '/n'],
        big: ['bigint', '/big'],
        ok: ['boolean', '/ok'],
        mood: ['public.mood', '/mood'],
        item: ['int', '/list/1'],
        list: ['jsonb', '/list'],
        list_text: ['text', '/list'],
        deep: ['text', '/a~1b/~0'],
        at: ['timestamptz', '/when'],
        missing: ['float8', '/missing'],
        null_json: ['json', '/null'],
        null_text: ['text', '/null'],
        tags: ['text[]', '/tags'],
        whole: ['jsonb', '/'],
      },
      [payload.replaceAll(/\n\s*/g, '')],
    )
    const { whole, ...others } = row ?? {}
    expect(others).toEqual({
      n: digits,
      big: '9007199254740993',
      ok: 'true',
      mood: 'bad',
      item: '2',
      list: '[1, 2]',
      list_text: '[1,2]',
      deep: 'deep',
      at: '2026-11-23 02:05:00.5+00',
      missing: null,
      null_json: 'null',
      null_text: null,
      tags: '{x,y}',
    })
    expect(String(whole)).toContain(digits)
  })

  test('of payloads that are texts, numbers, or no JSON', async () => {
    const rows = await stored(
      {
        json: ['jsonb', '${payload}'],
        text: ['text', '${payload}'],
        base64: ['text', '${payloadBase64}'],
        bytes: ['bytea', '${payloadBase64}'],
      },
      ['"warm"', '21.40', Buffer.from([0, 255])],
    )
    expect(rows).toEqual([
      { json: '"warm"', text: 'warm', base64: 'Indhcm0i', bytes: '\\x227761726d22' },
      { json: '21.40', text: '21.40', base64: 'MjEuNDA=', bytes: '\\x32312e3430' },
      { json: null, text: null, base64: 'AP8=', bytes: '\\x00ff' },
    ])
  })

  const ARRIVAL = { at: '2026-11-23 03:05:00.123+00', arrived: 'true' }

  test.each([
    ['ms', '1795403100500', '2026-11-23 03:05:00.5+00'],
    ['ms', '"1795403100500"', '2026-11-23 03:05:00.5+00'],
    ['s', '1795403100.25', '2026-11-23 03:05:00.25+00'],
    ['us', '1795403100123457', '2026-11-23 03:05:00.123457+00'],
    ['ns', '1795403100123457000', '2026-11-23 03:05:00.123457+00'],
    ['rfc3339', '"2024-02-29T12:00:00.25+01:00"', '2024-02-29 11:00:00.25+00'],
    ['ms', '"soon"', null],
    ['ms', 'true', null],
    ['ms', 'null', null],
    ['ms', '1e30', null],
    ['rfc3339', '"2026-02-29T12:00:00Z"', null],
    ['rfc3339', '"2026-02-30T12:00:00Z"', null],
    ['rfc3339', '"yesterday"', null],
    ['rfc3339', '5', null],
  ] as const)('a time in %s, %s, is %s', async (unit, ts, at) => {
    const rows = await stored(
      { at: ['timestamptz', '${time}'], arrived: ['boolean', '${timeIsArrival}'] },
      [`{"ts":${ts}}`, '{}', '5'],
      { time: { at: '/ts', unit } },
    )
    expect(rows).toEqual([at === null ? ARRIVAL : { at, arrived: 'false' }, ARRIVAL, ARRIVAL])
  })

  test('the preview shows the same texts', async () => {
    const { config } = await freshTables(server, {
      columns: { at: '${time}', celsius: '/celsius', none: '/none', of: '${topic.1}' },
      time: { at: '/ts', unit: 'ms' },
    })
    const text = await postgresType.preview(
      config,
      batchOfPayloads(['{"ts":1795403100500,"celsius":21.40}', Buffer.from([0])]),
    )
    expect(text).toMatch(/"at": 2026-11-23T03:05:00.500Z\n.*"celsius": 21.40\n.*"none": null/)
    expect(text).toMatch(/"of": press-7\n/)
    expect(text).toMatch(/:2 is refused: unmappable: the payload is not JSON/)
  })
})
