/** A database of a real PostgreSQL as a receiver, for the conformance suite. */
import type { PostgresSinkConfig } from '../../../gateway/sink/postgres/config.ts'
import { createPostgresSink } from '../../../gateway/sink/postgres/sink.ts'
import { tablesSql } from '../../../gateway/sink/postgres/sql/tables.ts'
import type { SinkHarness } from '../conformance.ts'
import { postgresSinkConfig } from './configs.ts'
import { Relay } from './relay.ts'
import { ADMIN, POSTGRES_TOOLS, PostgresServer } from './server.ts'

const COLUMNS = {
  id: '${id}',
  seq: '${seq}',
  device: '${device}',
  received_at: '${receivedAt}',
  celsius: '/celsius',
  payload: '${payload}',
}

let shared: Promise<PostgresServer> | null = null
let schemas = 0

/** One server for all tests of a process, which ends with it. */
export function sharedServer(): Promise<PostgresServer> {
  shared ??= PostgresServer.start()
  return shared
}

/** Tables of their own for one test, in a schema that is only theirs. */
export interface TestTables {
  readonly config: PostgresSinkConfig
  readonly schema: string
  /** Rows of the last statement, as the owner of everything; the tables need no schema. */
  readonly ask: (text: string) => Promise<Record<string, unknown>[]>
}

/** @param changes of the configuration */
export async function freshTables(
  server: PostgresServer,
  changes: Partial<PostgresSinkConfig> = {},
): Promise<TestTables> {
  const schema = `test_${++schemas}`
  const config = postgresSinkConfig({
    host: '127.0.0.1',
    port: server.port,
    database: ADMIN,
    user: ADMIN,
    table: `${schema}.readings`,
    queueTable: `${schema}.sluice_queue`,
    gapTable: `${schema}.sluice_gap`,
    columns: COLUMNS,
    ...changes,
  })
  const ask = (text: string) => server.ask(`set search_path to ${schema}; ${text}`)
  await server.ask(`create schema ${schema}; ${tablesSql(config, ADMIN)}`)
  await ask('alter table readings add place bigint generated always as identity')
  return { config, schema, ask }
}

export const postgresHarness: SinkHarness = {
  promise: 'exactly once',
  tools: POSTGRES_TOOLS,
  open: async () => {
    const server = await sharedServer()
    const { config: direct, ask } = await freshTables(server)
    const relay = await Relay.to(() => server.port)
    const config = { ...direct, port: relay.port }
    return {
      sink: () => createPostgresSink({ name: 'warehouse', config, emit: () => undefined }),
      config: { ...config },
      ids: async () => {
        const rows = await ask('select id from readings order by place')
        return rows.map(({ id }) => String(id))
      },
      gaps: async () =>
        (await ask('select * from sluice_gap order by told_at')).map((row) => JSON.stringify(row)),
      outage: () => {
        relay.isDown = true
        relay.cut()
        return () => {
          relay.isDown = false
        }
      },
      trouble: async () => {
        await ask('alter table sluice_queue rename to elsewhere')
        return async () => void (await ask('alter table elsewhere rename to sluice_queue'))
      },
      loseAnswer: () => {
        relay.losesAnswer = true
      },
      takeThrough: null,
      refuse: async (seq) => {
        await ask(`alter table readings add constraint poison check (seq <> ${seq})`)
        return async () => void (await ask('alter table readings drop constraint poison'))
      },
      close: () => relay.close(),
    }
  },
  end: async () => {
    const server = await shared
    shared = null
    await server?.close()
  },
}
