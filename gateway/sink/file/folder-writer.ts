/**
 * Writes files so that each is there whole or not at all: temporary name, fsync, rename, fsync of
 * the folder. `write` resolves when all of that is done: the sink may then answer that it took
 * the batch (I8). The same file again is compared and left as it is.
 *
 * Never makes the folder itself: where a disk is mounted and gone, its files would fill the one
 * below. Deletes nothing but its own temporary files. What an error means: file-errors.ts.
 */
import { constants } from 'node:fs'
import {
  access,
  type FileHandle,
  mkdir,
  open,
  readdir,
  rename,
  stat,
  statfs,
  unlink,
} from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { errorCode } from '../../shared/errors.ts'
import { syncFolder } from '../../shared/files.ts'
import type { BatchFiles, FormerFile, NamedFile } from '../batch-files/batch-files.ts'
import { temporaryName } from '../batch-files/names.ts'
import {
  AbandonedError,
  FolderFault,
  faultOf,
  noMarker,
  noRoom,
  OtherBytesError,
} from './file-errors.ts'

interface FolderWriterOptions {
  readonly folder: string
  /** A file that must be in it; null: none. */
  readonly marker: string | null
  readonly minFreeBytes: number
  /** Rights of the files; folders can be entered by those who may read. */
  readonly mode: number
}

export interface FilesToWrite extends Omit<BatchFiles, 'named'> {
  /** Temporary files that a kill may have left beside the data file. */
  readonly leftovers: RegExp
  /** Whose records these are. */
  readonly queue: string
  readonly firstSeq: number
  /** Of a data file of the same queue; null: it is none. */
  lastSeqIn(name: string): number | null
}

/** How far a call has come, for whoever gives up waiting for it. */
export interface WriteProgress {
  /** Nobody wants it any more: it ends before the next step, unless it may be seen already. */
  isAbandoned: boolean
  /** Others may have seen the data file under its own name. */
  isVisible: boolean
  /** Files of other batches of its queue hold records up to this one: an older spool came back. */
  storedThrough: number | null
  /** Called after each step. */
  moved(): void
}

const COMPARED_BYTES = 256 * 1024

/** CIFS and some of FUSE: their servers see to it, or nobody can. */
const CANNOT_SYNC_FOLDERS = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'])

type Step = <T>(work: Promise<T>) => Promise<T>

export class FolderWriter {
  readonly #o: FolderWriterOptions
  /** Folders whose own names are durable. */
  readonly #made = new Set<string>()
  /** Where leftovers of an earlier run were looked for. */
  readonly #cleared = new Set<string>()
  /** By folder and queue, the last record in files of earlier runs. */
  readonly #storedThrough = new Map<string, number>()
  /**
   * Written, but not known to be durable: their fsync failed, and a later one would say nothing of
   * what was lost.
   */
  readonly #doubtful = new Set<string>()

  constructor(options: FolderWriterOptions) {
    this.#o = options
  }

  /**
   * Is the folder there, writable, and is there room for so many bytes?
   * @throws FolderFault with what is in the way
   */
  async look(bytes: number): Promise<void> {
    const { folder, marker, minFreeBytes } = this.#o
    try {
      const stats = await stat(folder)
      if (!stats.isDirectory()) throw new FolderFault('ENOTDIR', `${folder} is no folder`)
      if (marker !== null && !(await exists(join(folder, marker)))) throw noMarker(folder, marker)
      await access(folder, constants.W_OK | constants.X_OK)
      const { bavail, bsize, blocks } = await statfs(folder)
      const free = bavail * bsize
      // Some network file systems do not tell.
      if (blocks > 0 && free < bytes + minFreeBytes)
        throw noRoom(folder, { free, bytes, minFreeBytes })
    } catch (error) {
      throw error instanceof FolderFault ? error : faultOf(error)
    }
  }

