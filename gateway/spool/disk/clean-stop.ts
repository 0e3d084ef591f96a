/**
 * The mark of a clean stop: the last thing that a stop writes, and the first that an opening takes
 * away. With it an opening may believe that no write was torn.
 */
import { open, readFile, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder, unlessGone } from '../../shared/files.ts'
import { judgeDiskError } from './disk-errors.ts'

export const CLEAN_FILE = 'clean-stop'
const CLEAN_TEXT = 'The spool was closed cleanly and nobody has opened it since.\n'

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
