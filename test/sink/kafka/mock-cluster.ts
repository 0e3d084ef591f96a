/** librdkafka's mock cluster (mock-cluster.c), for one test: its commands, and what it was given. */
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, renameSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { sourcePath } from '../../support/source-path.ts'

/** Requests, by the numbers of the protocol. */
export const API = { produce: 0, metadata: 3, initProducerId: 22 } as const

/** Errors that the tests send, by the protocol's numbers; `cut` ends the connection instead. */
export const CODE = {
  cut: -195,
  unknownTopic: 3,
  notLeader: 6,
  tooLarge: 10,
  notEnoughReplicas: 19,
  topicForbidden: 29,
  clusterForbidden: 31,
  policyViolation: 44,
  outOfOrder: 45,
  invalidRecord: 87,
  quota: 89,
} as const

export interface TakenRecord {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly timestamp: number
  readonly key: string
  readonly value: string
  readonly headers: Readonly<Record<string, string>>
}

export class MockCluster {
  /** Of watched topics, in the order of each partition's log; complete after {@link sync}. */
  readonly records: TakenRecord[] = []
  readonly #process: ChildProcessWithoutNullStreams
  readonly #waiting: Array<() => void> = []
  readonly #ended: Promise<unknown>
  bootstraps = ''

  private constructor(brokers: number) {
    this.#process = spawn(program(), [String(brokers)])
    this.#process.stderr.pipe(process.stderr)
    this.#ended = new Promise((resolve) => {
      this.#process.once('exit', resolve)
    })
    createInterface({ input: this.#process.stdout }).on('line', (line) => this.#read(line))
  }

  static async start(brokers = 1): Promise<MockCluster> {
    const cluster = new MockCluster(brokers)
    await cluster.#answered()
    return cluster
  }

  get brokers(): string[] {
    return this.bootstraps.split(',')
  }

  /** Resolves when the cluster has done it; see mock-cluster.c. */
  async tell(...command: ReadonlyArray<string | number>): Promise<void> {
    const answered = this.#answered()
    this.#process.stdin.write(`${command.join(' ')}\n`)
    await answered
  }

  /** Everything that it has is in `records`. */
  async sync(): Promise<readonly TakenRecord[]> {
    await this.tell('sync')
    return this.records
  }

  async close(): Promise<void> {
    this.#process.kill('SIGKILL')
    await this.#ended
  }

  async #answered(): Promise<void> {
    await Promise.race([
      new Promise<void>((resolve) => {
        this.#waiting.push(resolve)
      }),
      this.#ended.then(() => {
        throw new Error('the mock cluster has ended')
      }),
    ])
  }

  #read(line: string): void {
    const [word, ...parts] = line.split('\t')
    if (word === 'record') {
      this.records.push(recordOf(parts))
      return
    }
    if (line.startsWith('ready ')) this.bootstraps = line.slice('ready '.length)
    this.#waiting.shift()?.()
  }
}

function recordOf(parts: readonly string[]): TakenRecord {
  const [topic = '', partition, offset, timestamp, key = '', value = '', ...pairs] = parts
  const headers: Record<string, string> = {}
  for (let i = 0; i + 1 < pairs.length; i += 2) headers[pairs[i] ?? ''] = text(pairs[i + 1] ?? '')
  return {
    topic,
    partition: Number(partition),
    offset: Number(offset),
    timestamp: Number(timestamp),
    key: text(key),
    value: text(value),
    headers,
  }
}

function text(hex: string): string {
  return Buffer.from(hex, 'hex').toString()
}

/** Compiled once for each version of its source. */
function program(): string {
  const source = sourcePath('test/sink/kafka/mock-cluster.c')
  const version = createHash('sha256').update(readFileSync(source)).digest('hex').slice(0, 16)
  const path = join(tmpdir(), `sluice-mock-cluster-${version}`)
  if (existsSync(path)) return path
  const fresh = join(mkdtempSync(join(tmpdir(), 'sluice-mock-cluster-')), 'mock-cluster')
  execFileSync('gcc', ['-O1', '-o', fresh, source, '-lrdkafka'], { stdio: 'pipe' })
  renameSync(fresh, path)
  return path
}
