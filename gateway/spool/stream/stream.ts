/**
 * One stream of the spool: its durable state, its block index and what is not durable yet. Owns
 * every change of the state, made in memory and written with the commit that is open (I5: one
 * commit for data and counters). Does no IO of its own but reading index segments.
 */

import type { TicketRange } from '../../ports/appender.ts'
import type { GapReason } from '../../ports/sink.ts'
import type { Deflater } from '../codec/block.ts'
import { withCrc } from '../codec/checked.ts'
import { idPrefix } from '../codec/record.ts'
import { entryText } from '../commit/state-record.ts'
import type { StreamConfig } from '../config.ts'
import type { EmitSpoolEvent } from '../events.ts'
import { type Doomed, RetentionMarks, roomBytes } from '../retention/retention.ts'
import { blockKey, gapPageKey, parkedKey, segmentKey } from '../store/keys.ts'
import type { Op } from '../store/store.ts'
import type { SpoolTime } from '../time/spool-time.ts'
import {
  BlockIndex,
  type BlockMeta,
  decodeSegment,
  type PackedSegment,
  packSegment,
  pendingIn,
  SEGMENT_BLOCKS,
} from './block-index.ts'
import { type DropReason, pendingByCounters } from './counters.ts'
import { brokenRules } from './invariants.ts'
import { type BlockLimits, OpenBlocks, type UncommittedBlock } from './open-blocks.ts'
import { passedOf, StreamPassage } from './passage.ts'
import { reindex } from './reindex.ts'
import { byPlace, type CommittedView, committedView, type StreamState } from './state.ts'
import {
  balanced,
  headInBlock,
  headPastBlock,
  lettersBalanced,
  pinned,
  recordsDropped,
  seqsRetaken,
  settledThrough,
  skipBlocks,
  startIdentity,
  takeGapPage,
  takeSeqs,
  unpinned,
  unpinnedUnsent,
} from './transitions.ts'

/** The commit that is open, as a stream sees it. */
export interface OpenCommit {
  add(op: Op): void
  /** Makes sure that a commit comes; resolves when it is durable. */
  durable(stream: SpoolStream): Promise<void>
  /** Marks the stream as changed; the commit comes soon, or within LAZY_COMMIT_MS when `lazy`. */
  touch(stream: SpoolStream, lazy?: boolean): number
  /** Raw bytes were appended. */
  grew(bytes: number): void
  /** Records of so many raw bytes were settled. */
  settled(rawBytes: number): void
  /** An exchange with the receiver waits for this commit. */
  awaited(): void
  read(key: Buffer): Promise<Buffer | undefined>
  /** A segment of its index is damaged: makes the index anew from the blocks (I7). */
  reindex(stream: SpoolStream): Promise<void>
}

/** Where index segments are read, and what is done about a damaged one. */
export type SegmentSource = Pick<OpenCommit, 'read' | 'reindex'>

/** What one closed commit holds of a stream. */
export interface ClosedStream {
  readonly stream: SpoolStream
  readonly blocks: readonly UncommittedBlock[]
  /** JSON members of the state record's entry, but for the blocks added: as of that instant. */
  readonly entry: string
  readonly view: CommittedView
  readonly passed: ReturnType<typeof passedOf>
  /** See invariants.ts; empty, but for a mistake of this program. */
  readonly brokenRules: readonly string[]
}

/** Segments loaded ahead of the head, so that the drain never waits for one. */
const PREFETCH_BLOCKS = SEGMENT_BLOCKS / 2

export class SpoolStream {
  readonly state: StreamState
  #index: BlockIndex
  readonly open: OpenBlocks
  /** null: no configuration names it. See `reconfigure`, which alone changes it. */
  config: StreamConfig | null
  /** null: nothing waits for delivery. */
  passage: StreamPassage | null
  readonly time: SpoolTime
  readonly emit: EmitSpoolEvent
  /** Committed values only: what metrics and status show. */
  view: CommittedView
  /** Of pending blocks and copies, as stored. */
  storedBytes = 0
  /** Uncompressed bytes of durable pending records. */
  pendingRawBytes = 0
  /** Durable records that are pending in blocks; until `recount`, as many as the counters say. */
  blockRecords: number
  /** Raw bytes in the commit in flight. */
  inFlightRawBytes = 0
  /** Payloads of a stream with `payload: text` that are no well-formed UTF-8, since the start. */
  illFormedTexts = 0
  /** First seq that the lease does not cover. */
  leaseEnd = 0
  /** Bytes of blocks deleted since the last compaction. */
  deletedBytes = 0
  /**
   * The pinned batch may have reached the sink, or is on its way: retention leaves it alone (I4).
   * False: it never did, and a limit may take its records; the drain then makes a new batch of what
   * is left.
   */
  isPinGuarded = true
  /**
   * Pins what is pending with the commit that is being closed, those blocks of it included; null: it
   * makes no pin. See `StreamQueue.pinWithCommits`.
   */
  pinAhead: ((blocks: readonly UncommittedBlock[]) => StreamState['pin']) | null = null
  /** The pin is that of a commit which is not durable yet: nobody may act on it. */
  hasPinAhead = false
  /** What `state.sent` said of the pin's identity before the batch was pinned. */
  sentBeforePin = 0
  /** What retention remembers from commit to commit. */
  readonly marks = new RetentionMarks()
  #prefix: Buffer
  /** A segment that was sealed in memory and whose value is not durable yet. */
  #sealing: PackedSegment | null = null
  #loading: Promise<void> | null = null
  #readyListener: (() => void) | null = null

