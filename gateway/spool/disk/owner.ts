/**
 * Who owns a data folder. The owner is who holds the lock of the small database in `owner/`
 * (store/lock.ts): taken before anything else in the folder is touched, by the gateway and by every
 * command that opens the folder; seen by processes of other pid namespaces (containers) too, and
 * released by the kernel however the owner ends.
 *
 * `owner.json` is no lock. It names the owner, so that who is refused can be told whom to stop. A file that is wrong or
 * old therefore never stops a start (I7).
 *
 * A command that looks into the folder of a stopped gateway has it for a moment. Who meets it waits
 * for it: `sluice status` must not keep a gateway from starting.
 */
import { randomUUID } from 'node:crypto'
import { lstat, mkdir, open, readdir, readFile, rename, rm } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { unlessGone } from '../../shared/files.ts'
import { lockFolder, probeLock } from '../store/lock.ts'
import { isFull, judgeDiskError } from './disk-errors.ts'
import { bootId } from './folder.ts'
import { FolderInUseError, NoLocksError } from './folder-errors.ts'

export const OWNER_FILE = 'owner.json'
const LOCK_FOLDER = 'owner'
/** LevelDB's lock file. Never removed: who holds it holds this inode. */
const LOCK_FILE = 'LOCK'
/** Version 0.1 took turns with such files. */
const OLD_TURN_FILE = /^owner-\d{1,15}\.turn$/

/** So long a command is waited for; one that takes longer (a check of every block) is named. */
const BRIEF_WAIT_MS = 5_000
/** For somebody who has the lock and has not written its name yet. */
const UNNAMED_WAIT_MS = 500
const BRIEF_POLL_MS = 50

export interface Owner {
  readonly pid: number
  /**
   * Clock ticks from boot to the start of the process: field 22 of /proc/<pid>/stat, proc(5). null:
   * not known.
   */
  readonly startTicks: string | null
  readonly bootId: string | null
  /** RFC 3339, for people. */
  readonly since: string
  /** Of a container: usually its id. */
  readonly host: string | null
  /** A command, which ends by itself. */
  readonly brief: boolean
  /** Unlike every other claim. */
  readonly token: string
}

export interface Ownership {
  release(): Promise<void>
}

export type TakeOwnership = (dataDir: string) => Promise<Ownership>

/**
 * Claims the folder, which must exist.
 *
 * @throws FolderInUseError (`SLUICE_FOLDER_IN_USE`) while another process, or this one, owns it
 * @throws NoLocksError (`SLUICE_NO_LOCKS`) where the file system gives no locks
 */
export const takeOwnership: TakeOwnership = (dataDir) => take(dataDir, false)

/** The same for a command. */
export const takeBriefly: TakeOwnership = (dataDir) => take(dataDir, true)

async function take(dataDir: string, brief: boolean): Promise<Ownership> {
  const began = performance.now()
  for (;;) {
    try {
      return await claim(dataDir, brief)
    } catch (error) {
      if (!(error instanceof FolderInUseError) || !error.isBrief) throw error
      if (performance.now() - began > (error.pid === null ? UNNAMED_WAIT_MS : BRIEF_WAIT_MS))
        throw error
      await sleep(BRIEF_POLL_MS)
    }
  }
}

async function claim(dataDir: string, brief: boolean): Promise<Ownership> {
  const lock = await hold(dataDir)
  try {
    // A gateway of version 0.1 holds the database itself and nothing else.
    const dbDir = join(dataDir, 'spool')
    if (await hasDatabase(dbDir)) {
      await probeLock(dbDir).catch((error: unknown) => refuseIfLocked(dataDir, error))
    }
    const token = randomUUID()
    await nameOwner(dataDir, token, brief)
    for (const name of await readdir(dataDir)) {
      if (OLD_TURN_FILE.test(name)) await rm(join(dataDir, name), { recursive: true, force: true })
    }
    return {
      release: async () => {
        await removeIfMine(join(dataDir, OWNER_FILE), token)
        await lock.release()
      },
    }
  } catch (error) {
    await lock.release()
    throw error
  }
}

/** A file in the folder's place is moved away later; nobody has it open as a database. */
async function hasDatabase(dbDir: string): Promise<boolean> {
  const stats = await unlessGone(lstat(dbDir), null)
  return (
    stats?.isDirectory() === true &&
    (await unlessGone(lstat(join(dbDir, 'CURRENT')), null)) !== null
  )
}

/**
 * Who owns the folder now, of those that this process can see; null: nobody, or somebody whom it
 * cannot see.
 */
export async function currentOwner(dataDir: string): Promise<Owner | null> {
  const owner = await namedOwner(dataDir)
  return owner !== null && (await isRunning(owner)) ? owner : null
}

