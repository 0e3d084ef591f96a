/**
 * The drain's side of a stream: what is pending, the pin of the batch in flight, and what a sink's
 * answer does to them. Every mutation changes memory at once and rides in the commit that is open
 * (I4, I5, I8).
 */

import { type BatchEncoder, MAX_NOTE_BYTES } from '../../ports/sink.ts'
import {
  type Bounds,
  isSameBatch,
  type LoadedBatch,
  type ParkedRecord,
  type Pin,
  type PinLimits,
  type RefusedRecord,
  type Run,
  type Settlement,
  type StreamQueue,
} from '../../ports/stream-queue.ts'
import { codeOf, writtenCode } from '../../shared/text/answer-code.ts'
import { checked } from '../codec/checked.ts'
import { type DeadLetterInfo, packDeadLetter, packedBytes } from '../codec/dead-letter.ts'
import { idOfLine, receivedAtOf } from '../codec/record.ts'
import { PINNED_SHARE } from '../retention/retention.ts'
import { deadLetterKey, gapPageKey } from '../store/keys.ts'
import type { UncommittedBlock } from '../stream/open-blocks.ts'
import { type Aside, gapsOf, type StoredGap, unskipped } from '../stream/state.ts'
import type { OpenCommit, SpoolStream } from '../stream/stream.ts'
import {
  copyLost,
  deadLettered,
  delivered,
  expiryMarked,
  expiryPassed,
  gapsReported,
  MAX_GAPS_IN_STATE,
  parked,
  parkedAgain,
  pinned,
  putGapPage,
  recordsDropped,
  returned,
  takeFront,
  unparked,
  unpinned,
  wantsGapPage,
} from '../stream/transitions.ts'
import { type LeftOut, loadBatch } from './batch-loader.ts'
import { copyName, encodeCopy, isBlock, lineOfCopy } from './block-check.ts'
import type { BlockReader } from './block-reader.ts'

/** Of a stream that is awaited: what is pending is what a few commits brought. */
const AHEAD_RUNS = 64

const NOTHING_LEFT_OUT: LeftOut = {
  seqs: [],
  lastKept: null,
  nextExpiryMs: Number.POSITIVE_INFINITY,
}

export class SpoolQueue implements StreamQueue {
  readonly spool: SpoolStream
  readonly stream: string
  /** '': none takes it. */
  sink: string
  readonly #commit: OpenCommit
  readonly #reader: BlockReader
  readonly #nowMs: () => number
  /**
   * Of a split batch that was settled in part: the pin that follows in the same commit protects the
   * rest.
   */
  #keepOuterLastSeq: number | null = null
  /** Of the pin, as it was read. */
  #leftOut: LeftOut = NOTHING_LEFT_OUT
  #loadingGaps = false

  constructor(spool: SpoolStream, commit: OpenCommit, reader: BlockReader, nowMs: () => number) {
    this.spool = spool
    this.stream = spool.name
    this.sink = spool.config?.sink ?? ''
    this.#commit = commit
    this.#reader = reader
    this.#nowMs = nowMs
  }

  get priority(): number {
    return this.spool.config?.priority ?? 9
  }

  get pendingRecords(): number {
    return this.spool.pendingRecords
  }

  get pendingBytes(): number {
    return this.spool.pendingRawBytes
  }

  get isAwaited(): boolean {
    return this.spool.passage !== null
  }

  get maxBatchBytes(): number {
    const { config } = this.spool
    if (config?.whenFull !== 'drop-oldest') return Number.POSITIVE_INFINITY
    return Math.max(1, Math.floor(config.maxBytes * PINNED_SHARE))
  }

  get pin(): Pin | null {
    return this.spool.hasPinAhead ? null : this.spool.state.pin
  }

