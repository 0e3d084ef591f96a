/**
 * The gateway of the demo as a real child process on ports that were free, with its spool and its
 * log in one folder. Killed hard and started again on the same ports and the same folder. Never
 * outlives this process.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../free-ports.ts'
import { isReady } from './status.ts'

export interface GatewayOptions {
  readonly folder: string
  /** Where batches go. */
  readonly sinkUrl: string
  /** @default dist/gateway/main.js beside this file */
  readonly program?: string
  /** Sections of the configuration that replace the demo's, whole. */
  readonly sections?: Readonly<Record<string, unknown>>
}

const POLL_MS = 50
const STOP_TIMEOUT_MS = 15_000

export class GatewayProcess {
  readonly mqttUrl: string
  readonly adminUrl: string
  readonly logPath: string
  readonly configPath: string
  /** Ends that nobody here asked for, in words. */
  readonly unexpectedExits: string[] = []
  kills = 0
  readonly #program: string
  #child: ChildProcess | null = null
  readonly #atExit = (): void => {
    this.#child?.kill('SIGKILL')
  }

  private constructor(options: GatewayOptions, mqttPort: number, adminPort: number) {
    this.#program =
      options.program ?? fileURLToPath(new URL('../../gateway/main.js', import.meta.url))
    this.mqttUrl = `mqtt://127.0.0.1:${mqttPort}`
    this.adminUrl = `http://127.0.0.1:${adminPort}`
    this.logPath = join(options.folder, 'gateway.log')
    this.configPath = join(options.folder, 'sluice.yaml')
    const config = { ...gatewayConfig(options.sinkUrl, mqttPort, adminPort), ...options.sections }
    // YAML takes JSON.
    writeFileSync(this.configPath, `${JSON.stringify(config, null, 2)}\n`)
    process.on('exit', this.#atExit)
  }

  /** Chooses ports and writes the configuration; starts nothing. */
  static async prepare(options: GatewayOptions): Promise<GatewayProcess> {
    const [mqttPort = 0, adminPort = 0] = await freePorts(2)
    return new GatewayProcess(options, mqttPort, adminPort)
  }

  get isRunning(): boolean {
    return this.#child !== null
  }

  start(): void {
    const log = openSync(this.logPath, 'a')
    const child = spawn(process.execPath, [this.#program, 'start', '--config', this.configPath], {
      stdio: ['ignore', log, log],
      env: ownEnvironment(),
    })
    closeSync(log)
    this.#child = child
    child.once('error', (error) => this.#ended(child, error.message))
    child.once('exit', (code, signal) => this.#ended(child, `code ${code}, signal ${signal}`))
  }

  /** False: it ended, or was not ready within `timeoutMs`. */
  async ready(timeoutMs: number): Promise<boolean> {
    const endMs = performance.now() + timeoutMs
    while (this.isRunning && performance.now() < endMs) {
      if (await isReady(this.adminUrl)) return true
      await sleep(POLL_MS)
    }
    return false
  }

  /** SIGKILL; resolves when it is gone. False: it was not running. */
  async kill(): Promise<boolean> {
    const child = this.#child
    if (child === null) return false
    this.#child = null
    const exited = once(child, 'exit') as Promise<[number | null, NodeJS.Signals | null]>
    child.kill('SIGKILL')
    const [, signal] = await exited
    if (signal === 'SIGKILL') this.kills++
    return signal === 'SIGKILL'
  }

  /** SIGTERM, and SIGKILL when that takes too long. Gives whether it went by itself. */
  async stop(): Promise<boolean> {
    const child = this.#child
    process.off('exit', this.#atExit)
    if (child === null) return true
    this.#child = null
    const exited = once(child, 'exit')
    child.kill('SIGTERM')
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    const [code] = (await exited) as [number | null]
    clearTimeout(timer)
    return code !== null
  }

  /** The last lines of its log. */
  logTail(lines: number): string {
    try {
      return readFileSync(this.logPath, 'utf8').trimEnd().split('\n').slice(-lines).join('\n')
    } catch {
      return '(no log)'
    }
  }

  #ended(child: ChildProcess, how: string): void {
    if (this.#child !== child) return
    this.#child = null
    this.unexpectedExits.push(how)
  }
}

function gatewayConfig(
  sinkUrl: string,
  mqttPort: number,
  adminPort: number,
): Record<string, unknown> {
  return {
    gateway: { id: 'demo', dataDir: './spool' },
    mqtt: { listeners: [{ host: '127.0.0.1', port: mqttPort }] },
    // An answer that never comes is given up soon: half a minute for each would be no demo.
    sinks: { cloud: { type: 'http', url: sinkUrl, timeout: '5s' } },
    spool: { minFreeBytes: '64MiB' },
    admin: { host: '127.0.0.1', port: adminPort },
    log: { level: 'info', format: 'json' },
  }
}

/** The environment without what would change the configuration from outside. */
function ownEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !name.startsWith('SLUICE__'))
  // fsync, compression and password hashing share libuv's threads; a running process cannot add
  // any.
  return { UV_THREADPOOL_SIZE: '8', ...Object.fromEntries(kept) }
}
