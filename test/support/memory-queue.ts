/**
 * The drain's side of the spool in memory: StreamQueue and NoteStore to the letter of queue.ts,
 * with a disk that a test can cut off. What a commit did not cover when `crash()` comes is
 * forgotten; promises of the old generation never settle. Asserts the sides of the interface that a
 * caller must keep.
 */
import assert from 'node:assert/strict'
import { crc32, gzipSync } from 'node:zlib'
import {
  type BatchEncoder,
  type BatchEncoding,
  type Gap,
  type GapReason,
  MAX_NOTE_BYTES,
} from '../../gateway/ports/sink.ts'
import {
  type Bounds,
  isSameBatch,
  type LoadedBatch,
  type NoteStore,
  type ParkedRecord,
  type Pin,
  type PinLimits,
  type RefusedRecord,
  type Run,
  type Settlement,
  type StreamQueue,
} from '../../gateway/ports/stream-queue.ts'
import { recordOfLine } from '../../gateway/spool/codec/record.ts'

export interface MemoryRecord {
  readonly spoolId: string
  readonly seq: number
  /** The commit that stored it. */
  readonly block: number
  readonly line: Uint8Array
  readonly receivedAtMs: number
}

export interface MemoryGap {
  readonly spoolId: string
  readonly first: number
  readonly last: number
  readonly reason: GapReason
}

interface Refused {
  readonly record: MemoryRecord
  readonly code: string | null
  readonly reason: string
}

/** Everything durable about one stream. Arrays are replaced or copied, records never change. */
interface StreamState {
  records: MemoryRecord[]
  returned: MemoryRecord[]
  parked: Refused[]
  deadLetters: Refused[]
  gaps: MemoryGap[]
  pin: Pin | null
  sent: Map<string, number>
  delivered: number
  deadLettered: number
  dropped: number
}

export interface MemoryStreamOptions {
  readonly name: string
  readonly sink: string
  readonly priority?: number
  /** Room for dead letters, bytes; with `whenFull: hold`. */
  readonly deadLetterBytes?: number
}

export interface MemoryStoreOptions {
  readonly streams: readonly MemoryStreamOptions[]
  readonly nowMs: () => number
  readonly gateway?: string
}

/** Outlives a crash: the seq lease, and what tests want to hear. */
interface Shared {
  readonly nextSeq: Map<string, number>
  block: number
  commits: number
  onDeadLetter: (stream: string, record: MemoryRecord) => void
}

interface Snapshot {
  readonly streams: Map<string, StreamState>
  readonly notes: Map<string, string>
  readonly spoolId: string
}

