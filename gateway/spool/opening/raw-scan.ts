/**
 * Finds blocks and state records by their own bytes in tables and logs that LevelDB cannot read, or
 * reads wrongly (I7): a table without its index is lost to LevelDB, and every value in it is whole.
 * Both carry a magic, who they belong to and their CRCs, so that what is found here is what was
 * written, byte for byte.
 *
 * Reads one file at a time; keeps where things are, not what they hold. Decides nothing about what
 * is still wanted: deleted values are found as well.
 */

import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { unlessGone } from '../../shared/files.ts'
import {
  BlockDamagedError,
  type BlockHeader,
  type BlockName,
  blockBytes,
  blockNameKey,
  decodeBlockHeader,
} from '../codec/block.ts'
import { decodeState, STATE_MAGIC, type StoredState, stateBytes } from '../commit/state-record.ts'
import { type FileKind, listDatabaseFiles } from '../leveldb/database-files.ts'
import { cleanLogBytes, logPayload } from '../leveldb/log-records.ts'
import { inflatedBlocks } from '../leveldb/table-check.ts'

const BLOCK_MAGIC = Buffer.from('SLBK', 'latin1')

interface Place {
  readonly path: string
  readonly isLog: boolean
  readonly start: number
  readonly end: number
  readonly crc32: number
}

interface RawBlock {
  readonly header: BlockHeader
  readonly storedBytes: number
  readonly place: Place
}

interface RawState {
  readonly commit: number
  readonly checkpoint: boolean
  readonly place: Place
}

/**
 * A file that could not be read: will it never be? (A bad sector fails the whole read: what is
 * behind it is lost with it.)
 */
type IsLost = (path: string, error: unknown) => boolean

export class RawScan {
  readonly #isLost: IsLost
  readonly #blocks = new Map<string, RawBlock>()
  readonly #states = new Map<number, RawState>()
  /** The file that was read last: neighbours are asked for one after the other. */
  #last: { readonly path: string; readonly bytes: Buffer | null } | null = null

  private constructor(isLost: IsLost) {
    this.#isLost = isLost
  }

  /**
   * Of LevelDB folders, or of folders with copies of its files. Rejects where one cannot be read,
   * unless `isLost` says that it never will be; what is gone is left out.
   */
  static async of(
    folders: readonly string[],
    kinds: readonly FileKind[] = ['table', 'log'],
    isLost: IsLost = () => false,
  ): Promise<RawScan> {
    const scan = new RawScan(isLost)
    for (const folder of folders) {
      for (const { name, kind } of await listDatabaseFiles(folder)) {
        if (kinds.includes(kind)) await scan.#read(join(folder, name), kind === 'log')
      }
    }
    return scan
  }

  static async ofTables(paths: readonly string[]): Promise<RawScan> {
    const scan = new RawScan(() => false)
    for (const path of paths) await scan.#read(path, false)
    return scan
  }

  get blocks(): Iterable<RawBlock> {
    return this.#blocks.values()
  }

  get states(): Iterable<RawState> {
    return this.#states.values()
  }

  /** The value of a block; null: it is not there, or not there any more. */
  async block(name: BlockName): Promise<Buffer | null> {
    const found = this.#blocks.get(blockNameKey(name))
    return found ? await this.#valueAt(found.place) : null
  }

  /** A block that holds the record, whatever else it holds. */
  async blockWith({ spoolId, streamId, firstSeq: seq }: BlockName): Promise<Buffer | null> {
    for (const { header, place } of this.#blocks.values()) {
      const isOurs = header.spoolId === spoolId && header.streamId === streamId
      if (!isOurs || seq < header.firstSeq || seq >= header.firstSeq + header.recordCount) continue
      const value = await this.#valueAt(place)
      if (value) return value
    }
    return null
  }

  async state({ place }: RawState): Promise<StoredState | null> {
    const value = await this.#valueAt(place)
    return value && decodeState(value)
  }

  async #valueAt({ path, isLog, start, end, crc32: expected }: Place): Promise<Buffer | null> {
    if (this.#last?.path !== path)
      this.#last = { path, bytes: await this.#readPayload(path, isLog) }
    const value = this.#last.bytes?.subarray(start, end)
    // A copy: what was found must not keep the whole file in memory.
    return value && crc32(value) === expected ? Buffer.from(value) : null
  }

  async #read(path: string, isLog: boolean): Promise<void> {
    const bytes = await this.#readPayload(path, isLog)
    if (bytes === null) return
    for (let at = bytes.indexOf(BLOCK_MAGIC); at >= 0; at = bytes.indexOf(BLOCK_MAGIC, at + 1)) {
      const value = bytes.subarray(at, at + blockBytes(bytes.subarray(at)))
      const header = headerOf(value)
      if (header === null) continue
      const place = { path, isLog, start: at, end: at + value.length, crc32: crc32(value) }
      this.#blocks.set(blockNameKey(header), { header, storedBytes: value.length, place })
    }
    for (const { commit, checkpoint, value, at } of statesIn(bytes)) {
      const place = { path, isLog, start: at, end: at + value.length, crc32: crc32(value) }
      this.#states.set(commit, { commit, checkpoint, place })
    }
  }

  async #readPayload(path: string, isLog: boolean): Promise<Buffer | null> {
    try {
      const bytes = await unlessGone(readFile(path), null)
      if (bytes === null) return null
      return isLog ? logPayload(bytes) : tablePayload(bytes)
    } catch (error) {
      if (this.#isLost(path, error)) return null
      throw error
    }
  }
}

function headerOf(value: Buffer): BlockHeader | null {
  if (value.length === 0) return null
  try {
    const { bodyOffset: _, ...header } = decodeBlockHeader(value)
    return header
  } catch (error) {
    if (error instanceof BlockDamagedError) return null
    throw error
  }
}

/**
 * The newest commit whose state record LevelDB reads out of the logs when it opens the folder; 0:
 * none. It passes over what their checksums do not cover.
 */
export async function newestCommitInLogs(
  folder: string,
  except: readonly string[],
): Promise<number> {
  let newest = 0
  for (const { name, kind } of await listDatabaseFiles(folder)) {
    if (kind !== 'log' || except.includes(name)) continue
    const bytes = await unlessGone(readFile(join(folder, name)), null)
    if (bytes === null) continue
    for (const { commit } of statesIn(logPayload(cleanLogBytes(bytes))))
      newest = Math.max(newest, commit)
  }
  return newest
}

interface FoundState {
  readonly commit: number
  readonly checkpoint: boolean
  readonly value: Buffer
  readonly at: number
}

function statesIn(bytes: Buffer): FoundState[] {
  const states: FoundState[] = []
  for (let at = bytes.indexOf(STATE_MAGIC); at >= 0; at = bytes.indexOf(STATE_MAGIC, at + 1)) {
    const value = bytes.subarray(at, at + stateBytes(bytes.subarray(at)))
    const record = value.length > 0 ? decodeState(value)?.record : null
    if (record) states.push({ commit: record.commit, checkpoint: record.checkpoint, value, at })
  }
  return states
}

/** The file as it is, and what its compressed blocks hold behind it. */
function tablePayload(bytes: Buffer): Buffer {
  const inflated = inflatedBlocks(bytes)
  return inflated.length === 0 ? bytes : Buffer.concat([bytes, ...inflated])
}
