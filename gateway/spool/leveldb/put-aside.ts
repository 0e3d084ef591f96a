/**
 * Before LevelDB opens a folder that was not closed cleanly, its files are put aside, because
 * LevelDB opens damaged folders without an error and deletes what it does not know (I7): with
 * CURRENT removed it kept 25 of 200 blocks, with a MANIFEST 120 bytes shorter half of them.
 *
 * An aside is a folder with a hard link of every table, log and MANIFEST, and of CURRENT. It costs
 * no room until LevelDB drops a file; it goes when everything was found to be there, or stays with
 * a README.txt that says why. LevelDB writes to no file that exists, with one exception: after a
 * damaged MANIFEST it deals file numbers again, and truncates the file that has the number, and so
 * the link. Therefore what its MANIFEST does not name, which it would delete anyway, leaves the
 * folder before it opens.
 *
 * Owns the aside folders and the mark of a clean stop. Does not open the database, nor decide what
 * is missing in it.
 */
import { constants } from 'node:fs'
import {
  copyFile,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errorCode } from '../../shared/errors.ts'
import { syncFolder } from '../../shared/files.ts'
import { judgeDiskError } from '../disk/disk-errors.ts'
import { folderBytes, unlessGone } from '../disk/folder.ts'
import {
  type DatabaseFile,
  diagnose,
  listDatabaseFiles,
  listStrayFolders,
  type NewManifest,
} from './database-files.ts'
import { makeRepairable } from './repairable.ts'

