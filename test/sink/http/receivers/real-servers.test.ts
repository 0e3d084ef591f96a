/**
 * Encoded batches into the real servers, which are read back: what a format and a table of answers
 * make of it together. Under kills and outages: test/faults/sinks.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { Random } from '../../../../device-sim/random.ts'
import type { Batch, SinkAnswer } from '../../../../gateway/ports/sink.ts'
import type { HttpSinkConfig } from '../../../../gateway/sink/http/config.ts'
import { createHttpSink } from '../../../../gateway/sink/http/http-sink.ts'
import type { ConfiguredSink } from '../../../../gateway/sink/sink-type.ts'
import { httpSinkConfig } from '../../../support/configs.ts'
import { reapProcesses } from '../../../support/process.ts'
import { SEED } from '../../../support/seed.ts'
import { describeWithTool } from '../../../support/tool-tests.ts'
import { batchOf, never } from '../batches.ts'
import { type MadeRecord, madeRecord, oddJson, oddText } from '../formats/records.ts'
import { CLICKHOUSE_TOOLS, ClickHouse } from './clickhouse.ts'
import { basic, INFLUXDB_TOOLS, InfluxDb } from './influxdb.ts'
import { VICTORIA_TOOLS, VictoriaMetrics } from './victoria-metrics.ts'

const folder = mkdtempSync(join(tmpdir(), 'sluice-receivers-'))
const sinks: ConfiguredSink[] = []
afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close()
})
afterAll(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

function newSink(changes: Partial<HttpSinkConfig>): ConfiguredSink {
  const sink = createHttpSink({
    name: 'receiver',
    config: httpSinkConfig(changes),
    emit: () => undefined,
  })
  sinks.push(sink)
  return sink
}

/** The batch of these records, whose seqs begin at 1. */
function batchWith(made: readonly MadeRecord[]): Batch {
  const records = made.map((one, i) => madeRecord({ seq: i + 1, ...one }))
  return batchOf(1, made.length, {
    records: async function* () {
      yield* records
    },
  })
}

async function send(sink: ConfiguredSink, made: readonly MadeRecord[]): Promise<SinkAnswer> {
  const batch = batchWith(made)
  return await sink.send({ ...batch, fingerprint: sink.encoder.fingerprint }, never())
}

const payloads = (...all: readonly string[]): MadeRecord[] => all.map((payload) => ({ payload }))
const ACKED = { kind: 'verdicts', listed: [] }
const TIME = { at: null, unit: 'ms' } as const
const LINE: LineFormat = {
  kind: 'influx',
  measurement: '${stream}',
  tags: null,
  fields: '/',
  time: TIME,
  precision: 'ns',
  separator: '_',
  integers: 'float',
  strings: 'keep',
  lists: 'index',
}

type LineFormat = Extract<HttpSinkConfig['format'], { kind: 'influx' }>

