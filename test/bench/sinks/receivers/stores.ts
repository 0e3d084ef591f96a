/** Databases of Debian that take posts: InfluxDB 1, VictoriaMetrics, ClickHouse. */
import { setTimeout as sleep } from 'node:timers/promises'
import { CLICKHOUSE_TOOLS, ClickHouse } from '../../../sink/http/receivers/clickhouse.ts'
import { basic, INFLUXDB_TOOLS, InfluxDb } from '../../../sink/http/receivers/influxdb.ts'
import { VICTORIA_TOOLS, VictoriaMetrics } from '../../../sink/http/receivers/victoria-metrics.ts'
import type { Contest } from '../contest.ts'

const RECORDS = 150_000
/** Of the streams' name, which is the measurement by default. */
const MEASUREMENT = 'telemetry'
/** A member that each payload has. */
const COUNTED = 'n'

const influxContest: Contest = {
  name: 'influx',
  tools: INFLUXDB_TOOLS,
  records: RECORDS,
  about: 'InfluxDB 1; a loop that makes lines and posts them',
  open: async (folder) => {
    const influx = await InfluxDb.start(folder)
    const authorization = basic('right')
    let places = 0
    return {
      place: async () => {
        const name = `place_${++places}`
        await influx.makeDatabase(name)
        const url = `http://127.0.0.1:${influx.server.port}/write?db=${name}&precision=ns`
        return {
          sink: { type: 'http', url, format: 'influx', headers: { Authorization: authorization } },
          bare: { kind: 'post', url, headers: { authorization }, form: 'influx', maxRecords: null },
          stored: async () => {
            const [row] = await influx.query(`select count(${COUNTED}) from ${MEASUREMENT}`, name)
            return Number(row?.['count'] ?? 0)
          },
        }
      },
      close: () => influx.server.end('SIGKILL'),
    }
  },
}

/** What was written is found within a second, and nobody says when. */
const FOUND_MS = 5000
const POLL_MS = 100

const victoriaContest: Contest = {
  name: 'victoria-metrics',
  tools: VICTORIA_TOOLS,
  records: RECORDS,
  about: 'VictoriaMetrics; a loop that makes lines of numbers and posts them',
  open: async (folder) => {
    const { server } = await VictoriaMetrics.start(folder)
    let places = 0
    return {
      place: async () => {
        const name = `place_${++places}`
        // It makes a label of what is named a database.
        const url = `http://127.0.0.1:${server.port}/write?db=${name}&precision=ms`
        const format = { kind: 'influx', precision: 'ms', strings: 'leave-out' }
        return {
          sink: { type: 'http', url, format, answers: 'victoria-metrics' },
          bare: { kind: 'post', url, headers: {}, form: 'influx-numbers', maxRecords: null },
          stored: async () => {
            const selector = `${MEASUREMENT}_${COUNTED}{db="${name}"}`
            const query = `sum(count_over_time(${selector}[1h]))`
            const where = new URLSearchParams({ query, nocache: '1' })
            await server.ask('/internal/force_flush')
            return await settled(async () => {
              const answer = await server.ask(`/api/v1/query?${where.toString()}`)
              const { data } = JSON.parse(answer) as Queried
              return Number(data.result[0]?.value[1] ?? 0)
            })
          },
        }
      },
      close: () => server.end('SIGKILL'),
    }
  },
}

interface Queried {
  readonly data: { readonly result: ReadonlyArray<{ readonly value: readonly [number, string] }> }
}

/** A count that grows for some time: once it stands still. */
async function settled(count: () => Promise<number>): Promise<number> {
  const endMs = performance.now() + FOUND_MS
  let last = -1
  for (;;) {
    const now = await count()
    if ((now === last && now > 0) || performance.now() > endMs) return now
    last = now
    await sleep(POLL_MS)
  }
}

const COLUMNS = {
  id: '${id}',
  at: '${receivedAt}',
  device: '${device}',
  payload: '${payload}',
}

const clickhouseContest: Contest = {
  name: 'clickhouse',
  tools: CLICKHOUSE_TOOLS,
  records: RECORDS,
  about: 'ClickHouse; a loop that makes rows and posts them',
  open: async (folder) => {
    const clickhouse = await ClickHouse.start(folder)
    const origin = `http://127.0.0.1:${clickhouse.server.port}/`
    let places = 0
    return {
      place: async () => {
        const table = `place_${++places}`
        await clickhouse.query(
          `create table ${table} (id String, at DateTime, device String, payload String) engine = MergeTree order by (device, at)`,
        )
        const settings = '?date_time_input_format=best_effort'
        const query = encodeURIComponent(`insert into ${table} format JSONEachRow`)
        return {
          sink: {
            type: 'http',
            url: `${origin}${settings}`,
            format: { kind: 'json-each-row', table, columns: COLUMNS },
          },
          bare: {
            kind: 'post',
            url: `${origin}${settings}&query=${query}`,
            headers: {},
            form: 'json-each-row',
            maxRecords: null,
          },
          stored: async () =>
            Number(await clickhouse.query(`select count() from ${table} format TSV`)),
        }
      },
      close: () => clickhouse.server.end('SIGKILL'),
    }
  },
}

export const storeContests: readonly Contest[] = [influxContest, victoriaContest, clickhouseContest]
