/** Mosquitto as a receiver: the real server on a free port, and a subscriber that reads it back. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { connectAsync, type MqttClient } from 'mqtt'
import { freePort } from '../../../device-sim/free-ports.ts'
import { type RunningProcess, startProcess } from '../../support/process.ts'
import { findTool } from '../../support/tools.ts'

const START_MS = 10_000

export class Mosquitto {
  readonly port: number
  readonly #config: string
  #process: RunningProcess | null = null

  private constructor(port: number, config: string) {
    this.port = port
    this.#config = config
  }

  /** @param lines of its configuration, beside a listener on 127.0.0.1 */
  static async start(folder: string, lines: readonly string[] = []): Promise<Mosquitto> {
    const port = await freePort()
    const config = join(folder, 'mosquitto.conf')
    const broker = new Mosquitto(port, config)
    broker.configure(lines)
    await broker.begin()
    return broker
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.port}`
  }

  /** For the next start, or `reload`. */
  configure(lines: readonly string[]): void {
    const isOpen = !lines.some((line) => /^(password_file|require_certificate)/.test(line))
    // As root it would become another user, who may not read these folders.
    const own = [`listener ${this.port} 127.0.0.1`, 'user root', 'log_type all']
    if (isOpen) own.push('allow_anonymous true')
    writeFileSync(this.#config, `${[...own, ...lines].join('\n')}\n`)
  }

  async begin(): Promise<void> {
    this.#process = startProcess(findTool('mosquitto') ?? 'mosquitto', ['-c', this.#config])
    await this.#process.waitForLine(/mosquitto version .* running/, START_MS)
  }

  /** SIGTERM: it stores its sessions. */
  async end(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    this.#process?.kill(signal)
    await this.#process?.waitForExit(START_MS)
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT' | 'SIGHUP'): void {
    this.#process?.kill(signal)
  }

  /** A line of its log, past or to come. */
  async says(words: RegExp): Promise<void> {
    await this.#process?.waitForLine(words, START_MS)
  }
}

export interface SeenMessage {
  readonly topic: string
  readonly text: string
  readonly retain: boolean
  readonly userProperties: Readonly<Record<string, unknown>> | null
  readonly expirySeconds: number | null
}

/** Gets every message of a broker, each once at QoS 2. */
export class Subscriber {
  readonly seen: SeenMessage[] = []
  readonly #client: MqttClient
  #fences = 0

  private constructor(client: MqttClient) {
    this.#client = client
    client.on('message', (topic, payload, { retain, properties }) => {
      const userProperties = properties?.userProperties ?? null
      const expirySeconds = properties?.messageExpiryInterval ?? null
      this.seen.push({ topic, text: payload.toString(), retain, userProperties, expirySeconds })
    })
  }

  static async start(url: string, options: object = {}): Promise<Subscriber> {
    const client = await connectAsync(url, {
      protocolVersion: 5,
      clientId: 'reader',
      clean: false,
      properties: { sessionExpiryInterval: 3600 },
      reconnectPeriod: 50,
      ...options,
    })
    const subscriber = new Subscriber(client)
    await client.subscribeAsync('#', { qos: 2 })
    return subscriber
  }

  /** What came of all that the broker had before this call. */
  async readings(): Promise<readonly SeenMessage[]> {
    const fence = `fence ${++this.#fences}`
    await this.#client.publishAsync('fence', fence, { qos: 2 })
    while (!this.seen.some(({ text }) => text === fence))
      await new Promise<void>((resolve) => {
        this.#client.once('message', () => resolve())
      })
    return this.seen.filter(({ topic }) => topic !== 'fence')
  }

  /** The next one that comes. */
  async next(): Promise<SeenMessage | undefined> {
    await new Promise<void>((resolve) => {
      this.#client.once('message', () => resolve())
    })
    return this.seen.at(-1)
  }

  async close(): Promise<void> {
    await this.#client.endAsync(true)
  }
}
