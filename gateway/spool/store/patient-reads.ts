/**
 * Reads that tell damage from trouble (I7, I8). What is damaged will not come back, and counts as
 * missing; a disk that is gone for a while, or a handle that is closed, must not make anything
 * count as lost: such a read rejects, and whoever wanted it tries again.
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { isDamage, isReadFailure } from '../disk/disk-errors.ts'
import type { Store } from './store.ts'

/**
 * A bad sector fails the same read again and again: after so many failures over so long it is
 * damage.
 */
const MAX_READ_FAILURES = 10
const MIN_READ_TROUBLE_MS = 120_000

/** Counts failed reads of each name. */
export class Patience {
  readonly #nowMs: () => number
  readonly #failures = new Map<string, { count: number; readonly sinceMs: number }>()

  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs
  }

  get isTried(): boolean {
    return this.#failures.size > 0
  }

  worked(name: string): void {
    this.#failures.delete(name)
  }

  /** One more. True: this read will not come back. */
  isOver(name: string): boolean {
    const known = this.#failures.get(name) ?? { count: 0, sinceMs: this.#nowMs() }
    known.count++
    this.#failures.set(name, known)
    return known.count >= MAX_READ_FAILURES && this.#nowMs() - known.sinceMs >= MIN_READ_TROUBLE_MS
  }
}

export class PatientReads {
  readonly #folder: string
  readonly #patience: Patience

  /** `folder`: of the database. */
  constructor(folder: string, nowMs?: () => number) {
    this.#folder = folder
    this.#patience = new Patience(nowMs)
  }

  /** Of a file beside the store, by the same measure. */
  isLostFile(path: string, error: unknown): boolean {
    return isReadFailure(error) && this.#patience.isOver(path)
  }

  /** undefined: missing, or damaged. */
  async get(store: Store, key: Buffer): Promise<Buffer | undefined> {
    try {
      const value = await store.get(key)
      if (this.#patience.isTried) this.#patience.worked(key.toString('hex'))
      return value
    } catch (error) {
      if (this.#isLost(error, key)) return undefined
      throw error
    }
  }

  async getMany(store: Store, keys: readonly Buffer[]): Promise<Array<Buffer | undefined>> {
    if (keys.length === 0) return []
    try {
      return await store.getMany(keys)
    } catch (error) {
      if (!isDamage(error) && !isReadFailure(error)) throw error
      // One that cannot be read fails them all.
      const values: Array<Buffer | undefined> = []
      for (const key of keys) values.push(await this.get(store, key))
      return values
    }
  }

  #isLost(error: unknown, key: Buffer): boolean {
    // Without CURRENT the whole folder is away, not a table of it.
    if (isDamage(error)) return existsSync(join(this.#folder, 'CURRENT'))
    return isReadFailure(error) && this.#patience.isOver(key.toString('hex'))
  }
}
