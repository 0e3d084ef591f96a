/**
 * What the open commit holds: which streams changed, how many bytes wait, what is settled with it.
 * Closes all of that in one synchronous step, and does what the commit's outcome asks for: what is
 * durable becomes visible to the drain, what failed joins the next commit under new seqs.
 *
 * Owns the committer and the way back from a lost block to the state of its stream. Does not decide
 * when a commit comes (committer.ts, pace.ts) nor how it is encoded (closed-commit.ts).
 */
import type { TicketRange } from '../../ports/appender.ts'
import type { EmitSpoolEvent } from '../events.ts'
import { SPOOL_FORMAT } from '../format.ts'
import type { OpenedFolder } from '../opening/opened-folder.ts'
import { StoredBlocks } from '../queue/stored-blocks.ts'
import { retain } from '../retention/limits.ts'
import type { SpoolStats } from '../stats.ts'
import { stateKey } from '../store/keys.ts'
import type { Op, Store } from '../store/store.ts'
import type { LeaseKeeper } from '../stream/leases.ts'
import { type Identity, unskipped } from '../stream/state.ts'
import type { OpenCommit, SpoolStream } from '../stream/stream.ts'
import type { SpoolTime } from '../time/spool-time.ts'
import { SpoolCommit } from './closed-commit.ts'
import { type CommitSource, Committer } from './committer.ts'
import { Journals } from './journals.ts'
import { LARGE_COMMIT_BYTES, type PaceOptions } from './pace.ts'
import { StateChain } from './state-chain.ts'

/** No record's line is shorter. */
const MIN_RECORD_BYTES = 64

/** How the sentence about a broken rule begins. */
export const BROKEN_RULE = 'a mistake of this program, please report it: the state does not hold'

export class CommitContents implements CommitSource, OpenCommit {
  readonly streams: Map<string, SpoolStream>
  readonly committer: Committer
  readonly blocks: StoredBlocks
  readonly journals: Journals
  readonly chain: StateChain
  /** Under which new records are numbered. */
  identity: Identity
  /** Raw bytes that wait for the next commit. */
  openBytes = 0
  /** Raw bytes in the commit in flight. */
  inFlightBytes = 0
  /** Raw bytes of the blocks that the next commit settles. */
  #settledBytes = 0
  /** The commit in flight. */
  #closed: SpoolCommit | null = null
  readonly #folder: OpenedFolder
  readonly #leases: LeaseKeeper
  readonly #stats: SpoolStats
  readonly #time: SpoolTime
  /** Streams with something for the next commit. */
  readonly #changed = new Set<SpoolStream>()

  constructor(options: {
    streams: Map<string, SpoolStream>
    identity: Identity
    folder: OpenedFolder
    leases: LeaseKeeper
    stats: SpoolStats
    time: SpoolTime
    pace: PaceOptions
    emit: EmitSpoolEvent
  }) {
    const { folder, stats, pace, emit } = options
    this.streams = options.streams
    this.identity = options.identity
    this.#folder = folder
    this.#leases = options.leases
    this.#stats = stats
    this.#time = options.time
    this.chain = new StateChain(folder.recovered)
    this.journals = new Journals(folder.recovered?.journals ?? new Map())
    this.committer = new Committer({ source: this, store: folder.store, pace, emit, stats })
    this.blocks = new StoredBlocks(folder, this.chain, this)
  }

  get openStreams(): number {
    return this.#changed.size
  }

