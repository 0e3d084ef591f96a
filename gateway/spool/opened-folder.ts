/**
 * The data folder from ownership to a readable store (I7), and back again after a rejected write. Owns the order of the
 * steps and the notes about damage; the steps themselves are in files/ and stream/.
 *
 *   <dataDir>/spool/      LevelDB          <dataDir>/seq-lease   see files/lease.ts
 *   <dataDir>/aside/      kept files       <dataDir>/ballast     see files/ballast.ts
 *   <dataDir>/place       see files/place.ts
 */
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder } from '../shared/files.ts'
import { decodeBlockHeader, readBlock } from './codec/block.ts'
import { lineAt, seqOfLine } from './codec/record.ts'
import type { DiskGuard } from './disk-guard.ts'
import type { EmitSpoolEvent } from './events.ts'
import { Ballast } from './files/ballast.ts'
import { describeError, isDamage, isFull, judgeDiskError } from './files/disk-errors.ts'
import { makeDurableFolder } from './files/folder.ts'
import { FolderInUseError, FolderUnusableError, NoLocksError } from './files/folder-errors.ts'
import { SeqLease } from './files/lease.ts'
import {
  clearClean,
  clearWay,
  dropAside,
  keepAside,
  keepNow,
  markClean,
  type OpeningPlan,
  prepareOpening,
  wasClean,
} from './files/opening.ts'
import { OWNER_FILE, type Ownership, type TakeOwnership, takeOwnership } from './files/owner.ts'
import {
  judgePlace,
  lookAround,
  PLACE_FILE,
  type PlaceVerdict,
  readPlace,
  writePlace,
} from './files/place.ts'
import { type BlockName, RawScan } from './files/raw-scan.ts'
import { makeRepairable } from './files/repairable.ts'
import { checkFormat, SPOOL_FORMAT } from './format.ts'
import { replaceIfOlder } from './older-store.ts'
import { PatientReads } from './store/patient-reads.ts'
import { type Op, type OpenStore, repairStore, type Store } from './store/store.ts'
import { rebuildState } from './stream/rebuild.ts'
import { MAX_COMMIT, type RecoveredState, recoverState } from './stream/recovery.ts'

