/**
 * The spool: durable store-and-forward queues in one LevelDB.
 *
 * Constraints. Nothing is acknowledged before it is fsynced (I1). Spool order is arrival order per
 * stream (I2). An acknowledged record is delivered or its absence is reported (I5, I7, I9). Memory
 * does not grow with the backlog (I6).
 *
 * Write path. Messages are appended to the open block of each matching stream; seqs are taken
 * there. A full block is deflated off the main thread while the commit before is synced. A commit
 * is ONE atomic `sync: true` batch: new blocks, the state record (streams that changed, journals
 * such as the broker's QoS 2 ids), settles, retention, counters. One is in flight at a time;
 * committer.ts owns it, and with it the only line where an ack becomes legal.
 *
 * Layout (store/keys.ts). Blocks, index segments and state records lead with the commit number, so
 * that flushed tables do not overlap. The state is the chain of records since the last checkpoint;
 * nothing lies under a key that is rewritten. Where a stream's blocks lie is its index
 * (stream/block-index.ts): ends in memory, the rest sealed.
 *
 * Read path. The drain pins a batch, durably, before its first send; the same pin gives the same
 * bytes. Retention leaves a pin alone whose batch may have been sent, and takes back one that never
 * left (stream/retention.ts). Whole deflated blocks are stitched into one gzip member without
 * inflating them. A settle moves the head and deletes passed blocks.
 *
 * Recovery. Tables and logs are hard-linked aside before an unclean opening; no CURRENT means
 * repair, not open. State is read from the chain; a broken chain is rebuilt from the blocks.
 * Numbering begins at the lease's end: numbers that are not known to hold a record are a gap. What
 * is missing or damaged is looked for in the files kept aside, else it is counted as corrupt,
 * reported as a gap, and the rest goes on.
 *
 * A rejected write ends the handle: close, reopen, and what was not stored is appended again under
 * new seqs.
 *
 * A folder that is not where it was written (files/place.ts) goes on under a fresh spool id by
 * itself.
 *
 * Not promised: order between devices, survival of disks that lie about fsync, a rollback below the
 * file system without a new spool id.
 */
import type { RecordPage } from '../ports/operator.ts'
import type { NoteStore } from '../ports/stream-queue.ts'
import { MAX_OPEN_BYTES, SpoolAppender } from './appender.ts'
import { Deflater } from './codec/block.ts'
import { Committer } from './commit/committer.ts'
import { openNotes } from './commit/notes.ts'
import { SpoolSource } from './commit/spool-source.ts'
import { type Condition, ConditionWatch } from './condition.ts'
import type { SinkBatchLimits, SpoolConfig, StreamConfig } from './config.ts'
import { folderError } from './disk/folder-errors.ts'
import { DiskGuard } from './disk/guard.ts'
import type { TakeOwnership } from './disk/owner.ts'
import type { EmitSpoolEvent } from './events.ts'
import { SPOOL_FORMAT } from './format.ts'
import { openFolder } from './opening/folder-opening.ts'
import { applyLease, chooseIdentity, mintSpoolId, type WantedIdentity } from './opening/identity.ts'
import { type LeftAside, listLeftAside, restoreLeftAside } from './opening/left-aside.ts'
import type { OpenedFolder } from './opening/opened-folder.ts'
import { balance } from './opening/rebuild.ts'
import type { RecoveredState } from './opening/recovery.ts'
import { backupBytes } from './operations/backup.ts'
import { DeadLetters } from './operations/dead-letters.ts'
import { Orphans } from './operations/orphans.ts'
import { pendingRecords } from './operations/pending-records.ts'
import { Verifier } from './operations/verifier.ts'
import { SpoolQueue } from './queue/queue.ts'
import { createSpoolStats, type SpoolStats } from './stats.ts'
import { type OpenStore, openStore } from './store/store.ts'
import { BlockIndex } from './stream/block-index.ts'
import { pendingByCounters } from './stream/counters.ts'
import { LeaseKeeper } from './stream/leases.ts'
import { BLOCK_TARGET_BYTES, type BlockLimits } from './stream/open-blocks.ts'
import { renumberPending } from './stream/renumbering.ts'
import { PINNED_SHARE } from './stream/retention.ts'
import { type Identity, newStreamState } from './stream/state.ts'
import { SpoolStream } from './stream/stream.ts'
import { type BootClock, bootClock, MARK_INTERVAL_MS, SpoolTime } from './time/spool-time.ts'

