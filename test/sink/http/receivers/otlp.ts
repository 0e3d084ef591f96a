/** The reference receiver of OTLP/HTTP logs, as a process with its records in a folder. */
import { mkdirSync } from 'node:fs'
import { freePort } from '../../../../device-sim/free-ports.ts'
import { builtFile } from '../../../support/process.ts'
import { ReceiverServer } from './server.ts'

export interface FoundLog {
  readonly attributes: ReadonlyMap<string, string>
  readonly text: string
}

interface LogRecord {
  readonly body: { readonly stringValue: string }
  readonly attributes: ReadonlyArray<{
    readonly key: string
    readonly value: { readonly stringValue: string }
  }>
}

export class OtlpReceiver {
  readonly server: ReceiverServer
  #token = 'right'

  private constructor(server: ReceiverServer) {
    this.server = server
  }

  /** @param folder of its own */
  static async start(folder: string): Promise<OtlpReceiver> {
    mkdirSync(folder, { recursive: true })
    const port = await freePort()
    const child = builtFile('test/sink/http/receivers/otlp-child.js')
    const args = [child, String(port), folder]
    const program = { tool: process.execPath, args, ready: /^listening/ }
    const receiver = new OtlpReceiver(new ReceiverServer(port, program))
    await receiver.begin()
    return receiver
  }

  /** Again, with what it had. */
  async begin(): Promise<void> {
    await this.server.begin()
    await this.changeToken(this.#token)
  }

  async changeToken(token: string): Promise<void> {
    await this.server.send('PUT', '/_reference/token', JSON.stringify({ token }))
    this.#token = token
  }

  async setBusy(busy: boolean): Promise<void> {
    await this.server.send('PUT', '/_reference/busy', JSON.stringify({ busy }))
  }

  /** In the order in which they came. */
  async logs(): Promise<FoundLog[]> {
    const records = JSON.parse(await this.server.ask('/_reference/records')) as LogRecord[]
    return records.map(({ body, attributes }) => ({
      text: body.stringValue,
      attributes: new Map(attributes.map(({ key, value }) => [key, value.stringValue])),
    }))
  }
}
