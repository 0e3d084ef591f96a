/**
 * Finds blocks and state records by their own bytes in tables and logs that LevelDB cannot read, or reads wrongly (I7): a
 * table without its index is lost to LevelDB and its repair, and every value in it is whole. Both carry a magic, who
 * they belong to and their CRCs, so that what is found here is what was written, byte for byte.
 *
 * Reads one file at a time; keeps where things are, not what they hold. Decides nothing about what is still wanted:
 * deleted values are found as well.
 */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { BlockDamagedError, type BlockHeader, blockBytes, decodeBlockHeader } from '../codec/block.ts'
import { decodeState, STATE_MAGIC, type StoredState, stateBytes } from '../stream/state-record.ts'
import { type FileKind, listDatabaseFiles } from './database-files.ts'
import { unlessGone } from './folder.ts'
import { logPayload } from './log-records.ts'
import { inflatedBlocks } from './table-check.ts'

const BLOCK_MAGIC = Buffer.from('SLBK', 'latin1')

interface Place {
  readonly path: string
  readonly isLog: boolean
  readonly start: number
  readonly end: number
  readonly crc32: number
}

export interface RawBlock {
  readonly header: BlockHeader
  readonly storedBytes: number
  readonly place: Place
}

export interface RawState {
  readonly commit: number
  readonly checkpoint: boolean
  readonly place: Place
}

/** Who a block belongs to. A copy of a single record (a parked one) and the block it came from differ in their count. */
export interface BlockName {
  readonly spoolId: string
  readonly streamId: number
  readonly firstSeq: number
  readonly recordCount: number
}

export class RawScan {
  readonly #blocks = new Map<string, RawBlock>()
  readonly #states = new Map<number, RawState>()
  /** The file that was read last: neighbours are asked for one after the other. */
  #last: { readonly path: string; readonly bytes: Promise<Buffer | null> } | null = null

  /** Of LevelDB folders, or of folders with copies of its files. What cannot be read is left out. */
  static async of(
    folders: readonly string[],
    kinds: readonly FileKind[] = ['table', 'log'],
  ): Promise<RawScan> {
    const scan = new RawScan()
    for (const folder of folders) {
      for (const { name, kind } of await listDatabaseFiles(folder).catch(() => [])) {
        if (kinds.includes(kind)) await scan.#read(join(folder, name), kind === 'log')
      }
    }
    return scan
  }

  static async ofTables(paths: readonly string[]): Promise<RawScan> {
    const scan = new RawScan()
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
    const found = this.#blocks.get(keyOf(name))
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
    if (this.#last?.path !== path) this.#last = { path, bytes: readPayload(path, isLog) }
    const value = (await this.#last.bytes)?.subarray(start, end)
    // A copy: what was found must not keep the whole file in memory.
    return value && crc32(value) === expected ? Buffer.from(value) : null
  }

  async #read(path: string, isLog: boolean): Promise<void> {
    const bytes = await readPayload(path, isLog)
    if (bytes === null) return
    for (let at = bytes.indexOf(BLOCK_MAGIC); at >= 0; at = bytes.indexOf(BLOCK_MAGIC, at + 1)) {
      const value = bytes.subarray(at, at + blockBytes(bytes.subarray(at)))
      const header = headerOf(value)
      if (header === null) continue
      const place = { path, isLog, start: at, end: at + value.length, crc32: crc32(value) }
      this.#blocks.set(keyOf(header), { header, storedBytes: value.length, place })
    }
    for (let at = bytes.indexOf(STATE_MAGIC); at >= 0; at = bytes.indexOf(STATE_MAGIC, at + 1)) {
      const value = bytes.subarray(at, at + stateBytes(bytes.subarray(at)))
      const record = value.length > 0 ? decodeState(value)?.record : null
      if (!record) continue
      const place = { path, isLog, start: at, end: at + value.length, crc32: crc32(value) }
      this.#states.set(record.commit, { commit: record.commit, checkpoint: record.checkpoint, place })
    }
  }
}

export function keyOf({ spoolId, streamId, firstSeq, recordCount }: BlockName): string {
  return `${spoolId}/${streamId}/${firstSeq}/${recordCount}`
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

async function readPayload(path: string, isLog: boolean): Promise<Buffer | null> {
  // A bad sector fails the whole read: what is behind it is lost with it.
  const bytes = await unlessGone(readFile(path), null).catch(() => null)
  if (bytes === null) return null
  return isLog ? logPayload(bytes) : tablePayload(bytes)
}

/** The file as it is, and what its compressed blocks hold behind it. */
function tablePayload(bytes: Buffer): Buffer {
  const inflated = inflatedBlocks(bytes)
  return inflated.length === 0 ? bytes : Buffer.concat([bytes, ...inflated])
}
