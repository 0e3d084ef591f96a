/**
 * What a commit is made of: closes all streams and journals in one synchronous step, encodes blocks
 * and the state record, and answers for a commit that failed. Owns commit numbers and the chain of
 * state records.
 */
import type { Journal } from '../../ports/appender.ts'
import { type BlockName, blockNameKey, decodeBlockHeader, encodeBlock } from '../codec/block.ts'
import { SPOOL_FORMAT } from '../format.ts'
import { lostValues, streamBlocks } from '../opening/found-blocks.ts'
import { LeftAsideError, type PutBack } from '../opening/left-aside.ts'
import type { OpenedFolder } from '../opening/opened-folder.ts'
import { nameOf } from '../opening/rebuild.ts'
import type { BlockReader } from '../queue/block-reader.ts'
import type { SpoolStats } from '../stats.ts'
import { blockKey, MAX_BLOCK_INDEX, stateKey } from '../store/keys.ts'
import type { Op, Store } from '../store/store.ts'
import { type BlockMeta, packMeta } from '../stream/block-index.ts'
import type { LeaseKeeper } from '../stream/leases.ts'
import { selectPending } from '../stream/reindex.ts'
import { type Identity, unskipped } from '../stream/state.ts'
import { encodeState } from '../stream/state-record.ts'
import type { ClosedStream, OpenCommit, SpoolStream } from '../stream/stream.ts'
import type { SpoolTime } from '../time/spool-time.ts'
import type { ClosedCommit, CommitSource, Committer } from './committer.ts'
import { MAX_WAITING_BYTES } from './pace.ts'

/**
 * A checkpoint comes after so many state records, or when their bytes pass its own size and this.
 */
const CHECKPOINT_COMMITS = 1_000
const CHECKPOINT_BYTES = 64 * 1024
/** State records that one commit deletes at the most. */
const MAX_OBSOLETE_STATES = 64
/**
 * Of the blocks' bytes: above, the state records between two checkpoints do not wait for the
 * backlog to be drained.
 */
const MAX_STATE_SHARE = 0.25
/** Bytes of blocks that are put back in one write. */
const PUT_BACK_BYTES = 4 * 1024 * 1024
/** No record's line is shorter. */
const MIN_RECORD_BYTES = 64

export class SpoolSource implements CommitSource, OpenCommit, BlockReader {
  readonly streams: ReadonlyMap<string, SpoolStream>
  readonly journals = new Map<string, Journal>()
  identity: Identity
  leases: LeaseKeeper | null = null
  /** Raw bytes that wait for the next commit. */
  openBytes = 0
  /** Raw bytes of the blocks that the next commit settles. */
  #settledBytes = 0
  /** Raw bytes in the commit in flight. */
  inFlightBytes = 0
  /** Streams of the commit in flight. */
  #closing: readonly ClosedStream[] = []
  readonly #folder: OpenedFolder
  readonly #stats: SpoolStats
  readonly #time: SpoolTime
  readonly #dirty = new Set<SpoolStream>()
  #committer: Committer | null = null
  #nextCommit: number
  #previousState: number
  /** State records since the last checkpoint, that one included. */
  #chainCommits: number
  #chainBytes = 0
  /** Stored bytes of the blocks that came with them. */
  #chainBlockBytes = 0
  #checkpointCommit: number
  /** State records in the midst of a backlog that are to go all the same: [from, to). */
  #misplaced: readonly [from: number, to: number] = [0, 0]
  /** No state record below this one is left in the store. */
  #firstState: number
  #checkpointBytes = 0
  #checkpointDue = true
  /** Changes of journals that a failed commit carried: they ride again. */
  #unsavedJournals: Array<readonly [name: string, bytes: Uint8Array]> = []
  readonly #reindexing = new Map<SpoolStream, Promise<void>>()
  /**
   * Blocks that were found in damaged files go under the highest indices of a commit: no commit has
   * so many.
   */
  #lostIndex = MAX_BLOCK_INDEX

  constructor(options: {
    streams: ReadonlyMap<string, SpoolStream>
    identity: Identity
    folder: OpenedFolder
    stats: SpoolStats
    time: SpoolTime
  }) {
    this.streams = options.streams
    this.identity = options.identity
    this.#folder = options.folder
    this.#stats = options.stats
    this.#time = options.time
    const { recovered } = options.folder
    this.#nextCommit = (recovered?.lastCommit ?? 0) + 1
    this.#previousState = recovered?.stateCommit ?? 0
    this.#chainCommits = recovered?.chainCommits ?? 0
    this.#checkpointCommit = recovered?.checkpointCommit ?? 0
    this.#firstState = recovered?.firstState ?? this.#nextCommit
  }

