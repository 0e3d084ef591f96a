/** The ingest contract: the reference cloud, which keeps one number a queue, as a process. */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { freePorts } from '../../../../device-sim/free-ports.ts'
import { type RunningProcess, startProgram } from '../../../support/process.ts'
import { TAKEN_FOR_DELIVERED, type TestedReceiver, type TestedType } from '../receiver.ts'
import { readingsOf } from './lines.ts'

const MEMBER = 'poison'
const REFUSES = { kind: 'refuse', match: { member: MEMBER, equals: true } }
const START_MS = 20_000

export const testedHttp: TestedType = {
  delivery: 'exactly once',
  tools: [],
  planted: [
    {
      defect: 'a repeat is not known',
      only: ['killed at answer.read'],
      seenAs: /I4: there more than once/,
    },
    {
      defect: 'no answer is an ack',
      only: ['link refused'],
      seenAs: TAKEN_FOR_DELIVERED,
    },
  ],
  poison: (n) => JSON.stringify({ n, [MEMBER]: true }),
  open: async (folder) => {
    const [port = 0, adminPort = 0] = await freePorts(2)
    return await CloudReceiver.start(folder, port, adminPort)
  },
}

class CloudReceiver implements TestedReceiver {
  readonly port: number
  readonly troubles = {
    stopped: { begin: () => this.#end('SIGTERM'), end: () => this.#begin() },
    killed: { begin: () => this.#end('SIGKILL'), end: () => this.#begin() },
    'locked-out': {
      begin: () => this.#changeToken('another'),
      end: () => this.#changeToken('right'),
    },
    busy: {
      begin: () => this.#setFaults([{ kind: 'busy', status: 503 }]),
      end: () => this.#setFaults([]),
    },
  }
  readonly #adminPort: number
  readonly #folder: string
  #process: RunningProcess | null = null

  private constructor(folder: string, port: number, adminPort: number) {
    this.#folder = folder
    this.port = port
    this.#adminPort = adminPort
  }

  static async start(folder: string, port: number, adminPort: number): Promise<CloudReceiver> {
    const cloud = new CloudReceiver(folder, port, adminPort)
    writeFileSync(cloud.#path('right'), 'right\n')
    writeFileSync(cloud.#path('token'), 'right\n')
    await cloud.#begin()
    return cloud
  }

  sink(port: number): Readonly<Record<string, unknown>> {
    return {
      type: 'http',
      url: `http://127.0.0.1:${port}/ingest`,
      bearerToken: { file: this.#path('right') },
      timeout: '1s',
      maxBatchRecords: 20,
    }
  }

  async read(): ReturnType<TestedReceiver['read']> {
    return readingsOf(await this.#ask('GET', '/records?limit=10000000'))
  }

  async close(): Promise<void> {
    await this.#process?.reap()
  }

  async #begin(): Promise<void> {
    const args = [
      '--port',
      this.port,
      '--admin-port',
      this.#adminPort,
      '--store',
      this.#path('cloud'),
    ]
    const more = [
      '--token-file',
      this.#path('token'),
      '--fault',
      JSON.stringify(REFUSES),
      '--quiet',
    ]
    this.#process = startProgram('device-sim', ['cloud', ...args.map(String), ...more])
    await this.#process.waitForLine(/gateways POST batches/, START_MS)
  }

  async #end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const cloud = this.#process
    assert(cloud?.kill(signal) === true, 'the cloud ended by itself')
    await cloud.waitForExit()
  }

  /** What it wants to see from now on. */
  async #changeToken(token: string): Promise<void> {
    await this.#end('SIGTERM')
    writeFileSync(this.#path('token'), `${token}\n`)
    await this.#begin()
  }

  async #setFaults(faults: readonly unknown[]): Promise<void> {
    const body = JSON.stringify({ faults: [REFUSES, ...faults], replace: true })
    await this.#ask('POST', '/faults', body)
  }

  async #ask(method: string, path: string, body?: string): Promise<string> {
    const answer = await fetch(`http://127.0.0.1:${this.#adminPort}${path}`, {
      method,
      ...(body === undefined ? {} : { body }),
    })
    const text = await answer.text()
    assert(answer.ok, `${path} answers ${answer.status}: ${text}`)
    return text
  }

  #path(name: string): string {
    return join(this.#folder, name)
  }
}