/** Four write buffers and some tables: what LevelDB needs to open, settle and compact on a full disk. */
export const BALLAST_BYTES = 32 * 1024 * 1024
/** Sentences about damage that are kept for status; more of the same help nobody. */
const MAX_DAMAGE_NOTES = 100
/** While the store is open its files are put aside at most so often. */
const KEEP_INTERVAL_MS = 60_000
/** And looked through at most so often, and so many of these looks are remembered: the first, and the newest. */
const LOOK_INTERVAL_MS = 5_000
const MAX_SCANS = 4

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
  disk: DiskGuard | null = null
  store: Store
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

  constructor(fields: {
    dataDir: string
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
  }

  get dbDir(): string {
    return join(this.dataDir, 'spool')
  }

  /** A block that the store cannot read, from the bytes of its files, as they were before the opening or are now. */
  async salvage(name: BlockName): Promise<Buffer | null> {
    await this.#look('a block that should be there is missing or damaged')
    for (const scan of this.#scans.toReversed()) {
      const value = await (await scan).block(name)
      if (value) return value
    }
    return null
  }

  /** The line of a record whose copy the store cannot read: from the copy's bytes, or from the block that it came from. */
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
   * The first damage that is found puts the files aside as they are (I7), and they are looked through; later ones only
   * after a while. LevelDB goes on writing, so the live files are looked through as well.
   */
  async #look(what: string): Promise<void> {
    const plan = this.#plan
    if (this.#scans.length === 0 && plan?.aside) {
      this.note(what, plan.aside)
      this.#scans.push(RawScan.of([...plan.earlier, plan.aside]))
    }
    const now = performance.now()
    if (now - this.#lookedAtMs >= LOOK_INTERVAL_MS) {
      this.#lookedAtMs = now
      // While an opening is checked, what it put aside is the evidence.
      const keep = !plan?.aside && now - this.#keptAtMs >= KEEP_INTERVAL_MS
      if (keep) this.#keptAtMs = now
      this.#scans.push(keep ? this.#keepAndScan(what) : RawScan.of([this.dbDir]))
      const [first, ...later] = this.#scans
      if (first && this.#scans.length > MAX_SCANS) this.#scans = [first, ...later.slice(1)]
    }
    await Promise.all(this.#scans)
  }

  async #keepAndScan(what: string): Promise<RawScan> {
    try {
      const { folder, kept } = await keepNow(this.dbDir, join(this.dataDir, 'aside'), what)
      this.note(what, folder)
      for (const line of kept) this.note(line, folder)
      return await RawScan.of([folder])
    } catch (error) {
      // A full disk, for instance: the files themselves are still there.
      this.note(`${what}; nothing could be put aside (${describeError(error)})`, null)
      return await RawScan.of([this.dbDir])
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
   * After a rejected write: the old handle is closed, and the folder is opened anew. On a full disk the ballast is given
   * up first, because LevelDB does not even open there.
   */
  async reopen(old: Store, error: unknown): Promise<Store> {
    await old.close().catch(() => undefined)
    if (isDamage(error)) {
      this.store = await this.#repair(error)
      return this.store
    }
    try {
      this.store = await this.#openStore(this.dbDir, { create: false })
    } catch (again) {
      if (isDamage(again)) {
        this.store = await this.#repair(again)
        return this.store
      }
      if (!isFull(error) && !isFull(again)) throw again
      await this.#ballast.drop()
      this.store = await this.#openStore(this.dbDir, { create: false })
    }
    if (isFull(error)) await this.#ballast.drop()
    this.guard()
    return this.store
  }

  /** A compaction met a damaged table, and LevelDB takes no write any more: the same as at an opening. */
  async #repair(error: unknown): Promise<Store> {
    this.#lookedAtMs = Number.NEGATIVE_INFINITY
    await this.#look('LevelDB met damage while it was open')
    const damage: string[] = []
    const { store } = await openDamaged(this.dbDir, this.#openStore, error, damage, Date.now)
    for (const what of damage) this.note(what, null)
    this.guard()
    return store
  }

  /** New records are numbered under an id that belongs here, durably: from now on the folder is where it is. */
  settleIn(): Promise<void> {
    // Without it the next start takes a fresh id once more, or does not notice a restore: no reason to end.
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

  /** `verified`: the background check came to its end. If not, the links stay, and the next opening checks again. */
  async close(store: Store, verified: boolean): Promise<void> {
    await store.close()
    if (this.#settling) await this.settleIn()
    if (verified) await markClean(this.dataDir)
    await this.#release()
  }

  /** Without the ballast ingest stays closed: the next full disk would find no room even to delete (I6). */
  guard(): void {
    if (!this.#ballast.present) this.disk?.holdForBallast(this.#ballast)
  }
}

export interface FolderOptions {
  readonly dataDir: string
  readonly openStore: OpenStore
  readonly emit: EmitSpoolEvent
  readonly nowMs: () => number
  readonly ballastBytes?: number | undefined
  readonly takeOwnership?: TakeOwnership | undefined
}

/** Rejects with a typed error where the folder cannot be used; what may pass is thrown as it is. */
export async function openFolder(options: FolderOptions): Promise<OpenedFolder> {
  const { dataDir } = options
  try {
    await makeDurableFolder(dataDir)
    const owner = await takeFolder(options)
    try {
      const moved = await clearWay(dataDir, OWN_NAMES)
      const ballast = await Ballast.open(join(dataDir, 'ballast'), options.ballastBytes ?? BALLAST_BYTES)
      return await openOwned(dataDir, options, ballast, moved, () => owner.release())
    } catch (error) {
      await owner.release()
      throw error
    }
  } catch (error) {
    throw inWords(dataDir, error)
  }
}

/** Even the lock wants a little room. */
async function takeFolder({
  dataDir,
  ballastBytes = BALLAST_BYTES,
  takeOwnership: take = takeOwnership,
}: FolderOptions): Promise<Ownership> {
  try {
    return await take(dataDir)
  } catch (error) {
    // Nobody holds the lock: that would have been the answer.
    if (!isFull(error)) throw error
    await (await Ballast.open(join(dataDir, 'ballast'), ballastBytes)).drop()
    return await take(dataDir)
  }
}

function inWords(dataDir: string, error: unknown): unknown {
  if (error instanceof FolderInUseError || error instanceof NoLocksError) return error
  switch (judgeDiskError(error)) {
    case 'held':
      return new FolderInUseError(dataDir, null, false)
    case 'no-locks':
      return new NoLocksError(dataDir, error)
    case 'refused':
      return new FolderUnusableError(dataDir, error)
    default:
      return error
  }
}

async function openOwned(
  dataDir: string,
  { openStore, emit, nowMs }: FolderOptions,
  ballast: Ballast,
  moved: readonly string[],
  release: () => Promise<void>,
): Promise<OpenedFolder> {
  const dbDir = join(dataDir, 'spool')
  // Before anything is touched: a newer version would be taken for damage.
  const place = await readPlace(dataDir)
  if (place !== null && place !== 'damaged') checkFormat(dataDir, place.format)
  const around = await lookAround(dataDir)
  const clean = await wasClean(dataDir)
  await clearClean(dataDir)
  const aside = join(dataDir, 'aside')
  const prepare = (): Promise<OpeningPlan> => prepareOpening(dbDir, aside, { afterCleanStop: clean })
  const plan = await prepare().catch(async (error: unknown) => {
    if (!isFull(error)) throw error
    await ballast.drop()
    return await prepare()
  })
  const damage = [...moved, ...plan.faults]
  // The ballast is made last of all: where it lies there was a database.
  if (plan.mode === 'create' && ballast.present) damage.push('the database is gone, all of it')
  const open = async (): Promise<Store> => {
    if (plan.mode === 'repair') await repairFolder(dbDir)
    return await openStore(dbDir, { create: plan.mode === 'create' })
  }
  let store: Store
  try {
    store = await open().catch(async (error: unknown) => {
      if (!isFull(error)) throw error
      await ballast.drop()
      return await open()
    })
  } catch (error) {
    // Nothing is damaged: a repair, without room or without locks for instance, would make it so.
    if (!isDamage(error)) throw error
    ;({ store } = await openDamaged(dbDir, openStore, error, damage, nowMs))
  }
  try {
    store = await replaceIfOlder(plan, store, openStore, damage)
    // The name of the database's folder may be new, too, by creation or by a move (I1).
    await syncFolder(dataDir)
    const read = await readFolder(plan, dataDir, store, ballast, damage)
    for (const what of damage) emit({ type: 'spool.damage', what, kept: plan.aside })
    await ballast.ensure()
    const wasClosed = (clean && damage.length === 0) || plan.mode === 'create'
    return new OpenedFolder({
      ...read,
      dataDir,
      emit,
      clean: wasClosed,
      place: judgePlace(place, around, read.recovered?.placed ?? false),
      damage,
      store,
      openStore,
      release,
      ballast,
      plan,
    })
  } catch (error) {
    // Or the next try of this process would find the database locked by itself.
    await store.close().catch(() => undefined)
    throw error
  }
}

/** Of the data folder, beside what has a rule of its own. */
const OWN_NAMES = {
  files: [
    'seq-lease',
    'seq-lease.new',
    'ballast',
    'ballast.new',
    PLACE_FILE,
    `${PLACE_FILE}.new`,
    OWNER_FILE,
  ],
  folders: ['spool', 'aside'],
}

type ReadFolder = Pick<OpenedFolder, 'recovered' | 'garbage'> & {
  readonly lease: Awaited<ReturnType<typeof SeqLease.open>>
  readonly raw: RawScan | null
}

/** What the store and the lease say. Adds to `damage`. */
async function readFolder(
  plan: OpeningPlan,
  dataDir: string,
  store: Store,
  ballast: Ballast,
  damage: string[],
): Promise<ReadFolder> {
  const read = await readStore(plan, dataDir, store, damage)
  const lease = await openLease(join(dataDir, 'seq-lease'), ballast, damage)
  if (read.recovered === null && (lease.ends.size > 0 || lease.state === 'damaged'))
    damage.push('the store is empty, but records were numbered before')
  return { ...read, lease }
}

async function readStore(
  plan: OpeningPlan,
  dataDir: string,
  store: Store,
  damage: string[],
): Promise<Omit<ReadFolder, 'lease'>> {
  const state = await recoverState(store)
  if (state !== null && state !== 'broken') checkFormat(dataDir, state.format)
  const hadFiles = plan.mode !== 'create' || plan.earlier.length > 0
  const isWhole = state === null ? !hadFiles : state !== 'broken' && !(await endsEarly(plan, state))
  if (isWhole && state !== 'broken') return { recovered: state, garbage: [], raw: null }
  // LevelDB gives an empty store where it could read nothing.
  const folders = [...plan.earlier, plan.aside ?? plan.dbDir]
  const raw = await RawScan.of(folders)
  const { recovered, garbage, notes } = await rebuildState(store, raw)
  if (state === null && recovered.streams.size === 0) return { recovered: null, garbage, raw }
  damage.push('the chain of state records is broken: the index was rebuilt from the blocks', ...notes)
  if (plan.aside === null) {
    const { kept } = await keepNow(plan.dbDir, join(dataDir, 'aside'), damage.join('\n'))
    damage.push(...kept)
  }
  return { recovered, garbage, raw }
}

/**
 * Did the store lose its newest commits without a word? LevelDB drops what is behind a damaged record of its log, as far as the
 * next 32 KiB: it might be the end of a write that a power cut tore. It is not if a later commit lies behind it, which
 * began only when that write was done. And repair leaves out a table without an end, whose values are whole all the same; one
 * that no MANIFEST named yet may never have been whole, and holds nothing that was acknowledged.
 */
async function endsEarly(
  { aside, damagedTables, faults }: OpeningPlan,
  { lastCommit }: RecoveredState,
): Promise<boolean> {
  if (aside === null) return false
  const has = (scan: RawScan, after: number): boolean =>
    [...scan.states].some(({ commit }) => commit > after && commit <= MAX_COMMIT)
  // A log with a torn end and the mark of a clean stop is damaged: it had no such end.
  const next = faults.some((fault) => fault.startsWith('the log ')) ? lastCommit : lastCommit + 1
  if (has(await RawScan.of([aside], ['log']), next)) return true
  return has(await RawScan.ofTables(damagedTables), lastCommit)
}

/** One that cannot be read at all is moved away: the next one begins under a new spool id (I4). */
async function openLease(path: string, ballast: Ballast, damage: string[]): Promise<ReadFolder['lease']> {
  try {
    return await SeqLease.open(path)
  } catch (error) {
    if (isFull(error)) await ballast.drop()
    else {
      damage.push(`the seq lease cannot be read (${describeError(error)})`)
      await rename(path, `${path}.stray-${Date.now()}`)
    }
    return await SeqLease.open(path)
  }
}

async function repairFolder(dbDir: string): Promise<void> {
  await makeRepairable(dbDir)
  await repairStore(dbDir)
}

/** The store does not open: repair it; if that fails too, move it away and begin an empty one. The gateway starts. */
async function openDamaged(
  dbDir: string,
  openStore: OpenStore,
  error: unknown,
  damage: string[],
  nowMs: () => number,
): Promise<{ store: Store }> {
  damage.push(`the store did not open (${describeError(error)}) and was repaired`)
  try {
    await repairFolder(dbDir)
    return { store: await openStore(dbDir, { create: false }) }
  } catch (again) {
    if (!isDamage(again)) throw again
    const moved = `${dbDir}.damaged-${nowMs()}`
    damage.push(
      `repair failed (${describeError(again)}): the store was moved to ${moved}, a new one was begun`,
    )
    await rename(dbDir, moved)
    return { store: await openStore(dbDir, { create: true }) }
  }
}
