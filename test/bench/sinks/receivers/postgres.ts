/** PostgreSQL, with its settings for durability as installed. */
import { tablesSql } from '../../../../gateway/sink/postgres/sql/tables.ts'
import { postgresSinkConfig } from '../../../sink/postgres/configs.ts'
import { ADMIN, POSTGRES_TOOLS, PostgresServer } from '../../../sink/postgres/server.ts'
import type { Contest } from '../contest.ts'

const COLUMNS = {
  id: '${id}',
  device: '${device}',
  at: '${receivedAt}',
  payload: '${payload}',
}

export const postgresContest: Contest = {
  name: 'postgres',
  tools: POSTGRES_TOOLS,
  records: 150_000,
  about: 'PostgreSQL, fsync on; the client pg, an insert of arrays a batch',
  open: async () => {
    const server = await PostgresServer.start({ shared_buffers: '128MB' })
    let places = 0
    return {
      place: async () => {
        const schema = `place_${++places}`
        const names = {
          table: `${schema}.readings`,
          queueTable: `${schema}.sluice_queue`,
          gapTable: `${schema}.sluice_gap`,
        }
        const config = postgresSinkConfig({ ...names, columns: COLUMNS })
        await server.ask(`create schema ${schema}; ${tablesSql(config, ADMIN)}`)
        const url = `postgresql://${ADMIN}@127.0.0.1:${server.port}/${ADMIN}`
        return {
          sink: { type: 'postgres', url, ...names, columns: COLUMNS },
          bare: { kind: 'postgres', url, table: names.table },
          stored: async () => {
            const [row] = await server.ask(`select count(*) as records from ${names.table}`)
            return Number(row?.['records'])
          },
        }
      },
      close: () => server.close(),
    }
  },
}