describeWithTool(INFLUXDB_TOOLS, 'InfluxDB', () => {
  let influx: InfluxDb
  beforeAll(async () => {
    influx = await InfluxDb.start(join(folder, 'influx'))
  })

  const into = (db: string, password = 'right', format: Partial<Pick<LineFormat, 'lists'>> = {}) =>
    newSink({
      url: `http://127.0.0.1:${influx.server.port}/write?db=${db}`,
      headers: { Authorization: { value: basic(password) } },
      format: { ...LINE, ...format },
    })

  test('I4: a batch is there, and again when it is sent again, once', async () => {
    await influx.makeDatabase('repeats')
    const made = payloads('{"v":1}', '{"v":2.5,"s":"a\\nb"}', '{"v":{"x":true}}')
    for (const sink of [into('repeats'), into('repeats')])
      expect(await send(sink, made)).toMatchObject(ACKED)
    expect(await influx.query('select * from telemetry', 'repeats')).toEqual([
      { time: '1795403100123000001', device: 'press-7', v: 1, s: null, v_x: null },
      { time: '1795403100123000002', device: 'press-7', v: 2.5, s: 'a\nb', v_x: null },
      { time: '1795403100123000003', device: 'press-7', v: null, s: null, v_x: true },
    ])
  })

  test('I8: a database that is missing holds, as does a wrong password; then it goes on', async () => {
    const made = payloads('{"v":1}')
    expect(await send(into('late', 'wrong'), made)).toMatchObject({ kind: 'hold', code: '401' })
    expect(await send(into('late'), made)).toMatchObject({ kind: 'hold', code: '404' })
    await influx.makeDatabase('late')
    expect(await send(into('late'), made)).toMatchObject(ACKED)
  })

  test('a conflict of types refuses, and what is not in conflict is there', async () => {
    await influx.makeDatabase('conflicts')
    const sink = into('conflicts')
    expect(await send(sink, payloads('{"v":1}'))).toMatchObject(ACKED)
    const answer = await send(sink, payloads('{"v":1}', '{"v":"x"}', '{"v":3}'))
    expect(answer).toMatchObject({
      kind: 'refused',
      detail: expect.stringMatching(/type conflict/),
    })
    const rows = await influx.query('select v from telemetry', 'conflicts')
    expect(rows.map(({ v }) => v)).toEqual([1, 3])
  })

  test('points beyond the retention are refused', async () => {
    await influx.query('create database short with duration 1h')
    const old = { receivedAt: '2020-01-01T00:00:00.000Z' }
    expect(await send(into('short'), [old])).toMatchObject({ kind: 'refused' })
  })

  test('unmappable records are refused beside the others', async () => {
    await influx.makeDatabase('unmappable')
    const answer = await send(into('unmappable'), payloads('{"v":1}', '{"time":2}', '{"v":3}'))
    expect(answer).toMatchObject({
      kind: 'verdicts',
      listed: [
        { seq: 2, verdict: 'refused', reason: expect.stringMatching(/^unmappable: .*time/) },
      ],
    })
    expect(await influx.query('select v from telemetry', 'unmappable')).toHaveLength(2)
  })

  test(`whatever a device sends is read back as it was (SLUICE_SEED=${SEED})`, async () => {
    await influx.makeDatabase('fuzz')
    const random = new Random(SEED, 'influxdb')
    const made = Array.from({ length: 400 }, (_, i) => {
      const texts = { s: oddText(random, 20), [`k${oddText(random)}`]: random.next() }
      const payload = JSON.stringify({ i, n: (random.next() - 0.5) * 1e9, ...texts })
      return { seq: i + 1, device: oddText(random), payload }
    })
    const answer = await send(into('fuzz', 'right', { lists: 'refuse' }), made)
    expect(answer.kind).toBe('verdicts')
    const refused = new Set(answer.kind === 'verdicts' ? answer.listed.map(({ seq }) => seq) : [])
    const rows = await influx.query('select * from telemetry', 'fuzz')
    const byIndex = new Map(rows.map((row) => [row['i'], row]))
    expect(byIndex.size).toBe(made.length - refused.size)
    for (const { seq, device, payload } of made) {
      if (refused.has(seq)) continue
      const fields = JSON.parse(payload) as { readonly i: number }
      expect(byIndex.get(fields.i), payload).toMatchObject({
        ...fields,
        device: device === '' ? null : device,
        time: `1795403100123${String(seq).padStart(6, '0')}`,
      })
    }
  })
})

describeWithTool(VICTORIA_TOOLS, 'VictoriaMetrics', () => {
  test('I4: numbers are there, with their labels, and a repeat is one with them', async () => {
    const more = ['-dedup.minScrapeInterval=1ms']
    const victoria = await VictoriaMetrics.start(join(folder, 'victoria'), more)
    const sink = newSink({
      url: `http://127.0.0.1:${victoria.server.port}/write?precision=ms`,
      format: { ...LINE, precision: 'ms', strings: 'leave-out', tags: { odd: '/odd' } },
      answers: { table: 'victoria-metrics' },
    })
    const made = payloads('{"v":1.5,"on":true,"odd":"a b,c=d"}', '{"v":2,"x":"gone"}')
    for (let i = 0; i < 2; i++) expect(await send(sink, made)).toMatchObject(ACKED)
    const timestamps = [1_795_403_100_123]
    const series = await victoria.series('telemetry_v')
    expect(series.toSorted((a, b) => (a.values[0] ?? 0) - (b.values[0] ?? 0))).toEqual([
      { labels: { __name__: 'telemetry_v', odd: 'a b,c=d' }, values: [1.5], timestamps },
      { labels: { __name__: 'telemetry_v' }, values: [2], timestamps },
    ])
    expect(await victoria.series('telemetry_on')).toHaveLength(1)
    expect(await victoria.series('telemetry_x')).toEqual([])
  })
})

