/**
 * A lock on a folder that the kernel keeps, and releases however its process ends. It holds across
 * pid namespaces (containers), and across hosts where the file system has a lock service. Node has
 * no fcntl: LevelDB locks the folder of a database, so a small empty one is the lock. No code of
 * ours may open a LOCK file: POSIX locks of a process are gone when it closes any descriptor of the
 * file.
 */
import type { ClassicLevel } from 'classic-level'
import { Level } from 'level'

const Database = Level as unknown as typeof ClassicLevel

/** LevelDB's least: nothing is ever written into it. */
const SMALL = { writeBufferSize: 65_536, cacheSize: 0, maxOpenFiles: 64 } as const

/**
 * Rejects with LevelDB's error if the lock is held, or cannot be had. Makes the database in the
 * folder.
 */
export async function lockFolder(folder: string): Promise<{ release(): Promise<void> }> {
  const db = new Database(folder, SMALL)
  await db.open()
  return { release: () => db.close() }
}

/**
 * Rejects with LevelDB's error if another process has the database in the folder open; reads and
 * changes nothing in it but the name of its information log. Only for a database that is there.
 */
export async function probeLock(folder: string): Promise<void> {
  const db = new Database(folder, { ...SMALL, createIfMissing: false, errorIfExists: true })
  try {
    await db.open()
    await db.close()
  } catch (error) {
    // It looks whether there is a database after it has got the lock.
    if (!/error_if_exists is true|create_if_missing is false/.test(causeOf(error))) throw error
  }
}

function causeOf(error: unknown): string {
  return error instanceof Error && error.cause instanceof Error
    ? error.cause.message
    : String(error)
}