export class MemoryStore {
  readonly queues: readonly MemoryQueue[]
  readonly notes: NoteStore
  readonly #options: MemoryStoreOptions
  readonly #shared: Shared
  #spoolId: string
  #notes: Map<string, string>
  #durable: Snapshot
  #committing: {
    readonly snapshot: Snapshot
    readonly staged: Staged[]
    readonly resolve: (() => void)[]
  } | null = null
  #staged: Staged[] = []
  #waiting: (() => void)[] = []
  /** After a crash nothing that the old process does counts. */
  #dead = false

  constructor(
    options: MemoryStoreOptions,
    from?: { readonly snapshot: Snapshot; readonly shared: Shared },
  ) {
    this.#options = options
    this.#shared = from?.shared ?? {
      nextSeq: new Map(),
      block: 0,
      commits: 0,
      onDeadLetter: () => {},
    }
    this.#spoolId = from?.snapshot.spoolId ?? 'spool1'
    this.#notes = new Map(from?.snapshot.notes)
    this.queues = options.streams.map((stream) => {
      const state = from?.snapshot.streams.get(stream.name)
      return new MemoryQueue(stream, state ? copyState(state) : newState(), this)
    })
    this.#durable = this.#snapshot([])
    this.notes = {
      get: (key) => this.#notes.get(key) ?? null,
      set: (key, value) => {
        if (value === null) this.#notes.delete(key)
        else this.#notes.set(key, value)
        return this.durable()
      },
    }
  }

  get gateway(): string {
    return this.#options.gateway ?? 'edge-01'
  }

  get shared(): Shared {
    return this.#shared
  }

  get isDead(): boolean {
    return this.#dead
  }

  queue(stream: string): MemoryQueue {
    const queue = this.queues.find((one) => one.stream === stream)
    assert(queue, `no stream ${stream}`)
    return queue
  }

  /**
   * A record for the next commit. `member`: what its line says besides id and seq. Returns its seq.
   */
  append(stream: string, member: Readonly<Record<string, unknown>>): number {
    const spoolId = this.#spoolId
    const leased = `${stream}/${spoolId}`
    const seq = this.#shared.nextSeq.get(leased) ?? 1
    this.#shared.nextSeq.set(leased, seq + 1)
    const id = `${this.gateway}:${spoolId}:${stream}:${seq}`
    const line = Buffer.from(`${JSON.stringify({ id, seq, ...member })}\n`)
    this.#staged.push({ stream, spoolId, seq, line, receivedAtMs: this.#options.nowMs() })
    return seq
  }

  /** Later records start under a fresh spool id. */
  newIdentity(): string {
    this.#spoolId = `spool${Number(this.#spoolId.slice(5)) + 1}`
    return this.#spoolId
  }

  /** Handed over and not durable: nobody was told that it is kept. */
  stagedOf(stream: string): readonly { readonly line: Uint8Array }[] {
    return [...(this.#committing?.staged ?? []), ...this.#staged].filter(
      (one) => one.stream === stream,
    )
  }

  get hasWork(): boolean {
    return this.#staged.length > 0 || this.#waiting.length > 0 || this.#committing !== null
  }

  /** Everything handed over so far goes into one commit; what comes later into the next. */
  beginCommit(): void {
    if (this.#dead || this.#committing) return
    const staged = this.#staged
    const resolve = this.#waiting
    this.#staged = []
    this.#waiting = []
    this.#committing = { snapshot: this.#snapshot(staged), staged, resolve }
  }

  /** It is fsynced. */
  endCommit(): void {
    if (this.#dead || !this.#committing) return
    const { snapshot, staged, resolve } = this.#committing
    this.#committing = null
    this.#durable = snapshot
    this.#shared.commits++
    const block = this.#shared.block++
    const fed = new Set(staged.map((one) => one.stream))
    for (const { stream, ...record } of staged) this.queue(stream).add({ ...record, block })
    for (const done of resolve) done()
    for (const stream of fed) this.queue(stream).ready()
  }

  commit(): void {
    this.endCommit()
    this.beginCommit()
    this.endCommit()
  }

  /** Resolves with the commit that carries what was done so far. */
  durable(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /**
   * The process is killed; what is on disk comes back. Numbers that were taken are never used
   * again.
   */
  crash(): MemoryStore {
    this.#dead = true
    this.#waiting = []
    this.#committing = null
    return new MemoryStore(this.#options, { snapshot: this.#durable, shared: this.#shared })
  }

  /** As a power cut at this moment would leave the stream. */
  durableState(stream: string): Readonly<StreamState> {
    const state = this.#durable.streams.get(stream)
    assert(state)
    return state
  }

  #snapshot(staged: readonly Staged[]): Snapshot {
    const streams = new Map(this.queues.map((queue) => [queue.stream, copyState(queue.state)]))
    const block = this.#shared.block
    for (const { stream, ...record } of staged)
      streams.get(stream)?.records.push({ ...record, block })
    return { streams, notes: new Map(this.#notes), spoolId: this.#spoolId }
  }
}

interface Staged extends Omit<MemoryRecord, 'block'> {
  readonly stream: string
}

export class MemoryQueue implements StreamQueue {
  readonly stream: string
  readonly sink: string
  /** A test may set it once something is parked; commits pin nothing here. */
  isAwaited = false
  readonly priority: number
  readonly state: StreamState
  /** What a test wants `load` to meet: a rejection, once each. */
  readonly loadErrors: Error[] = []
  readonly #store: MemoryStore
  readonly #deadLetterBytes: number
  #listeners: (() => void)[] = []
  #keepOuterLastSeq: number | null = null
  isPinGuarded = true
  /** What `sent` said of the pin's identity before the batch was pinned. */
  #sentBefore = 0

  constructor(options: MemoryStreamOptions, state: StreamState, store: MemoryStore) {
    this.stream = options.name
    this.sink = options.sink
    this.priority = options.priority ?? 0
    this.#deadLetterBytes = options.deadLetterBytes ?? Number.POSITIVE_INFINITY
    this.state = state
    this.#store = store
  }

  /** Returned records first, then the rest: in order of identity and seq. */
  #pending(): readonly MemoryRecord[] {
    return this.state.returned.length === 0
      ? this.state.records
      : [...this.state.returned, ...this.state.records]
  }

  get pending(): readonly MemoryRecord[] {
    return this.#pending()
  }

  get pendingRecords(): number {
    return this.state.returned.length + this.state.records.length
  }

  get pendingBytes(): number {
    return this.#pending().reduce((sum, { line }) => sum + line.length, 0)
  }

  readonly maxBatchBytes = Number.POSITIVE_INFINITY

  get pin(): Pin | null {
    return this.state.pin
  }

  /** Nobody awaits it. */
  pinWithCommits(): void {}

  awaitPin(): void {}

  /** Its records never expire. */
  expirePin(): null {
    return null
  }

  guardPin(isGuarded: boolean): void {
    const { pin } = this.state
    this.isPinGuarded = isGuarded || (pin !== null && pin.outerLastSeq !== pin.lastSeq)
  }

  get parked(): readonly ParkedRecord[] {
    return this.state.parked.map(({ record, code, reason }) => {
      return { spoolId: record.spoolId, seq: record.seq, code, reason, bytes: record.line.length }
    })
  }

  highestSentSeq(spoolId: string): number {
    return this.state.sent.get(spoolId) ?? 0
  }

  ahead(limit: number): readonly Run[] {
    const runs: { -readonly [K in keyof Run]: Run[K] }[] = []
    let block: number | null = null
    const returned = this.state.returned.length
    for (const [i, record] of this.#pending().entries()) {
      const run = runs.at(-1)
      const joins =
        run && i > returned && block === record.block && run.spoolId === record.spoolId
          ? run.firstSeq + run.recordCount === record.seq
          : false
      if (run && joins) {
        run.recordCount++
        run.rawBytes += record.line.length
        run.receivedAtMs = Math.min(run.receivedAtMs, record.receivedAtMs)
        continue
      }
      if (runs.length === limit) break
      const { spoolId, seq: firstSeq, receivedAtMs } = record
      runs.push({ spoolId, firstSeq, recordCount: 1, rawBytes: record.line.length, receivedAtMs })
      block = i < returned ? null : record.block
    }
    return runs
  }

  pinBatch(
    bounds: Bounds,
    encoder: BatchEncoder,
    limits?: PinLimits,
  ): { readonly pin: Pin; readonly durable: Promise<void> } {
    assert.equal(this.state.pin, null, `${this.stream}: a batch is in flight already`)
    this.#sentBefore = this.highestSentSeq(bounds.spoolId)
    const outerLastSeq = Math.max(bounds.lastSeq, this.#keepOuterLastSeq ?? 0)
    this.#keepOuterLastSeq = null
    const { fingerprint } = encoder
    const gapCount = encoder.gapsThatFit(this.#gaps(), bounds.spoolId)
    const pin = { ...bounds, outerLastSeq, gapCount, fingerprint }
    return this.#setPin(limits === undefined ? pin : { ...pin, limits })
  }

  reencode(encoder: BatchEncoder): { readonly pin: Pin; readonly durable: Promise<void> } {
    const { pin } = this.state
    assert(pin, `${this.stream}: nothing to encode anew`)
    const formerFingerprints = [...(pin.formerFingerprints ?? []), pin.fingerprint]
    const gapCount = Math.min(pin.gapCount, encoder.gapsThatFit(this.#gaps(), pin.spoolId))
    const { fingerprint } = encoder
    const { note: _, ...unnoted } = pin
    return this.#setPin({ ...unnoted, gapCount, fingerprint, formerFingerprints })
  }

  split(first: Bounds): { readonly pin: Pin; readonly durable: Promise<void> } {
    const { pin } = this.state
    assert(pin, `${this.stream}: nothing to split`)
    const { spoolId, firstSeq, lastSeq, recordCount } = first
    const { note, ...whole } = pin
    const part = { ...whole, spoolId, firstSeq, lastSeq, recordCount }
    return this.#setPin(note !== undefined && isSameBatch(part, pin) ? { ...part, note } : part)
  }

  async #keepNote(batch: Pin, note: string): Promise<void> {
    const { pin } = this.state
    assert(pin && isSameBatch(pin, batch), `${this.stream}: not in flight any more`)
    assert(Buffer.byteLength(note) <= MAX_NOTE_BYTES)
    await this.#setPin({ ...pin, note }).durable
  }

  #setPin(pin: Pin): { readonly pin: Pin; readonly durable: Promise<void> } {
    const first = this.#pending()[0]
    assert.equal(first?.seq, pin.firstSeq, `${this.stream}: a batch begins at the head`)
    assert.equal(
      this.#within(pin).length,
      pin.recordCount,
      `${this.stream}: recordCount is what there is`,
    )
    this.state.pin = pin
    this.isPinGuarded = true
    const sent = Math.max(this.highestSentSeq(pin.spoolId), pin.lastSeq)
    this.state.sent = new Map(this.state.sent).set(pin.spoolId, sent)
    return { pin, durable: this.#store.durable() }
  }

  #within(bounds: Bounds): MemoryRecord[] {
    const { spoolId, firstSeq, lastSeq } = bounds
    return this.#pending().filter(
      (r) => r.spoolId === spoolId && r.seq >= firstSeq && r.seq <= lastSeq,
    )
  }

  async load(pin: Pin, { stitches }: BatchEncoder): Promise<LoadedBatch | null> {
    const error = this.loadErrors.shift()
    if (error) throw error
    const records = this.#within(pin)
    if (records.length !== pin.recordCount) {
      if (this.#store.isDead) return new Promise(() => {})
      this.state.pin = null
      return null
    }
    const raw = Buffer.concat(records.map(({ line }) => line))
    const stitched = (encoding: BatchEncoding): Buffer =>
      encoding === 'gzip' ? gzipSync(raw) : raw
    const body = stitches === null ? raw : stitched(stitches)
    return {
      pin,
      batch: {
        ...pin,
        gateway: this.#store.gateway,
        stream: this.stream,
        gaps: this.#gaps().slice(0, pin.gapCount),
        receivedAtMs: records[0]?.receivedAtMs ?? 0,
        formerFingerprints: pin.formerFingerprints ?? [],
        note: pin.note ?? null,
        keepNote: (note) => this.#keepNote(pin, note),
        bodyBytes: body.length,
        rawBytes: raw.length,
        crc32: crc32(raw),
        stitched: async (encoding) => {
          const whole = encoding === stitches ? body : stitched(encoding)
          return { chunks: [whole], byteLength: whole.length }
        },
        records: async function* () {
          for (const { line } of records) yield recordOfLine(line)
        },
      },
      seqs: () => records.map(({ seq }) => seq),
      line: async (seq) => {
        const record = records.find((one) => one.seq === seq)
        assert(record, `seq ${seq} is not in the batch`)
        return record.line
      },
    }
  }

  settle(settlement: Settlement): Promise<void> {
    const { state } = this
    const { pin } = state
    assert(pin, `${this.stream}: nothing is in flight`)
    const { throughSeq, refused, deadLetter, deadLetterEarlier, gapsReported, keepOuterLastSeq } =
      settlement
    assert(throughSeq <= pin.lastSeq, `${this.stream}: settles more than was sent`)
    const passed = this.#within({ ...pin, lastSeq: throughSeq })
    const gone = new Set(passed)
    state.records = state.records.filter((record) => !gone.has(record))
    state.returned = state.returned.filter((record) => !gone.has(record))
    for (const { seq, code, reason, line } of refused) {
      const record = passed.find((one) => one.seq === seq)
      assert(record, `${this.stream}: refused seq ${seq} is not settled`)
      assert.deepEqual(
        Buffer.from(line),
        Buffer.from(record.line),
        'the line of the refused record',
      )
      state.parked = [...state.parked, { record, code, reason }]
    }
    state.delivered += passed.length - refused.length
    for (const seq of deadLetter) this.#bury(pin.spoolId, seq)
    for (const { spoolId, seq } of deadLetterEarlier ?? []) this.#bury(spoolId, seq)
    if (gapsReported) state.gaps = state.gaps.slice(pin.gapCount)
    state.pin = null
    if (keepOuterLastSeq !== null) assert.equal(keepOuterLastSeq, pin.outerLastSeq)
    this.#keepOuterLastSeq = keepOuterLastSeq
    return this.#store.durable()
  }

  #bury(spoolId: string, seq: number): void {
    const { state } = this
    const refused = state.parked.find(
      ({ record }) => record.spoolId === spoolId && record.seq === seq,
    )
    assert(refused, `${this.stream}: seq ${seq} of ${spoolId} is not parked`)
    if (!this.#store.isDead) this.#store.shared.onDeadLetter(this.stream, refused.record)
    state.parked = state.parked.filter((one) => one !== refused)
    state.deadLetters = [...state.deadLetters, refused]
    state.deadLettered++
    state.gaps = [...state.gaps, { spoolId, first: seq, last: seq, reason: 'dead-lettered' }]
  }

  returnParked(): Promise<void> {
    const { state } = this
    const records = [...state.returned, ...state.parked.map(({ record }) => record)]
    state.returned = records.sort((a, b) => identityOf(a) - identityOf(b) || a.seq - b.seq)
    state.parked = []
    state.pin = null
    this.#keepOuterLastSeq = null
    return this.#store.durable()
  }

  deadLetterBytes({ line }: RefusedRecord): number {
    return line.length
  }

  hasDeadLetterRoom(bytes: number, letters: number): boolean {
    const used = this.state.deadLetters.reduce((sum, { record }) => sum + record.line.length, 0)
    return used + bytes <= this.#deadLetterBytes || (used === 0 && letters === 1)
  }

  bury(records: readonly { readonly spoolId: string; readonly seq: number }[]): Promise<void> {
    for (const { spoolId, seq } of records) this.#bury(spoolId, seq)
    return this.#store.durable()
  }

  onReady(listener: (() => void) | null): void {
    this.#listeners = listener === null ? [] : [listener]
  }

  add(record: MemoryRecord): void {
    this.state.records = [...this.state.records, record]
  }

  ready(): void {
    for (const listener of this.#listeners) listener()
  }

  /** Retention: the oldest record goes that cannot have reached the sink. Returns it. */
  dropOldest(): MemoryRecord | null {
    const { pin, sent } = this.state
    if (!this.isPinGuarded && pin !== null) {
      this.state.pin = null
      this.state.sent = new Map(sent).set(pin.spoolId, this.#sentBefore)
    }
    const victim = this.#pending().find(({ spoolId, seq }) => seq > this.highestSentSeq(spoolId))
    if (!victim) return null
    this.#drop(victim, 'dropped-oldest')
    return victim
  }

  /** A record's block is damaged on disk: the next load finds it. */
  damage(seq: number): void {
    const victim = this.#pending().find((record) => record.seq === seq)
    assert(victim)
    this.#drop(victim, 'corrupt')
  }

  #drop(victim: MemoryRecord, reason: GapReason): void {
    this.state.records = this.state.records.filter((record) => record !== victim)
    this.state.returned = this.state.returned.filter((record) => record !== victim)
    this.state.dropped++
    const { spoolId, seq } = victim
    this.state.gaps = [...this.state.gaps, { spoolId, first: seq, last: seq, reason }]
  }

  /** Takes the oldest dead letter away, for a new record. */
  takeDeadLetter(): MemoryRecord | null {
    const [first, ...rest] = this.state.deadLetters
    if (!first) return null
    this.state.deadLetters = rest
    return first.record
  }

  #gaps(): Gap[] {
    return this.state.gaps.map(({ spoolId, first, last, reason }) => {
      return { spoolId, firstSeq: first, lastSeq: last, reason }
    })
  }
}

function identityOf(record: MemoryRecord): number {
  return Number(record.spoolId.slice(5))
}

function newState(): StreamState {
  return {
    records: [],
    returned: [],
    parked: [],
    deadLetters: [],
    gaps: [],
    pin: null,
    sent: new Map(),
    delivered: 0,
    deadLettered: 0,
    dropped: 0,
  }
}

function copyState(state: StreamState): StreamState {
  const { records, returned, parked, deadLetters, gaps, sent } = state
  return {
    ...state,
    records: [...records],
    returned: [...returned],
    parked: [...parked],
    deadLetters: [...deadLetters],
    gaps: [...gaps],
    sent: new Map(sent),
  }
}