  get parked(): readonly ParkedRecord[] {
    const { parked, identities } = this.spool.state
    return parked.map((aside) => {
      const { identity, seq, status, reason } = aside
      const bytes = packedBytes(this.#letterOf(aside), aside.bytes)
      const spoolId = identities[identity]?.spoolId ?? ''
      return { spoolId, seq, code: codeOf(status), reason, bytes }
    })
  }

  #letterOf(refused: Pick<Aside, 'identity' | 'seq' | 'status' | 'reason'>): DeadLetterInfo {
    const { identity, seq, status, reason } = refused
    const { gateway, spoolId } = this.spool.state.identities[identity] ?? {
      gateway: '',
      spoolId: '',
    }
    const id = `${gateway}:${spoolId}:${this.stream}:${seq}`
    const deadLetteredAt = new Date(this.#nowMs()).toISOString()
    const spoolTimeMs = this.spool.time.nowMs()
    return {
      id,
      seq,
      origin: 'refused',
      status,
      reason,
      deadLetteredAt,
      spoolTimeMs,
      truncated: null,
    }
  }

  #identityOf(spoolId: string): number {
    const identity = this.spool.state.identities.findIndex((i) => i.spoolId === spoolId)
    if (identity < 0) throw new Error(`stream ${this.stream} has no records of spool id ${spoolId}`)
    return identity
  }

