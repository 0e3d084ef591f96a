/**
 * What the spool asks the file system besides reading and writing: room, a folder that lasts, and which boot this is.
 * Serves I1 and I6.
 */
import { readFileSync } from 'node:fs'
import { lstat, mkdir, open, readdir, rm, statfs } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { errorCode } from '../../shared/errors.ts'
import { syncFolder } from '../../shared/files.ts'

/** Size of the units in which `stat` counts blocks, in bytes (POSIX sys/stat.h leaves it open; it is 512 wherever node runs). */
const STAT_BLOCK_BYTES = 512

const PROBE_FILE = 'disk-probe.tmp'

const BOOT_ID_FILE = '/proc/sys/kernel/random/boot_id'

/** Bytes that this user may still write on the file system that holds `path`. */
export async function freeBytes(path: string): Promise<number> {
  const { bavail, bsize } = await statfs(path)
  return bavail * bsize
}

/**
 * Bytes that the files below `path` take on disk. A file with several links inside counts once. Files may come
 * and go meanwhile; a folder that is not there takes nothing.
 */
export async function folderBytes(path: string): Promise<number> {
  return bytesBelow(path, new Set())
}

async function bytesBelow(path: string, seen: Set<string>): Promise<number> {
  let bytes = 0
  for (const entry of await unlessGone(readdir(path, { withFileTypes: true }), [])) {
    const child = join(path, entry.name)
    if (entry.isDirectory()) {
      bytes += await bytesBelow(child, seen)
      continue
    }
    const stats = await unlessGone(lstat(child), null)
    if (stats === null) continue
    if (stats.nlink > 1) {
      const inode = `${stats.dev}:${stats.ino}`
      if (seen.has(inode)) continue
      seen.add(inode)
    }
    bytes += stats.blocks * STAT_BLOCK_BYTES
  }
  return bytes
}

/**
 * Makes the folder and those above it. Its name must outlive a power cut, or nothing in it does (I1); also one that a
 * start has made which was killed before it could see to that.
 */
export async function makeDurableFolder(path: string): Promise<void> {
  const folder = resolve(path)
  const made = await mkdir(folder, { recursive: true, mode: 0o700 })
  const highest = dirname(made ?? folder)
  for (let above = dirname(folder); ; above = dirname(above)) {
    await syncFolder(above).catch((error: unknown) => {
      // A folder whose names this user may not list: somebody else has made what is in it.
      if (errorCode(error) !== 'EACCES' && errorCode(error) !== 'EPERM') throw error
    })
    if (above === highest) return
  }
}

/** The operation's result, or `otherwise` when what it was about is not there. */
export async function unlessGone<T, U>(operation: Promise<T>, otherwise: U): Promise<T | U> {
  try {
    return await operation
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return otherwise
    throw error
  }
}

/** Does the error say that there is no room: disk full, or the user's quota? */
export function isNoSpace(error: unknown): boolean {
  const code = errorCode(error)
  return code === 'ENOSPC' || code === 'EDQUOT'
}

/** The same of any error: LevelDB says it in words, and keeps the system's error as a cause. */
export function isFull(error: unknown): boolean {
  const text = error instanceof Error ? `${error.message} ${String(error.cause)}` : String(error)
  return isNoSpace(error) || /no space left|disk quota/i.test(text)
}

/** Does the error say that the device failed (EIO)? Of any error, as above. */
export function isIoError(error: unknown): boolean {
  const text = error instanceof Error ? `${error.message} ${String(error.cause)}` : String(error)
  return errorCode(error) === 'EIO' || /input\/output error/i.test(text)
}

/** Writes a file in the folder, makes it durable and removes it. @throws what the disk says to that */
export async function proveWritable(folder: string): Promise<void> {
  const path = join(folder, PROBE_FILE)
  const file = await open(path, 'w', 0o600)
  try {
    await file.writeFile('Written to see whether the disk takes writes.\n')
    await file.sync()
  } finally {
    await file.close()
    await rm(path, { force: true })
  }
}

/** In words, with its cause: LevelDB's own message alone says only what failed, not why. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return error.cause instanceof Error ? `${error.message}: ${error.cause.message}` : error.message
}

/** Linux: a random id of this boot, which tells a process of today from one of before the reboot. Else null. */
export function bootId(): string | null {
  try {
    return readFileSync(BOOT_ID_FILE, 'ascii').trim() || null
  } catch {
    return null
  }
}
