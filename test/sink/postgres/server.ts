/**
 * A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a free port, ended
 * with the process that started it. It refuses to run as root; then it runs as nobody.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import pg from 'pg'
import { freePorts } from '../../../device-sim/free-ports.ts'
import { findTool } from '../../support/tools.ts'

export const POSTGRES_TOOLS = ['initdb', 'postgres', 'setpriv']

/** Of Debian's nobody and nogroup. */
const NOBODY = 65_534
const START_MS = 30_000
const READY = 'database system is ready to accept connections'

export const ADMIN = 'postgres'

export class PostgresServer {
  readonly port: number
  readonly #parent: string
  /** `-c name=value` of each. */
  #settings: Readonly<Record<string, string>>
  #process: ChildProcess | null = null
  #admin: pg.Client | null = null
  readonly #onExit = (): void => void this.#process?.kill('SIGKILL')

  private constructor(parent: string, port: number, settings: Readonly<Record<string, string>>) {
    this.#parent = parent
    this.port = port
    this.#settings = settings
    process.once('exit', this.#onExit)
  }

  /** @param above its folder */
  static async start(
    settings: Readonly<Record<string, string>> = {},
    above = tmpdir(),
  ): Promise<PostgresServer> {
    const [port = 0] = await freePorts(1)
    const parent = mkdtempSync(join(above, 'sluice-postgres-'))
    if (isRoot()) chownSync(parent, NOBODY, NOBODY)
    const server = new PostgresServer(parent, port, settings)
    const args = ['-D', server.#data, '-U', ADMIN, '-A', 'trust', '-E', 'UTF8', '--no-sync']
    const [command, list] = asUser('initdb', [...args, '--locale=C'])
    execFileSync(command, list, { stdio: 'pipe' })
    await server.begin()
    return server
  }

  get #data(): string {
    return join(this.#parent, 'data')
  }

  /** Also of one that was killed, and whose last processes are still about to end. */
  async begin(settings = this.#settings): Promise<void> {
    this.#settings = settings
    const endMs = performance.now() + START_MS
    for (;;) {
      const said = await this.#launch()
      if (said === null) return
      if (performance.now() > endMs) throw new Error(`postgres does not start:\n${said}`)
    }
  }

  /** What it said if it ended; null: it is there. */
  async #launch(): Promise<string | null> {
    const own = {
      port: String(this.port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: this.#parent,
      shared_buffers: '16MB',
      max_connections: '60',
      max_wal_senders: '0',
      wal_level: 'minimal',
      ...this.#settings,
    }
    const set = Object.entries(own).flatMap(([name, value]) => ['-c', `${name}=${value}`])
    const [command, args] = asUser('postgres', ['-D', this.#data, ...set])
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#process = child
    const lines: string[] = []
    const reader = createInterface({ input: child.stderr })
    return await new Promise((resolve) => {
      reader.on('line', (line) => {
        lines.push(line)
        if (line.includes(READY)) resolve(null)
      })
      child.once('exit', () => resolve(lines.join('\n')))
    })
  }

  /** `SIGQUIT`: at once, as after a crash; `SIGINT`: in its own way. */
  async end(signal: NodeJS.Signals): Promise<void> {
    await this.#admin?.end().catch(() => undefined)
    this.#admin = null
    const child = this.#process
    this.#process = null
    if (child === null || child.exitCode !== null || child.signalCode !== null) return
    child.kill(signal)
    await once(child, 'exit')
  }

  async close(): Promise<void> {
    await this.end('SIGQUIT')
    process.off('exit', this.#onExit)
    rmSync(this.#parent, { recursive: true, force: true, maxRetries: 10 })
  }

  /** Rows of the last statement, as the owner of everything. */
  async ask(text: string): Promise<Record<string, unknown>[]> {
    this.#admin ??= await this.connect()
    const result = (await this.#admin.query(text)) as pg.QueryResult | pg.QueryResult[]
    return Array.isArray(result) ? (result.at(-1)?.rows ?? []) : result.rows
  }

  /** A connection of one's own. */
  async connect(changes: pg.ClientConfig = {}): Promise<pg.Client> {
    const usual = { host: '127.0.0.1', port: this.port, user: ADMIN, database: ADMIN }
    const client = new pg.Client({ ...usual, ...changes })
    client.on('error', () => undefined)
    await client.connect()
    return client
  }

  /** How clients are let in; in force at once. */
  async allow(lines: readonly string[]): Promise<void> {
    const path = join(this.#data, 'pg_hba.conf')
    const own = ['local all all trust', `host all ${ADMIN} 127.0.0.1/32 trust`]
    writeFileSync(path, `${[...own, ...lines].join('\n')}\n`)
    await this.ask('select pg_reload_conf()')
  }

  /** A file that the server can read, and nobody else. */
  file(name: string, text: string): string {
    const path = join(this.#parent, name)
    writeFileSync(path, text)
    if (isRoot()) chownSync(path, NOBODY, NOBODY)
    chmodSync(path, 0o600)
    return path
  }
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

/** Of a program that refuses to run as root. */
export function asUser(
  program: string,
  args: readonly string[],
): [command: string, args: string[]] {
  const path = findTool(program)
  if (path === null) throw new Error(`${program} is not there`)
  if (!isRoot()) return [path, [...args]]
  const ids = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups']
  return [findTool('setpriv') ?? 'setpriv', [...ids, path, ...args]]
}