/**
 * Deflate level of new blocks: 1 gives 0.25 on real readings, 6 gives 0.20 for three times the
 * time.
 */
const DEFLATE_LEVEL = 1
/** Blocks deflated side by side; the pool also serves fsync. */
const DEFLATE_CONCURRENCY = 2
/**
 * Settled bytes after which their space is given back to the file system, and the share of live
 * bytes likewise.
 */
const COMPACT_MIN_BYTES = 64 * 1024 * 1024
const COMPACT_SHARE = 0.25
const TIDY_INTERVAL_MS = 1_000

export interface SpoolOptions extends WantedIdentity {
  readonly dataDir: string
  readonly streams: Readonly<Record<string, StreamConfig>>
  /** By name: blocks are cut so that a batch of the sink holds whole ones. */
  readonly sinks: Readonly<Record<string, SinkBatchLimits>>
  readonly config: SpoolConfig
  /** Raw bytes that may wait for their commit. @default MAX_OPEN_BYTES */
  readonly maxOpenBytes?: number
  readonly openStore?: OpenStore
  /** See unreadable.ts: only after the disk has failed to read for long. */
  readonly besideUnreadable?: boolean
  /** For tests that end a gateway without ending their process, which would hold the lock. */
  readonly takeOwnership?: TakeOwnership
  /** Room kept for a full disk; tests that open many spools want less. */
  readonly ballastBytes?: number
  /**
   * How far seqs are leased ahead; what a kill leaves of it becomes a gap. Tests that look at every
   * seq want less.
   */
  readonly leaseAhead?: number
  /** Wall clock, ms since the epoch: for what people read. */
  readonly nowMs?: () => number
  /** What ages are measured by. */
  readonly clock?: BootClock
}

export class Spool {
  readonly appender: SpoolAppender
  readonly queues: readonly SpoolQueue[]
  readonly notes: NoteStore
  readonly deadLetters: DeadLetters
  readonly orphans: Orphans
  readonly stats: SpoolStats
  readonly gateway: string
  readonly committer: Committer
  readonly disk: DiskGuard
  readonly verifier: Verifier
  readonly #source: SpoolSource
  readonly #folder: OpenedFolder
  readonly #leases: LeaseKeeper
  readonly #deflater: Deflater
  readonly #mintId: () => string
  readonly #time: SpoolTime
  readonly #condition: ConditionWatch
  readonly #timer: NodeJS.Timeout
  #spoolId: string
  #compacting = false
  #stopping = false

  /**
   * Opens whatever is in the folder (I7). Rejects with a typed error if the folder cannot be used
   * (not writable, owned, no locks); with the disk's own error if it cannot be used now. Then every
   * byte is where it was.
   */
  static async open(options: SpoolOptions): Promise<Spool> {
    try {
      return await Spool.#open(options)
    } catch (error) {
      throw folderError(options.dataDir, error)
    }
  }

