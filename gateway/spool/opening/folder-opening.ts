/**
 * Opens the data folder, from ownership to a readable store (I7). Owns the order of the steps; the
 * steps themselves are in files/ and stream/. What ends it without proof of damage leaves every
 * byte where it was.
 *
 *   <dataDir>/owner/      the lock, see disk/owner.ts
 *   <dataDir>/spool/      LevelDB          <dataDir>/seq-lease   see disk/lease.ts
 *   <dataDir>/aside/      kept files       <dataDir>/ballast     see disk/ballast.ts
 *   <dataDir>/place       see disk/place.ts
 */
import { join } from 'node:path'
import { syncFolder } from '../../shared/files.ts'
import { Ballast } from '../disk/ballast.ts'
import { CLEAN_FILE, clearClean, markClean, wasClean } from '../disk/clean-stop.ts'
import { clearWay } from '../disk/clear-way.ts'
import { isDamage, isFull } from '../disk/disk-errors.ts'
import { makeDurableFolder, makePrivateFolder } from '../disk/folder.ts'
import type { DiskGuard } from '../disk/guard.ts'
import { SeqLease } from '../disk/lease.ts'
import { OWNER_FILE, type Ownership, type TakeOwnership, takeOwnership } from '../disk/owner.ts'
import { judgePlace, lookAround, PLACE_FILE, readPlace } from '../disk/place.ts'
import type { EmitSpoolEvent } from '../events.ts'
import { checkFormat } from '../format.ts'
import { keepNow } from '../leveldb/kept-asides.ts'
import {
  applyPlan,
  type OpeningPlan,
  prepareOpening,
  undoOpening,
} from '../leveldb/opening-plan.ts'
import { repairFolder } from '../leveldb/repair.ts'
import { openDamaged } from '../leveldb/store-repair.ts'
import type { OpenStore, Store } from '../store/store.ts'
import { replaceIfOlder } from './older-store.ts'
import { OpenedFolder } from './opened-folder.ts'
import { RawScan } from './raw-scan.ts'
import { rebuildState } from './rebuild.ts'
import { MAX_COMMIT, type RecoveredState, recoverState } from './recovery.ts'
import { leaveUnreadable } from './unreadable.ts'
import { openWhole } from './whole-opening.ts'

/**
 * Four write buffers and some tables: what LevelDB needs to open, settle and compact on a full
 * disk.
 */
export const BALLAST_BYTES = 32 * 1024 * 1024

interface FolderOptions {
  readonly dataDir: string
  /** Told when the room kept for a full disk is not there. */
  readonly disk: Pick<DiskGuard, 'holdForBallast'>
  readonly openStore: OpenStore
  readonly emit: EmitSpoolEvent
  readonly nowMs: () => number
  readonly ballastBytes?: number | undefined
  readonly takeOwnership?: TakeOwnership | undefined
  /**
   * The disk has failed to read the store for long: it is left as it is, and a new one begins
   * beside it.
   */
  readonly besideUnreadable?: boolean | undefined
}

