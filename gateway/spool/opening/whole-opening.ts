/**
 * Opens a database so that nothing is left out without a word (I1, I7). LevelDB ignores an error
 * that it meets while it reads a log at an opening (no descriptors, no memory, a disk that failed),
 * and then deletes that log with the acknowledged records in it. So what the logs hold is looked up
 * in what was opened, and if it is not there the files are put back and it is tried again.
 */

import { lstat } from 'node:fs/promises'
import { unlessGone } from '../../shared/files.ts'
import { describeError } from '../disk/disk-errors.ts'
import { restoreFiles } from '../leveldb/put-aside.ts'
import { Patience } from '../store/patient-reads.ts'
import type { Store } from '../store/store.ts'
import { newestCommitInLogs } from './raw-scan.ts'
import { lastCommitNumber } from './recovery.ts'

/** At once; then whoever opens waits and tries again. */
const MAX_TRIES = 3
/**
 * Folders in which LevelDB has left something out again and again: then what it opened is taken,
 * for it may be right.
 */
const patience = new Patience()

/** Passes when whatever kept LevelDB from reading passes. */
class LeftOutError extends Error {
  readonly code = 'EAGAIN'
  readonly retryable = true

  constructor(dbDir: string) {
    super(
      `LevelDB did not read all files of ${dbDir} that are whole; they were put back as they were, and it is tried again`,
    )
    this.name = 'LeftOutError'
  }
}

/**
 * @throws LeftOutError unless LevelDB has left something out so often and so long that it may be right
 */
function leftOut(dbDir: string): void {
  if (!patience.isOver(dbDir)) throw new LeftOutError(dbDir)
}

export interface StoreOpening {
  readonly dbDir: string
  /** All files as they were before; null: there is no such folder. */
  readonly aside: string | null
  /**
   * Files of the aside that LevelDB is not to find, and what else is to be done before it opens the
   * folder.
   */
  readonly unnamed: readonly string[]
  readonly apply: () => Promise<void>
  readonly open: () => Promise<Store>
}

export async function openWhole({
  dbDir,
  aside,
  unnamed,
  apply,
  open,
}: StoreOpening): Promise<Store> {
  for (let tries = 1; ; tries++) {
    const store = await open().catch(async (error: unknown) => {
      if (await isListCutShort(error)) leftOut(dbDir)
      throw error
    })
    if (aside === null) return store
    let isWhole: boolean
    try {
      isWhole = await hasAll(store, aside, unnamed)
    } catch (error) {
      await store.close()
      throw error
    }
    if (isWhole) patience.worked(dbDir)
    if (isWhole || (tries === MAX_TRIES && patience.isOver(dbDir))) return store
    await store.close()
    await restoreFiles(aside, dbDir)
    if (tries === MAX_TRIES) throw new LeftOutError(dbDir)
    await apply()
  }
}

async function hasAll(store: Store, aside: string, unnamed: readonly string[]): Promise<boolean> {
  return (await newestCommitInLogs(aside, unnamed)) <= (await lastCommitNumber(store))
}

/**
 * LevelDB takes a list of files that the disk cut short for all there are, and calls the rest
 * missing.
 */
async function isListCutShort(error: unknown): Promise<boolean> {
  const missing = /missing files; e\.g\.: (.+)$/.exec(describeError(error))?.[1]
  return missing !== undefined && (await unlessGone(lstat(missing), null)) !== null
}
