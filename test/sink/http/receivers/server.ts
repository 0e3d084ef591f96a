/** A receiver's real server, as a process on a free port that can be ended and started again. */
import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { type RunningProcess, startProcess } from '../../../support/process.ts'
import { findTool } from '../../../support/tools.ts'

const START_MS = 30_000
const TRY_EVERY_MS = 5

export interface ServerProgram {
  readonly tool: string
  readonly args: readonly string[]
  /** What it says as it begins to listen, some of them a moment before. */
  readonly ready: string | RegExp
}

export class ReceiverServer {
  readonly port: number
  readonly #program: ServerProgram
  #process: RunningProcess | null = null

  constructor(port: number, program: ServerProgram) {
    this.port = port
    this.#program = program
  }

  async begin(): Promise<void> {
    const { tool, args, ready } = this.#program
    this.#process = startProcess(findTool(tool) ?? tool, args)
    await this.#process.waitForLine(ready, START_MS)
    while (!(await isConnectable(this.port))) {
      assert(this.#process.exit === null, `${tool} ended by itself`)
      await sleep(TRY_EVERY_MS)
    }
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const server = this.#process
    assert(server?.kill(signal) === true, `${this.#program.tool} ended by itself`)
    await server.waitForExit(START_MS)
  }

  async reap(): Promise<void> {
    await this.#process?.reap()
  }

  /** Past any link. @throws for an answer that is none of 2xx */
  async ask(path: string, body?: string, headers: Readonly<Record<string, string>> = {}) {
    return await this.send(body === undefined ? 'GET' : 'POST', path, body, headers)
  }

  /** As `ask`, by another method. */
  async send(
    method: string,
    path: string,
    body?: string,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<string> {
    const sent = body === undefined ? {} : { body }
    const answer = await fetch(`http://127.0.0.1:${this.port}${path}`, { method, headers, ...sent })
    const text = await answer.text()
    assert(answer.ok, `${path} answers ${answer.status}: ${text}`)
    return text
  }
}

function isConnectable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', () => {
      resolve(true)
      socket.destroy()
    })
    socket.on('error', () => resolve(false))
  })
}