describeWithTool(CLICKHOUSE_TOOLS, 'ClickHouse', () => {
  let clickhouse: ClickHouse
  beforeAll(async () => {
    clickhouse = await ClickHouse.start(join(folder, 'clickhouse'))
  })

  const into = (table: string, password = 'right') =>
    newSink({
      url: `http://127.0.0.1:${clickhouse.server.port}/?date_time_input_format=best_effort`,
      headers: {
        'X-ClickHouse-User': { value: 'plant' },
        'X-ClickHouse-Key': { value: password },
      },
      format: {
        kind: 'json-each-row',
        table,
        columns: { seq: '${seq}', at: '${receivedAt}', device: '${device}', v: '/v', whole: '/' },
        objects: 'text',
        token: false,
      },
    })
  const make = async (table: string): Promise<unknown> =>
    await clickhouse.query(
      `create table ${table} (seq UInt64, at DateTime('UTC'), device String, v Nullable(Float64), whole String) engine = MergeTree order by seq`,
    )

  test('I8: a table that is missing holds, as does a wrong password; then rows are there', async () => {
    const made = payloads('{"v":1.5}', '{"v":null}', '{"w":[1,"\\u20ac"]}')
    expect(await send(into('late', 'wrong'), made)).toMatchObject({ kind: 'hold', code: '401' })
    expect(await send(into('late'), made)).toMatchObject({ kind: 'hold', code: '404' })
    await make('late')
    expect(await send(into('late'), made)).toMatchObject(ACKED)
    const row = { at: '2026-11-23 03:05:00', device: 'press-7' }
    expect(await clickhouse.select('select * from late order by seq')).toEqual([
      { ...row, seq: '1', v: 1.5, whole: '{"v":1.5}' },
      { ...row, seq: '2', v: null, whole: '{"v":null}' },
      { ...row, seq: '3', v: null, whole: '{"w":[1,"\\u20ac"]}' },
    ])
  })

  test('a row that cannot be read refuses, and nothing of its batch is there', async () => {
    await make('refusals')
    const answer = await send(into('refusals'), payloads('{"v":1}', '{"v":"x"}', '{"v":3}'))
    expect(answer).toMatchObject({ kind: 'refused', detail: expect.stringMatching(/at row 2/) })
    expect(await clickhouse.select('select * from refusals')).toEqual([])
  })

  test('I8: a column that is missing is a fault of the table, and nothing is there', async () => {
    await clickhouse.query('create table narrow (seq UInt64) engine = MergeTree order by seq')
    const answer = await send(into('narrow'), payloads('{"v":1}'))
    expect(answer).toMatchObject({ kind: 'hold', detail: expect.stringMatching(/Unknown field/) })
    expect(await clickhouse.select('select * from narrow')).toEqual([])
  })

  test(`whatever a device sends is read back as it was (SLUICE_SEED=${SEED})`, async () => {
    await make('fuzz')
    const random = new Random(SEED, 'clickhouse')
    const made = Array.from({ length: 400 }, (_, i) => ({
      seq: i + 1,
      device: oddText(random, 20),
      payload: JSON.stringify({ v: (random.next() - 0.5) * 1e9, o: oddJson(random) }),
    }))
    expect(await send(into('fuzz'), made)).toMatchObject(ACKED)
    const rows = await clickhouse.select<{ seq: string; device: string; whole: string }>(
      'select seq, device, whole from fuzz order by seq',
    )
    expect(rows).toEqual(
      made.map(({ seq, device, payload }) => ({ seq: String(seq), device, whole: payload })),
    )
  })
})
