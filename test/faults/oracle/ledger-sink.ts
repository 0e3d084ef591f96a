/**
 * The scripted sink with the contract's ledger behind it, over real HTTP. What it does with a
 * request is the script's.
 */
import { type ScriptedRequest, ScriptedSink, type Step } from '../../support/scripted-sink.ts'
import { Ledger, type LedgerRequest } from './ledger.ts'

/**
 * `ok`: stored and answered. `unanswered`: stored, and the connection cut; `refused`: 503, nothing stored; `cut`: not even
 * looked at, the connection cut.
 */
export type SinkMood = 'ok' | 'unanswered' | 'refused' | 'cut'

/** A long campaign sends gigabytes. */
const KEPT_BODIES = 8
const NOTHING = Buffer.alloc(0)

export class LedgerSink {
  readonly ledger = new Ledger()
  /** Decides about each request. */
  mood: (request: LedgerRequest) => SinkMood = () => 'ok'
  /** Between storing and the answer; true: the answer is withheld for ever. */
  onStored: () => boolean = () => false
  /** What an answer takes, ms: a slow sink, or a slow link to it. */
  delayMs: (request: LedgerRequest) => number = () => 0
  readonly #http: ScriptedSink

  private constructor(http: ScriptedSink) {
    this.#http = http
    http.script = (request) => {
      const old = http.requests[request.index - KEPT_BODIES]
      if (old !== undefined) {
        http.requests[old.index] = { ...old, rawBody: NOTHING, body: null, lines: [] }
      }
      // A gateway that is killed leaves a request half sent.
      if (request.body === null) return { status: 400 }
      return this.#answer(readRequest(request))
    }
  }

  static async start(): Promise<LedgerSink> {
    return new LedgerSink(await ScriptedSink.start())
  }

  get url(): string {
    return this.#http.url
  }

  get requests(): number {
    return this.#http.requests.length
  }

  async close(): Promise<void> {
    await this.#http.close()
  }

  #answer(request: LedgerRequest): Step {
    const mood = this.mood(request)
    if (mood === 'refused' || mood === 'cut') {
      this.ledger.refuse(request)
      return mood === 'cut' ? { drop: 'before' } : { status: 503 }
    }
    const body = this.ledger.take(request)
    if (this.onStored()) return { halfOpen: true }
    if (mood === 'unanswered') return { drop: 'after' }
    // From here the answer may be on its way, whether it arrives or not.
    this.ledger.answered(request)
    return { status: 200, body, delayMs: this.delayMs(request) }
  }
}

function readRequest({ headers, rawBody, lines }: ScriptedRequest): LedgerRequest {
  const text = (name: string): string => String(headers[name])
  return {
    gateway: text('sluice-gateway'),
    spool: text('sluice-spool'),
    stream: text('sluice-stream'),
    key: text('idempotency-key'),
    firstSeq: Number(text('sluice-first-seq')),
    lastSeq: Number(text('sluice-last-seq')),
    recordCount: Number(text('sluice-record-count')),
    gap: (headers['sluice-gap'] as string | undefined) ?? null,
    raw: rawBody,
    lines,
  }
}
