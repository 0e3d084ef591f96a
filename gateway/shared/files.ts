/**
 * What several stages ask of files in the same way: is it another one by now, and are a folder's
 * entries on disk.
 */
import type { BigIntStats } from 'node:fs'
import { open } from 'node:fs/promises'
import { errorCode } from './errors.ts'

/**
 * Differs when the file was written or replaced. With times in ns and the inode: one that was
 * replaced or rewritten within a second, or with its former time and size, differs, too (ctime
 * cannot be set).
 */
export function fileStamp({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return `${dev}:${ino}:${size}:${mtimeNs}:${ctimeNs}`
}

/**
 * I1: makes the folder's entries durable (fsync of the directory); one that is not on disk takes
 * its file with it. Windows cannot, and does not need it.
 */
export async function syncFolder(path: string): Promise<void> {
  if (process.platform === 'win32') return
  const folder = await open(path, 'r')
  try {
    await folder.sync()
  } finally {
    await folder.close()
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
