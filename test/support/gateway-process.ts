/**
 * The built gateway as a real process on fixed ports and one folder, for tests that end it, freeze
 * it and start it again. Its log is read as events, its state by /api/status. Processes are reaped
 * by process.ts (`afterEach(reapProcesses)`); the folder belongs to the caller.
 */
import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePorts } from '../../device-sim/free-ports.ts'
import type { Status } from '../../gateway/ports/status.ts'
import { builtProgram, type ProcessExit, type RunningProcess, startProcess } from './process.ts'

export interface GatewayOptions {
  /** For the configuration file; also of the spool, unless `dataDir` says otherwise. */
  readonly folder: string
  readonly sinkUrl: string
  readonly dataDir?: string
  /** Merged into the sections of the same name. */
  readonly sections?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
  /** Of the sink, beside its URL. */
  readonly sink?: Readonly<Record<string, unknown>>
  readonly env?: Readonly<Record<string, string>>
  /**
   * A command that runs it, with its arguments: in namespaces of its own, for instance. Signals go
   * to that one.
   */
  readonly wrap?: readonly string[]
  /** Its `main.js`. @default that of this version, as it was built */
  readonly program?: string
  /** The Node that runs it. @default that of the test */
  readonly node?: string
}

/** One line of the log. */
export interface LoggedEvent {
  /** `type` of the event; absent in lines that are none. */
  readonly event?: string
  readonly level: string
  readonly msg: string
  readonly [member: string]: unknown
}

const START_TIMEOUT_MS = 20_000
const POLL_MS = 10

export class GatewayProcess {
  readonly mqttPort: number
  readonly adminUrl: string
  readonly configPath: string
  readonly dataDir: string
  readonly #env: Readonly<Record<string, string>>
  readonly #wrap: readonly string[]
  readonly #node: string
  readonly #program: string
  #running: RunningProcess | null = null

  private constructor(options: GatewayOptions, mqttPort: number, adminPort: number) {
    const { folder, sinkUrl, sections = {} } = options
    this.mqttPort = mqttPort
    this.adminUrl = `http://127.0.0.1:${adminPort}`
    this.configPath = join(folder, 'sluice.yaml')
    this.dataDir = options.dataDir ?? join(folder, 'data')
    this.#wrap = options.wrap ?? []
    this.#node = options.node ?? process.execPath
    this.#program = options.program ?? builtProgram('gateway')
    this.#env = { UV_THREADPOOL_SIZE: '8', ...options.env }
    const own = {
      gateway: { id: 'edge-01', dataDir: this.dataDir },
      mqtt: { listeners: [{ host: '127.0.0.1', port: mqttPort }] },
      sinks: {
        cloud: { type: 'http', url: sinkUrl, timeout: '5s', linger: '0s', ...options.sink },
      },
      spool: { minFreeBytes: '1MiB' },
      admin: { host: '127.0.0.1', port: adminPort },
      log: { level: 'info', format: 'json' },
    }
    const config: Record<string, unknown> = { ...own }
    for (const [name, section] of Object.entries(sections)) {
      config[name] = { ...(own as Record<string, object>)[name], ...section }
    }
    // YAML takes JSON.
    writeFileSync(this.configPath, `${JSON.stringify(config, null, 2)}\n`)
  }

  /** Chooses ports and writes the configuration; starts nothing. */
  static async prepare(options: GatewayOptions): Promise<GatewayProcess> {
    const [mqttPort = 0, adminPort = 0] = await freePorts(2)
    return new GatewayProcess(options, mqttPort, adminPort)
  }

  /** Prepared, started and ready. */
  static async start(options: GatewayOptions): Promise<GatewayProcess> {
    const gateway = await GatewayProcess.prepare(options)
    await gateway.start()
    return gateway
  }

