/** The client `pg`: each batch one insert of arrays, in a transaction of its own. */
import pg from 'pg'
import { nothingLeft, type Sender } from './sender.ts'
import type { BareTask } from './task.ts'

export async function postgresSender(
  task: Extract<BareTask, { kind: 'postgres' }>,
): Promise<Sender> {
  const client = new pg.Client({ connectionString: task.url })
  await client.connect()
  const text = `insert into ${task.table} (id, device, at, payload)
    select * from unnest($1::text[], $2::text[], $3::timestamptz[], $4::jsonb[])`
  return {
    ...nothingLeft,
    send: async ({ records, payloads }) => {
      const values = [
        records.map(({ id }) => id),
        records.map(({ device }) => device),
        records.map(({ receivedAt }) => receivedAt),
        payloads.map((payload) => payload.toString()),
      ]
      await client.query({ name: 'put', text, values })
    },
    close: () => client.end(),
  }
}
