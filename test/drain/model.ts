/**
 * The contract's model: random runs of answers, lost answers, refusals, kills and requeues against
 * a receiver, and what must be true all along and at the end. Runs on any spool that fits {@link
 * ModelSpool}: the one in memory (memoryModelSpool), or the real one. One seed is one run.
 *
 * Shows: nothing lost, nothing stored twice, in order (I2, I4); refused records end parked or
 * dead-lettered, never before a later one was accepted (I8, I9); a repeated batch has identical
 * bytes (I4); one request per stream, and not before its pin and everything settled before it are
 * durable; Retry-After is never cut short.
 */
import assert from 'node:assert/strict'
import { gunzipSync } from 'node:zlib'
import { Drain } from '../../gateway/drain/drain.ts'
import type { DrainRules } from '../../gateway/drain/policy/rules.ts'
import type { Batch, Listed, Sink, SinkAnswer } from '../../gateway/ports/sink.ts'
import type { NoteStore, StreamQueue } from '../../gateway/ports/stream-queue.ts'
import { gapHeader, type HttpEncoder } from '../../gateway/sink/http/encode.ts'
import { MemoryStore } from '../support/memory-queue.ts'
import type { Receiver, ReceiverAnswer, ReceiverRules } from '../support/model-receivers.ts'
import { VirtualClock } from '../support/virtual-clock.ts'
import {
  answer,
  encoder,
  LOST,
  MALFORMED,
  macrotask,
  seeded,
  sinkConfig,
  TIMED_OUT,
  unavailable,
} from './harness.ts'

/** What the model reads of one stream: the reading numbers (`payload.n`), in order. */
export interface ModelView {
  /** Handed over, not durable: a crash may forget them. */
  readonly staged: readonly number[]
  readonly pending: readonly number[]
  readonly parked: readonly number[]
  readonly deadLetters: readonly number[]
}

/**
 * A spool as the model uses it. A record's line is an NDJSON line with `id`, `seq` and `payload`.
 */
export interface ModelSpool {
  readonly queues: readonly StreamQueue[]
  readonly notes: NoteStore
  /** For the next commit. `requeuedFrom`: id of the dead letter that it was. */
  append(stream: string, payload: { readonly n: number }, requeuedFrom?: string): void
  /** A spool that commits by itself ignores these two. */
  beginCommit(): void
  endCommit(): void
  /** Waits until nothing goes on without a commit, an answer or time. */
  idle(): Promise<void>
  /** SIGKILL: forgets what is not durable and opens again. */
  crash(): Promise<ModelSpool>
  view(stream: string): ModelView
  /** Takes the oldest dead letter and appends it again, in one commit. False: there is none. */
  requeue(stream: string): boolean
  /** Retention takes the oldest record that is free; its reading, or null. */
  dropOldest(stream: string): number | null
  newIdentity(): void
  /** First record that a power cut now would leave pending; undefined: this spool cannot tell. */
  durableHead(stream: string): { readonly spoolId: string; readonly seq: number } | null | undefined
  /** Called at each record that becomes a dead letter. */
  onDeadLetter(listener: (stream: string, spoolId: string, seq: number, n: number) => void): void
}

export interface ModelRun {
  readonly seed: number
  readonly openSpool: (clock: VirtualClock, streams: readonly string[]) => Promise<ModelSpool>
  readonly newReceiver: (rules: ReceiverRules) => Receiver
  /** Random actions before the storm ends. */
  readonly steps?: number
}

/** How often what happened, so that a test can show that it did. */
export type ModelCounts = Record<
  | 'requests'
  | 'repeats'
  | 'lost'
  | 'unsent'
  | 'refused'
  | 'kills'
  | 'reboots'
  | 'late'
  | 'requeued'
  | 'holds'
  | 'tooLarge'
  | 'stumbles'
  | 'dropped',
  number
>

interface Pending {
  readonly batch: Batch
  readonly generation: number
  readonly resolve: (answer: SinkAnswer) => void
}

const STREAMS = ['telemetry', 'events']

