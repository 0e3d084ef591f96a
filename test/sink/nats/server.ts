/** Real nats-servers with JetStream, one or a cluster, on free ports; read back by a consumer. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import {
  JetStreamApiError,
  jetstream,
  jetstreamManager,
  type StreamConfig,
  type StreamInfo,
  type StreamState,
} from '@nats-io/jetstream'
import { connect, type NatsConnection, type NodeConnectionOptions } from '@nats-io/transport-node'
import { freePorts } from '../../../device-sim/free-ports.ts'
import { type RunningProcess, startProcess } from '../../support/process.ts'
import { findTool } from '../../support/tools.ts'

export const NATS_TOOLS = ['nats-server'] as const
export const STREAM = 'SLUICE'
const START_MS = 20_000
const MAXIMUM_MESSAGES = 10_077

/** A message as the stream has it. */
export interface ReadMessage {
  readonly seq: number
  readonly subject: string
  readonly headers: ReadonlyMap<string, string>
  /** Inflated. */
  readonly text: string
}

export class NatsServer {
  readonly port: number
  readonly #file: string
  #process: RunningProcess | null = null

  constructor(folder: string, port: number, config: string) {
    mkdirSync(folder, { recursive: true })
    this.port = port
    this.#file = join(folder, 'nats.conf')
    this.configure(config)
  }

