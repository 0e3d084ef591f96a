/**
 * Are the files that LevelDB has open still those of its folder? It writes on into files that were
 * deleted, moved or mounted over, and fsync succeeds: what is acknowledged then is gone with the
 * process (I1).
 *
 * By inode, of the folder and of the newest log alone: LevelDB has files of both open, so that no
 * file system gives these two another number meanwhile.
 */
import { statSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

const LOG = /^(\d+)\.log$/

/** It passes when the folder is back; a new start takes what is there. */
class FolderReplacedError extends Error {
  readonly code = 'ESTALE'
  readonly retryable = true

  constructor(folder: string, what: string) {
    super(
      `${what}: ${folder} was moved, deleted, replaced or mounted over while the gateway ran. Put ` +
        'it back, or restart the gateway, which goes on with what is there',
    )
    this.name = 'FolderReplacedError'
  }
}

/** @throws FolderReplacedError unless the folder at this path has this inode */
export function expectInode(folder: string, inode: number): void {
  const found = inodeOf(folder)
  if (found !== inode) throw replaced(folder, found === null)
}

/** null: there is no such folder. */
export function inodeOf(folder: string): number | null {
  return statSync(folder, { throwIfNoEntry: false })?.ino ?? null
}

function replaced(folder: string, isGone: boolean): FolderReplacedError {
  const what = isGone ? 'the folder of the store is gone' : 'another folder lies in its place'
  return new FolderReplacedError(folder, what)
}

export class OpenedFiles {
  readonly #folder: string
  readonly #inode: number
  #log: { readonly number: number; readonly inode: number | null } | null = null

  /** `folder`: LevelDB has just opened it. */
  constructor(folder: string) {
    this.#folder = folder
    this.#inode = statSync(folder).ino
  }

  /**
   * When an entry of the folder changed last, ms. Synchronous on purpose: a few microseconds here,
   * a wait for the busy thread pool otherwise.
   *
   * @throws FolderReplacedError
   */
  changedMs(): number {
    const stats = statSync(this.#folder, { throwIfNoEntry: false })
    if (stats?.ino !== this.#inode) throw replaced(this.#folder, stats === undefined)
    return stats.mtimeMs
  }

  /** To be asked whenever an entry of the folder changed. @throws FolderReplacedError */
  async expectLog(): Promise<void> {
    const names = await readdir(this.#folder)
    const number = Math.max(0, ...names.map((name) => Number(LOG.exec(name)?.[1] ?? 0)))
    const name = names.find((each) => Number(LOG.exec(each)?.[1]) === number)
    const inode = name === undefined ? null : inodeOf(join(this.#folder, name))
    const was = this.#log
    // LevelDB begins logs with higher numbers and deletes older ones.
    const isSame = was?.number === number ? was.inode === inode : number > (was?.number ?? 0)
    if (inode === null || !isSame || !names.includes('CURRENT'))
      throw new FolderReplacedError(this.#folder, 'files of the store are gone')
    this.#log = { number, inode }
  }
}