/** What a sink may say to the content of one record. */
const STUMBLES: readonly SinkAnswer[] = [
  answer({ kind: 'hold', scope: 'sink', detail: '403' }, 403),
  unavailable(null, 500),
  LOST,
  TIMED_OUT,
]

const RULES: Partial<DrainRules> = { parkedLimit: 4, judgedFrom: 10, judgedWindow: 40 }

/** Plays one run; throws if anything that must be true is not. */
export async function runModel(run: ModelRun): Promise<ModelCounts> {
  const world = new World(run)
  await world.open(await run.openSpool(world.clock, STREAMS))
  for (let step = 0; step < (run.steps ?? 120); step++) await world.step()
  await world.calm()
  world.check()
  world.requeueAll()
  await world.calm()
  world.check()
  return world.counts
}

class World implements Sink {
  readonly name = 'cloud'
  readonly clock = new VirtualClock()
  readonly counts: ModelCounts = {
    requests: 0,
    repeats: 0,
    lost: 0,
    unsent: 0,
    refused: 0,
    kills: 0,
    reboots: 0,
    late: 0,
    requeued: 0,
    holds: 0,
    tooLarge: 0,
    stumbles: 0,
    dropped: 0,
  }
  readonly #random: () => number
  readonly #receiver: Receiver
  readonly encoder: HttpEncoder
  readonly health = { connected: null, detail: null }
  readonly #tooLargeBytes: number
  /** The sink refuses often, and the streams are full. */
  readonly #isHarsh: boolean
  readonly #poison = new Set<number>()
  /** Readings over which the sink stumbles while the storm lasts, each in its own way. */
  readonly #stumbles = new Map<number, SinkAnswer>()
  readonly #appended = new Map<string, number[]>()
  readonly #droppedReadings = new Set<number>()
  readonly #bodies = new Map<string, string>()
  readonly #bytes = new WeakMap<Batch, Buffer>()
  readonly #gaps = new Set<string>()
  #spool!: ModelSpool
  #drain!: Drain
  #pending: Pending[] = []
  /** Requests of killed processes that are still on the wire. */
  #late: Batch[] = []
  #generation = 0
  #nextReading = 1
  #notBeforeMs = 0
  #calm = false
  /** What an assertion below the drain said; the drain itself would only try again. */
  #failure: Error | null = null

  constructor(run: ModelRun) {
    this.#random = seeded(run.seed)
    this.encoder = encoder(this.#chance(0.3) ? 'gzip' : 'identity')
    this.#tooLargeBytes = this.#chance(0.3) ? 200 : Number.POSITIVE_INFINITY
    this.#isHarsh = this.#chance(0.3)
    const room = this.#chance(0.5) ? 3 : Number.POSITIVE_INFINITY
    this.#receiver = run.newReceiver({
      refuses: (record) => {
        const { n } = record['payload'] as { n: number }
        return this.#poison.has(n) && record['requeuedFrom'] === undefined
      },
      room: () => (this.#calm ? Number.POSITIVE_INFINITY : room),
    })
  }

