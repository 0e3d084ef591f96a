/**
 * How a database is to be opened. LevelDB opens damaged folders without an error and deletes what
 * it does not know (I7): with CURRENT removed it kept 25 of 200 blocks, with a MANIFEST 120 bytes
 * shorter half of them. So its files are looked at and put aside first, and what LevelDB must not
 * find leaves its folder.
 *
 * Does not open the database, nor decide what is missing in it.
 */
import { rename, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { replaceFile } from '../disk/folder.ts'
import {
  type DatabaseFile,
  diagnose,
  listDatabaseFiles,
  listStrays,
  type NewManifest,
  UNFINISHED_FILE,
} from './database-files.ts'
import { asideFolders, isKept, putAside, removeUnfinished, restoreFiles } from './put-aside.ts'

/**
 * Unfinished asides that a gateway which is killed at every opening may pile up: the first and the
 * newest stay.
 */
export const MAX_UNFINISHED_ASIDES = 4

export interface OpeningPlan {
  readonly dbDir: string
  /** `create`: no LevelDB file lies there. `repair`: repair `dbDir`, then open it. */
  readonly mode: 'create' | 'open' | 'repair'
  /** The files as they are now; null: there are none, or no links can be had. */
  readonly aside: string | null
  /** The aside has all of them: without hard links, only the logs are copied after a clean stop. */
  readonly isWhole: boolean
  /**
   * Asides of openings that did not get as far as dropAside or keepAside, oldest first: more to
   * salvage from.
   */
  readonly earlier: readonly string[]
  /**
   * Files that the MANIFEST does not name, and that are in the aside only now. A kill in the middle
   * of a flush or a compaction leaves some, whose content is in other files as well; an old
   * MANIFEST that came back leaves others.
   */
  readonly unnamed: readonly string[]
  /**
   * Tables in the asides that a MANIFEST names, so that they were whole once, and that are not:
   * more to salvage from.
   */
  readonly damagedTables: readonly string[]
  /** The MANIFEST as LevelDB is to find it; null: as it is. */
  readonly manifest: NewManifest | null
  /**
   * Something is wrong with the files; `notes` say what. Without it data may be missing
   * nevertheless.
   */
  readonly suspicious: boolean
  /** What is wrong with the database's files; empty if nothing is. */
  readonly faults: readonly string[]
  /** For the log and status: `faults`, and what was done that is no damage. */
  readonly notes: readonly string[]
}

/**
 * Looks at the folder and puts its files aside. To be called while this process owns the data
 * folder and the database is closed; a plan is carried out once. `asideRoot` should be on the same
 * file system (else files are copied).
 *
 * Also after a clean stop: LevelDB leaves out, and deletes, a log that it could not read because
 * descriptors or memory were short, and says nothing.
 *
 * @param options.afterCleanStop {@link wasClean} said so: its logs have no torn end, and all tables were fsynced.
 * @throws ENOSPC, EDQUOT if there is no room for the links; then nothing has changed. Make room, call again.
 */
export async function prepareOpening(
  dbDir: string,
  asideRoot: string,
  options: { readonly afterCleanStop?: boolean } = {},
): Promise<OpeningPlan> {
  const notes: string[] = []
  await removeUnfinished(asideRoot)
  const earlier = await unfinishedAsides(asideRoot, notes)
  if (earlier.length > 0)
    notes.push(`${earlier.length} earlier opening(s) did not finish: ${earlier.join(', ')}`)
  for (const name of await listStrays(dbDir)) {
    const stray = join(dbDir, `stray-${Date.now()}-${name}`)
    await rename(join(dbDir, name), stray)
    notes.push(`${name} was no file, and is ${stray} now`)
  }
  const files = await listDatabaseFiles(dbDir)
  if (files.length === 0) return await creationOf(dbDir, earlier, notes)
  const { afterCleanStop = false } = options
  const plan = await planOf({ dbDir, asideRoot, files, earlier, afterCleanStop }, notes)
  try {
    await applyPlan(plan)
    if (plan.manifest !== null)
      notes.push(`the last change of ${plan.manifest.name} came without its tables, and was undone`)
    return plan
  } catch (error) {
    await undoOpening(plan).catch(() => undefined)
    throw error
  }
}

async function creationOf(
  dbDir: string,
  earlier: readonly string[],
  notes: readonly string[],
): Promise<OpeningPlan> {
  return {
    dbDir,
    mode: 'create',
    aside: null,
    isWhole: true,
    earlier,
    unnamed: [],
    damagedTables: await damagedTablesOf(earlier),
    manifest: null,
    suspicious: earlier.length > 0,
    faults: [],
    notes,
  }
}

/** A folder that holds a database, and what is known of it before its files are read. */
interface FoundDatabase {
  readonly dbDir: string
  readonly asideRoot: string
  readonly files: readonly DatabaseFile[]
  /** Asides of openings that did not finish. */
  readonly earlier: readonly string[]
  readonly afterCleanStop: boolean
}

/** Puts the files aside; changes nothing else. Adds to `notes`. */
async function planOf(found: FoundDatabase, notes: string[]): Promise<OpeningPlan> {
  const { dbDir, asideRoot, files, earlier, afterCleanStop } = found
  const { mode, faults, unnamed, damagedTables, manifest } = await diagnose(dbDir, files, {
    afterCleanStop,
    allTables: earlier.length > 0,
  })
  notes.push(...faults)
  const suspicious = faults.length > 0 || earlier.length > 0
  // A clean stop leaves no data that the MANIFEST does not name: this one is not the one of that
  // stop.
  const leftOut = unnamed.some((name) => /\.(?:ldb|sst|log)$/.test(name))
  const needed = !afterCleanStop || suspicious || leftOut
  const { aside, isWhole } = await putAside(dbDir, asideRoot, files, notes, needed)
  const damaged = [
    ...(await damagedTablesOf(earlier)),
    ...damagedTables.map((name) => join(aside, name)),
  ]
  return {
    dbDir,
    mode,
    aside,
    isWhole,
    earlier,
    unnamed,
    damagedTables: damaged,
    manifest,
    suspicious,
    faults,
    notes,
  }
}

/** What LevelDB must not find leaves its folder; the aside has it. */
export async function applyPlan({ dbDir, manifest, unnamed }: OpeningPlan): Promise<void> {
  if (manifest !== null)
    await replaceFile(join(dbDir, manifest.name), join(dbDir, UNFINISHED_FILE), manifest.bytes)
  for (const name of unnamed) await rm(join(dbDir, name), { force: true })
}

/**
 * Nothing was proven to be damaged: all files are as they were before {@link prepareOpening}.
 * False: they cannot be put back, for want of links, and nothing was changed.
 */
export async function undoOpening(plan: OpeningPlan): Promise<boolean> {
  const { dbDir, aside, isWhole, mode } = plan
  if (!isWhole) return false
  if (mode === 'create')
    for (const { name } of await listDatabaseFiles(dbDir)) await rm(join(dbDir, name))
  if (aside !== null) {
    await restoreFiles(aside, dbDir)
    await rm(aside, { recursive: true, force: true })
  }
  return true
}

/** Those that nothing leads into any more; of others repair has what is whole. */
async function damagedTablesOf(asides: readonly string[]): Promise<string[]> {
  const damaged: string[] = []
  for (const aside of asides) {
    const files = await listDatabaseFiles(aside)
    if (files.length === 0) continue
    const options = { afterCleanStop: false, allTables: false, newestBytes: 0 }
    const { damagedTables } = await diagnose(aside, files, options)
    damaged.push(...damagedTables.map((name) => join(aside, name)))
  }
  return damaged
}

/** Asides without a note, oldest first, within their bound. */
async function unfinishedAsides(asideRoot: string, notes: string[]): Promise<string[]> {
  const unfinished: string[] = []
  for (const folder of await asideFolders(asideRoot))
    if (!(await isKept(folder))) unfinished.push(folder)
  // One more comes now. The first holds what no opening has touched; of the others the newest
  // count.
  const surplus = Math.max(0, unfinished.length - (MAX_UNFINISHED_ASIDES - 1))
  for (const folder of unfinished.splice(1, surplus)) {
    await rm(folder, { recursive: true, force: true })
    notes.push(`${folder} was removed: too many openings did not finish`)
  }
  return unfinished
}
