/** The file system that a folder is on, or will be. */
import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'

export interface FileSystemFacts {
  readonly freeBytes: number
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
      return { freeBytes: bavail * bsize, inodes: files, freeInodes: ffree, type }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT' || dirname(path) === path) return null
    }
  }
}
