/** ClickHouse, with a user who needs a password. */
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePorts } from '../../../../device-sim/free-ports.ts'
import { ReceiverServer } from './server.ts'

export const CLICKHOUSE_TOOLS = ['clickhouse-server'] as const

export class ClickHouse {
  readonly server: ReceiverServer
  readonly #folder: string

  private constructor(server: ReceiverServer, folder: string) {
    this.server = server
    this.#folder = folder
  }

  /** @param folder of its own */
  static async start(folder: string): Promise<ClickHouse> {
    const [port = 0, tcpPort = 0] = await freePorts(2)
    mkdirSync(folder, { recursive: true })
    const file = join(folder, 'config.xml')
    writeFileSync(
      file,
      `<yandex>
<logger><level>information</level><console>1</console></logger>
<http_port>${port}</http_port><tcp_port>${tcpPort}</tcp_port><listen_host>127.0.0.1</listen_host>
<path>${folder}/data/</path><tmp_path>${folder}/tmp/</tmp_path>
<mark_cache_size>5242880</mark_cache_size>
<users_config>users.xml</users_config>
<default_profile>default</default_profile><default_database>default</default_database>
</yandex>
`,
    )
    const args = [`--config-file=${file}`]
    const program = { tool: 'clickhouse-server', args, ready: /Ready for connections/ }
    const clickhouse = new ClickHouse(new ReceiverServer(port, program), folder)
    clickhouse.#writeUsers('right')
    await clickhouse.server.begin()
    return clickhouse
  }

  /** Of the user `plant`; it is ended and started for it. */
  async changePassword(password: string): Promise<void> {
    await this.server.end('SIGTERM')
    this.#writeUsers(password)
    await this.server.begin()
  }

  async query(statement: string): Promise<string> {
    return await this.server.ask('/', statement)
  }

  /** As rows. */
  async select<Row>(statement: string): Promise<Row[]> {
    const text = await this.query(`${statement} format JSONEachRow`)
    const lines = text.split('\n').filter((line) => line !== '')
    return lines.map((line) => JSON.parse(line) as Row)
  }

  #writeUsers(password: string): void {
    const user = (name: string, word: string): string =>
      `<${name}><password>${word}</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota></${name}>`
    writeFileSync(
      join(this.#folder, 'users.xml'),
      `<yandex><profiles><default></default></profiles><quotas><default></default></quotas>
<users>${user('default', '')}${user('plant', password)}</users></yandex>
`,
    )
  }
}
