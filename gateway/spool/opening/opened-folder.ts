/**
 * The data folder while the spool has it (I7): what is damaged in the store is looked for in its
 * files, and after a rejected write the store is opened anew. Owns the notes about damage. How it
 * was opened is folder-opening.ts.
 */
import { existsSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { type BlockName, decodeBlockHeader, readBlock } from '../codec/block.ts'
import { lineAt, seqOfLine } from '../codec/record.ts'
import type { Ballast } from '../disk/ballast.ts'
import { markClean } from '../disk/clean-stop.ts'
import { describeError, isDamage, isFull } from '../disk/disk-errors.ts'
import type { DiskGuard } from '../disk/guard.ts'
import type { SeqLease } from '../disk/lease.ts'
import { type PlaceVerdict, writePlace } from '../disk/place.ts'
import type { EmitSpoolEvent } from '../events.ts'
import { SPOOL_FORMAT } from '../format.ts'
import { diagnose, listDatabaseFiles } from '../leveldb/database-files.ts'
import { dropAside, keepAside, keepNow } from '../leveldb/kept-asides.ts'
import type { OpeningPlan } from '../leveldb/opening-plan.ts'
import { linkAside, restoreFiles } from '../leveldb/put-aside.ts'
import { openDamaged } from '../leveldb/store-repair.ts'
import { expectInode, inodeOf } from '../store/opened-files.ts'
import { PatientReads } from '../store/patient-reads.ts'
import type { Op, OpenStore, Store } from '../store/store.ts'
import { RawScan } from './raw-scan.ts'
import type { RecoveredState } from './recovery.ts'
import { openWhole } from './whole-opening.ts'

/** Sentences about damage that are kept for status; more of the same help nobody. */
const MAX_DAMAGE_NOTES = 100
/** While the store is open its files are put aside at most so often. */
const KEEP_INTERVAL_MS = 60_000
/**
 * And looked through at most so often, and so many of these looks are remembered: the first, and
 * the newest.
 */
const LOOK_INTERVAL_MS = 5_000
const MAX_SCANS = 4
/** So often LevelDB may speak of damage that its files do not show, before it is believed. */
const MAX_UNPROVEN = 3

export class OpenedFolder {
  readonly dataDir: string
  readonly emit: EmitSpoolEvent
  readonly clean: boolean
  readonly recovered: RecoveredState | null
  /** Leftovers to delete with the first commit. */
  readonly garbage: readonly Op[]
  readonly lease: SeqLease
  readonly leaseState: 'ok' | 'missing' | 'damaged'
  readonly leaseEnds: ReadonlyMap<string, number>
  readonly place: PlaceVerdict
  /** The file `place` is there, or was once. */
  placed: boolean
  readonly damage: string[]
  readonly reads: PatientReads
  store: Store
  readonly #disk: Pick<DiskGuard, 'holdForBallast'>
  readonly #openStore: OpenStore
  readonly #release: () => Promise<void>
  readonly #ballast: Ballast
  #plan: OpeningPlan | null
  /** Raw files that were looked through, the oldest first. */
  #scans: Array<Promise<RawScan>> = []
  /** `place` is being written; null: records may still be numbered under an id of another place. */
  #settling: Promise<void> | null = null
  #keptAtMs = Number.NEGATIVE_INFINITY
  #lookedAtMs = Number.NEGATIVE_INFINITY
  #unproven = 0
  /** Of the store's folder that is open; null: it is being repaired. */
  #inode: number | null

  constructor(fields: {
    dataDir: string
    disk: Pick<DiskGuard, 'holdForBallast'>
    emit: EmitSpoolEvent
    clean: boolean
    recovered: RecoveredState | null
    garbage: readonly Op[]
    lease: Awaited<ReturnType<typeof SeqLease.open>>
    place: PlaceVerdict
    damage: string[]
    store: Store
    openStore: OpenStore
    release: () => Promise<void>
    ballast: Ballast
    plan: OpeningPlan
    /** What was looked through for this opening; null: that was not necessary. */
    raw: RawScan | null
  }) {
    this.dataDir = fields.dataDir
    this.emit = fields.emit
    this.clean = fields.clean
    this.recovered = fields.recovered
    this.garbage = fields.garbage
    this.lease = fields.lease.lease
    this.leaseState = fields.lease.state
    this.leaseEnds = fields.lease.ends
    this.place = fields.place
    this.placed = fields.recovered?.placed ?? false
    this.damage = fields.damage
    this.reads = new PatientReads(this.dbDir)
    this.store = fields.store
    this.#openStore = fields.openStore
    this.#release = fields.release
    this.#ballast = fields.ballast
    this.#plan = fields.plan
    if (fields.raw) this.#scans.push(Promise.resolve(fields.raw))
    this.#disk = fields.disk
    this.#inode = inodeOf(this.dbDir)
    this.#guard()
  }

  get dbDir(): string {
    return join(this.dataDir, 'spool')
  }

  /**
   * A block that the store cannot read, from the bytes of its files, as they were before the
   * opening or are now.
   */
  async salvage(name: BlockName): Promise<Buffer | null> {
    await this.#look('a block that should be there is missing or damaged')
    for (const scan of this.#scans.toReversed()) {
      const value = await (await scan).block(name)
      if (value) return value
    }
    return null
  }

  /**
   * The line of a record whose copy the store cannot read: from the copy's bytes, or from the block
   * that it came from.
   */
  async salvageLine(name: BlockName): Promise<Buffer | null> {
    await this.#look('the copy of a parked record is missing or damaged')
    for (const scan of this.#scans.toReversed()) {
      const value = await (await scan).blockWith(name)
      if (!value) continue
      const line = lineAt(await readBlock(value), name.firstSeq - decodeBlockHeader(value).firstSeq)
      if (seqOfLine(line) === name.firstSeq) return Buffer.from(line)
    }
    return null
  }

  /** All that the files hold, readable for the store or not. */
  async rawScans(why: string): Promise<readonly RawScan[]> {
    await this.#look(why)
    return await Promise.all(this.#scans)
  }

  /**
   * The first damage that is found puts the files aside as they are (I7), and they are looked
   * through; later ones only after a while. LevelDB goes on writing, so the live files are looked
   * through as well.
   */
  async #look(what: string): Promise<void> {
    const plan = this.#plan
    if (this.#scans.length === 0 && plan?.aside) {
      this.note(what, plan.aside)
      this.#scan(this.#rawScan([...plan.earlier, plan.aside]))
    }
    const now = performance.now()
    if (now - this.#lookedAtMs >= LOOK_INTERVAL_MS) {
      this.#lookedAtMs = now
      // While an opening is checked, what it put aside is the evidence.
      const keep = !plan?.aside && now - this.#keptAtMs >= KEEP_INTERVAL_MS
      if (keep) this.#keptAtMs = now
      this.#scan(keep ? this.#keepAndScan(what) : this.#rawScan([this.dbDir]))
      const [first, ...later] = this.#scans
      if (first && this.#scans.length > MAX_SCANS) this.#scans = [first, ...later.slice(1)]
    }
    await Promise.all(this.#scans)
  }

  #rawScan(folders: readonly string[]): Promise<RawScan> {
    return RawScan.of(folders, ['table', 'log'], (path, error) =>
      this.reads.isLostFile(path, error),
    )
  }

  /** One that rejects is made anew by whoever asks next: nothing that it did not see is lost. */
  #scan(scan: Promise<RawScan>): void {
    this.#scans.push(scan)
    scan.catch(() => {
      this.#scans = this.#scans.filter((each) => each !== scan)
      this.#lookedAtMs = Number.NEGATIVE_INFINITY
      this.#keptAtMs = Number.NEGATIVE_INFINITY
    })
  }

  async #keepAndScan(what: string): Promise<RawScan> {
    try {
      const { folder, kept } = await keepNow(this.dbDir, join(this.dataDir, 'aside'), what)
      this.note(what, folder)
      for (const line of kept) this.note(line, folder)
      return await this.#rawScan([folder])
    } catch (error) {
      if (!isFull(error)) throw error
      // The files themselves are still there.
      this.note(`${what}; nothing could be put aside (${describeError(error)})`, null)
      return await this.#rawScan([this.dbDir])
    }
  }

  /** For status, the log and the notes beside kept files. */
  note(what: string, kept: string | null): void {
    if (this.damage.includes(what)) return
    if (this.damage.length >= MAX_DAMAGE_NOTES) this.damage.shift()
    this.damage.push(what)
    this.emit({ type: 'spool.damage', what, kept })
  }

  /** The background check is done: the links are kept if something was damaged, else they go. */
  async verified(intact: boolean): Promise<void> {
    const plan = this.#plan
    this.#plan = null
    if (!plan || (plan.aside === null && plan.earlier.length === 0)) return
    if (intact && this.damage.length === 0) await dropAside(plan)
    else this.damage.push(...(await keepAside(plan, this.damage.join('\n'))))
  }

  /**
   * After a rejected write: the old handle is closed, and the folder is opened anew. On a full disk
   * the ballast is given up first, because LevelDB does not even open there. Rejects when it cannot
   * be opened now; nothing has changed then.
   */
  async reopen(old: Store, error: unknown): Promise<Store> {
    await old.close().catch(() => undefined)
    // A start judges what a replaced folder is (disk/place.ts): its numbers may have been used.
    if (this.#inode !== null) expectInode(this.dbDir, this.#inode)
    if (await this.#isProven(error)) {
      this.store = await this.#repair(error)
      return this.store
    }
    try {
      this.store = await this.#openAgain()
    } catch (again) {
      if (await this.#isProven(again)) {
        this.store = await this.#repair(again)
        return this.store
      }
      if (!isFull(error) && !isFull(again)) throw again
      await this.#ballast.drop()
      this.store = await this.#openAgain()
    }
    if (isFull(error)) await this.#ballast.drop()
    this.#guard()
    return this.store
  }

  async #openAgain(): Promise<Store> {
    const { dbDir } = this
    const aside = await linkAside(dbDir, join(this.dataDir, 'aside'))
    let store: Store
    try {
      store = await openWhole({
        dbDir,
        aside,
        unnamed: [],
        apply: async () => undefined,
        open: () => this.#openStore(dbDir, { create: false }),
      })
    } catch (error) {
      if (aside !== null) {
        await restoreFiles(aside, dbDir)
        await rm(aside, { recursive: true, force: true })
      }
      throw error
    }
    // Links that stay cost room, not records: the next opening looks at them once more.
    if (aside !== null) await rm(aside, { recursive: true, force: true }).catch(() => undefined)
    return store
  }

  /**
   * LevelDB calls it damage when it finds a file missing in a list that the disk cut short: the
   * files themselves are asked. What they do not show is believed when it comes again and again.
   */
  async #isProven(error: unknown): Promise<boolean> {
    // Without CURRENT the whole folder is away, a mount for instance.
    if (!isDamage(error) || !existsSync(join(this.dbDir, 'CURRENT'))) return false
    const files = await listDatabaseFiles(this.dbDir)
    const { faults } = await diagnose(this.dbDir, files, { afterCleanStop: false, allTables: true })
    this.#unproven = faults.length > 0 ? 0 : this.#unproven + 1
    if (this.#unproven > 0 && this.#unproven < MAX_UNPROVEN) return false
    this.#unproven = 0
    return true
  }

  /**
   * A compaction met a damaged table, and LevelDB takes no write any more: the same as at an
   * opening.
   */
  async #repair(error: unknown): Promise<Store> {
    // Repair takes away what is damaged.
    const what = 'LevelDB met damage while it was open'
    const { dbDir } = this
    this.#inode = null
    const { folder, kept } = await keepNow(dbDir, join(this.dataDir, 'aside'), what)
    this.note(what, folder)
    for (const line of kept) this.note(line, folder)
    this.#scan(this.#rawScan([folder]))
    const opening = { dbDir, aside: folder, unnamed: [], apply: async () => undefined }
    const damage: string[] = []
    const { store } = await openDamaged(opening, this.#openStore, error, damage, Date.now)
    for (const each of damage) this.note(each, null)
    this.#inode = inodeOf(dbDir)
    this.#guard()
    return store
  }

  /**
   * New records are numbered under an id that belongs here, durably: from now on the folder is
   * where it is.
   */
  settleIn(): Promise<void> {
    // Without it the next start takes a fresh id once more, or does not notice a restore: no reason
    // to end.
    const write = async (): Promise<void> => {
      await writePlace(this.dataDir, SPOOL_FORMAT, this.place).then(
        () => {
          this.placed = true
        },
        () => undefined,
      )
    }
    this.#settling = (this.#settling ?? Promise.resolve()).then(write)
    return this.#settling
  }

  /**
   * `verified`: the background check came to its end. If not, the links stay, and the next opening checks again.
   */
  async close(store: Store, verified: boolean): Promise<void> {
    await store.close()
    if (this.#settling) await this.settleIn()
    if (verified) await markClean(this.dataDir)
    await this.#release()
  }

  /**
   * Without the ballast ingest stays closed: the next full disk would find no room even to delete
   * (I6).
   */
  #guard(): void {
    if (!this.#ballast.present) this.#disk.holdForBallast(this.#ballast)
  }
}