async function hold(dataDir: string): Promise<Ownership> {
  const folder = join(dataDir, LOCK_FOLDER)
  const stats = await unlessGone(lstat(folder), null)
  // Nothing of ours makes a file of that name, so nobody can hold it.
  if (stats !== null && !stats.isDirectory()) await rename(folder, `${folder}.stray-${Date.now()}`)
  await mkdir(folder, { recursive: true, mode: 0o700 })
  try {
    return await lockFolder(folder)
  } catch (error) {
    await refuseIfLocked(dataDir, error)
    const kind = judgeDiskError(error)
    // The lock was to be had, and is free again.
    if (kind !== 'damage' && !(kind === 'refused' && (await hasFolders(folder)))) throw error
    await clearLockFolder(folder)
    return await lockFolder(folder)
  }
}

async function refuseIfLocked(dataDir: string, error: unknown): Promise<void> {
  const kind = judgeDiskError(error)
  if (kind === 'no-locks') throw new NoLocksError(dataDir, error)
  if (kind !== 'held') {
    // Whatever else is wrong with the database itself is found when it is opened.
    return
  }
  const named = await namedOwner(dataDir)
  const seen = named !== null && (await isRunning(named))
  throw new FolderInUseError(dataDir, named, seen)
}

async function hasFolders(folder: string): Promise<boolean> {
  const entries = await readdir(folder, { withFileTypes: true })
  return entries.some((entry) => entry.isDirectory())
}

/** There is no data in it. The lock file stays, if it is one. */
async function clearLockFolder(folder: string): Promise<void> {
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    if (entry.name === LOCK_FILE && entry.isFile()) continue
    await rm(join(folder, entry.name), { recursive: true, force: true })
  }
}

/** On a full disk there is no file; the lock is held all the same. */
async function nameOwner(dataDir: string, token: string, brief: boolean): Promise<void> {
  const path = join(dataDir, OWNER_FILE)
  const unfinished = `${path}.new`
  try {
    // For everybody to read: it is there to be told whom to stop. No fsync: after a power cut it is
    // old whatever it says.
    const file = await open(unfinished, 'w', 0o644)
    try {
      await file.writeFile(`${JSON.stringify(await describeSelf(token, brief))}\n`)
    } finally {
      await file.close()
    }
    const stats = await unlessGone(lstat(path), null)
    if (stats?.isDirectory()) await rename(path, `${path}.stray-${Date.now()}`)
    await rename(unfinished, path)
  } catch (error) {
    if (!isFull(error)) throw error
  }
}

async function describeSelf(token: string, brief: boolean): Promise<Owner> {
  return {
    pid: process.pid,
    startTicks: (await processState(process.pid))?.startTicks ?? null,
    bootId: bootId(),
    since: new Date().toISOString(),
    host: hostname(),
    brief,
    token,
  }
}

/** What the file says; null: nothing that can be read. */
async function namedOwner(dataDir: string): Promise<Owner | null> {
  return parseOwner(await readFile(join(dataDir, OWNER_FILE), 'utf8').catch(() => ''))
}

async function removeIfMine(path: string, token: string): Promise<void> {
  const owner = parseOwner(await readFile(path, 'utf8').catch(() => ''))
  if (owner?.token === token) await rm(path, { force: true }).catch(() => undefined)
}

function parseOwner(text: string): Owner | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null) return null
  const { pid, startTicks, bootId, since, host, brief, token } = value as Partial<
    Record<keyof Owner, unknown>
  >
  if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid < 1) return null
  return {
    pid,
    startTicks: typeof startTicks === 'string' ? startTicks : null,
    bootId: typeof bootId === 'string' ? bootId : null,
    since: typeof since === 'string' ? since : 'unknown',
    host: typeof host === 'string' ? host : null,
    brief: brief === true,
    token: typeof token === 'string' ? token : '',
  }
}

/** Is it certain that this very process runs, and here? */
async function isRunning(owner: Owner): Promise<boolean> {
  if (owner.startTicks === null || owner.bootId === null || owner.bootId !== bootId()) return false
  const state = await processState(owner.pid)
  return state !== null && state.startTicks === owner.startTicks && !state.ended
}

/** null: no such process, or no /proc to see it in. */
async function processState(pid: number): Promise<{ startTicks: string; ended: boolean } | null> {
  const text = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => null)
  if (text === null) return null
  // The name in field 2 may hold spaces and parentheses; the last parenthesis ends it.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  const state = fields[0]
  const startTicks = fields[22 - 3]
  if (state === undefined || startTicks === undefined) return null
  // Zombie or dead: it ended, its parent has not looked yet, and the kernel has released its locks.
  return { startTicks, ended: state === 'Z' || state === 'X' || state === 'x' }
}
