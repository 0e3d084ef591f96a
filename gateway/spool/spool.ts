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
 * commit/committer.ts owns it, and with it the only line where an ack becomes legal.
 *
 * Layout (store/keys.ts). Blocks, index segments and state records lead with the commit number, so
 * that flushed tables do not overlap. The state is the chain of records since the last checkpoint;
 * nothing lies under a key that is rewritten. Where a stream's blocks lie is its index
 * (stream/block-index.ts): ends in memory, the rest sealed.
 *
 * Read path. The drain pins a batch, durably, before its first send; the same pin gives the same
 * bytes. Retention leaves alone what may have been sent, and takes back the pin of a batch that never
 * left (retention/retention.ts). Whole deflated blocks are stitched into one gzip member without
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
 * A folder that is not where it was written (disk/place.ts) goes on under a fresh spool id by
 * itself.
 *
 * Not promised: order between devices, survival of disks that lie about fsync, a rollback below the
 * file system without a new spool id.
 */
import type { RecordPage } from '../ports/operator.ts'
import type { NoteStore } from '../ports/stream-queue.ts'
import { MAX_OPEN_BYTES, SpoolAppender } from './appender.ts'
import { Deflater } from './codec/block.ts'
import { CommitContents } from './commit/commit-contents.ts'
import type { Committer } from './commit/committer.ts'
import { openNotes } from './commit/notes.ts'
import type { PaceOptions } from './commit/pace.ts'
import { type Condition, ConditionWatch } from './condition.ts'
import type { SinkBatchLimits, SpoolConfig, StreamConfig } from './config.ts'
import { folderError } from './disk/folder-errors.ts'
import { DiskGuard } from './disk/guard.ts'
import type { TakeOwnership } from './disk/owner.ts'
import { SPOOL_FORMAT } from './format.ts'
import { openFolder } from './opening/folder-opening.ts'
import { applyLease, chooseIdentity, mintSpoolId, type WantedIdentity } from './opening/identity.ts'
import { type LeftAside, listLeftAside, restoreLeftAside } from './opening/left-aside.ts'
import {
  blockLimits,
  newestMs,
  newStream,
  openStreams,
  prepareStream,
} from './opening/open-streams.ts'
import type { OpenedFolder } from './opening/opened-folder.ts'
import { backupBytes } from './operations/backup.ts'
import { DeadLetters } from './operations/dead-letters.ts'
import { Housekeeping } from './operations/housekeeping.ts'
import { moveKeyed } from './operations/move-keyed.ts'
import { Orphans } from './operations/orphans.ts'
import { pendingRecords } from './operations/pending-records.ts'
import { putBack } from './operations/put-back.ts'
import { renumberPending } from './operations/renumbering.ts'
import { Verifier } from './operations/verifier.ts'
import { SpoolQueue } from './queue/queue.ts'
import { createSpoolStats, type SpoolStats, type StreamStats } from './stats.ts'
import { type OpenStore, openStore } from './store/store.ts'
import { pendingByCounters } from './stream/counters.ts'
import { LeaseKeeper } from './stream/leases.ts'
import type { SpoolStream } from './stream/stream.ts'
import { streamStats } from './stream-stats.ts'
import { type BootClock, bootClock, SpoolTime } from './time/spool-time.ts'

/**
 * Deflate level of new blocks: 1 gives 0.25 on real readings, 6 gives 0.20 for three times the
 * time.
 */
const DEFLATE_LEVEL = 1
/** Blocks deflated side by side; the pool also serves fsync. */
const DEFLATE_CONCURRENCY = 2

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

/** What of a configuration the spool has to do with. */
type SpoolChange = Pick<SpoolOptions, 'config' | 'sinks' | 'streams'>

/** What is opened one after the other, each with what it needs of those before it. */
interface Parts {
  readonly folder: OpenedFolder
  readonly disk: DiskGuard
  readonly deflater: Deflater
  readonly time: SpoolTime
  readonly leases: LeaseKeeper
  readonly contents: CommitContents
  readonly stats: SpoolStats
  readonly notes: NoteStore
}

