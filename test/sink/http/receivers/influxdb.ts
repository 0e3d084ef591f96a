/** InfluxDB 1, with one user who may do all. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePorts } from '../../../../device-sim/free-ports.ts'
import { ReceiverServer } from './server.ts'

export const INFLUXDB_TOOLS = ['influxd'] as const
export const INFLUXDB_USER = 'plant'

type Row = Readonly<Record<string, unknown>>

export class InfluxDb {
  readonly server: ReceiverServer
  #password = 'right'

  private constructor(server: ReceiverServer) {
    this.server = server
  }

  /** @param folder of its own; with its user, and without a database */
  static async start(folder: string): Promise<InfluxDb> {
    const [port = 0, rpcPort = 0] = await freePorts(2)
    mkdirSync(folder, { recursive: true })
    const file = join(folder, 'influxdb.toml')
    const place = (name: string): string => JSON.stringify(join(folder, name))
    writeFileSync(
      file,
      `reporting-disabled = true
bind-address = "127.0.0.1:${rpcPort}"
[meta]
dir = ${place('meta')}
[data]
dir = ${place('data')}
wal-dir = ${place('wal')}
query-log-enabled = false
[http]
bind-address = "127.0.0.1:${port}"
auth-enabled = true
log-enabled = false
max-row-limit = 0
[monitor]
store-enabled = false
`,
    )
    const program = { tool: 'influxd', args: ['-config', file], ready: /Listening for signals/ }
    const influx = new InfluxDb(new ReceiverServer(port, program))
    await influx.server.begin()
    await influx.query(`create user ${INFLUXDB_USER} with password 'right' with all privileges`)
    return influx
  }

  async makeDatabase(name: string): Promise<void> {
    await this.query(`create database ${name}`)
  }

  async changePassword(password: string): Promise<void> {
    await this.query(`set password for ${INFLUXDB_USER} = '${password}'`)
    this.#password = password
  }

  /** Rows of all series, with their tags; times in nanoseconds, as text. */
  async query(statement: string, database = ''): Promise<Row[]> {
    const where = new URLSearchParams({ q: statement, db: database, epoch: 'ns' })
    const text = await this.server.ask(`/query?${where.toString()}`, '', this.#headers())
    // Nanoseconds are more than a number holds.
    const answer = JSON.parse(text.replaceAll(/([[,])(\d{17,})(?=[,\]])/g, '$1"$2"')) as Answer
    const [result] = answer.results
    if (result?.error !== undefined) throw new Error(`${statement}: ${result.error}`)
    return (result?.series ?? []).flatMap(({ columns, values, tags = {} }) =>
      values.map((row) => ({
        ...tags,
        ...Object.fromEntries(columns.map((column, i) => [column, row[i]])),
      })),
    )
  }

  #headers(): Record<string, string> {
    return { authorization: basic(this.#password) }
  }
}

interface Answer {
  readonly results: ReadonlyArray<{
    readonly error?: string
    readonly series?: ReadonlyArray<{
      readonly columns: readonly string[]
      readonly values: ReadonlyArray<readonly unknown[]>
      readonly tags?: Readonly<Record<string, string>>
    }>
  }>
}

export function basic(password: string): string {
  return `Basic ${Buffer.from(`${INFLUXDB_USER}:${password}`).toString('base64')}`
}