  /**
   * The batch behind a large one waits for its commit: as much a reason to begin as so many new
   * bytes. Behind a small one it waits for the interval: many streams that trickle share commits.
   */
  get worthBytes(): number {
    return this.openBytes + (this.#settledBytes >= LARGE_COMMIT_BYTES ? this.#settledBytes : 0)
  }

  /** Records were appended: kept as a plain number, because it is looked at with every message. */
  grew(bytes: number): void {
    this.openBytes += bytes
  }

  settled(rawBytes: number): void {
    this.#settledBytes += rawBytes
    this.committer.filled()
  }

  /** An exchange with the receiver waits for this commit and nothing else: it need not be long. */
  awaited(): void {
    this.settled(LARGE_COMMIT_BYTES)
  }

  add(op: Op): void {
    this.committer.add(op)
  }

  touch(stream: SpoolStream, lazy = false): number {
    this.#changed.add(stream)
    return this.committer.touch(lazy)
  }

  durable(stream: SpoolStream): Promise<void> {
    this.#changed.add(stream)
    return this.committer.durable()
  }

  read(key: Buffer): Promise<Buffer | undefined> {
    return this.blocks.read(key)
  }

  reindex(stream: SpoolStream): Promise<void> {
    return this.blocks.reindex(stream)
  }

  retainAll(): void {
    for (const stream of this.streams.values()) retain(stream, this)
  }

  /** The commit of the oldest block that is still needed. */
  oldestBlockCommit(): number {
    let oldest = this.chain.nextCommit
    for (const { state, index } of this.streams.values()) {
      const head = index.at(unskipped(state, state.head.ordinal))
      if (head) oldest = Math.min(oldest, head.commit)
    }
    return oldest
  }

  close(): SpoolCommit {
    for (const stream of this.#changed) retain(stream, this)
    const link = this.chain.next(this.oldestBlockCommit())
    const { commit, previous, checkpoint, firstState } = link
    const closing = checkpoint ? [...this.streams.values()] : [...this.#changed]
    const streams = closing.map((stream) => stream.close(this, commit, checkpoint))
    for (const { stream, brokenRules } of streams) this.tellBroken(stream, brokenRules)
    const journals = this.journals.close(checkpoint)
    const header = {
      version: 1,
      commit,
      previous,
      checkpoint,
      firstState,
      ...this.identity,
      format: SPOOL_FORMAT,
      placed: this.#folder.placed,
      spoolTime: this.#time.mark(),
    } as const
    this.#changed.clear()
    this.inFlightBytes = streams.reduce((n, { stream }) => n + stream.inFlightRawBytes, 0)
    this.openBytes = 0
    this.#settledBytes = 0
    this.#closed = new SpoolCommit(link, header, streams, journals)
    return this.#closed
  }

  /** Told once each, as damage; see stream/invariants.ts. */
  tellBroken(stream: SpoolStream, rules: readonly string[]): void {
    for (const rule of rules)
      this.#folder.note(`${BROKEN_RULE} of stream ${stream.name}: ${rule}`, null)
  }

  committed(tickets: TicketRange): void {
    const closed = this.#closed
    if (!closed) return
    this.#closed = null
    this.inFlightBytes = 0
    this.journals.committed()
    this.chain.stored(closed.link, closed.stateBytes, closed.blockBytes)
    this.#stats.storedBytes += closed.blockBytes
    for (const part of closed.streams) part.stream.committed(part, closed.metasOf(part), tickets)
    // Who hears of one stream looks at all of them: each has its records of the commit by then (I1).
    for (const { stream, passed } of closed.streams) stream.passage?.advanced(passed)
  }

  async uncommitted(): Promise<number> {
    const closed = this.#closed
    await this.#leases.raise((closed?.records ?? 0) + Math.ceil(this.openBytes / MIN_RECORD_BYTES))
    let records = 0
    for (const stream of this.streams.values()) {
      records += stream.uncommitted(closed?.streams.find((part) => part.stream === stream) ?? null)
      this.#changed.add(stream)
      this.openBytes += stream.open.rawBytes
    }
    this.#closed = null
    this.inFlightBytes = 0
    return records
  }

  async reopen(
    number: number,
    error: unknown,
  ): Promise<{ readonly store: Store; readonly stored: boolean }> {
    const store = await this.#folder.reopen(this.committer.store, error)
    // After a repair the chain may have lost a link.
    this.chain.checkpointNext()
    return { store, stored: (await store.get(stateKey(number))) !== undefined }
  }
}
