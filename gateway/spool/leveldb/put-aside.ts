/**
 * An aside: a folder with a hard link of every table, log and MANIFEST of a database, and of
 * CURRENT. It costs no room until LevelDB drops a file. LevelDB writes to no file that exists, with
 * one exception: after a damaged MANIFEST it deals file numbers again, and truncates the file that
 * has the number, and so the link. Therefore what its MANIFEST does not name, which it would delete
 * anyway, leaves the folder before it opens (opening-plan.ts).
 *
 * Owns how an aside is made, put back, and copied for a salvage. When one is made is decided in
 * opening-plan.ts, how long it stays in kept-asides.ts.
 */
import { constants } from 'node:fs'
import { copyFile, link, lstat, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { errorCode } from '../../shared/errors.ts'
import { syncFolder, unlessGone } from '../../shared/files.ts'
import { type DatabaseFile, listDatabaseFiles, UNFINISHED_FILE } from './database-files.ts'
import { repairFolder } from './repair.ts'

const ASIDE = /^aside-(\d{6,})$/
const MAKING_PREFIX = 'making-'
const SALVAGE_PREFIX = 'salvage-'
/** Says why an aside stays. */
export const NOTE_FILE = 'README.txt'
/** Where LevelDB's own repair, which versions up to 0.7 ran, put what it had read. */
export const REPAIR_LEFTOVERS = 'lost'

/**
 * Complete and durable under its final name, or not there at all. `copies`: where no links can be
 * had all files are copied, else the logs alone.
 */
export async function putAside(
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
    const unfinished = join(dbDir, UNFINISHED_FILE)
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

/**
 * A folder beside `aside` with its tables and logs, which can be opened: neither its repair nor its
 * use writes to a file that is there, so the originals stay as they are. The caller removes it
 * ({@link dropSalvage}); what a crash leaves goes at the next opening.
 */
export async function salvageDatabase(
  aside: string,
  root = dirname(aside),
  except: readonly string[] = [],
): Promise<string> {
  const scratch = await freshFolder(root, SALVAGE_PREFIX)
  const files = await listDatabaseFiles(aside)
  const needed = files.filter(
    ({ kind, name }) => (kind === 'table' || kind === 'log') && !except.includes(name),
  )
  await linkAll(aside, scratch, needed)
  await repairFolder(scratch)
  return scratch
}

export async function dropSalvage(scratch: string): Promise<void> {
  await rm(scratch, { recursive: true, force: true })
}

/** What a crash left half made goes. */
export async function removeUnfinished(asideRoot: string): Promise<void> {
  for (const name of await unlessGone(readdir(asideRoot), [])) {
    if (name.startsWith(MAKING_PREFIX) || name.startsWith(SALVAGE_PREFIX))
      await rm(join(asideRoot, name), { recursive: true, force: true })
  }
}

/** It has a note: it stays as evidence. The others are of openings that did not finish. */
export async function isKept(aside: string): Promise<boolean> {
  return (await unlessGone(stat(join(aside, NOTE_FILE)), null)) !== null
}

/** Oldest first. By number and not by time: clocks of small boxes are wrong at boot. */
export async function asideFolders(asideRoot: string): Promise<string[]> {
  const names = (await unlessGone(readdir(asideRoot), [])).filter((name) => ASIDE.test(name))
  return names
    .toSorted((a, b) => asideNumber(a) - asideNumber(b))
    .map((name) => join(asideRoot, name))
}

function asideNumber(path: string): number {
  const name = path.slice(path.lastIndexOf('aside-'))
  return Number(ASIDE.exec(name)?.[1] ?? 0)
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

async function copyDurably(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE)
  const file = await open(to, 'r+')
  try {
    await file.sync()
  } finally {
    await file.close()
  }
}
