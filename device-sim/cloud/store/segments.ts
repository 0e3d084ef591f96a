/**
 * The stored lines of one queue: append-only NDJSON segments, named by the first seq they hold. The
 * queue's one number is the seq of the last whole line, so it needs no place of its own and can
 * never disagree with the lines.
 *
 * `append` resolves after fdatasync (and after fsync of the folder when a segment is new): only then may 2xx be said.
 * A torn tail (kill -9, power cut in an append) is cut at opening. After a failed write the object
 * is `broken` and only good for closing: what is on disk is found out by opening again. Not here:
 * judging, gaps, locking.
 */
import { type FileHandle, mkdir, open, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { linePrefix, seqOfLine } from './lines.ts'

const LF = 0x0a
const SUFFIX = '.ndjson'
const READ_BYTES = 1024 * 1024

export interface QueueName {
  readonly gateway: string
  readonly spool: string
  readonly stream: string
}

export interface SegmentOptions {
  /** A segment that is this long is not appended to, bytes. */
  readonly segmentBytes: number
  /** False: no fdatasync, for speed where a power cut does not matter. */
  readonly sync: boolean
}

/** Where a queue's files lie. */
export function queueFolder(dir: string, queue: QueueName): string {
  return join(dir, queue.gateway, queue.spool, queue.stream)
}

export class Segments {
  readonly #folder: string
  readonly #options: SegmentOptions
  readonly #names: string[]
  #file: FileHandle | null = null
  #fileBytes = 0
  #highest: number
  #records: number
  #bytes: number
  #broken = false
  /** Bytes that opening cut from the tail. */
  readonly tornBytes: number

  private constructor(folder: string, options: SegmentOptions, names: string[], found: Found) {
    this.#folder = folder
    this.#options = options
    this.#names = names
    this.#highest = found.highest
    this.#records = found.records
    this.#bytes = found.bytes
    this.tornBytes = found.tornBytes
  }

  /** Opens or creates the queue's folder under `dir`, and cuts a torn tail. */
  static async open(dir: string, queue: QueueName, options: SegmentOptions): Promise<Segments> {
    const folder = queueFolder(dir, queue)
    await mkdir(folder, { recursive: true })
    if (options.sync) await syncFolders(folder, dir)
    const names = await segmentNames(folder)
    const found = await recover(folder, names, linePrefix(queue), options.sync)
    return new Segments(folder, options, names, found)
  }

  /** Seq of the last stored line; 0: none yet. */
  get highest(): number {
    return this.#highest
  }

  get records(): number {
    return this.#records
  }

  get bytes(): number {
    return this.#bytes
  }

  get broken(): boolean {
    return this.#broken
  }

  /**
   * Whole lines, behind all others; durable when it resolves. One call at a time. @throws when the
   * disk does not take it
   */
  async append(
    lines: Uint8Array,
    firstSeq: number,
    lastSeq: number,
    records: number,
  ): Promise<void> {
    if (this.#broken) throw new Error('the queue must be opened again after a failed write')
    try {
      const file = await this.#writable(firstSeq)
      let written = 0
      while (written < lines.length) {
        const { bytesWritten } = await file.write(
          lines,
          written,
          lines.length - written,
          this.#fileBytes + written,
        )
        written += bytesWritten
      }
      if (this.#options.sync) await file.datasync()
    } catch (error) {
      this.#broken = true
      throw error
    }
    this.#fileBytes += lines.length
    this.#bytes += lines.length
    this.#records += records
    this.#highest = lastSeq
  }

  async close(): Promise<void> {
    await this.#file?.close()
    this.#file = null
    this.#broken = true
  }

  /** The segment to append to: the last one while it is short enough, else a new one. */
  async #writable(firstSeq: number): Promise<FileHandle> {
    const last = this.#names.at(-1)
    if (this.#file === null && last !== undefined) {
      this.#file = await open(join(this.#folder, last), 'r+')
      this.#fileBytes = (await this.#file.stat()).size
    }
    if (this.#file !== null && this.#fileBytes < this.#options.segmentBytes) return this.#file
    await this.#file?.close()
    this.#file = null
    const name = String(firstSeq).padStart(16, '0') + SUFFIX
    // Not 'wx': a segment whose only lines were torn was cut to nothing and has this very name.
    const file = await open(join(this.#folder, name), 'w')
    this.#file = file
    this.#fileBytes = 0
    if (this.#names.at(-1) !== name) this.#names.push(name)
    if (this.#options.sync) await syncFolder(this.#folder)
    return file
  }
}

/**
 * Stored lines of a queue with a seq above `after`, in order, without LF. Reads what is there now,
 * also beside a running cloud; a torn tail is left out. The bytes are a copy: they may be kept.
 */
export async function* readLines(
  dir: string,
  queue: QueueName,
  after = 0,
): AsyncGenerator<Buffer, void, undefined> {
  const folder = queueFolder(dir, queue)
  const prefix = linePrefix(queue)
  const names = await segmentNames(folder)
  for (const [index, name] of names.entries()) {
    const next = names[index + 1]
    if (next !== undefined && Number.parseInt(next, 10) <= after) continue
    for await (const chunk of wholeLines(join(folder, name))) {
      for (let start = 0; start < chunk.length; ) {
        const end = chunk.indexOf(LF, start)
        if (after === 0 || seqOfLine(chunk, start, end, prefix) > after)
          yield chunk.subarray(start, end)
        start = end + 1
      }
    }
  }
}

/** Segment files in order of their first seq. Empty if there is no folder. */
async function segmentNames(folder: string): Promise<string[]> {
  const all = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return []
    throw error
  })
  return all.filter((name) => name.endsWith(SUFFIX)).sort()
}

/** A file in pieces that end with LF; what is behind the last LF is left out. */
async function* wholeLines(path: string): AsyncGenerator<Buffer, void, undefined> {
  const file = await open(path, 'r')
  try {
    let rest: Buffer = Buffer.alloc(0)
    for (;;) {
      const buffer = Buffer.allocUnsafe(rest.length + READ_BYTES)
      rest.copy(buffer)
      const { bytesRead } = await file.read(buffer, rest.length, READ_BYTES)
      if (bytesRead === 0) return
      const filled = buffer.subarray(0, rest.length + bytesRead)
      const end = filled.lastIndexOf(LF) + 1
      if (end > 0) yield filled.subarray(0, end)
      rest = filled.subarray(end)
    }
  } finally {
    await file.close()
  }
}

interface Found {
  readonly highest: number
  readonly records: number
  readonly bytes: number
  readonly tornBytes: number
}

/** Counts the lines and cuts the last segment behind its last whole line that is a record. */
async function recover(
  folder: string,
  names: string[],
  prefix: Buffer,
  sync: boolean,
): Promise<Found> {
  let [highest, records, bytes, tornBytes] = [0, 0, 0, 0]
  for (const [index, name] of names.entries()) {
    const path = join(folder, name)
    let good = 0
    let torn = false
    for await (const chunk of wholeLines(path)) {
      for (let start = 0; start < chunk.length && !torn; ) {
        const end = chunk.indexOf(LF, start)
        const seq = seqOfLine(chunk, start, end, prefix)
        // A power cut can leave zeroes where lines should be: those are no records, and nothing
        // behind them was acked.
        if (seq <= highest) torn = true
        else {
          highest = seq
          records += 1
          good += end + 1 - start
          start = end + 1
        }
      }
    }
    const cut = await cutTail(path, good, sync)
    if (cut > 0 && index < names.length - 1)
      throw new Error(`${path} is damaged before its end: not by a torn append`)
    tornBytes += cut
    bytes += good
  }
  return { highest, records, bytes, tornBytes }
}

async function cutTail(path: string, bytes: number, sync: boolean): Promise<number> {
  const file = await open(path, 'r+')
  try {
    const { size } = await file.stat()
    if (size === bytes) return 0
    await file.truncate(bytes)
    if (sync) await file.datasync()
    return size - bytes
  } finally {
    await file.close()
  }
}

/** fsync of every folder from `folder` up to `top`: an entry is durable when its folder is. */
async function syncFolders(folder: string, top: string): Promise<void> {
  for (let at = folder; ; at = dirname(at)) {
    await syncFolder(at)
    if (at === top || at === dirname(at)) return
  }
}

/** fsync of a folder: what was created in it is there after a power cut. */
export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