  ahead(limit: number): readonly Run[] {
    const { state, index } = this.spool
    const runs: Run[] = []
    for (const aside of state.front) {
      if (runs.length >= limit) return runs
      runs.push({
        spoolId: state.identities[aside.identity]?.spoolId ?? '',
        firstSeq: aside.seq,
        recordCount: 1,
        rawBytes: aside.bytes,
        receivedAtMs: aside.receivedAtMs,
      })
    }
    let ordinal = unskipped(state, state.head.ordinal)
    for (let skip = state.head.index; runs.length < limit; skip = 0) {
      const meta = index.at(ordinal)
      if (!meta) {
        if (index.missingAt(ordinal)) this.spool.prefetch(this.#commit, ordinal)
        return runs
      }
      const recordCount = meta.count - skip
      runs.push({
        spoolId: state.identities[meta.identity]?.spoolId ?? '',
        firstSeq: meta.firstSeq + skip,
        recordCount,
        rawBytes:
          skip === 0 ? meta.rawBytes : Math.ceil((meta.rawBytes * recordCount) / meta.count),
        receivedAtMs: meta.oldestMs,
      })
      ordinal = unskipped(state, ordinal + 1)
    }
    return runs
  }

  highestSentSeq(spoolId: string): number {
    return this.spool.state.sent[this.#identityOf(spoolId)] ?? 0
  }

  pinBatch(
    bounds: Bounds,
    encoder: BatchEncoder,
    limits?: PinLimits,
  ): { readonly pin: Pin; readonly durable: Promise<void> } {
    if (this.spool.hasPinAhead) this.spool.dissolveUnsentPin()
    const pin = this.#pinOf(bounds, encoder, limits)
    if (this.spool.config?.messageExpiry === 'honor')
      expiryMarked(this.spool.state, pin, this.spool.sentBeforePin, this.spool.time.nowMs())
    return this.#setPin(pin)
  }

  #pinOf(
    bounds: Bounds,
    encoder: BatchEncoder,
    limits?: PinLimits,
  ): Pin & { readonly identity: number } {
    const { state } = this.spool
    if (state.pin) throw new Error(`stream ${this.stream} has a batch in flight already`)
    const identity = this.#identityOf(bounds.spoolId)
    this.spool.sentBeforePin = state.sent[identity] ?? 0
    const outerLastSeq = Math.max(bounds.lastSeq, this.#keepOuterLastSeq ?? 0)
    this.#keepOuterLastSeq = null
    const { fingerprint } = encoder
    const gapCount = this.#gapCount(encoder, bounds.spoolId)
    const pin = { ...bounds, identity, outerLastSeq, gapCount, fingerprint }
    return limits === undefined ? pin : { ...pin, limits }
  }

  pinWithCommits(
    plan: (runs: readonly Run[]) => Bounds | null,
    encoder: BatchEncoder,
    limits: PinLimits,
  ): void {
    this.spool.pinAhead = (blocks) => {
      const runs = this.ahead(AHEAD_RUNS)
      const records = runs.reduce((sum, { recordCount }) => sum + recordCount, 0)
      // Behind runs that are not in memory the new ones are not next.
      const isAll = records === this.pendingRecords
      const bounds = plan(isAll ? [...runs, ...blocks.map((block) => this.#runOf(block))] : runs)
      return bounds === null ? null : this.#pinOf(bounds, encoder, limits)
    }
  }

  #runOf({ count, firstSeq, identity, oldestMs, raw }: UncommittedBlock): Run {
    const spoolId = this.spool.state.identities[identity]?.spoolId ?? ''
    const rawBytes = raw.length
    return { spoolId, firstSeq, recordCount: count, rawBytes, receivedAtMs: oldestMs }
  }

  awaitPin(): void {
    // One that is on its way needs no other commit.
    if (!this.spool.hasPinAhead) this.#commit.touch(this.spool)
  }

  #gapCount(encoder: BatchEncoder, spoolId: string): number {
    const { state } = this.spool
    if (state.gaps.length === 0) return 0
    return encoder.gapsThatFit(gapsOf(state, MAX_GAPS_IN_STATE), spoolId)
  }

  reencode(encoder: BatchEncoder): { readonly pin: Pin; readonly durable: Promise<void> } {
    const { pin } = this.spool.state
    if (!pin) throw new Error(`stream ${this.stream} has no batch to encode anew`)
    const formerFingerprints = [...(pin.formerFingerprints ?? []), pin.fingerprint]
    const { fingerprint } = encoder
    // None of those that came since: a try may have arrived without them, and its ack would be theirs.
    const gapCount = Math.min(pin.gapCount, this.#gapCount(encoder, pin.spoolId))
    const { note: _, ...unnoted } = pin
    return this.#setPin({ ...unnoted, gapCount, fingerprint, formerFingerprints })
  }

  split(first: Bounds): { readonly pin: Pin; readonly durable: Promise<void> } {
    const { pin } = this.spool.state
    if (!pin) throw new Error(`stream ${this.stream} has no batch to split`)
    const { note, ...whole } = pin
    const part = { ...whole, ...first, outerLastSeq: pin.outerLastSeq }
    // A part is another batch: what was noted of the whole says nothing of it.
    return this.#setPin(note !== undefined && isSameBatch(part, pin) ? { ...part, note } : part)
  }

  #setPin(pin: Pin & { readonly identity: number }): {
    readonly pin: Pin
    readonly durable: Promise<void>
  } {
    pinned(this.spool.state, pin)
    this.spool.hasPinAhead = false
    this.spool.isPinGuarded = true
    return { pin, durable: this.#commit.durable(this.spool) }
  }

  expirePin(): { readonly pin: Pin; readonly durable: Promise<void> } | null {
    const { spool } = this
    const { pin } = spool.state
    if (pin === null || spool.time.nowMs() < this.#leftOut.nextExpiryMs) return null
    expiryMarked(spool.state, pin, spool.sentBeforePin, spool.time.nowMs())
    return this.#setPin(pin)
  }

  guardPin(isGuarded: boolean): void {
    const { pin } = this.spool.state
    // Of a split batch the whole range was sent.
    this.spool.isPinGuarded = isGuarded || (pin !== null && pin.outerLastSeq !== pin.lastSeq)
  }

  async load(pin: Pin, encoder: BatchEncoder): Promise<LoadedBatch | null> {
    const { spool } = this
    const identity = this.#identityOf(pin.spoolId)
    // Such a batch can never be sent again as it was: its undamaged rest is a new one.
    const dissolvePin = (): void => {
      if (spool.state.pin !== null) spool.dissolvePin()
      this.#commit.touch(spool)
    }
    const keepNote = async (note: string): Promise<void> => await this.#keepNote(pin, note)
    const leaveOut = (leftOut: LeftOut): void => {
      this.#leftOut = leftOut
    }
    const pinned = { spool, identity, pin, encoder, dissolvePin, keepNote, leaveOut }
    return await loadBatch(pinned, this.#reader)
  }

  /** @param batch the pin that the batch was read by */
  #keepNote(batch: Pin, note: string): Promise<void> {
    const { pin } = this.spool.state
    if (pin === null || !isSameBatch(pin, batch))
      throw new Error(`stream ${this.stream}: the batch of that note is not in flight any more`)
    const bytes = Buffer.byteLength(note)
    if (bytes > MAX_NOTE_BYTES)
      throw new Error(`a note of ${bytes} bytes, more than ${MAX_NOTE_BYTES}`)
    const { durable } = this.#setPin({ ...pin, note })
    this.#commit.awaited()
    return durable
  }

  settle(settlement: Settlement): Promise<void> {
    const { spool } = this
    const { state } = spool
    const { pin } = state
    if (!pin) throw new Error(`stream ${this.stream}: nothing is in flight that could be settled`)
    const { identity } = pin
    const throughSeq = this.#throughLeftOut(pin, settlement.throughSeq)
    const refused = new Map(settlement.refused.map((r) => [r.seq, r]))
    const wasFront = takeFront(state, identity, throughSeq)
    const passed = wasFront.length + spool.passBlocks(identity, throughSeq, this.#commit)
    for (const aside of wasFront) this.#settleFront(aside, refused)
    for (const refusal of refused.values()) this.#park(identity, refusal)
    if (settlement.refused.length > passed) {
      throw new Error(
        `stream ${this.stream}: ${settlement.refused.length} refusals of ${passed} settled records`,
      )
    }
    delivered(state, passed - settlement.refused.length - this.#expire(identity, throughSeq))
    for (const seq of settlement.deadLetter) this.#toDeadLetter(identity, seq)
    for (const earlier of settlement.deadLetterEarlier ?? []) {
      this.#toDeadLetter(this.#identityOf(earlier.spoolId), earlier.seq)
    }
    if (settlement.gapsReported) gapsReported(state)
    unpinned(state)
    expiryPassed(state)
    this.#prefetchGaps()
    this.#keepOuterLastSeq = settlement.keepOuterLastSeq
    const durable = this.#commit.durable(spool)
    if (settlement.deadLetter.length + (settlement.deadLetterEarlier?.length ?? 0) > 0)
      spool.passage?.buried(durable)
    else spool.passage?.delivered(state)
    return durable
  }

  /** With the last record of the batch goes what was left out behind it. */
  #throughLeftOut(pin: Pin, throughSeq: number): number {
    const { lastKept, seqs } = this.#leftOut
    const isLast = lastKept !== null && seqs.length > 0 && throughSeq >= lastKept
    return isLast ? Math.max(throughSeq, pin.lastSeq) : throughSeq
  }

  /** Records that were left out of the batch and are passed: counted, and gaps. How many. */
  #expire(identity: number, throughSeq: number): number {
    const { seqs } = this.#leftOut
    const passed = seqs.filter((seq) => seq <= throughSeq)
    this.#leftOut = NOTHING_LEFT_OUT
    const reason = 'expired-by-device'
    for (const seq of passed)
      recordsDropped(this.spool.state, { identity, first: seq, last: seq, reason })
    return passed.length
  }

  /** A returned record keeps its copy while it is refused again; delivered, the copy goes. */
  #settleFront(aside: Aside, refused: Map<number, RefusedRecord>): void {
    const refusal = refused.get(aside.seq)
    if (refusal) {
      refused.delete(aside.seq)
      const status = writtenCode(refusal.code)
      parkedAgain(this.spool.state, { ...aside, status, reason: refusal.reason })
      this.#lines.set(aside.n, refusal.line)
    } else {
      this.#dropCopy(aside)
    }
  }

  #dropCopy(aside: Aside): void {
    this.#commit.add({ type: 'del', key: this.spool.asideKey(aside.n) })
    this.spool.storedBytes -= aside.bytes
  }

  #park(identity: number, { seq, code, reason, line }: RefusedRecord): void {
    const { state } = this.spool
    const receivedAtMs = receivedAtOf(line) ?? this.#nowMs()
    const status = writtenCode(code)
    const n = parked(state, { identity, seq, bytes: line.length, status, reason, receivedAtMs })
    this.spool.storedBytes += line.length
    const value = encodeCopy(copyName(state, { identity, seq }), line, {
      receivedAtMs,
      spoolTimeMs: this.spool.time.nowMs(),
    })
    this.#commit.add({ type: 'put', key: this.spool.asideKey(n), value })
    this.#lines.set(n, line)
  }

  /**
   * Lines of parked records in memory, so that a dead letter needs no read; refilled by
   * `prepare` at start.
   */
  readonly #lines = new Map<number, Uint8Array>()

  /** Brings the next stored page of gaps up, when those in memory run out. */
  #prefetchGaps(): void {
    const { state } = this.spool
    if (this.#loadingGaps || !wantsGapPage(state)) return
    this.#loadingGaps = true
    const key = gapPageKey(state.id, state.gapPages.first)
    this.#commit
      .read(key)
      .then(
        (value) => {
          const page = checked(value)
          putGapPage(state, page ? (JSON.parse(page.toString('utf8')) as StoredGap[]) : [])
          this.#commit.add({ type: 'del', key })
          this.#commit.touch(this.spool)
        },
        () => undefined,
      )
      .finally(() => {
        this.#loadingGaps = false
      })
  }

  /** Reads the copies of parked records and the first gaps; once, before the drain starts. */
  async prepare(): Promise<void> {
    this.#prefetchGaps()
    const { parked } = this.spool.state
    const values = await this.#reader.readMany(parked.map((a) => this.spool.asideKey(a.n)))
    for (const [i, aside] of parked.entries()) {
      const name = copyName(this.spool.state, aside)
      const stored = values[i]
      const line = isBlock(stored, name) ? lineOfCopy(stored) : await this.#reader.salvageLine(name)
      if (line) this.#lines.set(aside.n, line)
    }
  }

  #toDeadLetter(identity: number, seq: number): void {
    const { state } = this.spool
    const aside = unparked(state, identity, seq)
    if (!aside) throw new Error(`stream ${this.stream}: seq ${seq} is not parked`)
    const line = this.#lines.get(aside.n)
    this.#dropCopy(aside)
    this.#lines.delete(aside.n)
    if (!line) {
      // Its copy was damaged on disk: nothing is left to keep (I7, I9).
      this.spool.passage?.lost(identity, seq)
      copyLost(state, aside)
      return
    }
    const value = packDeadLetter({ ...this.#letterOf(aside), id: idOfLine(line) }, line)
    const key = deadLetterKey(state.id, 'refused', state.deadLetters.refused.next)
    this.#commit.add({ type: 'put', key, value })
    deadLettered(state, aside, value.length)
  }

  returnParked(): Promise<void> {
    returned(this.spool.state)
    unpinned(this.spool.state)
    this.#lines.clear()
    return this.#commit.durable(this.spool)
  }

  deadLetterBytes({ seq, code, reason, line }: RefusedRecord): number {
    const status = writtenCode(code)
    const identity = this.spool.state.pin?.identity ?? 0
    return packedBytes(this.#letterOf({ identity, seq, status, reason }), line.length)
  }

  hasDeadLetterRoom(bytes: number, letters: number): boolean {
    const { config, state } = this.spool
    const limits = config?.deadLetters
    if (!limits || limits.whenFull !== 'hold') return true
    const { refused } = state.deadLetters
    // A limit that takes the largest record may not take what is kept about it besides.
    if (refused.count === 0 && letters === 1) return true
    return refused.bytes + bytes <= limits.maxBytes
  }

  bury(records: readonly { readonly spoolId: string; readonly seq: number }[]): Promise<void> {
    for (const { spoolId, seq } of records) this.#toDeadLetter(this.#identityOf(spoolId), seq)
    const durable = this.#commit.durable(this.spool)
    this.spool.passage?.buried(durable)
    return durable
  }

  onReady(listener: (() => void) | null): void {
    this.spool.onReady(listener)
  }
}
