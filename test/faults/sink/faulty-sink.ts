/**
 * A sink that keeps the contract (one number per queue, or another of its model receivers) and
 * misbehaves around it as it is told, and that watches the gateway over all its lives: a request is
 * never early, a key always names the same bytes (I4). What it sees that must not be is kept in
 * `faults`.
 */
import type { ServerOptions } from 'node:https'
import {
  OneNumberReceiver,
  type Receiver,
  type ReceiverAnswer,
} from '../../support/model-receivers.ts'
import { type ScriptedRequest, ScriptedSink, type Step } from '../../support/scripted-sink.ts'

/** What becomes of one request. */
export interface Deed {
  /** Is it stored, before whatever is answered? @default false */
  readonly stores?: boolean
  /** Null: what the contract asks for (stores it). */
  readonly step: Step | null
  /** No request may come for so long after this answer, ms. */
  readonly quietMs?: number
}

export interface SeenRequest {
  readonly key: string
  /** Monotonic, ms. */
  readonly atMs: number
  readonly bytes: number
}

const OBEY: Deed = { step: null }
/**
 * The batch is split. The same records may come together once more, as a new batch with gaps of its
 * own.
 */
const ENDS_A_BATCH: ReadonlySet<number> = new Set([400, 413, 422])
/** Timers of both processes are whole milliseconds, and the answer takes its way. */
const TIMER_SLACK_MS = 3

export class FaultySink {
  /** Asked for each request that is whole. Null: all is well again. */
  plan: ((request: ScriptedRequest) => Deed) | null = null
  readonly faults: string[] = []
  readonly seen: SeenRequest[] = []
  /** Of requests whose body was cut: the gateway was killed. */
  partial = 0
  /** Keys that came more than once. */
  readonly repeated = new Set<string>()
  #http: ScriptedSink
  readonly #receiver: Receiver
  readonly #bytesOf = new Map<string, string>()
  #quietUntilMs = Number.NEGATIVE_INFINITY

  private constructor(http: ScriptedSink, receiver: Receiver) {
    this.#http = http
    this.#receiver = receiver
    this.#attach()
  }

  static async start(
    tls?: ServerOptions,
    receiver: Receiver = new OneNumberReceiver({
      refuses: () => false,
      room: () => Number.POSITIVE_INFINITY,
    }),
  ): Promise<FaultySink> {
    return new FaultySink(await ScriptedSink.start(tls === undefined ? {} : { tls }), receiver)
  }

  get url(): string {
    return this.#http.url
  }

  /** Closes every connection and listens again on the same port, with another certificate. */
  async restart(tls: ServerOptions): Promise<void> {
    const { port } = this.#http
    await this.#http.close()
    this.#http = await ScriptedSink.start({ tls, port })
    this.#attach()
  }

  cutConnections(): void {
    this.#http.cutConnections()
  }

  /** Numbers of the readings of a device, in the order in which they were stored. */
  of(device: string): number[] {
    return this.#receiver.stored.flatMap(({ line }) => {
      const record = JSON.parse(line) as { device: string; payload: { n: number } }
      return record.device === device ? [record.payload.n] : []
    })
  }

  /** In the order in which they were stored. */
  get lines(): string[] {
    return this.#receiver.stored.map(({ line }) => line)
  }

  get storedCount(): number {
    return this.#receiver.stored.length
  }

  /** From now on for so long no request may come. */
  expectQuiet(ms: number): void {
    this.#quietUntilMs = Math.max(this.#quietUntilMs, performance.now() + ms)
  }

  async close(): Promise<void> {
    await this.#http.close()
  }

  #attach(): void {
    this.#http.script = (request) => this.#judge(request)
  }

  #judge(request: ScriptedRequest): Step {
    const atMs = performance.now()
    const key = String(request.headers['idempotency-key'])
    const early = this.#quietUntilMs - TIMER_SLACK_MS - atMs
    if (early > 0) this.faults.push(`request ${key} came ${early.toFixed(0)} ms early`)
    if (request.body === null) {
      this.partial += 1
      return { drop: 'before' }
    }
    this.seen.push({ key, atMs, bytes: request.rawBody.length })
    this.#compare(key, request)
    const { stores = false, step, quietMs = 0 } = this.plan?.(request) ?? OBEY
    const answer = step === null || stores ? this.#store(request) : null
    if (quietMs > 0) this.expectQuiet(quietMs)
    const { status, body } = answer ?? { status: 500, body: null }
    if (ENDS_A_BATCH.has(step === null ? status : (step.status ?? 200))) this.#bytesOf.delete(key)
    if (step !== null) return step
    return body === null ? { status } : { status, body: { ...body } }
  }

  /** I4: identical bytes, and the same words of the contract around them. */
  #compare(key: string, request: ScriptedRequest): void {
    const head = Object.entries(request.headers)
      .filter(([name]) => name.startsWith('sluice-') || name.startsWith('content-'))
      .map(([name, value]) => `${name}: ${String(value)}`)
      .toSorted()
      .join('\n')
    const bytes = `${head}\n${request.rawBody.toString('hex')}`
    const known = this.#bytesOf.get(key)
    if (known === undefined) this.#bytesOf.set(key, bytes)
    else {
      this.repeated.add(key)
      if (known !== bytes) this.faults.push(`I4: ${key} came with other bytes than before`)
    }
  }

  #store(request: ScriptedRequest): ReceiverAnswer {
    const text = (name: string): string => String(request.headers[name])
    return this.#receiver.receive({
      gateway: text('sluice-gateway'),
      spool: text('sluice-spool'),
      stream: text('sluice-stream'),
      firstSeq: Number(text('sluice-first-seq')),
      lastSeq: Number(text('sluice-last-seq')),
      recordCount: Number(text('sluice-record-count')),
      gap: (request.headers['sluice-gap'] as string | undefined) ?? null,
      body: request.body?.toString() ?? '',
    })
  }
}