  /** Takes effect at its next start, or with `reload`. */
  configure(config: string): void {
    const folder = join(this.#file, '..', 'data')
    const own = `listen: 127.0.0.1:${this.port}\njetstream { store_dir: ${JSON.stringify(folder)} }\n`
    writeFileSync(this.#file, `${own}${config}\n`)
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  async start(): Promise<void> {
    this.#process = startProcess(findTool('nats-server') ?? 'nats-server', ['-c', this.#file])
    await this.#process.waitForLine('Server is ready', START_MS)
  }

  async end(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    this.#process?.kill(signal)
    await this.#process?.waitForExit(START_MS)
  }

  /** SIGSTOP, and all of its threads stand. */
  async stand(): Promise<void> {
    this.signal('SIGSTOP')
    const tasks = `/proc/${this.pid}/task`
    const stands = (task: string): boolean =>
      /^\d+ \(.*\) [tT] /.test(readFileSync(`${tasks}/${task}/stat`, 'utf8'))
    while (!readdirSync(tasks).every(stands)) await new Promise(setImmediate)
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal)
  }

  async reload(config: string): Promise<void> {
    this.configure(config)
    const reloads = (): number =>
      this.#process?.lines.filter(({ text }) => text.includes('Reloaded server')).length ?? 0
    const before = reloads()
    this.signal('SIGHUP')
    await this.#process?.waitForLine(() => reloads() > before, START_MS)
  }

  async reap(): Promise<void> {
    await this.#process?.reap()
  }
}

/** One server with JetStream. @param config more lines of its configuration */
export async function startServer(folder: string, config = ''): Promise<NatsServer> {
  const [port = 0] = await freePorts(1)
  const server = new NatsServer(folder, port, config)
  await server.start()
  return server
}

/** Three servers of one cluster, started. `more`: lines of the configuration of each. */
export async function startCluster(
  folder: string,
  more: (index: number) => string = () => '',
): Promise<NatsServer[]> {
  const ports = await freePorts(6)
  const routes = ports.slice(3).map((port) => `nats://127.0.0.1:${port}`)
  const servers = ports.slice(0, 3).map((port, index) => {
    const own = `server_name: n${index}\ncluster { name: sluice, listen: 127.0.0.1:${ports[index + 3]}, routes: [${routes.join(', ')}] }`
    return new NatsServer(join(folder, `n${index}`), port, `${own}\n${more(index)}`)
  })
  await Promise.all(servers.map((server) => server.start()))
  return servers
}

/** What an operator does, and a consumer reads. */
export class NatsAdmin {
  readonly connection: NatsConnection

  private constructor(connection: NatsConnection) {
    this.connection = connection
  }

  static async to(
    ports: readonly number[],
    options: NodeConnectionOptions = {},
  ): Promise<NatsAdmin> {
    const servers = ports.map((port) => `127.0.0.1:${port}`)
    const patient = { reconnectTimeWait: 50, maxReconnectAttempts: -1, waitOnFirstConnect: true }
    return new NatsAdmin(await connect({ servers, ...patient, ...options }))
  }

  /** Tries until the servers have found each other. */
  async makeStream(changes: Partial<StreamConfig> = {}): Promise<void> {
    const replicas = changes.num_replicas ?? 1
    const config = { name: STREAM, subjects: ['sluice.>'], num_replicas: replicas, ...changes }
    for (const endMs = performance.now() + START_MS; ; ) {
      try {
        const manager = await jetstreamManager(this.connection, { timeout: 1000 })
        await manager.streams.add(config)
        return
      } catch (error) {
        if (performance.now() > endMs) throw error
      }
    }
  }

  async changeStream(changes: Partial<StreamConfig>): Promise<void> {
    const manager = await jetstreamManager(this.connection)
    await manager.streams.update(STREAM, changes)
  }

  async deleteStream(): Promise<void> {
    await (await jetstreamManager(this.connection)).streams.delete(STREAM)
  }

  /** Until a stream that has a limit, and discards what is new, takes no more. */
  async fill(subject: string): Promise<void> {
    const stream = jetstream(this.connection)
    for (;;) {
      try {
        await stream.publish(subject)
      } catch (error) {
        if (error instanceof JetStreamApiError && error.code === MAXIMUM_MESSAGES) return
        throw error
      }
    }
  }

  async purge(filter?: string): Promise<void> {
    const manager = await jetstreamManager(this.connection)
    await manager.streams.purge(STREAM, filter === undefined ? undefined : { filter })
  }

  /** Asks until the stream answers. */
  async waitForLeader(): Promise<void> {
    for (const endMs = performance.now() + START_MS; ; ) {
      try {
        await this.#info(500)
        return
      } catch (error) {
        if (performance.now() > endMs) throw error
      }
    }
  }

  async state(): Promise<StreamState> {
    return (await this.#info()).state
  }

  async leader(): Promise<string | null> {
    return (await this.#info()).cluster?.leader ?? null
  }

  /**
   * All messages, in the order of the stream.
   *
   * @throws when the stream has no leader, or the consumer's replica has not caught up: nothing is
   *   pending there, and the leader has more
   */
  async read(): Promise<ReadMessage[]> {
    const { state } = await this.#info()
    if (state.messages === 0) return []
    const consumer = await jetstream(this.connection).consumers.get(STREAM)
    const messages: ReadMessage[] = []
    for await (const message of await consumer.consume()) {
      const headers = new Map<string, string>()
      for (const [name, [value = '']] of message.headers ?? []) headers.set(name, value)
      const isGzip = headers.get('Content-Encoding') === 'gzip'
      const text = Buffer.from(isGzip ? gunzipSync(message.data) : message.data).toString()
      messages.push({ seq: message.seq, subject: message.subject, headers, text })
      if (message.seq >= state.last_seq) break
      if (message.info.pending === 0)
        throw new Error(`the stream has ${state.last_seq}, its replica ${message.seq}`)
    }
    return messages
  }

  async close(): Promise<void> {
    await this.connection.close()
  }

  /** @throws when the stream has no leader: what a replica says then may be old */
  async #info(timeoutMs?: number): Promise<StreamInfo> {
    const options = timeoutMs === undefined ? {} : { timeout: timeoutMs }
    const manager = await jetstreamManager(this.connection, options)
    const info = await manager.streams.info(STREAM)
    if (info.cluster !== undefined && !info.cluster.leader)
      throw new Error(`${STREAM} has no leader`)
    return info
  }
}

/** Ids of the records in messages, in their order. */
export function idsOf(messages: readonly ReadMessage[]): string[] {
  return messages.flatMap(({ headers, text }) =>
    headers.has('Sluice-First-Seq')
      ? [...text.matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id ?? '')
      : [headers.get('Nats-Msg-Id') ?? ''],
  )
}