  constructor(options: {
    state: StreamState
    index: BlockIndex
    config: StreamConfig | null
    deflater: Deflater
    limits: BlockLimits
    time: SpoolTime
    emit: EmitSpoolEvent
  }) {
    this.state = options.state
    this.#index = options.index
    this.config = options.config
    this.passage = options.config?.ack === 'delivered' ? new StreamPassage() : null
    this.time = options.time
    this.emit = options.emit
    this.open = new OpenBlocks(options.deflater, options.limits, () => options.time.nowMs())
    this.view = committedView(options.state)
    const { counters, front, parked } = options.state
    this.blockRecords = pendingByCounters(counters) - front.length - parked.length
    this.#index.releaseSkipped(options.state.skips)
    this.#prefix = this.#makePrefix()
  }

  #makePrefix(): Buffer {
    const { spoolId, gateway } = this.state.identities.at(-1) as {
      spoolId: string
      gateway: string
    }
    return Buffer.from(idPrefix(gateway, spoolId, this.state.name))
  }

  get index(): BlockIndex {
    return this.#index
  }

  /**
   * Ordinals are dealt anew, so state and index change in one step; the next commit must be a
   * checkpoint.
   */
  replaceIndex(metas: readonly BlockMeta[]): void {
    this.#index = new BlockIndex([], metas, 0)
    reindex(this.state, metas)
    this.recount()
  }

  get name(): string {
    return this.state.name
  }

  /**
   * What the stream is from now on; null: an orphan. What it holds stays. Acks that wait for the
   * sink leave where nothing waits for delivery any more.
   */
  reconfigure(config: StreamConfig | null, limits: BlockLimits): void {
    this.config = config
    this.open.limits = limits
    const isAwaited = config?.ack === 'delivered'
    if (isAwaited === (this.passage !== null)) return
    this.pinAhead = null
    const former = this.passage
    this.passage = isAwaited ? new StreamPassage() : null
    if (isAwaited) this.beginPassage()
    // Of an orphan nothing is on its way to a sink: devices keep what was not acknowledged.
    if (config === null) former?.lostSome()
    else former?.end()
  }

  /** `{"id":"<gateway>:<spool id>:<stream>:` of new records. */
  get prefix(): Uint8Array {
    return this.#prefix
  }

  get identity(): number {
    return this.state.identities.length - 1
  }

  /** New records start under a fresh name, from seq 1; older ones drain first under theirs. */
  startIdentity(identity: { spoolId: string; gateway: string }): void {
    startIdentity(this.state, identity)
    this.leaseEnd = 0
    this.#prefix = this.#makePrefix()
  }

  get uncommittedRawBytes(): number {
    return this.inFlightRawBytes + this.open.rawBytes
  }

  get pendingRecords(): number {
    return this.blockRecords + this.state.front.length
  }

  /** What is on its way from the run before; once, when everything was recovered. */
  beginPassage(): void {
    const { index, passage, state } = this
    const newest = this.blockRecords > 0 ? index.tail.at(-1) : undefined
    const places = [...state.parked, ...state.front, ...(newest ? [lastOf(newest)] : [])]
    passage?.found(places.toSorted(byPlace).at(-1) ?? null)
  }

  /** Counts what the recovered index and copies hold. */
  recount(): void {
    const { state, index } = this
    const { records, rawBytes, storedBytes } = pendingIn(index, state)
    this.blockRecords = records
    this.pendingRawBytes = rawBytes
    this.storedBytes = [...state.parked, ...state.front].reduce((n, a) => n + a.bytes, storedBytes)
  }

  /**
   * Closes what is open for the commit. Synchronous, so that state, index and blocks are of one
   * instant: what the next commit settles must not be missing from this one's checkpoint.
   */
  close(commit: OpenCommit, commitNumber: number, checkpoint: boolean): ClosedStream {
    const { state, index } = this
    if (!this.#sealing) {
      const sealed = index.seal(commitNumber)
      if (sealed) {
        commit.add({ type: 'put', key: segmentKey(commitNumber, state.id), value: sealed.value })
        this.#sealing = packSegment(sealed.ref)
      }
    }
    const page = takeGapPage(state)
    if (page) {
      const value = withCrc(Buffer.from(JSON.stringify(page.gaps)))
      commit.add({ type: 'put', key: gapPageKey(state.id, page.page), value })
    }
    const blocks = this.open.take()
    this.inFlightRawBytes = blocks.reduce((n, b) => n + b.raw.length, 0)
    const inCommit = blocks.reduce((n, b) => n + b.count, 0)
    const ahead = state.pin === null ? (this.pinAhead?.(blocks) ?? null) : null
    if (ahead !== null) {
      pinned(state, ahead)
      this.hasPinAhead = true
      this.isPinGuarded = true
    }
    const brokenRules = this.check(inCommit)
    const entry = entryText(state, this.#sealing, checkpoint ? index : null)
    const passed = passedOf(state)
    return { stream: this, blocks, entry, view: committedView(state), passed, brokenRules }
  }

  /**
   * The rules that its state breaks (invariants.ts). Counters are balanced: what they say must be
   * what is there. `inCommit`: records of the commit that is being closed.
   */
  check(inCommit: number): readonly string[] {
    const { state, leaseEnd } = this
    const recordsInBlocks = this.blockRecords + inCommit
    const broken = brokenRules(state, { leaseEnd, recordsInBlocks })
    if (broken.length === 0) return broken
    // In this order: the first moves what the second balances.
    lettersBalanced(state)
    balanced(state, recordsInBlocks)
    return broken
  }

  /** The commit is durable: its blocks are in the store, and the drain may see them. */
  committed(closed: ClosedStream, metas: readonly BlockMeta[], tickets: TicketRange): void {
    this.view = closed.view
    const newest = metas.at(-1)
    if (newest !== undefined) this.passage?.committed(tickets, lastOf(newest))
    this.inFlightRawBytes = 0
    this.#sealing = null
    for (const meta of metas) {
      this.index.push(meta)
      this.blockRecords += meta.count
      this.pendingRawBytes += meta.rawBytes
      this.storedBytes += meta.storedBytes
    }
    this.open.recycle(closed.blocks)
    // Only now: a segment that is not durable yet could not be read back.
    this.index.trimLoaded(this.state.head.ordinal, this.marks.ordinal)
    const isPinned = this.hasPinAhead
    this.hasPinAhead = false
    if (metas.length > 0 || isPinned) this.ready()
  }

  /**
   * The commit failed: its records, and all appended since, get new seqs; the old ones are a gap.
   */
  uncommitted(closed: ClosedStream | null): number {
    this.inFlightRawBytes = 0
    if (this.hasPinAhead) this.dissolveUnsentPin()
    const old = this.open.putBack(
      closed?.blocks ?? [],
      this.identity,
      this.#prefix,
      this.state.nextSeq,
    )
    let records = 0
    for (const block of old) {
      seqsRetaken(this.state, block.identity, block.firstSeq, block.firstSeq + block.count - 1)
      records += block.count
    }
    takeSeqs(this.state, records)
    return records
  }

  /** The drain's; null: nothing drains it. */
  onReady(listener: (() => void) | null): void {
    this.#readyListener = listener
  }

  ready(): void {
    this.#readyListener?.()
  }

  /** Removes whole blocks by a retention limit; counted, and a gap (I9). */
  drop(doomed: readonly Doomed[], reason: DropReason & GapReason, commit: OpenCommit): void {
    for (const { meta, firstSeq, count } of doomed) {
      const { identity } = meta
      this.passage?.lost(identity, firstSeq)
      recordsDropped(this.state, { identity, first: firstSeq, last: firstSeq + count - 1, reason })
    }
    this.#remove(doomed, commit)
  }

  /**
   * The records of a block go on as new ones, in the same commit: still pending, and counted as
   * before (I5).
   */
  renumber(doomed: Doomed, lines: Uint8Array, firstSeq: number, commit: OpenCommit): void {
    if (this.state.pin) this.dissolvePin()
    // Its acks waited under the old numbers.
    this.passage?.lost(doomed.meta.identity, doomed.firstSeq)
    this.#remove([doomed], commit)
    this.open.appendLines(this.identity, firstSeq, doomed.count, lines, doomed.meta.oldestMs)
  }

  #remove(doomed: readonly Doomed[], commit: OpenCommit): void {
    let records = 0
    for (const { ordinal, meta, count } of doomed) {
      commit.add({ type: 'del', key: blockKey(meta.commit, this.state.id, meta.index) })
      skipBlocks(this.state, ordinal, ordinal + 1)
      this.#passSkipped()
      this.blockRecords -= count
      this.pendingRawBytes -= meta.rawBytes
      this.storedBytes -= meta.storedBytes
      this.deletedBytes += meta.storedBytes
      records += count
    }
    if (records === 0) return
    commit.touch(this)
    this.released(commit)
  }

  /** The batch never left, so its records were not sent: what is left of it is planned anew. */
  dissolveUnsentPin(): void {
    unpinnedUnsent(this.state, this.sentBeforePin)
    this.hasPinAhead = false
    this.isPinGuarded = true
  }

  dissolvePin(): void {
    unpinned(this.state)
    this.hasPinAhead = false
    this.isPinGuarded = true
  }

  /**
   * Must a message of so many bytes wait, in a full stream that drops its oldest? Only for the
   * commit that makes what was taken before droppable, which comes by itself: never for the sink.
   */
  mustWaitForCommit(bytes: number, maxBytes: number): boolean {
    const { uncommittedRawBytes } = this
    const { fixedBytes } = this.marks
    if (uncommittedRawBytes === 0) return false
    return fixedBytes + uncommittedRawBytes + bytes > roomBytes(maxBytes, fixedBytes)
  }

  /**
   * The block at the head is settled up to and including the seq; returns how many records that
   * were.
   */
  passBlocks(identity: number, throughSeq: number, commit: OpenCommit): number {
    const { state, index } = this
    let passed = 0
    for (;;) {
      const meta = index.at(state.head.ordinal)
      if (!meta || meta.identity !== identity || meta.firstSeq + state.head.index > throughSeq)
        break
      const end = Math.min(meta.count, throughSeq - meta.firstSeq + 1)
      const count = end - state.head.index
      passed += count
      commit.settled((meta.rawBytes * count) / meta.count)
      const settled = { identity, seq: meta.firstSeq + end - 1 }
      if (end < meta.count) {
        headInBlock(state, settled, end)
        break
      }
      commit.add({ type: 'del', key: blockKey(meta.commit, state.id, meta.index) })
      this.pendingRawBytes -= meta.rawBytes
      this.storedBytes -= meta.storedBytes
      this.deletedBytes += meta.storedBytes
      headPastBlock(state, settled)
      this.#passSkipped()
    }
    this.blockRecords -= passed
    this.released(commit)
    return passed
  }

  /**
   * What was dropped before the head is passed as well: a rebuild must not take it for pending when
   * it comes back (I7).
   */
  #passSkipped(): void {
    const { state, index } = this
    const last = state.head.index === 0 ? index.at(state.head.ordinal - 1) : undefined
    if (!last) return
    settledThrough(state, { identity: last.identity, seq: last.firstSeq + last.count - 1 })
  }

  /** Index segments that the head has passed are deleted, the next one is fetched ahead. */
  released(commit: OpenCommit): void {
    const { head, skips } = this.state
    const passed = [...this.index.release(head.ordinal), ...this.index.releaseSkipped(skips)]
    for (const ref of passed)
      commit.add({ type: 'del', key: segmentKey(ref.commit, this.state.id) })
    this.prefetch(commit)
  }

  /**
   * Fetches the index segment of the ordinal, if it is not in memory, and then of the head and what
   * follows it.
   */
  prefetch(commit: SegmentSource, ordinal: number = this.state.head.ordinal): void {
    if (this.#loading) return
    const ref = this.index.missingAt(ordinal) ?? this.index.missingAt(ordinal + PREFETCH_BLOCKS)
    if (!ref) return
    this.#loading = this.loadSegment(commit, ordinal).then(
      () => {
        this.#loading = null
        this.ready()
        this.prefetch(commit)
      },
      () => {
        this.#loading = null
      },
    )
  }

  /** Loads the segment at the ordinal, or the next one ahead of it. */
  async loadSegment(commit: SegmentSource, ordinal: number): Promise<void> {
    const ref = this.index.missingAt(ordinal) ?? this.index.missingAt(ordinal + PREFETCH_BLOCKS)
    if (!ref) return
    const value = await commit.read(segmentKey(ref.commit, this.state.id))
    const metas = decodeSegment(value)
    if (metas?.length === ref.blocks) this.index.load(ref, metas)
    else await commit.reindex(this)
  }

  asideKey(n: number): Buffer {
    return parkedKey(this.state.id, n)
  }
}

function lastOf({ count, firstSeq, identity }: BlockMeta): {
  readonly identity: number
  readonly seq: number
} {
  return { identity, seq: firstSeq + count - 1 }
}
