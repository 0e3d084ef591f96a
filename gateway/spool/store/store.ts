/**
 * The only place that knows LevelDB. A store is a sorted map with one kind of write: an atomic
 * batch that is fsynced before its promise resolves (I1). It owns the handle and the folder's
 * directory entries; it does not retry, count or interpret: after a rejected write the committer
 * closes it and opens it anew.
 */
import type { ClassicLevel } from 'classic-level'
import { Level } from 'level'
import { syncFolder } from '../../shared/files.ts'
import { isDamage } from '../disk/disk-errors.ts'
import { OpenedFiles } from './opened-files.ts'

export type Op =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Uint8Array }
  | { readonly type: 'del'; readonly key: Buffer }

interface KeyRange {
  readonly gte: Buffer
  readonly lt: Buffer
  readonly reverse?: boolean
  readonly limit?: number
}

export interface Store {
  /**
   * Atomic and durable when it resolves, directory entries included. Rejects: nothing is known of
   * the batch.
   */
  write(ops: readonly Op[]): Promise<void>
  get(key: Buffer): Promise<Buffer | undefined>
  getMany(keys: readonly Buffer[]): Promise<Array<Buffer | undefined>>
  /** Both pass over what is damaged, and give all that is readable (I7). */
  keys(range: KeyRange): AsyncIterable<Buffer>
  entries(range: KeyRange): AsyncIterable<readonly [Buffer, Buffer]>
  /** Gives the space of deleted keys in the range back to the file system. */
  compact(start: Buffer, end: Buffer): Promise<void>
  close(): Promise<void>
}

export type OpenStore = (folder: string, options: { readonly create: boolean }) => Promise<Store>

/** LevelDB's write buffer: also what a crash makes it replay. Small, so that memory stays flat. */
const WRITE_BUFFER_BYTES = 4 * 1024 * 1024
/** Reading maps whole tables: small files keep the resident set small. */
const MAX_FILE_BYTES = 2 * 1024 * 1024
/** LevelDB's floor (10 of its own and 64 tables). */
const MAX_OPEN_FILES = 74
const CACHE_BYTES = 1024 * 1024
/**
 * File times move in ticks: a timer tick on Linux, whole seconds (two on FAT) where there is no
 * fraction.
 */
const FINE_TICK_MS = 20
const COARSE_TICK_MS = 2_000

type BinaryLevel = ClassicLevel<Buffer, Buffer>
const Database = Level as unknown as typeof ClassicLevel

/** Entries of one step of an iterator. */
const STEP_ENTRIES = 1000
const STEP_BYTES = 1024 * 1024

const ENCODINGS = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const

export const openStore: OpenStore = (folder, options) =>
  openStoreWith(folder, options, WRITE_BUFFER_BYTES)

/** With another write buffer, for tests that want many tables of few records. */
export async function openStoreWith(
  folder: string,
  { create }: { readonly create: boolean },
  writeBufferBytes: number,
): Promise<Store> {
  const db: BinaryLevel = new Database<Buffer, Buffer>(folder, {
    ...ENCODINGS,
    createIfMissing: create,
    compression: false,
    writeBufferSize: writeBufferBytes,
    maxFileSize: MAX_FILE_BYTES,
    maxOpenFiles: MAX_OPEN_FILES,
    cacheSize: CACHE_BYTES,
  })
  await db.open()
  try {
    // LevelDB does not fsync the name CURRENT: what it has read from a log that it drops now would
    // depend on it (I1).
    await syncFolder(folder)
  } catch (error) {
    await db.close()
    throw error
  }
  return new LevelStore(db, folder)
}

class LevelStore implements Store {
  readonly #db: BinaryLevel
  readonly #folder: string
  readonly #files: OpenedFiles
  #folderMtimeMs = -1

  constructor(db: BinaryLevel, folder: string) {
    this.#db = db
    this.#folder = folder
    this.#files = new OpenedFiles(folder)
  }

  async write(ops: readonly Op[]): Promise<void> {
    await this.#db.batch(ops as Op[], { sync: true })
    await this.#syncFolderIfChanged()
  }

  /**
   * LevelDB fsyncs its folder only with the MANIFEST: a log file that was begun since would not
   * survive a power cut, and its records with it. Nor does it notice that its files are no longer
   * those of its folder.
   */
  async #syncFolderIfChanged(): Promise<void> {
    const mtimeMs = this.#files.changedMs()
    if (mtimeMs === this.#folderMtimeMs) return
    await syncFolder(this.#folder)
    await this.#files.expectLog()
    // A change in the tick that was just read would look like no change.
    const tickMs = mtimeMs % 1000 === 0 ? COARSE_TICK_MS : FINE_TICK_MS
    this.#folderMtimeMs = Date.now() - mtimeMs > tickMs ? mtimeMs : -1
  }

  async get(key: Buffer): Promise<Buffer | undefined> {
    return await this.#db.get(key)
  }

  async getMany(keys: readonly Buffer[]): Promise<Array<Buffer | undefined>> {
    return await this.#db.getMany(keys as Buffer[])
  }

  keys(range: KeyRange): AsyncIterable<Buffer> {
    const options = { fillCache: false, highWaterMarkBytes: STEP_BYTES }
    return readable(
      (rest) => this.#db.keys({ ...rest, ...options }),
      range,
      (key) => key,
    )
  }

  entries(range: KeyRange): AsyncIterable<readonly [Buffer, Buffer]> {
    const options = { fillCache: false, highWaterMarkBytes: STEP_BYTES }
    return readable(
      (rest) => this.#db.iterator({ ...rest, ...options }),
      range,
      ([key]) => key,
    )
  }

  async compact(start: Buffer, end: Buffer): Promise<void> {
    await this.#db.compactRange(start, end)
  }

  async close(): Promise<void> {
    await this.#db.close()
  }
}

interface Steps<T> {
  nextv(size: number): Promise<T[]>
  close(): Promise<void>
}

/**
 * LevelDB passes over a block of a table that it cannot read, and says so at the end only, in the
 * place of the last entries: these are read once more then, one by one.
 */
async function* readable<T>(
  open: (range: KeyRange) => Steps<T>,
  range: KeyRange,
  keyOf: (item: T) => Buffer,
): AsyncGenerator<T> {
  let rest = range
  let left = range.limit ?? Number.POSITIVE_INFINITY
  for (let size = STEP_ENTRIES; left > 0; size = 1) {
    const steps = open(left < Number.POSITIVE_INFINITY ? { ...rest, limit: left } : rest)
    try {
      for (;;) {
        const items = await steps.nextv(size)
        if (items.length === 0) return
        left -= items.length
        yield* items
        rest = behind(rest, keyOf(items.at(-1) as T))
      }
    } catch (error) {
      if (!isDamage(error)) throw error
      // One by one it comes to the same end again.
      if (size === 1) return
    } finally {
      await steps.close()
    }
  }
}

function behind(range: KeyRange, key: Buffer): KeyRange {
  if (range.reverse) return { ...range, lt: key }
  return { ...range, gte: Buffer.concat([key, Buffer.alloc(1)]) }
}
