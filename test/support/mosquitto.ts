/**
 * A real Mosquitto with a configuration of its own, for tests of what speaks to a gateway: what is
 * no fault with it is no fault of ours. Needs the tool `mosquitto`.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from '../../device-sim/free-ports.ts'
import { type RunningProcess, startProcess } from './process.ts'
import { findTool } from './tools.ts'

export class MosquittoServer {
  readonly port: number
  readonly #folder: string
  readonly #process: RunningProcess

  private constructor(port: number, folder: string, process: RunningProcess) {
    this.port = port
    this.#folder = folder
    this.#process = process
  }

  /** @param settings lines of its configuration */
  static async start(settings: readonly string[] = []): Promise<MosquittoServer> {
    const port = await freePort()
    const folder = mkdtempSync(join(tmpdir(), 'sluice-mosquitto-'))
    const config = join(folder, 'mosquitto.conf')
    const lines = [`listener ${port} 127.0.0.1`, 'allow_anonymous true', ...settings]
    writeFileSync(config, `${lines.join('\n')}\n`)
    const process = startProcess(findTool('mosquitto') ?? 'mosquitto', ['-v', '-c', config])
    await process.waitForLine('running')
    return new MosquittoServer(port, folder, process)
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  async stop(): Promise<void> {
    await this.#process.reap()
    rmSync(this.#folder, { recursive: true, force: true })
  }
}
