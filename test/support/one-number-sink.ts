/**
 * A sink over real HTTP that keeps the contract's one number per queue (model-receivers.ts): what
 * it has stored is stored exactly once by the contract, so a reading that is stored twice or out of
 * order was sent as two records or in a wrong order by the gateway. Knows readings by `payload.n`.
 */
import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { OneNumberReceiver } from './model-receivers.ts'
import { type ScriptedRequest, ScriptedSink, type Step } from './scripted-sink.ts'

export interface StoredReading {
  readonly device: string
  readonly n: number
  readonly seq: number
  readonly spoolId: string
}

export class OneNumberSink {
  readonly http: ScriptedSink
  /** Answers instead, when it gives a step; such a request is not looked at. */
  fault: ((request: ScriptedRequest) => Step | null) | null = null
  readonly #receiver = new OneNumberReceiver({
    refuses: () => false,
    room: () => Number.POSITIVE_INFINITY,
  })
  /** A request that contradicts itself: told by `until`, since the gateway would only try again. */
  #failure: Error | null = null

  private constructor(http: ScriptedSink) {
    this.http = http
    http.script = (request) => {
      try {
        return this.fault?.(request) ?? this.#answer(request)
      } catch (error) {
        this.#failure ??= error as Error
        return { status: 500 }
      }
    }
  }

  static async start(): Promise<OneNumberSink> {
    return new OneNumberSink(await ScriptedSink.start())
  }

  get url(): string {
    return this.http.url
  }

  /** In the order in which they were stored. */
  get readings(): StoredReading[] {
    return this.#receiver.stored.map(({ line, seq, queue }) => {
      const { device, payload } = JSON.parse(line) as { device: string; payload: { n: number } }
      return { device, n: payload.n, seq, spoolId: queue.split(':')[1] ?? '' }
    })
  }

  get count(): number {
    return this.#receiver.stored.length
  }

  /** Reading numbers of one device. */
  of(device: string): number[] {
    return this.readings.filter((one) => one.device === device).map(({ n }) => n)
  }

  async until(count: number, timeoutMs = 15_000): Promise<void> {
    const endMs = performance.now() + timeoutMs
    while (this.count < count) {
      if (this.#failure !== null) throw this.#failure
      assert(
        performance.now() < endMs,
        `the sink has ${this.count} of ${count} records after ${timeoutMs} ms`,
      )
      await sleep(5)
    }
  }

  async close(): Promise<void> {
    await this.http.close()
  }

  #answer({ headers, body }: ScriptedRequest): Step {
    // A gateway that is killed leaves a request half sent.
    if (body === null) return { status: 400 }
    const text = (name: string): string => String(headers[name])
    const answer = this.#receiver.receive({
      gateway: text('sluice-gateway'),
      spool: text('sluice-spool'),
      stream: text('sluice-stream'),
      firstSeq: Number(text('sluice-first-seq')),
      lastSeq: Number(text('sluice-last-seq')),
      recordCount: Number(text('sluice-record-count')),
      gap: (headers['sluice-gap'] as string | undefined) ?? null,
      body: body.toString(),
    })
    return answer.body === null
      ? { status: answer.status }
      : { status: answer.status, body: { ...answer.body } }
  }
}
