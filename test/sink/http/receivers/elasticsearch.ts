/** The reference of Elasticsearch, as a process with its documents in a folder. */
import { mkdirSync } from 'node:fs'
import { freePort } from '../../../../device-sim/free-ports.ts'
import { builtFile } from '../../../support/process.ts'
import { basic } from './influxdb.ts'
import { ReceiverServer } from './server.ts'

export interface FoundDocument {
  readonly id: string
  readonly device: string
  readonly payload: unknown
}

export class Elasticsearch {
  readonly server: ReceiverServer
  #password = 'right'

  private constructor(server: ReceiverServer) {
    this.server = server
  }

  /** @param folder of its own */
  static async start(folder: string): Promise<Elasticsearch> {
    mkdirSync(folder, { recursive: true })
    const port = await freePort()
    const child = builtFile('test/sink/http/receivers/elasticsearch-child.js')
    const args = [child, String(port), folder]
    const program = { tool: process.execPath, args, ready: /^listening/ }
    const elasticsearch = new Elasticsearch(new ReceiverServer(port, program))
    await elasticsearch.begin()
    return elasticsearch
  }

  /** Again, with what it had. */
  async begin(): Promise<void> {
    await this.server.begin()
    await this.changePassword(this.#password)
  }

  async makeIndex(name: string): Promise<void> {
    await this.#put(`/${name}`, {})
  }

  async deleteIndex(name: string): Promise<void> {
    await this.server.send('DELETE', `/${name}`, '', { authorization: basic(this.#password) })
  }

  async changePassword(password: string): Promise<void> {
    await this.#put('/_reference/password', { password })
    this.#password = password
  }

  /** One shard of two takes nothing: its queue is full. */
  async fillQueue(full: boolean): Promise<void> {
    await this.#put('/_reference/full', { full })
  }

  async documents(index: string): Promise<FoundDocument[]> {
    return JSON.parse(await this.server.ask(`/${index}/_documents`)) as FoundDocument[]
  }

  async #put(path: string, body: unknown): Promise<void> {
    const headers = { authorization: basic(this.#password) }
    await this.server.send('PUT', path, JSON.stringify(body), headers)
  }
}
