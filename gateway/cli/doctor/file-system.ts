/** The file system that a data folder is on, or will be: one look for `check` and the doctor. */
import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import { folderBytes } from '../../shared/folder-bytes.ts'
import type { DiskRoom } from '../text/capacity.ts'

export interface FileSystemFacts extends DiskRoom {
  /** 0: it has no fixed number of them. */
  readonly inodes: number
  readonly freeInodes: number
  /** Magic number, statfs(2). */
  readonly type: number
}

/** null where it cannot be told. */
export async function fileSystemOf(folder: string): Promise<FileSystemFacts | null> {
  for (let path = folder; ; path = dirname(path)) {
    try {
      const { bavail, bsize, files, ffree, type } = await statfs(path)
      return {
        freeBytes: bavail * bsize,
        // Another user's folder cannot be looked into: then the answer is on the safe side.
        usedBytes: await folderBytes(folder).catch(() => 0),
        inodes: files,
        freeInodes: ffree,
        type,
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) return null
    }
  }
}