  #chance(share: number): boolean {
    return this.#random() < share
  }

  #below(n: number): number {
    return Math.floor(this.#random() * n)
  }

  #stream(): string {
    return STREAMS[this.#below(STREAMS.length)] ?? ''
  }

  async open(spool: ModelSpool): Promise<void> {
    this.#spool = spool
    spool.onDeadLetter((stream, spoolId, seq, n) => this.#buried(stream, spoolId, seq, n))
    const config = sinkConfig({
      maxBatchRecords: 6,
      linger: 20,
      maxInFlight: 2,
      maxRefusedShare: 0.6,
    })
    this.#drain = new Drain({
      sinks: [{ sink: this, config }],
      queues: spool.queues,
      notes: spool.notes,
      emit: (event) => {
        if (event.type === 'drain.held') this.counts.holds++
        if (event.type === 'drain.queue-failed') this.#failure ??= new Error(event.detail)
      },
      clock: this.clock,
      random: this.#random,
      rules: RULES,
    })
    await this.#drain.start()
    await spool.idle()
  }

  // The sink's side.

  start(): void {}

  async send(batch: Batch): Promise<SinkAnswer> {
    try {
      const { chunks } = await batch.stitched(this.encoder.stitches ?? 'identity')
      this.#bytes.set(batch, Buffer.concat(chunks))
      return await this.#send(batch)
    } catch (error) {
      this.#failure ??= error as Error
      throw error
    }
  }

  #send(batch: Batch): Promise<SinkAnswer> {
    const { stream, spoolId, firstSeq, lastSeq } = batch
    this.counts.requests++
    assert(
      !this.#pending.some((one) => one.batch.stream === stream),
      `two requests of ${stream} in progress (I2)`,
    )
    assert(this.clock.wallMs() >= this.#notBeforeMs, 'sooner than Retry-After')
    const head = this.#spool.durableHead(stream)
    if (head !== undefined) {
      assert.deepEqual(
        head,
        { spoolId, seq: firstSeq },
        'what was settled and parked before is durable',
      )
    }
    const text = this.#textOf(batch)
    const key = `${spoolId}:${stream}:${firstSeq}-${lastSeq}:${batch.crc32.toString(16)}`
    const known = this.#bodies.get(key)
    if (known !== undefined) {
      this.counts.repeats++
      assert.equal(this.#bytesOf(batch).toString('base64'), known, 'same key, same bytes (I4)')
    }
    this.#bodies.set(key, this.#bytesOf(batch).toString('base64'))
    for (const line of text.trimEnd().split('\n')) {
      const { seq } = JSON.parse(line) as { seq: number }
      assert(
        !this.#gaps.has(`${spoolId}:${stream}:${seq}`),
        `seq ${seq} comes after it was reported as a gap`,
      )
    }
    return new Promise((resolve) => {
      this.#pending.push({ batch, generation: this.#generation, resolve })
    })
  }

  onChange(): void {}

  async close(): Promise<void> {}

  #bytesOf(batch: Batch): Buffer {
    const bytes = this.#bytes.get(batch)
    assert(bytes, 'it was sent')
    return bytes
  }

  #textOf(batch: Batch): string {
    const bytes = this.#bytesOf(batch)
    return (this.encoder.stitches === 'gzip' ? gunzipSync(bytes) : bytes).toString()
  }

  /** The receiver gets the request. */
  #deliver(batch: Batch): ReceiverAnswer {
    const { gateway, stream, spoolId, firstSeq, lastSeq, recordCount, gaps } = batch
    for (const gap of gaps) {
      for (let seq = gap.firstSeq; seq <= gap.lastSeq; seq++)
        this.#gaps.add(`${gap.spoolId}:${stream}:${seq}`)
    }
    const body = this.#textOf(batch)
    return this.#receiver.receive({
      gateway,
      spool: spoolId,
      stream,
      firstSeq,
      lastSeq,
      recordCount,
      gap: gapHeader(gaps, spoolId),
      body,
    })
  }

  #answerOne(): void {
    const one = this.#pending.splice(this.#below(this.#pending.length), 1)[0]
    if (one) one.resolve(this.#calm ? this.#honest(one.batch) : this.#outcome(one.batch))
  }

  #honest(batch: Batch): SinkAnswer {
    if (batch.bodyBytes > this.#tooLargeBytes && batch.recordCount > 1) {
      this.counts.tooLarge++
      return answer({ kind: 'too-large', detail: '413' }, 413)
    }
    const stumble = this.#calm ? undefined : this.#stumbleOf(batch)
    if (stumble !== undefined) {
      this.counts.stumbles++
      return stumble
    }
    const got = this.#deliver(batch)
    if (got.status >= 400 || (got.body?.rejected ?? []).length > 0) this.counts.refused++
    return classify(got)
  }

  #stumbleOf(batch: Batch): SinkAnswer | undefined {
    for (const line of this.#textOf(batch).trimEnd().split('\n')) {
      const stumble = this.#stumbles.get(readingOf(line))
      if (stumble !== undefined) return stumble
    }
    return undefined
  }

  #outcome(batch: Batch): SinkAnswer {
    const lost = answer({ kind: 'retry', retryAfterMs: null, detail: 'connection reset' }, null)
    switch (this.#below(12)) {
      case 0:
        this.counts.lost++
        this.#deliver(batch)
        return lost
      case 1:
        if (this.#chance(0.5)) return lost
        this.counts.unsent++
        return answer({ kind: 'retry', retryAfterMs: null, detail: 'refused', unsent: true }, null)
      case 2: {
        const retryAfterMs = this.#chance(0.5) ? 1000 * (1 + this.#below(100)) : null
        this.#notBeforeMs = Math.max(this.#notBeforeMs, this.clock.wallMs() + (retryAfterMs ?? 0))
        return answer({ kind: 'retry', retryAfterMs, detail: '503' }, this.#chance(0.5) ? 503 : 500)
      }
      case 3:
        if (this.#chance(0.5)) return answer({ kind: 'malformed', detail: 'nonsense' })
        return answer(
          { kind: 'hold', scope: this.#chance(0.5) ? 'sink' : 'stream', detail: '401' },
          401,
        )
      case 4: {
        this.#deliver(batch)
        const stranger: Listed = {
          seq: batch.lastSeq + 1,
          verdict: 'refused',
          code: '422',
          reason: null,
        }
        return answer({ kind: 'verdicts', ackedThrough: null, listed: [stranger] })
      }
      default:
        return this.#honest(batch)
    }
  }

  // What happens.

  async step(): Promise<void> {
    const dice = this.#below(100)
    if (dice < 14) this.#append()
    else if (dice < 28) this.#spool.beginCommit()
    else if (dice < 42) this.#spool.endCommit()
    else if (dice < 68) this.#answerOne()
    else if (dice < 88) this.#pass()
    else if (dice < 91) await this.#kill()
    else if (dice < 94) this.#deliverLate()
    else if (dice < 96) this.#requeue()
    else if (dice < 97) this.#spool.newIdentity()
    else if (dice < 98) this.#drain.retryNow(this.name)
    else this.#drop()
    if (this.#isHarsh && this.#chance(0.05)) this.#drop()
    await this.#spool.idle()
    if (this.#failure !== null) throw this.#failure
  }

  #append(): void {
    const stream = this.#stream()
    const streak = this.#chance(this.#isHarsh ? 0.4 : 0.1)
    for (let i = 1 + this.#below(5); i > 0; i--) {
      const n = this.#nextReading++
      if (streak || this.#chance(0.08)) this.#poison.add(n)
      else if (this.#chance(0.04))
        this.#stumbles.set(n, STUMBLES[this.#below(STUMBLES.length)] ?? MALFORMED)
      const appended = this.#appended.get(stream) ?? []
      appended.push(n)
      this.#appended.set(stream, appended)
      this.#spool.append(stream, { n })
    }
  }

  #pass(): void {
    const nextMs = this.clock.nextTimerMs()
    this.clock.advance(nextMs === null || this.#chance(0.3) ? this.#below(30) : nextMs)
  }

  async #kill(): Promise<void> {
    this.counts.kills++
    this.#generation++
    this.#late.push(...this.#pending.map(({ batch }) => batch))
    this.#pending = []
    this.clock.killTimers()
    const staged = new Map(STREAMS.map((stream) => [stream, this.#spool.view(stream).staged]))
    const reboot = this.#chance(0.2)
    this.clock.advance(this.#below(5000))
    if (reboot) {
      this.counts.reboots++
      this.clock.reboot()
    }
    const spool = await this.#spool.crash()
    for (const [stream, readings] of staged) this.#forget(spool, stream, readings)
    // A wait that was not noted durably died with the process; one that was is kept, after a reboot
    // in full.
    const note = spool.notes.get('drain/wait/cloud')
    if (note === null) {
      this.#notBeforeMs = 0
    } else {
      const { waitMs, wallMs } = JSON.parse(note) as { waitMs: number; wallMs: number }
      this.#notBeforeMs = (reboot ? this.clock.wallMs() : wallMs) + waitMs
    }
    await this.open(spool)
  }

  /**
   * Readings whose commit never came were never acknowledged: their devices send them again, here
   * they vanish. A drop whose commit never came did not happen.
   */
  #forget(spool: ModelSpool, stream: string, staged: readonly number[]): void {
    const { pending, parked, deadLetters } = spool.view(stream)
    const known = new Set([...pending, ...parked, ...deadLetters])
    const gone = new Set(staged.filter((n) => !known.has(n)))
    const appended = this.#appended.get(stream) ?? []
    this.#appended.set(
      stream,
      appended.filter((n) => !gone.has(n)),
    )
    for (const n of known) this.#droppedReadings.delete(n)
  }

  #deliverLate(): void {
    const batch = this.#late.shift()
    if (!batch) return
    this.counts.late++
    this.#deliver(batch)
  }

  #requeue(): void {
    if (this.#spool.requeue(this.#stream())) this.counts.requeued++
  }

  /** The operator found the receiver's fault: what was refused is sent again. */
  requeueAll(): void {
    for (const stream of STREAMS) while (this.#spool.requeue(stream)) this.counts.requeued++
  }

  /** Retention needs room: it drops one record or several, none that the receiver has (I9). */
  #drop(): void {
    const stream = this.#stream()
    for (let i = 1 + this.#below(6); i > 0; i--) {
      const n = this.#spool.dropOldest(stream)
      if (n === null) return
      const isStored = this.#receiver.stored.some(({ line }) => readingOf(line) === n)
      assert(!isStored, `reading ${n} was stored, and dropped all the same`)
      this.counts.dropped++
      this.#droppedReadings.add(n)
    }
  }

  /** I8, I9: only what the sink refused, and only once it accepted a later record of the stream. */
  #buried(stream: string, spoolId: string, seq: number, n: number): void {
    assert(
      this.#poison.has(n) || this.#stumbles.has(n),
      `reading ${n} was never refused and became a dead letter`,
    )
    const later = this.#receiver.stored.some(({ queue, seq: storedSeq }) => {
      const [, storedSpool, storedStream] = queue.split(':')
      if (storedStream !== stream) return false
      return storedSpool === spoolId
        ? storedSeq > seq
        : Number(storedSpool?.slice(5)) > Number(spoolId.slice(5))
    })
    assert(later, `reading ${n} became a dead letter before a later record was accepted`)
  }

  /** The storm is over: everything that can be delivered is. */
  async calm(): Promise<void> {
    this.#calm = true
    while (this.#late.length > 0) this.#deliverLate()
    for (const stream of STREAMS) {
      const n = this.#nextReading++
      this.#appended.set(stream, [...(this.#appended.get(stream) ?? []), n])
      this.#spool.append(stream, { n })
    }
    for (let fruitless = 0, before = ''; fruitless < 3; ) {
      // Answers come and waits run out; then an operator asks for one more try. Probes would go on
      // for ever.
      for (let i = 0; i < 40; i++) {
        this.#spool.beginCommit()
        this.#spool.endCommit()
        await this.#spool.idle()
        if (this.#failure !== null) throw this.#failure
        if (this.#pending.length > 0) this.#answerOne()
        else this.clock.advance(this.clock.nextTimerMs() ?? 10)
      }
      const views = STREAMS.map((stream) => this.#spool.view(stream))
      if (views.every(({ pending, staged }) => pending.length + staged.length === 0)) return
      const now = JSON.stringify(views)
      fruitless = now === before ? fruitless + 1 : 0
      before = now
      this.#drain.retryNow(this.name)
    }
  }

  check(): void {
    if (this.#failure !== null) throw this.#failure
    const stored = new Map<number, number>()
    const lastSeq = new Map<string, number>()
    for (const { queue, seq, line } of this.#receiver.stored) {
      const n = readingOf(line)
      assert(!stored.has(n), `reading ${n} was stored twice`)
      stored.set(n, seq)
      assert(seq > (lastSeq.get(queue) ?? 0), `seq ${seq} of ${queue} was stored out of order (I2)`)
      lastSeq.set(queue, seq)
    }
    for (const stream of STREAMS) {
      const { pending, parked, deadLetters } = this.#spool.view(stream)
      const kept = new Set([...pending, ...parked, ...deadLetters])
      const held = pending.length > 0
      for (const n of this.#appended.get(stream) ?? []) {
        const fate = [stored.has(n), kept.has(n), this.#droppedReadings.has(n)].filter(
          Boolean,
        ).length
        assert(fate >= 1, `reading ${n} of ${stream} is lost`)
        if (!held) assert(fate === 1, `reading ${n} of ${stream} has two fates`)
        if (!this.#poison.has(n) && !this.#stumbles.has(n))
          assert(!deadLetters.includes(n), `reading ${n} is a dead letter for nothing`)
      }
      // A backlog that is left belongs to a stream that the sink refused altogether; it is in order
      // and complete.
      if (held) {
        const state = this.#drain.sinkStandings()[0]?.streams.find((one) => one.stream === stream)
        assert.equal(state?.reason, 'refusals', `${stream} has a backlog: ${JSON.stringify(state)}`)
      } else {
        assert.deepEqual(parked, [], `${stream}: parked behind an accepted record`)
      }
    }
  }
}

function readingOf(line: string): number {
  return (JSON.parse(line) as { payload: { n: number } }).payload.n
}

/** The contract's table for what the receivers answer. */
function classify({ status, body }: ReceiverAnswer): SinkAnswer {
  if (status === 400 || status === 422)
    return answer({ kind: 'refused', detail: `answered ${status}` }, status)
  const listed = (body?.rejected ?? []).map(({ seq, status, reason }): Listed => {
    const verdict = status === 503 ? 'retry' : 'refused'
    return {
      seq,
      verdict,
      code: status === undefined ? null : String(status),
      reason: reason ?? null,
    }
  })
  return answer({ kind: 'verdicts', ackedThrough: body?.ackedThrough ?? null, listed }, status)
}

/** The model's spool in memory. */
export function memoryModelSpool(store: MemoryStore): ModelSpool {
  const readings = (lines: readonly { readonly line: Uint8Array }[]): number[] => {
    return lines.map(({ line }) => readingOf(Buffer.from(line).toString()))
  }
  return {
    queues: store.queues,
    notes: store.notes,
    append: (stream, payload, requeuedFrom) => {
      store.append(stream, requeuedFrom === undefined ? { payload } : { payload, requeuedFrom })
    },
    beginCommit: () => store.beginCommit(),
    endCommit: () => store.endCommit(),
    idle: macrotask,
    crash: async () => memoryModelSpool(store.crash()),
    view: (stream) => {
      const { pending, state } = store.queue(stream)
      return {
        staged: readings(store.stagedOf(stream)),
        pending: readings(pending),
        parked: readings(state.parked.map(({ record }) => record)),
        deadLetters: readings(state.deadLetters.map(({ record }) => record)),
      }
    },
    requeue: (stream) => {
      const record = store.queue(stream).takeDeadLetter()
      if (record === null) return false
      const { id, payload } = JSON.parse(Buffer.from(record.line).toString()) as {
        id: string
        payload: object
      }
      store.append(stream, { payload, requeuedFrom: id })
      return true
    },
    dropOldest: (stream) => {
      const record = store.queue(stream).dropOldest()
      return record === null ? null : readingOf(Buffer.from(record.line).toString())
    },
    newIdentity: () => {
      store.newIdentity()
    },
    durableHead: (stream) => {
      const { returned, records } = store.durableState(stream)
      const first = returned[0] ?? records[0]
      return first ? { spoolId: first.spoolId, seq: first.seq } : null
    },
    onDeadLetter: (listener) => {
      store.shared.onDeadLetter = (stream, { spoolId, seq, line }) => {
        listener(stream, spoolId, seq, readingOf(Buffer.from(line).toString()))
      }
    },
  }
}

export async function openMemorySpool(
  clock: VirtualClock,
  streams: readonly string[],
): Promise<ModelSpool> {
  const options = streams.map((name, priority) => ({ name, sink: 'cloud', priority }))
  return memoryModelSpool(new MemoryStore({ streams: options, nowMs: () => clock.wallMs() }))
}
