/** A real PostgreSQL, with a user of its own for the gateway. */
import type { Random } from '../../../../device-sim/random.ts'
import { tablesSql } from '../../../../gateway/sink/postgres/sql/tables.ts'
import { Link } from '../../../../gateway/sink/postgres/wire/link.ts'
import { postgresSinkConfig } from '../../../sink/postgres/configs.ts'
import { ADMIN, POSTGRES_TOOLS, PostgresServer } from '../../../sink/postgres/server.ts'
import {
  type StoredReading,
  TAKEN_FOR_DELIVERED,
  type TestedReceiver,
  type TestedType,
} from '../receiver.ts'

const USER = 'sluice'
const MEMBER = 'poison'
const COLUMNS = { id: '${id}', device: '${device}', payload: '${payload}' }
/** A column more: another form, which must change nothing of what is promised. */
const MORE_COLUMNS = { ...COLUMNS, n: '/n' }

export const testedPostgres: TestedType = {
  delivery: 'exactly once',
  tools: POSTGRES_TOOLS,
  planted: [
    {
      defect: 'the number is not asked',
      only: ['killed at answer.read'],
      seenAs: /I4: there more than once/,
    },
    {
      defect: 'no answer is an ack',
      only: ['link refused'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  defects: {
    'the number is not asked': () => {
      const run: unknown = Reflect.get(Link.prototype, 'run')
      Link.prototype.run = async function (statement, patience) {
        const text = statement.text
          .replace(/and highest = (\$\d+::bigint) (returning|and not)/, 'and $1 is not null $2')
          .replace('select highest::text', `select '0' as highest`)
          .replace(', digest, refused', ', null as digest, refused')
        return await (run as typeof this.run).call(this, { ...statement, text }, patience)
      }
    },
  },
  poison: (n) => JSON.stringify({ n, [MEMBER]: true }),
  open: async () => await PostgresReceiver.start(),
}

class PostgresReceiver implements TestedReceiver {
  readonly port: number
  readonly troubles = {
    stopped: { begin: () => this.#server.end('SIGINT'), end: () => this.#server.begin() },
    killed: { begin: () => this.#server.end('SIGKILL'), end: () => this.#server.begin() },
    'locked-out': {
      begin: () => this.#ask(`alter role ${USER} password 'another'`, true),
      end: () => this.#ask(`alter role ${USER} password 'right'`),
    },
    'no-place': {
      begin: () => this.#ask('alter table readings rename to elsewhere'),
      end: () => this.#ask('alter table elsewhere rename to readings'),
    },
    busy: {
      begin: () => this.#ask(`alter role ${USER} connection limit 0`, true),
      end: () => this.#ask(`alter role ${USER} connection limit -1`),
    },
  }
  readonly #server: PostgresServer
  readonly #password: string

  private constructor(server: PostgresServer) {
    this.#server = server
    this.port = server.port
    this.#password = server.file('password', 'right\n')
  }

  static async start(): Promise<PostgresReceiver> {
    const server = await PostgresServer.start()
    const receiver = new PostgresReceiver(server)
    const tables = tablesSql(postgresSinkConfig({ columns: MORE_COLUMNS }), USER)
    await server.ask(`create role ${USER} login password 'right'; ${tables}
      alter table readings add place bigint generated always as identity,
        add check (not payload ? '${MEMBER}')`)
    await server.allow([`host all ${USER} 127.0.0.1/32 scram-sha-256`])
    return receiver
  }

  sink(port: number, random: Random): Readonly<Record<string, unknown>> {
    return {
      type: 'postgres',
      url: `postgresql://${USER}@127.0.0.1:${port}/${ADMIN}`,
      password: { file: this.#password },
      columns: random.chance(0.5) ? COLUMNS : MORE_COLUMNS,
      timeout: '1s',
      connectTimeout: '1s',
      maxBatchRecords: 20,
      maxInFlight: 2,
    }
  }

  async read(): Promise<StoredReading[]> {
    const rows = await this.#server.ask(
      `select id, device, payload ->> 'n' as n from readings order by place`,
    )
    return rows.map(({ id, device, n }) => ({
      id: String(id),
      device: String(device),
      n: Number(n),
    }))
  }

  async close(): Promise<void> {
    await this.#server.close()
  }

  /** @param ends connections that are there */
  async #ask(text: string, ends = false): Promise<void> {
    const mine = `select pg_terminate_backend(pid) from pg_stat_activity where usename = '${USER}'`
    await this.#server.ask(text)
    if (ends) await this.#server.ask(mine)
  }
}