  static async #open(options: SpoolOptions): Promise<Spool> {
    const began = performance.now()
    const nowMs = options.nowMs ?? Date.now
    const folder = await openFolder({
      dataDir: options.dataDir,
      openStore: options.openStore ?? openStore,
      emit: options.emit,
      nowMs,
      ballastBytes: options.ballastBytes,
      takeOwnership: options.takeOwnership,
      besideUnreadable: options.besideUnreadable,
    })
    const deflater = new Deflater({ level: DEFLATE_LEVEL, concurrency: DEFLATE_CONCURRENCY })
    try {
      return await Spool.#openOn(folder, deflater, options, began)
    } catch (error) {
      // Or the next try of this process would meet itself as the owner.
      deflater.close()
      await folder.lease.close().catch(() => undefined)
      await folder.close(folder.store, false).catch(() => undefined)
      throw error
    }
  }

  static async #openOn(
    folder: OpenedFolder,
    deflater: Deflater,
    options: SpoolOptions,
    began: number,
  ): Promise<Spool> {
    const nowMs = options.nowMs ?? Date.now
    const { recovered } = folder
    const stats = createSpoolStats()
    const identity = chooseIdentity(options, folder)
    const time = new SpoolTime(
      options.clock ?? bootClock(),
      recovered?.spoolTime ?? null,
      newestMs(recovered),
    )
    const streams = makeStreams(options, recovered, identity, deflater, time)
    const source = new SpoolSource({ streams, identity, folder, stats, time })
    const committer = new Committer({
      source,
      store: folder.store,
      pace: {
        commitIntervalMs: options.config.commitInterval,
        commitBurst: options.config.commitBurst,
      },
      emit: options.emit,
      stats,
    })
    source.join(committer)
    for (const op of folder.garbage) committer.add(op)
    const leases = new LeaseKeeper(folder.lease, () => streams.values(), options.leaseAhead)
    source.leases = leases
    applyLease(
      streams.values(),
      leases,
      folder.leaseEnds,
      recovered !== null,
      folder.damage.length > 0,
    )
    await leases.raise(1)
    for (const stream of streams.values()) await prepare(stream, source, options.emit)
    const notes = await openNotes(committer)
    const spool = new Spool(options, {
      folder,
      source,
      committer,
      leases,
      deflater,
      identity,
      stats,
      notes,
      nowMs,
      time,
    })
    try {
      for (const queue of spool.queues) await queue.loadParked()
      await spool.disk.look()
    } catch (error) {
      spool.#endTimers()
      throw error
    }
    if (!folder.clean) await spool.deadLetters.reconcile()
    source.checkpointNext()
    // The first time before the commit, so that it says that there is one.
    if (!folder.placed && folder.place.moved === null) await folder.settleIn()
    await committer.durable()
    await folder.settleIn()
    const pendingRecords = [...streams.values()].reduce(
      (n, s) => n + s.pendingRecords + s.state.parked.length,
      0,
    )
    options.emit({
      type: 'spool.opened',
      spoolId: identity.spoolId,
      clean: folder.clean,
      pendingRecords,
      durationMs: Math.round(performance.now() - began),
    })
    spool.verifier.start()
    return spool
  }

  private constructor(
    options: SpoolOptions,
    parts: {
      folder: OpenedFolder
      source: SpoolSource
      committer: Committer
      leases: LeaseKeeper
      deflater: Deflater
      identity: Identity
      stats: SpoolStats
      notes: NoteStore
      nowMs: () => number
      time: SpoolTime
    },
  ) {
    const { folder, source, committer, leases, identity, nowMs, time } = parts
    this.#time = time
    this.#folder = folder
    this.#source = source
    this.#leases = leases
    this.#deflater = parts.deflater
    this.#mintId = options.mintId ?? mintSpoolId
    this.#spoolId = identity.spoolId
    this.gateway = identity.gateway
    this.committer = committer
    this.stats = parts.stats
    this.notes = parts.notes
    this.disk = new DiskGuard({
      folder: options.dataDir,
      minFreeBytes: options.config.minFreeBytes,
      emit: options.emit,
      onSpace: () => this.appender.space(),
    })
    const { disk } = this
    this.#condition = new ConditionWatch(committer, disk, nowMs)
    this.appender = new SpoolAppender(
      {
        committer,
        leases,
        openCommit: source,
        journals: source.journals,
        recoveredJournals: folder.recovered?.journals ?? new Map(),
        accepting: () => !this.#stopping && !committer.failing && !disk.low,
        openBytes: () => source.openBytes + source.inFlightBytes,
        maxOpenBytes: options.maxOpenBytes ?? MAX_OPEN_BYTES,
        damaged: (what) => folder.note(what, null),
      },
      [...source.streams.values()].filter((stream) => stream.config !== null),
    )
    leases.onRaised(() => this.appender.space())
    folder.disk = this.disk
    folder.guard()
    this.queues = [...source.streams.values()].map(
      (stream) => new SpoolQueue(stream, source, source, nowMs),
    )
    this.orphans = new Orphans(this.queues, parts.notes, Object.keys(options.sinks))
    this.deadLetters = new DeadLetters({
      streams: source.streams,
      store: () => committer.store,
      commit: source,
      emit: options.emit,
      nowMs,
      time,
      reserveSeqs: (records) => leases.raise(records),
    })
    this.verifier = new Verifier({
      streams: source.streams,
      reader: source,
      folder,
      emit: options.emit,
    })
    committer.onDurable(() => this.appender.space())
    this.#timer = setInterval(() => this.#tidy(), TIDY_INTERVAL_MS)
    this.#timer.unref()
  }

  get spoolId(): string {
    return this.#spoolId
  }

  /** What is pending in a stream, for an export; null: there is no such stream. */
  async records(name: string, after: string | null): Promise<RecordPage | null> {
    const stream = this.streams.get(name)
    return stream ? await pendingRecords(stream, this.#source, after) : null
  }

  get streams(): ReadonlyMap<string, SpoolStream> {
    return this.#source.streams
  }

  /** A data folder that was restored or copied is noticed at its start here. */
  get noticesRestore(): boolean {
    return this.#folder.place.isTelling
  }

  /** Sentences about what was damaged, and where its files are kept. */
  get damage(): readonly string[] {
    return this.#folder.damage
  }

  get condition(): Condition {
    return this.#condition.current
  }

  /** New records start under a fresh spool id; older ones drain first under theirs. */
  async newId(why: string): Promise<string> {
    const spoolId = this.#mintId()
    for (const stream of this.streams.values())
      stream.startIdentity({ spoolId, gateway: this.gateway })
    this.#source.identity = { spoolId, gateway: this.gateway }
    this.#spoolId = spoolId
    await this.#leases.raise(1)
    this.#source.checkpointNext()
    await this.committer.durable()
    this.#folder.emit({ type: 'spool.identity-changed', spoolId, why })
    return spoolId
  }

  /** Stores that were left aside in this folder. */
  leftAside(): Promise<LeftAside[]> {
    return listLeftAside(this.#folder.dataDir)
  }

  /**
   * Their pending records wait behind those that wait now, under their own ids; new ones get a
   * fresh id. Nothing may be appended meanwhile.
   */
  restoreLeftAside(name: string): Promise<number> {
    const streams = [...this.streams.values()]
    return restoreLeftAside(this.#folder.dataDir, name, {
      spoolIds: new Set(
        streams.flatMap(({ state }) => state.identities.map(({ spoolId }) => spoolId)),
      ),
      streams: new Map(streams.map(({ name, state }) => [name, state.id])),
      spoolTimeMs: this.#time.nowMs(),
      store: (stream, blocks) =>
        this.#source.storeBack(this.streams.get(stream) as SpoolStream, blocks),
      commit: async () => {
        await this.newId('records that had been left aside were put back')
      },
    })
  }

  /** The bytes of a backup, see backup.ts. Damaged values are left out, as everywhere. */
  backup(): AsyncIterable<Buffer> {
    const streams = [...this.streams.values()].map(({ name, view }) => {
      return { name, received: view.counters.received, pending: pendingByCounters(view.counters) }
    })
    const head = { format: SPOOL_FORMAT, gateway: this.gateway, spoolId: this.#spoolId, streams }
    return backupBytes(this.committer.store, { ...head, at: new Date().toISOString() })
  }

  /**
   * What waits in the stream under earlier ids goes on as new records under the newest; returns how
   * many they are.
   */
  async renumber(name: string): Promise<number> {
    const stream = this.streams.get(name)
    if (!stream) return 0
    const raise = (records: number): Promise<void> => this.#leases.raise(records)
    return await renumberPending(stream, this.#source, this.#source, raise)
  }

  #tidy(): void {
    this.#condition.note()
    if (this.#stopping || this.committer.failing) return
    this.#source.retainAll()
    if (this.#time.unmarkedMs >= MARK_INTERVAL_MS) this.#markAges()
    this.deadLetters.tidy().catch(() => undefined)
    this.#compact().catch(() => undefined)
  }

  /** Only where something ages: an idle gateway must not wear out its flash. */
  #markAges(): void {
    for (const { config, pendingRecords, state } of this.streams.values()) {
      const { ingest, refused } = state.deadLetters
      const areRecordsAging = pendingRecords > 0 && (config?.maxAge ?? null) !== null
      const areLettersAging =
        ingest.count + refused.count > 0 && (config?.deadLetters.maxAge ?? null) !== null
      if (areRecordsAging || areLettersAging) this.committer.touch()
    }
  }

  /**
   * Deleting gives no space back by itself: LevelDB keeps settled blocks until their tables are
   * compacted.
   */
  async #compact(): Promise<void> {
    if (this.#compacting) return
    const streams = [...this.streams.values()]
    const deleted = streams.reduce((n, s) => n + s.deletedBytes, 0)
    const live = streams.reduce((n, s) => n + s.storedBytes, 0)
    if (deleted < Math.max(COMPACT_MIN_BYTES, live * COMPACT_SHARE)) return
    this.#compacting = true
    for (const stream of streams) stream.deletedBytes = 0
    try {
      const { start, end } = this.#source.settledRange()
      await this.committer.store.compact(start, end)
    } finally {
      this.#compacting = false
    }
  }

  #endTimers(): void {
    this.#stopping = true
    this.#condition.stop()
    clearInterval(this.#timer)
    this.disk.stop()
  }

  /**
   * Commits what was taken, lowers the lease and marks the folder clean. Nothing may be appended
   * after.
   */
  async stop(): Promise<void> {
    this.#endTimers()
    await this.verifier.stop()
    this.#markAges()
    await this.committer.stop()
    await this.#leases.lower()
    this.#deflater.close()
    await this.#folder.close(this.committer.store, this.verifier.result !== null)
  }
}

/** Spool time of the newest block that is there. */
function newestMs(recovered: RecoveredState | null): number {
  let newest = 0
  for (const { index } of recovered?.streams.values() ?? []) {
    for (const { spoolTimeMs } of index.tail) newest = Math.max(newest, spoolTimeMs)
  }
  return newest
}

function blockLimits(config: StreamConfig | null, sinks: SpoolOptions['sinks']): BlockLimits {
  const sink = config ? sinks[config.sink] : undefined
  const maxBatchBytes = Math.min(
    sink?.maxBatchBytes ?? Number.POSITIVE_INFINITY,
    config?.whenFull === 'drop-oldest' ? config.maxBytes * PINNED_SHARE : Number.POSITIVE_INFINITY,
  )
  return {
    maxRecords: sink ? Math.max(1, Math.floor(sink.maxBatchRecords / 2)) : 5_000,
    maxRawBytes: Math.min(BLOCK_TARGET_BYTES, Math.floor(maxBatchBytes / 2)),
  }
}

function makeStreams(
  options: SpoolOptions,
  recovered: RecoveredState | null,
  identity: Identity,
  deflater: Deflater,
  time: SpoolTime,
): Map<string, SpoolStream> {
  const streams = new Map<string, SpoolStream>()
  let nextId = 1
  for (const { state } of recovered?.streams.values() ?? []) nextId = Math.max(nextId, state.id + 1)
  const names = new Set([...Object.keys(options.streams), ...(recovered?.streams.keys() ?? [])])
  for (const name of names) {
    const config = options.streams[name] ?? null
    const known = recovered?.streams.get(name)
    const state = known?.state ?? newStreamState(name, nextId++, identity)
    const index = known?.index ?? new BlockIndex()
    const limits = blockLimits(config, options.sinks)
    const stream = new SpoolStream({
      state,
      index,
      config,
      deflater,
      limits,
      time,
      emit: options.emit,
    })
    if (state.identities.at(-1)?.spoolId !== identity.spoolId) stream.startIdentity(identity)
    streams.set(name, stream)
  }
  return streams
}

async function prepare(
  stream: SpoolStream,
  reader: SpoolSource,
  emit: EmitSpoolEvent,
): Promise<void> {
  stream.prefetchGaps(reader)
  await stream.loadSegment(reader, stream.state.head.ordinal)
  // What is skipped inside a segment can only be counted with its blocks.
  for (const { firstOrdinal, blocks } of stream.index.sealed) {
    const isTouched = stream.state.skips.some(
      ([from, to]) => from < firstOrdinal + blocks && to > firstOrdinal,
    )
    if (isTouched) await stream.loadSegment(reader, firstOrdinal)
  }
  stream.recount()
  if (balance(stream.state, stream.blockRecords)) {
    reader.note(
      `stream ${stream.name} did not hold what its counters say: the difference is counted as corrupt`,
    )
    reader.touch(stream)
  }
  if (stream.config === null && stream.pendingRecords > 0) {
    emit({
      type: 'spool.orphaned-stream',
      stream: stream.name,
      pendingRecords: stream.pendingRecords,
    })
  }
}
