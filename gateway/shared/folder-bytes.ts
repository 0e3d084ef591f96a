/** What a folder takes on its disk: for the spool's own count and for whoever judges the disk's room. */
import { lstat, readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { unlessGone } from './files.ts'

/**
 * Size of the units in which `stat` counts blocks, in bytes (POSIX sys/stat.h leaves it open; it is
 * 512 wherever node runs).
 */
const STAT_BLOCK_BYTES = 512

/**
 * Bytes that the files below `path` take on disk. A file with several links inside counts once.
 * Files may come and go meanwhile; a folder that is not there takes nothing.
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
