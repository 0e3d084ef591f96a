/**
 * Reads LevelDB's MANIFEST, as LevelDB 1.20 does at opening, without opening the database: which
 * files it will look for and which it will delete. Needed because it deletes what its MANIFEST does
 * not name, and misses a lost log without a word (I7). Makes one where there is none that can be
 * read.
 *
 * Sources: leveldb 1.20, doc/log_format.md, db/log_reader.cc, db/version_edit.cc, db/version_set.cc
 * (Recover). Bytes only: touches no file.
 */

import { crc32c } from '../../shared/crc32c.ts'
import {
  FIRST,
  FULL,
  LAST,
  LOG_BLOCK_BYTES,
  logOf,
  MIDDLE,
  RECORD_HEADER_BYTES,
} from './log-records.ts'
import { unmaskCrc } from './masked-crc.ts'
import type { TableExtent } from './table-check.ts'
import { varint } from './varint.ts'

export interface Manifest {
  /** The oldest log that is still needed; 0: none. */
  readonly logNumber: number
  /** A second log that is still needed (older versions of LevelDB); 0: none. */
  readonly previousLogNumber: number
  readonly nextFileNumber: number
  /** Live tables: size in bytes by file number. */
  readonly tables: ReadonlyMap<number, number>
  /**
   * The last record is not complete. LevelDB ignores it without a word: a power cut leaves this,
   * damage too.
   */
  readonly torn: boolean
}

/** LevelDB would refuse this file as well. */
export class ManifestDamagedError extends Error {
  constructor(what: string) {
    super(`the MANIFEST is damaged: ${what}`)
    this.name = 'ManifestDamagedError'
  }
}

/** @throws ManifestDamagedError */
export function parseManifest(bytes: Uint8Array): Manifest {
  const state = new ManifestState()
  const { records, torn } = logRecords(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length))
  for (const record of records) state.apply(record)
  return state.result(torn)
}

/**
 * A MANIFEST that can be parsed as it was before its last change; null: without it, it says too
 * little.
 */
export function withoutLastChange(
  bytes: Uint8Array,
): { readonly manifest: Manifest; readonly bytes: Uint8Array } | null {
  const before = bytes.subarray(0, logRecords(Buffer.from(bytes)).lastAt)
  try {
    return { manifest: parseManifest(before), bytes: before }
  } catch (error) {
    if (error instanceof ManifestDamagedError) return null
    throw error
  }
}

/** The complete records of a log file. `lastAt`: where the last of them begins. */
function logRecords(bytes: Buffer): { records: Buffer[]; torn: boolean; lastAt: number } {
  const records: Buffer[] = []
  let fragments: Buffer[] | null = null
  let at = 0
  let beganAt = 0
  let lastAt = 0
  while (at < bytes.length) {
    const leftInBlock = LOG_BLOCK_BYTES - (at % LOG_BLOCK_BYTES)
    if (leftInBlock < RECORD_HEADER_BYTES) {
      at += leftInBlock
      continue
    }
    if (at + RECORD_HEADER_BYTES > bytes.length) return { records, torn: true, lastAt }
    const length = bytes.readUInt16LE(at + 4)
    const type = bytes[at + 6] as number
    const dataAt = at + RECORD_HEADER_BYTES
    if (length > leftInBlock - RECORD_HEADER_BYTES) {
      // In the last block LevelDB takes this for a writer that died.
      if (at - (at % LOG_BLOCK_BYTES) + LOG_BLOCK_BYTES > bytes.length)
        return { records, torn: true, lastAt }
      throw new ManifestDamagedError(`a record at ${at} leaves its block`)
    }
    if (dataAt + length > bytes.length) return { records, torn: true, lastAt }
    if (type === 0 && length === 0) {
      // Preallocated zeros: nothing more in this block.
      if (fragments !== null) throw new ManifestDamagedError(`a record without end before ${at}`)
      at += leftInBlock
      continue
    }
    const data = bytes.subarray(dataAt, dataAt + length)
    const expected = unmaskCrc(bytes.readUInt32LE(at))
    if (crc32c(bytes.subarray(at + 6, dataAt + length)) !== expected) {
      throw new ManifestDamagedError(`wrong checksum at ${at}`)
    }
    if (type === FULL || type === FIRST) beganAt = at
    at = dataAt + length
    if (type === FULL || type === FIRST) {
      if (fragments?.some((part) => part.length > 0))
        throw new ManifestDamagedError(`a record without end before ${at}`)
      fragments = [data]
    } else if (type === MIDDLE || type === LAST) {
      if (fragments === null) throw new ManifestDamagedError(`a record without start before ${at}`)
      fragments.push(data)
    } else {
      throw new ManifestDamagedError(`unknown record type ${type} before ${at}`)
    }
    if (type === FULL || type === LAST) {
      records.push(Buffer.concat(fragments))
      lastAt = beganAt
      fragments = null
    }
  }
  return { records, torn: fragments !== null, lastAt }
}