  join(committer: Committer): void {
    this.#committer = committer
  }

  get #writer(): Committer {
    if (!this.#committer) throw new Error('the spool has no committer yet')
    return this.#committer
  }

  get openStreams(): number {
    return this.#dirty.size
  }

  /**
   * The batch behind a large one waits for its commit: as much a reason to begin as so many new
   * bytes.
   */
  get worthBytes(): number {
    return this.openBytes + (this.#settledBytes >= MAX_WAITING_BYTES ? this.#settledBytes : 0)
  }

  /** Records were appended: kept as a plain number, because it is looked at with every message. */
  grew(bytes: number): void {
    this.openBytes += bytes
  }

  settled(rawBytes: number): void {
    this.#settledBytes += rawBytes
    this.#writer.filled()
  }

  add(op: Op): void {
    this.#writer.add(op)
  }

  touch(stream: SpoolStream, lazy = false): number {
    this.#dirty.add(stream)
    return this.#writer.touch(lazy)
  }

  durable(stream: SpoolStream): Promise<void> {
    this.#dirty.add(stream)
    return this.#writer.durable()
  }

  /** undefined: missing, or damaged. */
  read(key: Buffer): Promise<Buffer | undefined> {
    return this.#folder.reads.get(this.#committer?.store ?? this.#folder.store, key)
  }

  readMany(keys: readonly Buffer[]): Promise<Array<Buffer | undefined>> {
    return this.#folder.reads.getMany(this.#writer.store, keys)
  }

  lost(stream: SpoolStream, ordinal: number, meta: BlockMeta): void {
    // Between finding and telling the index may have been made anew, without it.
    if (stream.index.at(ordinal) === meta) stream.lostBlock(ordinal, meta, this)
  }

  note(what: string): void {
    this.#folder.note(what, null)
  }

  salvage(name: BlockName): Promise<Buffer | null> {
    return this.#folder.salvage(name)
  }

  salvageLine(name: BlockName): Promise<Buffer | null> {
    return this.#folder.salvageLine(name)
  }

  reindex(stream: SpoolStream): Promise<void> {
    const running = this.#reindexing.get(stream) ?? this.#reindex(stream)
    this.#reindexing.set(stream, running)
    return running.finally(() => this.#reindexing.delete(stream))
  }

  async #reindex(stream: SpoolStream): Promise<void> {
    const { state } = stream
    const why = `a segment of the index of stream ${stream.name} is damaged: the index was made anew from the blocks`
    const scans = await this.#folder.rawScans(why)
    this.#folder.note(why, null)
    // What is committed from here on stays in the index's tail.
    const through = this.#previousState
    const { nextSeq } = stream.view
    const { store } = this.#writer
    const blocks = await streamBlocks(store, state, { commit: through, nextSeq }, scans)
    const values = await lostValues(selectPending(state, blocks).pending, scans)
    // From here on synchronous: state, index and counters are of one instant.
    const metas: BlockMeta[] = []
    for (const block of selectPending(state, blocks).pending) {
      const { key, meta, identity } = block
      const value = key ? null : values.get(blockNameKey(nameOf(block)))
      if (value === undefined) continue
      const at = value === null ? meta : { commit: through, index: this.#lostIndex-- }
      if (value) this.add({ type: 'put', key: blockKey(at.commit, state.id, at.index), value })
      metas.push({ ...meta, commit: at.commit, index: at.index, identity })
    }
    const tail = stream.index.tail.filter(({ commit }) => commit > through)
    const before = stream.blockRecords
    stream.replaceIndex([...metas, ...tail])
    const lost = before - stream.blockRecords
    if (lost > 0) state.counters.dropped.corrupt += lost
    this.checkpointNext()
    this.touch(stream)
  }

  checkpointNext(): void {
    this.#checkpointDue = true
  }

  /** Blocks of records that were left aside, behind all that the stream has. See left-aside.ts. */
  async storeBack(stream: SpoolStream, blocks: AsyncIterable<PutBack>): Promise<() => number> {
    const commit = this.#previousState
    const found: Array<{
      readonly identity: Identity
      readonly meta: Omit<BlockMeta, 'identity'>
    }> = []
    let ops: Op[] = []
    let bytes = 0
    for await (const { identity, value } of blocks) {
      const index = this.#lostIndex--
      if (index < MAX_BLOCK_INDEX / 2)
        throw new LeftAsideError('it holds too many blocks to be put back at once')
      ops.push({ type: 'put', key: blockKey(commit, stream.state.id, index), value })
      bytes += value.length
      const {
        firstSeq,
        recordCount: count,
        rawBytes,
        oldestReceivedAtMs: oldestMs,
        spoolTimeMs,
      } = decodeBlockHeader(value)
      const storedBytes = value.length
      found.push({
        identity,
        meta: { commit, index, firstSeq, count, rawBytes, storedBytes, oldestMs, spoolTimeMs },
      })
      if (bytes < PUT_BACK_BYTES) continue
      await this.#writer.store.write(ops)
      ops = []
      bytes = 0
    }
    if (ops.length > 0) await this.#writer.store.write(ops)
    return () => {
      let records = 0
      for (const { identity, meta } of found) {
        if (stream.state.identities.at(-1)?.spoolId !== identity.spoolId)
          stream.startIdentity(identity)
        stream.index.push({ ...meta, identity: stream.identity })
        records += meta.count
      }
      stream.state.counters.received += records
      stream.recount()
      this.touch(stream)
      return records
    }
  }

  retainAll(): void {
    for (const stream of this.streams.values()) stream.retain(this)
  }

  /** The commit of the oldest block that is still needed. */
  #lowestBlockCommit(): number {
    let lowest = this.#nextCommit
    for (const { state, index } of this.streams.values()) {
      const head = index.at(unskipped(state, state.head.ordinal))
      if (head) lowest = Math.min(lowest, head.commit)
    }
    return lowest
  }

  /** Everything in the commit space below the lowest block that is still needed. */
  settledRange(): { readonly start: Buffer; readonly end: Buffer } {
    return { start: stateKey(0), end: stateKey(this.#lowestBlockCommit()) }
  }

  /**
   * State records that a checkpoint replaced, a few per commit. Those among the blocks of a backlog
   * stay until it is drained: deleting them there makes every flushed table overlap with old ones,
   * and LevelDB merge them all. But where commits are so small that these records take a good part
   * of the disk, that is worth it.
   */
  #obsoleteStates(): { readonly firstState: number; readonly obsolete: readonly number[] } {
    const end = Math.min(this.#checkpointCommit, this.#lowestBlockCommit())
    const settled = Math.max(0, Math.min(MAX_OBSOLETE_STATES, end - this.#firstState))
    const firstState = this.#firstState + settled
    const obsolete = Array.from({ length: settled }, (_, i) => this.#firstState + i)
    const [from, to] = [Math.max(this.#misplaced[0], firstState), this.#misplaced[1]]
    const misplaced = Math.max(0, Math.min(MAX_OBSOLETE_STATES - settled, to - from))
    obsolete.push(...Array.from({ length: misplaced }, (_, i) => from + i))
    // Where the commit fails they stay until the backlog is drained.
    this.#misplaced = [from + misplaced, to]
    return { firstState, obsolete }
  }

  close(): ClosedCommit {
    const number = this.#nextCommit++
    const due = this.#checkpointDue || this.#chainCommits >= CHECKPOINT_COMMITS
    const checkpoint = due || this.#chainBytes > this.#checkpointBytes + CHECKPOINT_BYTES
    for (const stream of this.#dirty) stream.retain(this)
    const closing = checkpoint ? [...this.streams.values()] : [...this.#dirty]
    const closed = closing.map((stream) => stream.close(this, number, checkpoint))
    this.#dirty.clear()
    this.#closing = closed
    this.inFlightBytes = closed.reduce((n, { stream }) => n + stream.inFlightRawBytes, 0)
    this.openBytes = 0
    this.#settledBytes = 0
    const journals = this.#closeJournals(checkpoint)
    const { firstState, obsolete } = this.#obsoleteStates()
    const record = {
      version: 1,
      commit: number,
      previous: this.#previousState,
      checkpoint,
      firstState,
      ...this.identity,
      format: SPOOL_FORMAT,
      placed: this.#folder.placed,
      spoolTime: this.#time.mark(),
    }
    const metas = new Map<ClosedStream, BlockMeta[]>()
    let records = 0
    let rawBytes = 0
    for (const { blocks } of closed) {
      for (const block of blocks) {
        records += block.count
        rawBytes += block.raw.length
      }
    }
    let stateBytes = 0
    return {
      number,
      records,
      rawBytes,
      encode: async (sparing) => {
        const ops: Op[] = []
        for (const part of closed) metas.set(part, await this.#encodeBlocks(number, part, ops))
        const entries = closed.map((part) => {
          return `{${part.entry},"added":${JSON.stringify((metas.get(part) ?? []).map(packMeta))}}`
        })
        const json = `${JSON.stringify(record).slice(0, -1)},"streams":[${entries.join(',')}]}`
        const value = encodeState(json, journals, sparing)
        stateBytes = value.length
        for (const old of obsolete) ops.push({ type: 'del', key: stateKey(old) })
        ops.push({ type: 'put', key: stateKey(number), value })
        return ops
      },
      committed: () => {
        this.#unsavedJournals = []
        this.#previousState = number
        this.#firstState = firstState
        if (checkpoint) {
          const isMisplaced = this.#chainBytes > this.#chainBlockBytes * MAX_STATE_SHARE
          if (isMisplaced) this.#misplaced = [this.#checkpointCommit, number]
          this.#checkpointCommit = number
          this.#chainCommits = 1
          this.#chainBytes = 0
          this.#chainBlockBytes = 0
          this.#checkpointBytes = stateBytes
          this.#checkpointDue = false
        } else {
          this.#chainCommits++
          this.#chainBytes += stateBytes
        }
        this.#closing = []
        this.inFlightBytes = 0
        for (const part of closed) {
          const added = metas.get(part) ?? []
          const storedBytes = added.reduce((n, m) => n + m.storedBytes, 0)
          this.#stats.storedBytes += storedBytes
          this.#chainBlockBytes += storedBytes
          part.stream.committed(part, added)
        }
      },
    }
  }

  /** Changes that a failed commit carried come before newer ones, as one list of changes each. */
  #closeJournals(checkpoint: boolean): ReadonlyArray<readonly [name: string, bytes: Uint8Array]> {
    const parts: Array<readonly [string, Uint8Array]> = []
    for (const journal of this.journals.values()) {
      const changes = journal.collect()
      if (changes) this.#unsavedJournals.push([journal.name, changes])
      if (checkpoint) parts.push([journal.name, journal.checkpoint()])
    }
    if (!checkpoint) return [...this.#unsavedJournals]
    // What nobody has joined (yet) must outlive the checkpoint: the broker joins after the first
    // commit.
    for (const [name, { checkpoint: whole, changes }] of this.#folder.recovered?.journals ?? []) {
      if (this.journals.has(name)) continue
      parts.push(
        [name, whole ?? Buffer.alloc(0)],
        ...changes.map((bytes) => [name, bytes] as const),
      )
    }
    return parts
  }

  async #encodeBlocks(
    commit: number,
    { stream, blocks }: ClosedStream,
    ops: Op[],
  ): Promise<BlockMeta[]> {
    const metas: BlockMeta[] = []
    for (const [index, block] of blocks.entries()) {
      const body = await block.body
      const value = encodeBlock(
        {
          spoolId: stream.state.identities[block.identity]?.spoolId ?? '',
          streamId: stream.state.id,
          firstSeq: block.firstSeq,
          recordCount: block.count,
          codec: body === block.raw ? 'none' : 'deflate',
          rawBytes: block.raw.length,
          crc32: block.crc32,
          oldestReceivedAtMs: block.oldestMs,
          spoolTimeMs: block.spoolTimeMs,
        },
        body,
      )
      ops.push({ type: 'put', key: blockKey(commit, stream.state.id, index), value })
      const { identity, firstSeq, count, oldestMs, spoolTimeMs } = block
      const rawBytes = block.raw.length
      metas.push({
        commit,
        index,
        identity,
        firstSeq,
        count,
        rawBytes,
        storedBytes: value.length,
        oldestMs,
        spoolTimeMs,
      })
    }
    return metas
  }

  async uncommitted(closed: ClosedCommit): Promise<number> {
    await this.leases?.raise(closed.records + this.#openRecords())
    let records = 0
    for (const stream of this.streams.values()) {
      const part = this.#closing.find((c) => c.stream === stream) ?? null
      records += stream.uncommitted(part)
      this.#dirty.add(stream)
      this.openBytes += stream.open.rawBytes
    }
    this.#closing = []
    this.inFlightBytes = 0
    return records
  }

  #openRecords(): number {
    return Math.ceil(this.openBytes / MIN_RECORD_BYTES)
  }

  async reopen(
    number: number,
    error: unknown,
  ): Promise<{ readonly store: Store; readonly stored: boolean }> {
    const store = await this.#folder.reopen(this.#writer.store, error)
    // After a repair the chain may have lost a link.
    this.checkpointNext()
    return { store, stored: (await store.get(stateKey(number))) !== undefined }
  }
}