  /** Resolves when all of it is there and durable, written now or before. */
  async write(wanted: FilesToWrite, progress: WriteProgress): Promise<void> {
    const step: Step = async (work) => {
      const result = await work
      progress.moved()
      if (progress.isAbandoned && !progress.isVisible) throw new AbandonedError()
      return result
    }
    const { gaps, data } = wanted
    const path = join(this.#o.folder, data.name)
    const target = dirname(path)
    await step(this.look(bytesOf(data.chunks) + bytesOf(gaps?.chunks ?? [])))
    if (await step(this.#isThereAs(wanted.former, progress))) return
    for (const below of wanted.folders) await step(this.#makeFolder(below))
    const through = await step(this.#earlierRuns(target, wanted))
    progress.isVisible = !this.#doubtful.has(path)
    const missing = [gaps, data].filter((file) => file !== null)
    if (progress.isVisible && (await step(isThere(path, data.chunks)))) missing.pop()
    else {
      progress.isVisible = false
      if (through >= wanted.firstSeq) progress.storedThrough = through
    }
    await this.#place(missing, step, (file) => {
      if (file === data) progress.isVisible = true
    })
    try {
      await syncNames(target)
    } catch (error) {
      this.#doubtful.add(path)
      throw error
    }
    this.#doubtful.delete(path)
  }

  /** @throws OtherBytesError if one of them is there, and holds something else */
  async #isThereAs(former: readonly FormerFile[], progress: WriteProgress): Promise<boolean> {
    for (const one of former) {
      const path = join(this.#o.folder, one.name)
      if (!(await exists(path))) continue
      progress.isVisible = true
      const file = await openFile(path)
      try {
        if (!one.isBatch(await file.readFile())) throw new OtherBytesError(path)
        await file.sync()
      } finally {
        await file.close()
      }
      await syncNames(dirname(path))
      return true
    }
    return false
  }

  /** Under their own names, in this order, whole and durable but for the names. */
  async #place(
    files: readonly NamedFile[],
    step: Step,
    isAboutToBeSeen: (file: NamedFile) => void,
  ): Promise<void> {
    const moves = files.map((file) => {
      const path = join(this.#o.folder, file.name)
      return { file, path, temporary: join(dirname(path), temporaryName(basename(path))) }
    })
    try {
      for (const { file, temporary } of moves) await this.#fill(temporary, file.chunks, step)
      for (const { file, path, temporary } of moves) {
        isAboutToBeSeen(file)
        await step(rename(temporary, path))
      }
    } catch (error) {
      // On a full disk they take the room that others need.
      for (const { temporary } of moves) await unlink(temporary).catch(() => undefined)
      throw error
    }
  }

  async #fill(path: string, chunks: readonly Uint8Array[], step: Step): Promise<void> {
    const file = await create(path, this.#o.mode)
    try {
      for (const chunk of chunks) {
        for (let at = 0; at < chunk.length; ) at += (await step(file.write(chunk, at))).bytesWritten
      }
      await step(file.sync())
    } finally {
      await file.close()
    }
  }

  async #makeFolder(below: string): Promise<void> {
    const path = join(this.#o.folder, below)
    const mode = this.#o.mode | ((this.#o.mode & 0o444) >> 2)
    try {
      await mkdir(path, { mode })
    } catch (error) {
      if (errorCode(error) !== 'EEXIST') throw error
      if (this.#made.has(path)) return
    }
    await addRights(path, mode)
    // Also one that an earlier run has made: it may have been killed before this.
    await syncNames(dirname(path))
    this.#made.add(path)
  }

  /**
   * Removes what they have left unfinished; gives the last record of the queue in what they have
   * written. Looks once a run.
   */
  async #earlierRuns(target: string, wanted: FilesToWrite): Promise<number> {
    const { leftovers, queue } = wanted
    const key = `${target} ${queue}`
    const known = this.#storedThrough.get(key)
    if (known !== undefined) return known
    let through = 0
    const clears = !this.#cleared.has(`${target} ${leftovers.source}`)
    for (const name of await readdir(target)) {
      if (clears && leftovers.test(name)) await unlink(join(target, name))
      through = Math.max(through, wanted.lastSeqIn(name) ?? 0)
    }
    this.#cleared.add(`${target} ${leftovers.source}`)
    this.#storedThrough.set(key, through)
    return through
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path)
    return true
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false
    throw error
  }
}

function bytesOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((bytes, chunk) => bytes + chunk.length, 0)
}

/** Never through a link or into a file that somebody else has made under this name. */
async function create(path: string, mode: number): Promise<FileHandle> {
  let file: FileHandle
  try {
    file = await open(path, 'wx', mode)
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error
    await unlink(path)
    file = await open(path, 'wx', mode)
  }
  // Whatever the umask is. FAT and SMB have no rights to give.
  await file.chmod(mode).catch(() => undefined)
  return file
}

/**
 * To a folder, whatever the umask is: a reader needs the right to enter it. What it has already
 * stays, and a link is not followed. FAT and SMB have no rights to give.
 */
async function addRights(path: string, mode: number): Promise<void> {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW
  const folder = await open(path, flags).catch(() => null)
  if (folder === null) return
  try {
    const { mode: before } = await folder.stat()
    await folder.chmod((before & 0o7777) | mode)
  } catch {
    // As above: without the rights, too, everything is written.
  } finally {
    await folder.close()
  }
}

/**
 * Is the file there with these bytes? Then they are made durable, in case a kill came before that.
 * @throws OtherBytesError if it has others
 */
async function isThere(path: string, chunks: readonly Uint8Array[]): Promise<boolean> {
  let file: FileHandle
  try {
    file = await openFile(path)
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false
    throw error
  }
  try {
    const { size } = await file.stat()
    const isSame = size === bytesOf(chunks) && (await holds(file, chunks))
    if (!isSame) throw new OtherBytesError(path)
    await file.sync()
    return true
  } finally {
    await file.close()
  }
}

async function holds(file: FileHandle, chunks: readonly Uint8Array[]): Promise<boolean> {
  const room = Buffer.alloc(COMPARED_BYTES)
  for (const chunk of chunks) {
    for (let at = 0; at < chunk.length; ) {
      const wanted = Math.min(room.length, chunk.length - at)
      const { bytesRead } = await file.read(room, 0, wanted, null)
      if (bytesRead === 0) return false
      if (!room.subarray(0, bytesRead).equals(chunk.subarray(at, at + bytesRead))) return false
      at += bytesRead
    }
  }
  return true
}

/**
 * To read. Whatever else stands under the name does not hold the call up, as a pipe without a writer
 * would for good.
 * @throws OtherBytesError if it is no file
 */
async function openFile(path: string): Promise<FileHandle> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  if ((await file.stat()).isFile()) return file
  await file.close()
  throw new OtherBytesError(path)
}

async function syncNames(folder: string): Promise<void> {
  try {
    await syncFolder(folder)
  } catch (error) {
    if (!CANNOT_SYNC_FOLDERS.has(errorCode(error) ?? '')) throw error
  }
}