export async function openFolder(options: FolderOptions): Promise<OpenedFolder> {
  const { dataDir } = options
  await makeDurableFolder(dataDir)
  const owner = await takeFolder(options)
  try {
    const moved = await clearWay(dataDir, OWN_NAMES)
    if (options.besideUnreadable) moved.push(...(await leaveUnreadable(dataDir)))
    const ballast = await Ballast.open(
      join(dataDir, 'ballast'),
      options.ballastBytes ?? BALLAST_BYTES,
    )
    return await openOwned(dataDir, options, ballast, moved, () => owner.release())
  } catch (error) {
    await owner.release()
    throw error
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

async function openOwned(
  dataDir: string,
  options: FolderOptions,
  ballast: Ballast,
  moved: readonly string[],
  release: () => Promise<void>,
): Promise<OpenedFolder> {
  const dbDir = join(dataDir, 'spool')
  // Before anything is touched: a newer version would be taken for damage.
  const place = await readPlace(dataDir)
  if (place !== null && place !== 'damaged') checkFormat(dataDir, place.format)
  const around = await lookAround(dataDir)
  await makePrivateFolder(dbDir)
  const clean = await wasClean(dataDir)
  await clearClean(dataDir)
  try {
    const aside = join(dataDir, 'aside')
    const prepare = (): Promise<OpeningPlan> =>
      prepareOpening(dbDir, aside, { afterCleanStop: clean })
    const plan = await prepare().catch(async (error: unknown) => {
      if (!isFull(error)) throw error
      await ballast.drop()
      return await prepare()
    })
    try {
      return await openPlanned(plan, dataDir, options, {
        ballast,
        clean,
        moved,
        release,
        place,
        around,
      })
    } catch (error) {
      await undoOpening(plan)
      throw error
    }
  } catch (error) {
    // All is as it was: the next try may believe the mark again. Where it is not, the mark is gone,
    // which costs little.
    if (clean) await markClean(dataDir).catch(() => undefined)
    throw error
  }
}

/** What the data folder held besides the database, before that was opened. */
interface Surroundings {
  readonly ballast: Ballast
  readonly clean: boolean
  readonly moved: readonly string[]
  readonly release: () => Promise<void>
  readonly place: Awaited<ReturnType<typeof readPlace>>
  readonly around: Awaited<ReturnType<typeof lookAround>>
}

async function openPlanned(
  plan: OpeningPlan,
  dataDir: string,
  options: FolderOptions,
  { ballast, clean, moved, release, place, around }: Surroundings,
): Promise<OpenedFolder> {
  const { disk, openStore, emit } = options
  const damage = [...moved, ...plan.faults]
  // The ballast is made last of all: where it lies there was a database.
  if (plan.mode === 'create' && ballast.present) damage.push('the database is gone, all of it')
  let store = await openDatabase(plan, options, ballast, damage)
  try {
    store = await replaceIfOlder(plan, store, openStore, damage)
    // The name of the database's folder may be new, too, by creation or by a move (I1).
    await syncFolder(dataDir)
    const read = await readFolder(plan, dataDir, store, ballast, damage)
    await ballast.ensure()
    for (const what of damage) emit({ type: 'spool.damage', what, kept: plan.aside })
    const wasClosed = (clean && damage.length === 0) || plan.mode === 'create'
    return new OpenedFolder({
      ...read,
      dataDir,
      disk,
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

/** Makes room if the opening wants some; rebuilds what is damaged. Adds to `damage`. */
async function openDatabase(
  plan: OpeningPlan,
  { openStore, nowMs }: FolderOptions,
  ballast: Ballast,
  damage: string[],
): Promise<Store> {
  const { dbDir } = plan
  const opening = { ...plan, aside: plan.isWhole ? plan.aside : null, apply: () => applyPlan(plan) }
  const open = (): Promise<Store> =>
    openWhole({
      ...opening,
      open: async () => {
        if (plan.mode === 'repair') await repairFolder(dbDir)
        return await openStore(dbDir, { create: plan.mode === 'create' })
      },
    })
  try {
    return await open().catch(async (error: unknown) => {
      if (!isFull(error)) throw error
      await ballast.drop()
      return await open()
    })
  } catch (error) {
    // Nothing is damaged: a repair, without room or without descriptors for instance, would make it
    // so.
    if (!isDamage(error)) throw error
    return (await openDamaged(opening, openStore, error, damage, nowMs)).store
  }
}

/** Of the data folder, beside what has a rule of its own. */
const OWN_NAMES = {
  files: [
    CLEAN_FILE,
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
  const lease = await openLease(join(dataDir, 'seq-lease'), ballast)
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
  damage.push(
    'the chain of state records is broken: the index was rebuilt from the blocks',
    ...notes,
  )
  if (plan.aside === null) {
    const { kept } = await keepNow(plan.dbDir, join(dataDir, 'aside'), damage.join('\n'))
    damage.push(...kept)
  }
  return { recovered, garbage, raw }
}

/**
 * Did the store lose its newest commits without a word? LevelDB drops what is behind a damaged
 * record of its log, as far as the next 32 KiB: it might be the end of a write that a power cut
 * tore. It is not if a later commit lies behind it, which began only when that write was done. And
 * repair leaves out a table without an end, whose values are whole all the same; one that no
 * MANIFEST named yet may never have been whole, and holds nothing that its log does not hold.
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

async function openLease(path: string, ballast: Ballast): Promise<ReadFolder['lease']> {
  try {
    return await SeqLease.open(path)
  } catch (error) {
    if (!isFull(error)) throw error
    await ballast.drop()
    return await SeqLease.open(path)
  }
}
