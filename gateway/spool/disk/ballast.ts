/**
 * A file of real bytes beside the spool, given up when the disk is full: LevelDB needs room even to
 * delete (I6). Owns that one file. Does not decide when to drop it, nor when to make it again.
 */
import { randomFillSync } from 'node:crypto'
import { open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { errorCode } from '../../shared/errors.ts'
import { syncFolder, unlessGone } from '../../shared/files.ts'
import { isFull } from './disk-errors.ts'
import { freeBytes } from './folder.ts'

const CHUNK_BYTES = 1024 * 1024
/** Size of the units in which `stat` counts blocks. */
const STAT_BLOCK_BYTES = 512
/**
 * Share of the file that must be on disk to be taken for real: file systems count their blocks
 * differently.
 */
const REAL_SHARE = 0.9

export class Ballast {
  readonly #path: string
  readonly #bytes: number
  #present: boolean
  /** One at a time: a drop that overtakes an ensure would leave the file. */
  #last: Promise<unknown> = Promise.resolve()

  private constructor(path: string, bytes: number, present: boolean) {
    this.#path = path
    this.#bytes = bytes
    this.#present = present
  }

  /**
   * Looks whether the file is there, whole and not sparse; makes nothing. `bytes`: the size it is
   * to have.
   */
  static async open(path: string, bytes: number): Promise<Ballast> {
    const stats = await unlessGone(stat(path), null)
    const real = stats !== null && stats.blocks * STAT_BLOCK_BYTES >= bytes * REAL_SHARE
    return new Ballast(path, bytes, real && stats.size === bytes)
  }

  /** The size it is to have. */
  get bytes(): number {
    return this.#bytes
  }

  /** The file is there with all its bytes. */
  get present(): boolean {
    return this.#present
  }

  /**
   * Makes the file if it is not there, and makes it durable. False, and nothing changed, if it
   * would leave less than
   * `headroomBytes` free. Random bytes, so that no file system stores them as less.
   */
  async ensure(headroomBytes = 0): Promise<boolean> {
    return this.#inTurn(() => this.#ensure(headroomBytes))
  }

  /** Removes the file, durably. Works on a full disk. */
  async drop(): Promise<void> {
    return this.#inTurn(async () => {
      this.#present = false
      await rm(this.#path, { force: true })
      await rm(this.#unfinishedPath, { force: true })
      await syncFolder(dirname(this.#path))
    })
  }

  get #unfinishedPath(): string {
    return `${this.#path}.new`
  }

  async #ensure(headroomBytes: number): Promise<boolean> {
    if (this.#present) return true
    // What an earlier try or another size left there is room that this one may use.
    await rm(this.#unfinishedPath, { force: true })
    await rm(this.#path, { force: true })
    // Asked first: a try on a disk that is nearly full would fill it under LevelDB's feet.
    if ((await freeBytes(dirname(this.#path))) < this.#bytes + headroomBytes) return false
    try {
      await this.#write()
    } catch (error) {
      await rm(this.#unfinishedPath, { force: true })
      if (isFull(error) || errorCode(error) === 'EFBIG') return false
      throw error
    }
    await rename(this.#unfinishedPath, this.#path)
    await syncFolder(dirname(this.#path))
    this.#present = true
    return true
  }

  async #write(): Promise<void> {
    const chunk = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, this.#bytes))
    const file = await open(this.#unfinishedPath, 'w', 0o600)
    try {
      for (let left = this.#bytes; left > 0; ) {
        const part = randomFillSync(chunk).subarray(0, left)
        // writeFile and not write: it goes on after a short write.
        await file.writeFile(part)
        left -= part.length
      }
      await file.sync()
    } finally {
      await file.close()
    }
  }

  async #inTurn<T>(operation: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(operation, operation)
    this.#last = turn.catch(() => undefined)
    return turn
  }
}
