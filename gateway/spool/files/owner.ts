/**
 * Who owns a data folder: a small file that names the process, so that a second one can say whom it met.
 *
 * It is no lock. LevelDB's own LOCK is one, which the kernel releases however a process ends, and has the last
 * word. This file must therefore only never stop a start that could go on (I7): it counts only while the process that
 * it names runs, is the same process (start time, not just the number) and of the same boot.
 *
 * To judge a file stale and to put one's own in its place must be one step, or two processes that start at once both
 * succeed. The step is taken in turns: a turn is a numbered file, made by a link, which the file system grants to one
 * process only. The highest number counts and is never removed, only emptied when the turn is over; who takes
 * a number that is free again, because it is an old one, sees a higher one and has lost.
 */
import { randomUUID } from 'node:crypto'
import { link, open, readdir, readFile, rename, rm, truncate } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { errorCode } from '../../shared/errors.ts'
import { bootId, isNoSpace } from './folder.ts'

export const OWNER_FILE = 'owner.json'
export const TURN_FILE = /^owner-(\d{1,15})\.turn$/
/** A turn takes a few file operations. Who still waits then goes on without: this file must not stop a start. */
const MAX_TURN_WAIT_MS = 5000
const TURN_POLL_MS = 5

export class FolderInUseError extends Error {
  readonly code = 'SLUICE_FOLDER_IN_USE'
  readonly retryable = false
  readonly pid: number

  constructor(dataDir: string, owner: Owner) {
    super(
      `the data folder ${dataDir} is in use by process ${owner.pid} (since ${owner.since}): stop that one first ` +
        `(kill ${owner.pid}), or give this gateway a gateway.dataDir of its own`,
    )
    this.name = 'FolderInUseError'
    this.pid = owner.pid
  }
}

export interface Owner {
  readonly pid: number
  /** Clock ticks from boot to the start of the process: field 22 of /proc/<pid>/stat, proc(5). null: not known. */
  readonly startTicks: string | null
  readonly bootId: string | null
  /** RFC 3339, for people. */
  readonly since: string
  /** Unlike every other claim. */
  readonly token: string
}

/**
 * Claims the folder, which must exist. Where the file cannot be written (disk full, read-only), LevelDB's lock alone
 * decides.
 *
 * @throws FolderInUseError (`SLUICE_FOLDER_IN_USE`) while another process, or this one, owns it
 */
export async function takeOwnership(dataDir: string): Promise<{ release(): Promise<void> }> {
  const path = join(dataDir, OWNER_FILE)
  const mine = await describeSelf()
  const claim = join(dataDir, `owner-${mine.token}.tmp`)
  // Of its own: a turn is a link to it and gets emptied, the other becomes the owner file.
  const turnClaim = `${claim}.turn`
  try {
    await writeClaim(claim, mine)
    await writeClaim(turnClaim, mine)
    const turn = await takeTurn(dataDir, turnClaim)
    try {
      await refuseIfOwned(dataDir)
      await rename(claim, path)
    } finally {
      if (turn !== null) await truncate(turn, 0)
    }
    return { release: () => removeIfMine(path, mine.token) }
  } catch (error) {
    if (!isNoSpace(error) && errorCode(error) !== 'EROFS') throw error
    await refuseIfOwned(dataDir)
    return { release: async () => undefined }
  } finally {
    for (const path of [claim, turnClaim]) await rm(path, { force: true }).catch(() => undefined)
  }
}

/** Who owns the folder now; null: nobody that runs, or nobody that can be told apart. */
export async function currentOwner(dataDir: string): Promise<Owner | null> {
  return runningOwner(join(dataDir, OWNER_FILE))
}

async function refuseIfOwned(dataDir: string): Promise<void> {
  const owner = await currentOwner(dataDir)
  if (owner !== null) throw new FolderInUseError(dataDir, owner)
}

async function runningOwner(path: string): Promise<Owner | null> {
  const owner = parseOwner(await readFile(path, 'utf8').catch(() => ''))
  return owner !== null && (await isRunning(owner)) ? owner : null
}

/** The file of the turn, to be emptied at its end; null if others' turns took too long. */
async function takeTurn(dataDir: string, claim: string): Promise<string | null> {
  for (const endMs = performance.now() + MAX_TURN_WAIT_MS; performance.now() < endMs; ) {
    const last = (await turnNumbers(dataDir)).at(-1) ?? 0
    if ((await runningOwner(turnPath(dataDir, last))) !== null) {
      await sleep(TURN_POLL_MS)
      continue
    }
    const path = turnPath(dataDir, last + 1)
    if (!(await linked(claim, path))) continue
    const numbers = await turnNumbers(dataDir)
    if (numbers.some((number) => number > last + 1)) {
      await rm(path, { force: true })
      continue
    }
    for (const number of numbers.filter((number) => number <= last)) {
      await rm(turnPath(dataDir, number), { force: true })
    }
    return path
  }
  return null
}

/** Ascending. */
async function turnNumbers(dataDir: string): Promise<number[]> {
  const names = await readdir(dataDir)
  return names
    .flatMap((name) => TURN_FILE.exec(name)?.[1] ?? [])
    .map(Number)
    .toSorted((a, b) => a - b)
}

function turnPath(dataDir: string, number: number): string {
  return join(dataDir, `owner-${number}.turn`)
}

async function describeSelf(): Promise<Owner> {
  return {
    pid: process.pid,
    startTicks: (await processState(process.pid))?.startTicks ?? null,
    bootId: bootId(),
    since: new Date().toISOString(),
    token: randomUUID(),
  }
}

async function writeClaim(path: string, owner: Owner): Promise<void> {
  const file = await open(path, 'wx', 0o644)
  try {
    await file.writeFile(`${JSON.stringify(owner)}\n`)
    // No fsync: after a power cut the file is stale whatever it says.
  } finally {
    await file.close()
  }
}

/** The claim gets the name, unless the name is taken: decided by the file system, for all at once. */
async function linked(claim: string, path: string): Promise<boolean> {
  try {
    await link(claim, path)
    return true
  } catch (error) {
    const code = errorCode(error)
    if (code === 'EEXIST') return false
    // No hard links here (FAT, some network mounts): an exclusive create is as good, but for being seen half written.
    if (code === 'EPERM' || code === 'ENOTSUP' || code === 'EOPNOTSUPP' || code === 'ENOSYS') {
      return copiedExclusively(claim, path)
    }
    throw error
  }
}

async function copiedExclusively(claim: string, path: string): Promise<boolean> {
  try {
    const file = await open(path, 'wx', 0o644)
    try {
      await file.writeFile(await readFile(claim))
    } finally {
      await file.close()
    }
    return true
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false
    throw error
  }
}

async function removeIfMine(path: string, token: string): Promise<void> {
  const owner = parseOwner(await readFile(path, 'utf8').catch(() => ''))
  if (owner?.token === token) await rm(path, { force: true })
}

function parseOwner(text: string): Owner | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null) return null
  const { pid, startTicks, bootId, since, token } = value as Partial<Record<keyof Owner, unknown>>
  if (typeof pid !== 'number' || !Number.isSafeInteger(pid) || pid < 1) return null
  return {
    pid,
    startTicks: typeof startTicks === 'string' ? startTicks : null,
    bootId: typeof bootId === 'string' ? bootId : null,
    since: typeof since === 'string' ? since : 'unknown',
    token: typeof token === 'string' ? token : '',
  }
}

/** Is it certain that this very process runs? Without certainty LevelDB's lock decides, so: no. */
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
