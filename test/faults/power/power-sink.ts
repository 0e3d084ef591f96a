/**
 * A sink with one number per queue that notes in the journal what it has stored before it answers,
 * and can be put back to what it knew at any point of a recording.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { OneNumberReceiver, type ReceivedRequest } from '../../support/model-receivers.ts'
import { type ScriptedRequest, ScriptedSink, type Step } from '../../support/scripted-sink.ts'
import type { NoteWriter } from './journal.ts'
import type { Note, World } from './world.ts'

export interface SinkRecord {
  readonly id: string
  readonly seq: number
  readonly queue: string
  readonly device: string
  readonly qos: number
  readonly n: number
  readonly line: string
}

export class PowerSink {
  readonly #http: ScriptedSink
  readonly #requests: ReceivedRequest[] = []
  #receiver = newReceiver()
  #notes: NoteWriter | null = null
  #held = false
  delayMs: () => number = () => 20

  private constructor(http: ScriptedSink) {
    this.#http = http
    http.script = (request) => this.#answer(request)
  }

  static async start(): Promise<PowerSink> {
    return new PowerSink(await ScriptedSink.start())
  }

  get url(): string {
    return this.#http.url
  }

  /** Knows what it knew then, and notes what comes. */
  begin(notes: NoteWriter, world: World): void {
    this.#notes = notes
    this.#receiver = this.#receiverOf(world)
  }

  end(): void {
    this.#notes = null
    this.#http.cutConnections()
  }

  /** Stores and answers nothing, until `release`. */
  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
  }

  /** What it has stored at that point. */
  storedAt(world: World): SinkRecord[] {
    return this.#receiverOf(world).stored.map(({ line, seq, id, queue }) =>
      recordOf(line, seq, id, queue),
    )
  }

  async close(): Promise<void> {
    await this.#http.close()
  }

  #receiverOf(world: World): OneNumberReceiver {
    const receiver = newReceiver()
    for (const number of world.stored) receiver.receive(this.#requests[number] as ReceivedRequest)
    return receiver
  }

  async #answer({ headers, body }: ScriptedRequest): Promise<Step> {
    await sleep(this.delayMs())
    if (this.#held || this.#notes === null || body === null) return { halfOpen: true }
    const text = (name: string): string => String(headers[name])
    const request: ReceivedRequest = {
      gateway: text('sluice-gateway'),
      spool: text('sluice-spool'),
      stream: text('sluice-stream'),
      firstSeq: Number(text('sluice-first-seq')),
      lastSeq: Number(text('sluice-last-seq')),
      recordCount: Number(text('sluice-record-count')),
      gap: (headers['sluice-gap'] as string | undefined) ?? null,
      body: body.toString(),
    }
    this.#notes.write({ t: 'stored', r: this.#requests.length } satisfies Note)
    this.#requests.push(request)
    const answer = this.#receiver.receive(request)
    return { status: answer.status, body: { ...answer.body } }
  }
}

function newReceiver(): OneNumberReceiver {
  return new OneNumberReceiver({ refuses: () => false, room: () => Number.POSITIVE_INFINITY })
}

export function recordOf(line: string, seq: number, id: string, queue: string): SinkRecord {
  const { device, qos, payload } = JSON.parse(line) as {
    device: string
    qos: number
    payload: { n: number }
  }
  return { id, seq, queue, device, qos, n: payload.n, line }
}