// version_edit.cc
const COMPARATOR = 1
const LOG_NUMBER = 2
const NEXT_FILE_NUMBER = 3
const LAST_SEQUENCE = 4
const COMPACT_POINTER = 5
const DELETED_FILE = 6
const NEW_FILE = 7
const PREVIOUS_LOG_NUMBER = 9

/** The order of keys; LevelDB refuses a MANIFEST with another. */
const COMPARATOR_NAME = 'leveldb.BytewiseComparator'

export interface ListedTable extends TableExtent {
  readonly number: number
}

/**
 * A MANIFEST of these tables. All are in level 0, where tables may overlap; LevelDB moves them down
 * in time. Every log that is there is replayed.
 *
 * @param nextFileNumber above the number of every file in the folder
 */
export function newManifest(tables: readonly ListedTable[], nextFileNumber: number): Buffer {
  const lastSequence = tables.reduce((last, table) => bigger(last, table.lastSequence), 0n)
  const numbers = [LOG_NUMBER, 0, NEXT_FILE_NUMBER, nextFileNumber, LAST_SEQUENCE, lastSequence]
  const change = [
    varint(COMPARATOR),
    ...withLength(Buffer.from(COMPARATOR_NAME)),
    ...numbers.map(varint),
    ...tables.flatMap(({ number, bytes, smallest, largest }) => [
      ...[NEW_FILE, 0, number, bytes].map(varint),
      ...withLength(smallest),
      ...withLength(largest),
    ]),
  ]
  return logOf([Buffer.concat(change)])
}

function bigger(a: bigint, b: bigint): bigint {
  return a > b ? a : b
}

function withLength(bytes: Buffer): readonly [Buffer, Buffer] {
  return [varint(bytes.length), bytes]
}

/** What the edits add up to. */
class ManifestState {
  readonly #tables = new Map<number, { level: number; bytes: number }>()
  #logNumber: number | null = null
  #previousLogNumber = 0
  #nextFileNumber: number | null = null

  apply(edit: Buffer): void {
    const fields = new FieldReader(edit)
    while (!fields.atEnd) {
      const tag = fields.varint()
      if (tag === LOG_NUMBER) this.#logNumber = fields.varint()
      else if (tag === PREVIOUS_LOG_NUMBER) this.#previousLogNumber = fields.varint()
      else if (tag === NEXT_FILE_NUMBER) this.#nextFileNumber = fields.varint()
      else if (tag === LAST_SEQUENCE) fields.varint()
      else if (tag === COMPARATOR) fields.skipString()
      else if (tag === COMPACT_POINTER) {
        fields.varint()
        fields.skipString()
      } else if (tag === DELETED_FILE) this.#deleteFile(fields)
      else if (tag === NEW_FILE) this.#addFile(fields)
      else throw new ManifestDamagedError(`unknown field ${tag}`)
    }
  }

  result(torn: boolean): Manifest {
    if (this.#nextFileNumber === null || this.#logNumber === null) {
      throw new ManifestDamagedError('it does not say where to go on')
    }
    return {
      logNumber: this.#logNumber,
      previousLogNumber: this.#previousLogNumber,
      nextFileNumber: this.#nextFileNumber,
      tables: new Map([...this.#tables].map(([number, { bytes }]) => [number, bytes])),
      torn,
    }
  }

  #deleteFile(fields: FieldReader): void {
    const level = fields.varint()
    const number = fields.varint()
    // A table that moves down is deleted in one level and added in the next, under one number.
    if (this.#tables.get(number)?.level === level) this.#tables.delete(number)
  }

  #addFile(fields: FieldReader): void {
    const level = fields.varint()
    const number = fields.varint()
    this.#tables.set(number, { level, bytes: fields.varint() })
    fields.skipString()
    fields.skipString()
  }
}

class FieldReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  get atEnd(): boolean {
    return this.#at >= this.#bytes.length
  }

  /** Up to 2^53 - 1: file numbers and sizes never come near; the sequence is read over. */
  varint(): number {
    let value = 0
    for (let factor = 1; factor < 2 ** 64; factor *= 128) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined) break
      this.#at += 1
      value += (byte & 0x7f) * factor
      if (byte < 0x80) return value
    }
    throw new ManifestDamagedError('a number without end')
  }

  skipString(): void {
    const length = this.varint()
    this.#at += length
    if (this.#at > this.#bytes.length) throw new ManifestDamagedError('a string without end')
  }
}
