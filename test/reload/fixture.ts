/** A gateway in this process whose configuration file a test rewrites, with sinks that it scripts. */
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { get, type IncomingMessage } from 'node:http'
import { join } from 'node:path'
import { json, text } from 'node:stream/consumers'
import { loadConfig } from '../../gateway/config/load.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { type Gateway, startGateway } from '../../gateway/gateway.ts'
import {
  ADMIN_SOCKET,
  type ConfigReport,
  type ReloadOutcome,
} from '../../gateway/ports/operator.ts'
import type { Status } from '../../gateway/ports/status.ts'
import { temporaryFolder } from '../support/spool-fixture.ts'

/** The keys that a test is about; `undefined` takes one away. */
export type Written = Readonly<Record<string, unknown>>

export class ReloadRig {
  readonly gateway: Gateway
  readonly folder: string
  readonly file: string
  readonly #remove: () => Promise<void>

  private constructor(gateway: Gateway, file: string, folder: string, remove: () => Promise<void>) {
    this.gateway = gateway
    this.file = file
    this.folder = folder
    this.#remove = remove
  }

  static async start(written: Written): Promise<ReloadRig> {
    const folder = await temporaryFolder()
    const file = join(folder.path, 'sluice.yaml')
    await writeFile(file, JSON.stringify(whole(written)))
    const load = () => loadConfig(SCHEMA, { file, env: {}, cwd: folder.path })
    const gateway = await startGateway(load().config, { path: file, load })
    return new ReloadRig(gateway, file, folder.path, () => folder.remove())
  }

  /** The first listener's. */
  get port(): number {
    return this.gateway.addresses[0]?.port ?? 0
  }

  async write(written: Written): Promise<void> {
    await writeFile(this.file, JSON.stringify(whole(written)))
  }

  async reload(written: Written, probationMs = 0): Promise<ReloadOutcome> {
    await this.write(written)
    return this.gateway.reload({ dryRun: false, probationMs })
  }

  status(): Promise<Status> {
    return this.#get('/api/status') as Promise<Status>
  }

  config(): Promise<ConfigReport> {
    return this.#get('/api/config') as Promise<ConfigReport>
  }

  /** The messages of the last lines of the log. */
  async log(): Promise<readonly string[]> {
    const lines = (await text(await this.#open('/api/log'))).trimEnd().split('\n')
    return lines.map((line) => (JSON.parse(line) as { msg: string }).msg)
  }

  async #get(path: string): Promise<unknown> {
    return json(await this.#open(path))
  }

  /** Through the socket in the data folder, which asks nobody for a token. */
  async #open(path: string): Promise<IncomingMessage> {
    const socketPath = join(this.folder, 'data', ADMIN_SOCKET)
    const [answer] = (await once(get({ socketPath, path, agent: false }), 'response')) as [
      IncomingMessage,
    ]
    return answer
  }

  async stop(): Promise<void> {
    await this.gateway.stop(2_000)
    await this.#remove()
  }
}

function whole(written: Written): Written {
  return {
    mqtt: { listeners: [{ host: '127.0.0.1', port: 0 }] },
    spool: { minFreeBytes: '1MiB' },
    admin: { host: '127.0.0.1', port: 0 },
    log: { level: 'error' },
    ...written,
  }
}