export class Spool {
  readonly appender: SpoolAppender
  readonly notes: NoteStore
  readonly deadLetters: DeadLetters
  readonly orphans: Orphans
  readonly stats: SpoolStats
  readonly gateway: string
  readonly committer: Committer
  readonly disk: DiskGuard
  readonly verifier: Verifier
  readonly #contents: CommitContents
  readonly #folder: OpenedFolder
  readonly #leases: LeaseKeeper
  readonly #deflater: Deflater
  readonly #mintId: () => string
  readonly #nowMs: () => number
  readonly #time: SpoolTime
  readonly #condition: ConditionWatch
  readonly #housekeeping: Housekeeping
  #queues: readonly SpoolQueue[]

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
    const { dataDir, config, emit } = options
    const disk = new DiskGuard({ folder: dataDir, minFreeBytes: config.minFreeBytes, emit })
    const folder = await openFolder({
      dataDir,
      disk,
      openStore: options.openStore ?? openStore,
      emit,
      nowMs: options.nowMs ?? Date.now,
      ballastBytes: options.ballastBytes,
      takeOwnership: options.takeOwnership,
      besideUnreadable: options.besideUnreadable,
    })
    const deflater = new Deflater({ level: DEFLATE_LEVEL, concurrency: DEFLATE_CONCURRENCY })
    try {
      const spool = new Spool(options, await openParts(options, folder, disk, deflater))
      try {
        await spool.#begin()
      } catch (error) {
        spool.#endTimers()
        throw error
      }
      spool.#tellOpened(began)
      spool.verifier.start()
      return spool
    } catch (error) {
      // Or the next try of this process would meet itself as the owner.
      deflater.close()
      await folder.lease.close().catch(() => undefined)
      await folder.close(folder.store, false).catch(() => undefined)
      throw error
    }
  }

  private constructor(options: SpoolOptions, parts: Parts) {
    const { folder, disk, time, leases, contents, notes } = parts
    const { committer, streams, blocks } = contents
    const nowMs = options.nowMs ?? Date.now
    this.#time = time
    this.#folder = folder
    this.#contents = contents
    this.#leases = leases
    this.#deflater = parts.deflater
    this.#mintId = options.mintId ?? mintSpoolId
    this.#nowMs = nowMs
    this.gateway = contents.identity.gateway
    this.committer = committer
    this.stats = parts.stats
    this.notes = notes
    this.disk = disk
    const condition = new ConditionWatch(committer, disk, nowMs)
    this.#condition = condition
    this.appender = new SpoolAppender(
      {
        committer,
        leases,
        openCommit: contents,
        journals: contents.journals,
        accepting: () => !condition.isStopping && !committer.failing && !disk.low,
        openBytes: () => contents.openBytes + contents.inFlightBytes,
        maxOpenBytes: options.maxOpenBytes ?? MAX_OPEN_BYTES,
        damaged: (what) => folder.note(what, null),
      },
      [...streams.values()].filter((stream) => stream.config !== null),
    )
    for (const each of [disk, leases]) each.onSpace(() => this.appender.space())
    committer.onDurable(() => this.appender.space())
    this.#queues = [...streams.values()].map(
      (stream) => new SpoolQueue(stream, contents, blocks, nowMs),
    )
    this.orphans = new Orphans(this.#queues, notes, Object.keys(options.sinks))
    this.deadLetters = new DeadLetters({
      streams,
      store: () => committer.store,
      commit: contents,
      emit: options.emit,
      nowMs,
      time,
      reserveSeqs: (records) => leases.raise(records),
    })
    const { emit } = options
    this.verifier = new Verifier({ streams, reader: blocks, commit: contents, folder, emit })
    this.#housekeeping = new Housekeeping(contents, this.deadLetters, time, () => condition.note())
  }

  /** Up to the first durable commit: from then on records are numbered here. */
  async #begin(): Promise<void> {
    for (const queue of this.queues) await queue.prepare()
    this.disk.start()
    await this.disk.look()
    const folder = this.#folder
    if (!folder.clean) await this.deadLetters.reconcile()
    this.#contents.chain.checkpointNext()
    // The first time before the commit, so that it says that there is one.
    if (!folder.placed && folder.place.moved === null) await folder.settleIn()
    await this.committer.durable()
    await folder.settleIn()
  }

  #tellOpened(beganMs: number): void {
    const pendingRecords = [...this.streams.values()].reduce(
      (n, { pendingRecords: inOrder, state }) => n + inOrder + state.parked.length,
      0,
    )
    this.#folder.emit({
      type: 'spool.opened',
      spoolId: this.spoolId,
      clean: this.#folder.clean,
      pendingRecords,
      durationMs: Math.round(performance.now() - beganMs),
    })
  }

  get spoolId(): string {
    return this.#contents.identity.spoolId
  }

  /** What is pending in a stream, for an export; null: there is no such stream. */
  async records(name: string, after: string | null): Promise<RecordPage | null> {
    const stream = this.streams.get(name)
    return stream ? await pendingRecords(stream, this.#contents.blocks, after) : null
  }

  /** One look at every stream: those of the configuration in its order, orphaned ones behind. */
  streamStats(): StreamStats[] {
    const sinks = new Map(this.queues.map(({ stream, sink }) => [stream, sink || null]))
    return [...this.streams.values()]
      .map((stream) => streamStats(stream, sinks.get(stream.name) ?? null))
      .filter(({ orphaned, counters }) => !orphaned || counters.pending > 0)
      .sort((a, b) => Number(a.orphaned) - Number(b.orphaned))
  }

  get streams(): ReadonlyMap<string, SpoolStream> {
    return this.#contents.streams
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

  get queues(): readonly SpoolQueue[] {
    return this.#queues
  }

  /** Makes sure that there are such streams, with numbers for records; nothing takes any yet. */
  async addStreams(names: readonly string[]): Promise<void> {
    const contents = this.#contents
    const { identity } = contents
    for (const name of names) {
      if (contents.streams.has(name)) continue
      const stream = newStream(name, contents.streams, {
        identity,
        deflater: this.#deflater,
        time: this.#time,
        emit: this.#folder.emit,
      })
      contents.streams.set(name, stream)
      this.#queues = [
        ...this.#queues,
        new SpoolQueue(stream, contents, contents.blocks, this.#nowMs),
      ]
    }
    await this.#leases.raise(1)
  }

  /**
   * Streams, their sinks, the pace of commits and the disk's limit from now on; call `addStreams`
   * before. A stream that is not named any more is an orphan, with all that it holds; one that is
   * named anew begins, or goes on with what it held. Changes everything in one synchronous run;
   * resolves when it is durable.
   */
  async reconfigure({ config, sinks, streams }: SpoolChange): Promise<void> {
    const contents = this.#contents
    const taking: SpoolStream[] = []
    for (const name of new Set([...Object.keys(streams), ...contents.streams.keys()])) {
      const stream = contents.streams.get(name) as SpoolStream
      const of = streams[name] ?? null
      stream.reconfigure(of, blockLimits(of, sinks))
      if (of !== null) taking.push(stream)
    }
    this.appender.reconfigure(taking)
    this.orphans.reconfigure(this.#queues, Object.keys(sinks))
    this.committer.reconfigure(paceOf(config))
    this.disk.minFreeBytes = config.minFreeBytes
    contents.chain.checkpointNext()
    await this.committer.durable()
    await this.disk.look()
  }

  /** New records start under a fresh spool id; older ones drain first under theirs. */
  async newId(why: string): Promise<string> {
    const spoolId = this.#mintId()
    for (const stream of this.streams.values())
      stream.startIdentity({ spoolId, gateway: this.gateway })
    this.#contents.identity = { spoolId, gateway: this.gateway }
    await this.#leases.raise(1)
    this.#contents.chain.checkpointNext()
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
      store: (stream, blocks) => {
        const { chain, committer } = this.#contents
        const to = this.streams.get(stream) as SpoolStream
        return putBack(to, blocks, committer.store, chain, this.#contents)
      },
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
    const head = { format: SPOOL_FORMAT, gateway: this.gateway, spoolId: this.spoolId, streams }
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
    return await renumberPending(stream, this.#contents.blocks, this.#contents, raise)
  }

  #endTimers(): void {
    this.#condition.stop()
    this.#housekeeping.stop()
    this.disk.stop()
  }

  /**
   * Commits what was taken, lowers the lease and marks the folder clean. Nothing may be appended
   * after.
   */
  async stop(): Promise<void> {
    this.#endTimers()
    await this.verifier.stop()
    this.#housekeeping.markAges()
    await this.committer.stop()
    await this.#leases.lower()
    this.#deflater.close()
    await this.#folder.close(this.committer.store, this.verifier.result !== null)
  }
}

function paceOf({ commitInterval, commitBurst }: SpoolConfig): PaceOptions {
  return { commitIntervalMs: commitInterval, commitBurst }
}

async function openParts(
  options: SpoolOptions,
  folder: OpenedFolder,
  disk: DiskGuard,
  deflater: Deflater,
): Promise<Parts> {
  const { recovered } = folder
  const { config, emit } = options
  const stats = createSpoolStats()
  const identity = chooseIdentity(options, folder)
  const clock = options.clock ?? bootClock()
  const time = new SpoolTime(clock, recovered?.spoolTime ?? null, newestMs(recovered))
  const streams = openStreams(options, recovered, identity, deflater, time)
  const leases = new LeaseKeeper(folder.lease, () => streams.values(), options.leaseAhead)
  const pace = paceOf(config)
  const contents = new CommitContents({
    streams,
    identity,
    folder,
    leases,
    stats,
    time,
    pace,
    emit,
  })
  for (const op of folder.garbage) contents.add(op)
  applyLease(
    streams.values(),
    leases,
    folder.leaseEnds,
    recovered !== null,
    folder.damage.length > 0,
  )
  await leases.raise(1)
  for (const stream of streams.values()) await prepareStream(stream, contents, folder)
  await moveKeyed(contents.committer)
  const notes = await openNotes(contents.committer)
  return { folder, disk, deflater, time, leases, contents, stats, notes }
}