  get process(): RunningProcess {
    assert(this.#running, 'the gateway was not started')
    return this.#running
  }

  get wasStarted(): boolean {
    return this.#running !== null
  }

  get isRunning(): boolean {
    return this.#running !== null && this.#running.exit === null
  }

  /** Starts it without waiting for anything. `env`: for this run, over that of the options. */
  launch(env: Readonly<Record<string, string>> = {}): RunningProcess {
    assert(!this.isRunning, 'the gateway runs already')
    const [command, ...args] = [
      ...this.#wrap,
      this.#node,
      this.#program,
      'start',
      '--no-hint',
      '--config',
      this.configPath,
    ]
    this.#running = startProcess(command, args, { env: { ...this.#env, ...env } })
    return this.#running
  }

  /** Starts it and waits until it listens for devices. @throws with its output when it does not */
  async start(): Promise<void> {
    this.launch()
    await this.event('broker.started', START_TIMEOUT_MS)
  }

  /** SIGKILL; resolves when it is gone. */
  async kill(): Promise<void> {
    assert(this.isRunning, `the gateway ended by itself: ${this.logTail()}`)
    const exit = await this.process.reap()
    assert.equal(exit.signal, 'SIGKILL')
  }

  async killAndRestart(): Promise<void> {
    await this.kill()
    await this.start()
  }

  /** SIGTERM, and how it ended. */
  async stop(timeoutMs = 15_000): Promise<ProcessExit> {
    this.process.kill('SIGTERM')
    return await this.process.waitForExit(timeoutMs)
  }

  /**
   * It gets no processor time any more: what is sent to it waits in the kernel. A SIGKILL ends it
   * so, too.
   */
  freeze(): void {
    this.process.kill('SIGSTOP')
  }

  thaw(): void {
    this.process.kill('SIGCONT')
  }

  /** Events in the log of the process that runs now, or ran last. */
  get events(): readonly LoggedEvent[] {
    return this.process.lines.flatMap(({ text }) => parseLine(text) ?? [])
  }

  countOf(type: string): number {
    return this.events.filter(({ event }) => event === type).length
  }

  /** The first event of the type in this process's log, there already or still to come. */
  async event(type: string, timeoutMs = 10_000): Promise<LoggedEvent> {
    const { text } = await this.process.waitForLine(
      ({ text }) => parseLine(text)?.event === type,
      timeoutMs,
    )
    return parseLine(text) as LoggedEvent
  }

  async status(): Promise<Status> {
    const response = await fetch(`${this.adminUrl}/api/status`, {
      signal: AbortSignal.timeout(5_000),
    })
    assert(response.ok, `/api/status answers ${response.status}`)
    return (await response.json()) as Status
  }

  /** Asks until the status is as wanted. @throws with the last answer at the time-out */
  async untilStatus(
    what: string,
    isWanted: (status: Status) => boolean,
    timeoutMs = 15_000,
  ): Promise<Status> {
    const endMs = performance.now() + timeoutMs
    for (;;) {
      const status = await this.status()
      if (isWanted(status)) return status
      if (performance.now() > endMs) {
        const seen = JSON.stringify({
          spool: status.spool,
          streams: status.streams,
          sinks: status.sinks,
        })
        throw new Error(`not within ${timeoutMs} ms: ${what}\n${seen}\n${this.logTail()}`)
      }
      await sleep(POLL_MS)
    }
  }

  logTail(lines = 30): string {
    return this.process.lines
      .slice(-lines)
      .map(({ text }) => text)
      .join('\n')
  }
}

/** I5, first and second line, of every stream. @throws if a stream does not balance */
export function assertBalanced(status: Status): void {
  for (const { name, counters, deadLetters } of status.streams) {
    const { received, requeued, delivered, deadLettered, pending } = counters
    const dropped = sum(counters.dropped)
    assert.equal(
      received + requeued,
      delivered + deadLettered + dropped + pending,
      `I5 of ${name}: ${JSON.stringify(counters)}`,
    )
    assert(pending >= 0, `${name}: ${pending} pending`)
    const left = deadLetters.kept + deadLetters.requeued + sum(deadLetters.removed)
    assert.equal(deadLettered, left, `I5 of ${name}, dead letters`)
  }
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((all, one) => all + one, 0)
}

function parseLine(text: string): LoggedEvent | null {
  if (!text.startsWith('{')) return null
  try {
    return JSON.parse(text) as LoggedEvent
  } catch {
    return null
  }
}