export interface OpeningPlan {
  readonly dbDir: string
  /** `create`: no LevelDB file lies there. `repair`: run LevelDB's repair on `dbDir`, then open. */
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

/** Bounds of what is kept as evidence (I6). The newest is kept whatever its size. */
export interface KeptLimits {
  readonly maxFolders: number
  readonly maxBytes: number
}

export const KEPT_ASIDE_LIMITS: KeptLimits = { maxFolders: 4, maxBytes: 4 * 1024 ** 3 }
/**
 * Unfinished asides that a gateway which is killed at every opening may pile up: the first and the
 * newest stay.
 */
export const MAX_UNFINISHED_ASIDES = 4

const ASIDE = /^aside-(\d{6,})$/
const MAKING_PREFIX = 'making-'
const SALVAGE_PREFIX = 'salvage-'
const NOTE_FILE = 'README.txt'
const CLEAN_FILE = 'clean-stop'
const CLEAN_TEXT = 'The spool was closed cleanly and nobody has opened it since.\n'
/** Where LevelDB's repair puts what it has read. */
export const REPAIR_LEFTOVERS = 'lost'

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
  const earlier = await tidy(asideRoot, notes)
  if (earlier.length > 0)
    notes.push(`${earlier.length} earlier opening(s) did not finish: ${earlier.join(', ')}`)
  for (const name of await listStrayFolders(dbDir)) {
    const stray = join(dbDir, `stray-${Date.now()}-${name}`)
    await rename(join(dbDir, name), stray)
    notes.push(`${name} was a folder, and is ${stray} now`)
  }
  const files = await listDatabaseFiles(dbDir)
  if (files.length === 0) {
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
  const { mode, faults, unnamed, damagedTables, manifest } = await diagnose(dbDir, files, {
    afterCleanStop: options.afterCleanStop === true,
    allTables: earlier.length > 0,
  })
  notes.push(...faults)
  const suspicious = faults.length > 0 || earlier.length > 0
  // A clean stop leaves no data that the MANIFEST does not name: this one is not the one of that
  // stop.
  const leftOut = unnamed.some((name) => /\.(?:ldb|sst|log)$/.test(name))
  const needed = options.afterCleanStop !== true || suspicious || leftOut
  const { aside, isWhole } = await putAside(dbDir, asideRoot, files, notes, needed)
  const damaged = [
    ...(await damagedTablesOf(earlier)),
    ...damagedTables.map((name) => join(aside, name)),
  ]
  const plan = {
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
  try {
    await applyPlan(plan)
    if (manifest !== null)
      notes.push(`the last change of ${manifest.name} came without its tables, and was undone`)
    return plan
  } catch (error) {
    await undoOpening(plan).catch(() => undefined)
    throw error
  }
}

/** What LevelDB must not find leaves its folder; the aside has it. */
export async function applyPlan({ dbDir, manifest, unnamed }: OpeningPlan): Promise<void> {
  if (manifest !== null) await replaceManifest(dbDir, manifest)
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

/**
 * Before a store is opened again while the gateway runs: its files, in a folder of their own. null:
 * there are no links here, and all would have to be copied.
 */
export async function linkAside(dbDir: string, asideRoot: string): Promise<string | null> {
  const { aside, isWhole } = await putAside(
    dbDir,
    asideRoot,
    await listDatabaseFiles(dbDir),
    [],
    false,
  )
  if (isWhole) return aside
  await rm(aside, { recursive: true, force: true })
  return null
}

/**
 * The database's folder has the files of the aside again, and no others. CURRENT changes in one
 * step, and what it names is there before and after: a kill in between leaves a database that
 * opens, and the aside.
 */
export async function restoreFiles(aside: string, dbDir: string): Promise<void> {
  await mkdir(dbDir, { recursive: true, mode: 0o700 })
  const files = await listDatabaseFiles(aside)
  const missing: DatabaseFile[] = []
  for (const file of files)
    if (!(await isSameFile(join(aside, file.name), join(dbDir, file.name)))) missing.push(file)
  for (const { name } of missing.filter(({ kind }) => kind !== 'current')) {
    await rm(join(dbDir, name), { force: true, recursive: true })
    await linkOrCopy(join(aside, name), join(dbDir, name))
  }
  await syncFolder(dbDir)
  if (missing.some(({ kind }) => kind === 'current')) {
    const unfinished = join(dbDir, '000000.dbtmp')
    await rm(unfinished, { force: true })
    await linkOrCopy(join(aside, 'CURRENT'), unfinished)
    await rename(unfinished, join(dbDir, 'CURRENT'))
  }
  const names = new Set(files.map(({ name }) => name))
  for (const { name } of await listDatabaseFiles(dbDir)) {
    if (!names.has(name)) await rm(join(dbDir, name), { force: true })
  }
  await rm(join(dbDir, REPAIR_LEFTOVERS), { recursive: true, force: true })
  await syncFolder(dbDir)
}

async function isSameFile(a: string, b: string): Promise<boolean> {
  const [one, other] = [await lstat(a), await unlessGone(lstat(b), null)]
  return other !== null && one.ino === other.ino && one.dev === other.dev
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

/** Everything was found to be there: the asides of this opening and of those before it go. */
export async function dropAside(plan: OpeningPlan): Promise<void> {
  await removeRepairLeftovers(plan)
  for (const folder of asidesOf(plan)) await rm(folder, { recursive: true, force: true })
}

/**
 * Something is missing or damaged: the asides stay as evidence, with a README.txt that says when
 * and why (`note`). Returns what an operator should know: where they are, and which older ones had
 * to go for them.
 */
export async function keepAside(
  plan: OpeningPlan,
  note: string,
  limits: KeptLimits = KEPT_ASIDE_LIMITS,
): Promise<string[]> {
  await removeRepairLeftovers(plan)
  const kept: string[] = []
  for (const folder of asidesOf(plan)) {
    await writeFile(join(folder, NOTE_FILE), keptText(plan, note))
    await syncFolder(folder)
    kept.push(`the files as they were before the opening are kept in ${folder}`)
  }
  const newest = asidesOf(plan).at(-1)
  if (newest === undefined) return kept
  return [...kept, ...(await enforceLimits(dirname(newest), newest, limits))]
}

/**
 * Damage was found while the database is open: its files are kept as they are now, with a note.
 * Returns the folder, and what an operator should know. LevelDB may delete files meanwhile: what is
 * gone is left out.
 */
export async function keepNow(
  dbDir: string,
  asideRoot: string,
  note: string,
  limits: KeptLimits = KEPT_ASIDE_LIMITS,
): Promise<{ readonly folder: string; readonly kept: readonly string[] }> {
  const notes: string[] = []
  const { aside: folder } = await putAside(dbDir, asideRoot, await listDatabaseFiles(dbDir), notes)
  await writeFile(join(folder, NOTE_FILE), keptText({ dbDir, notes }, note))
  await syncFolder(folder)
  const kept = `the files as they were when it was found are kept in ${folder}`
  return { folder, kept: [kept, ...(await enforceLimits(asideRoot, folder, limits))] }
}

/**
 * A folder beside `aside` with its tables and logs, on which LevelDB's repair can be run and which
 * can be opened then: both write only new files, so the originals stay as they are. The caller
 * removes it ({@link dropSalvage}); what a crash leaves goes at the next {@link prepareOpening}.
 */
export async function salvageDatabase(
  aside: string,
  root = dirname(aside),
  except: readonly string[] = [],
): Promise<string> {
  const scratch = await freshFolder(root, SALVAGE_PREFIX)
  const files = await listDatabaseFiles(aside)
  // Without CURRENT and MANIFEST: repair makes its own from what the tables and logs hold.
  const needed = files.filter(
    ({ kind, name }) => (kind === 'table' || kind === 'log') && !except.includes(name),
  )
  await linkAll(aside, scratch, needed)
  await makeRepairable(scratch)
  return scratch
}

export async function dropSalvage(scratch: string): Promise<void> {
  await rm(scratch, { recursive: true, force: true })
}

/**
 * The last thing of a clean stop, after the database was closed. A disk that fails now leaves no
 * mark, which costs little.
 */
export async function markClean(dataDir: string): Promise<void> {
  try {
    const file = await open(join(dataDir, CLEAN_FILE), 'w')
    try {
      await file.writeFile(CLEAN_TEXT)
      await file.sync()
    } finally {
      await file.close()
    }
    await syncFolder(dataDir)
  } catch (error) {
    if (judgeDiskError(error) === null) throw error
  }
}

export async function wasClean(dataDir: string): Promise<boolean> {
  return (await unlessGone(readFile(join(dataDir, CLEAN_FILE), 'utf8'), null)) === CLEAN_TEXT
}

/** Before the database is opened: from then on a stop is unclean until it is marked. Durable. */
export async function clearClean(dataDir: string): Promise<void> {
  await rm(join(dataDir, CLEAN_FILE), { force: true })
  await syncFolder(dataDir)
}

function asidesOf(plan: OpeningPlan): string[] {
  return plan.aside === null ? [...plan.earlier] : [...plan.earlier, plan.aside]
}

/**
 * Before anything else: folders under the names of our files, and files under those of our folders,
 * move out of the way. Nothing of ours makes them, and each would keep the gateway from starting.
 * Returns one sentence each.
 */
export async function clearWay(
  dataDir: string,
  names: { readonly files: readonly string[]; readonly folders: readonly string[] },
): Promise<string[]> {
  const moved: string[] = []
  const wanted = [
    ...[CLEAN_FILE, ...names.files].map((name) => ({ name, folder: false })),
    ...names.folders.map((name) => ({ name, folder: true })),
  ]
  for (const { name, folder } of wanted) {
    const path = join(dataDir, name)
    const stats = await unlessGone(lstat(path), null)
    if (stats === null || stats.isSymbolicLink() || stats.isDirectory() === folder) continue
    const away = `${path}.stray-${Date.now()}`
    await rename(path, away)
    moved.push(`${name} was ${folder ? 'no folder' : 'a folder'}, and is ${away} now`)
  }
  return moved
}

/**
 * Removes what a crash left half made; returns the asides without a note, oldest first, within
 * their bound.
 */
async function tidy(asideRoot: string, notes: string[]): Promise<string[]> {
  const unfinished: string[] = []
  for (const name of await unlessGone(readdir(asideRoot), [])) {
    if (name.startsWith(MAKING_PREFIX) || name.startsWith(SALVAGE_PREFIX)) {
      await rm(join(asideRoot, name), { recursive: true, force: true })
    }
  }
  for (const folder of await asideFolders(asideRoot)) {
    if ((await unlessGone(stat(join(folder, NOTE_FILE)), null)) === null) unfinished.push(folder)
  }
  // One more comes now. The first holds what no opening has touched; of the others the newest
  // count.
  for (const folder of unfinished.splice(
    1,
    Math.max(0, unfinished.length - (MAX_UNFINISHED_ASIDES - 1)),
  )) {
    await rm(folder, { recursive: true, force: true })
    notes.push(`${folder} was removed: too many openings did not finish`)
  }
  return unfinished
}

/** Oldest first. By number and not by time: clocks of small boxes are wrong at boot. */
async function asideFolders(asideRoot: string): Promise<string[]> {
  const names = (await unlessGone(readdir(asideRoot), [])).filter((name) => ASIDE.test(name))
  return names
    .toSorted((a, b) => asideNumber(a) - asideNumber(b))
    .map((name) => join(asideRoot, name))
}

function asideNumber(path: string): number {
  const name = path.slice(path.lastIndexOf('aside-'))
  return Number(ASIDE.exec(name)?.[1] ?? 0)
}

/**
 * Complete and durable under its final name, or not there at all. `copies`: where no links can be
 * had all files are copied, else the logs alone.
 */
async function putAside(
  dbDir: string,
  asideRoot: string,
  files: readonly DatabaseFile[],
  notes: string[],
  copies = true,
): Promise<{ readonly aside: string; readonly isWhole: boolean }> {
  const newest = (await asideFolders(asideRoot)).at(-1)
  const number = newest === undefined ? 1 : asideNumber(newest) + 1
  const making = await freshFolder(asideRoot, MAKING_PREFIX)
  try {
    const { copied, left } = await linkAll(dbDir, making, files, copies)
    if (copies && copied > 0)
      notes.push(`${copied} file(s) were copied aside: hard links are not possible here`)
    const aside = join(asideRoot, `aside-${String(number).padStart(6, '0')}`)
    await rename(making, aside)
    await syncFolder(asideRoot)
    return { aside, isWhole: left === 0 }
  } catch (error) {
    await rm(making, { recursive: true, force: true }).catch(() => undefined)
    throw error
  }
}

async function freshFolder(root: string, prefix: string): Promise<string> {
  await mkdir(root, { recursive: true, mode: 0o700 })
  await syncFolder(dirname(root))
  for (let n = 1; ; n += 1) {
    const folder = join(root, `${prefix}${n}`)
    try {
      await mkdir(folder, { mode: 0o700 })
      return folder
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
    }
  }
}

/**
 * What `link` answers where the file system, or a policy, has no hard links, or no more of them.
 */
const NO_LINKS = new Set(['EPERM', 'EXDEV', 'EMLINK', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EACCES'])

/** Durable. How many had to be copied, and how many were left out because they would have. */
async function linkAll(
  from: string,
  to: string,
  files: readonly DatabaseFile[],
  copies = true,
): Promise<{ readonly copied: number; readonly left: number }> {
  let copied = 0
  let left = 0
  for (const { name, kind } of files) {
    try {
      await link(join(from, name), join(to, name))
    } catch (error) {
      if (errorCode(error) === 'ENOENT') continue
      if (!NO_LINKS.has(errorCode(error) ?? '')) throw error
      if (!copies && kind !== 'log') {
        left += 1
        continue
      }
      await copyDurably(join(from, name), join(to, name))
      copied += 1
    }
  }
  await syncFolder(to)
  return { copied, left }
}

async function linkOrCopy(from: string, to: string): Promise<void> {
  try {
    await link(from, to)
  } catch (error) {
    if (!NO_LINKS.has(errorCode(error) ?? '')) throw error
    await copyDurably(from, to)
  }
}

/** In one step, and not in place: the aside has a link of the file. */
async function replaceManifest(dbDir: string, { name, bytes }: NewManifest): Promise<void> {
  // LevelDB's own kind of name: left behind by a crash, it goes with the next opening.
  const unfinished = join(dbDir, `${name.replace('MANIFEST-', '')}.dbtmp`)
  const file = await open(unfinished, 'w')
  try {
    await file.writeFile(bytes)
    await file.sync()
  } finally {
    await file.close()
  }
  await rename(unfinished, join(dbDir, name))
  await syncFolder(dbDir)
}

async function copyDurably(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE)
  const file = await open(to, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Repair moves what it has read into a folder that nobody empties; the aside has all of it. */
async function removeRepairLeftovers(plan: OpeningPlan): Promise<void> {
  if (plan.mode !== 'repair' && plan.earlier.length === 0) return
  await rm(join(plan.dbDir, REPAIR_LEFTOVERS), { recursive: true, force: true })
}

function keptText(plan: Pick<OpeningPlan, 'dbDir' | 'notes'>, note: string): string {
  const lines = [
    `Kept by Sluice on ${new Date().toISOString()}.`,
    '',
    note,
    ...plan.notes.map((line) => `- ${line}`),
    '',
    `These are the database files of ${plan.dbDir} as they were when something was found to be missing or damaged.`,
    'The gateway has taken what was readable and does not need them any more: they are for you to look at,',
    'and may be deleted. It deletes the oldest of these folders itself when they become too many or too large.',
    '',
  ]
  return lines.join('\n')
}

async function enforceLimits(
  asideRoot: string,
  newest: string,
  limits: KeptLimits,
): Promise<string[]> {
  const removed: string[] = []
  const kept: Array<{ folder: string; bytes: number }> = []
  for (const folder of await asideFolders(asideRoot)) {
    const isKept = (await unlessGone(stat(join(folder, NOTE_FILE)), null)) !== null
    if (isKept) kept.push({ folder, bytes: await folderBytes(folder) })
  }
  let total = kept.reduce((sum, { bytes }) => sum + bytes, 0)
  for (const { folder, bytes } of kept.slice(0, -1)) {
    const folders = kept.length - removed.length
    if (folder === newest || (folders <= limits.maxFolders && total <= limits.maxBytes)) break
    await rm(folder, { recursive: true, force: true })
    total -= bytes
    removed.push(
      `${folder} (${bytes} bytes), kept earlier, was removed: more than the limits for kept files`,
    )
  }
  if (total > limits.maxBytes)
    removed.push(`${newest} alone is above the limit of ${limits.maxBytes} bytes`)
  return removed
}
