/**
 * Are the tables whole? LevelDB follows a table's index, and takes its keys, without looking at
 * their checksums, and ends the process when they make no sense: so no damaged block may come under
 * its eyes (I7). What is whole in a damaged table can be had from here.
 *
 * Source: leveldb 1.20, doc/table_format.txt, table/format.cc, table/block.cc, db/dbformat.h.
 */

import { open, readFile } from 'node:fs/promises'
import { crc32c } from '../../shared/crc32c.ts'
import { unlessGone } from '../../shared/files.ts'
import { unmaskCrc } from './masked-crc.ts'
import { snappyInflate } from './snappy.ts'

const FOOTER_BYTES = 48
const TABLE_MAGIC = 0xdb4775248b80fb57n
/** Type and checksum behind each block. */
const TRAILER_BYTES = 5
const TYPE_BYTES = 1
/** One restart, no entry. */
const EMPTY_BLOCK = Buffer.from([0, 0, 0, 0, 1, 0, 0, 0])
/** Behind each user key: sequence and type. */
const KEY_TRAILER_BYTES = 8

interface Handle {
  readonly offset: number
  readonly bytes: number
}

export interface TableEntry {
  readonly userKey: Buffer
  readonly sequence: bigint
  readonly isDeletion: boolean
  readonly value: Buffer
}

/**
 * What is wrong with the table; null: nothing. `deep`: its data is read as well, else only what
 * leads to it. Rejects if it cannot be read: that says nothing of its bytes.
 */
export async function tableFault(path: string, deep: boolean): Promise<string | null> {
  if (!deep) return await unlessGone(indexFault(path), 'it is gone')
  const bytes = await unlessGone(readFile(path), null)
  if (bytes === null) return 'it is gone'
  const index = indexOf(bytes)
  if (index === null) return 'its end or index is damaged'
  const damaged = index.filter((handle) => !isWhole(bytes, handle)).length
  return damaged === 0 ? null : `${damaged} of its ${index.length} blocks are damaged`
}

/** What a MANIFEST says of a table, besides its number. */
export interface TableExtent {
  readonly bytes: number
  /** Its first and its last key as LevelDB keeps them: with sequence and type. */
  readonly smallest: Buffer
  readonly largest: Buffer
  readonly lastSequence: bigint
}

/** null: some of it is damaged, or nothing is in it. Rejects if it cannot be read. */
export async function tableExtent(path: string): Promise<TableExtent | null> {
  const bytes = await unlessGone(readFile(path), null)
  const index = bytes && indexOf(bytes)
  if (!bytes || !index?.every((handle) => isWhole(bytes, handle))) return null
  const keys = index.flatMap((handle) => entriesOf(contentOf(bytes, handle))).map(({ key }) => key)
  const [smallest] = keys
  const largest = keys.at(-1)
  if (!smallest || !largest || keys.some(({ length }) => length < KEY_TRAILER_BYTES)) return null
  const lastSequence = keys.map(sequenceOf).reduce((last, one) => (one > last ? one : last))
  return { bytes: bytes.length, smallest, largest, lastSequence }
}

/** Of a key with its trailer. */
function sequenceOf(key: Buffer): bigint {
  return key.readBigUInt64LE(key.length - KEY_TRAILER_BYTES) >> 8n
}

/** Entries of all blocks that are whole; none if nothing leads to them. */
export async function wholeEntries(path: string): Promise<TableEntry[]> {
  const bytes = await unlessGone(readFile(path), Buffer.alloc(0))
  return (indexOf(bytes) ?? [])
    .filter((handle) => isWhole(bytes, handle))
    .flatMap((handle) => entriesOf(contentOf(bytes, handle)))
    .flatMap(({ key, value }) => {
      if (key.length < KEY_TRAILER_BYTES) return []
      const userKey = key.subarray(0, key.length - KEY_TRAILER_BYTES)
      const isDeletion = key[userKey.length] === 0
      return [{ userKey, sequence: sequenceOf(key), isDeletion, value }]
    })
}

/** What the compressed blocks of a table hold, those that are whole. */
export function inflatedBlocks(bytes: Buffer): Buffer[] {
  return (indexOf(bytes) ?? [])
    .filter((handle) => isCompressed(bytes, handle) && isWhole(bytes, handle))
    .map((handle) => contentOf(bytes, handle))
}

/** Footer and index alone: a hundredth of the table. */
async function indexFault(path: string): Promise<string | null> {
  const file = await open(path, 'r')
  try {
    const { size } = await file.stat()
    if (size < FOOTER_BYTES) return 'it is too short'
    const footer = Buffer.alloc(FOOTER_BYTES)
    await file.read(footer, 0, FOOTER_BYTES, size - FOOTER_BYTES)
    const handles = handlesOf(footer, size)
    if (handles === null) return 'its end is damaged'
    for (const { offset, bytes } of handles) {
      const block = Buffer.alloc(bytes + TRAILER_BYTES)
      await file.read(block, 0, block.length, offset)
      if (!isWhole(block, { offset: 0, bytes })) return 'its index is damaged'
    }
    return null
  } finally {
    await file.close()
  }
}

/** Where the data blocks are; null: that cannot be told. */
function indexOf(bytes: Buffer): Handle[] | null {
  if (bytes.length < FOOTER_BYTES) return null
  const [meta, index] = handlesOf(bytes.subarray(-FOOTER_BYTES), bytes.length) ?? []
  if (!meta || !index || !isWhole(bytes, meta) || !isWhole(bytes, index)) return null
  const handles: Handle[] = []
  for (const { value } of entriesOf(contentOf(bytes, index))) {
    const [offset, length] = varints(value, 2)
    if (offset === undefined || length === undefined) return null
    handles.push({ offset, bytes: length })
  }
  return handles
}

/** Of the meta index and of the index. */
function handlesOf(footer: Buffer, size: number): readonly [Handle, Handle] | null {
  if (footer.readBigUInt64LE(FOOTER_BYTES - 8) !== TABLE_MAGIC) return null
  const [a, b, c, d] = varints(footer, 4)
  if (a === undefined || b === undefined || c === undefined || d === undefined) return null
  const handles = [
    { offset: a, bytes: b },
    { offset: c, bytes: d },
  ] as const
  const fits = handles.every(
    ({ offset, bytes }) => offset + bytes + TRAILER_BYTES + FOOTER_BYTES <= size,
  )
  return fits ? handles : null
}

function isCompressed(bytes: Buffer, { offset, bytes: length }: Handle): boolean {
  return bytes[offset + length] !== 0
}

/** Of a block that is whole. */
function contentOf(bytes: Buffer, handle: Handle): Buffer {
  const content = bytes.subarray(handle.offset, handle.offset + handle.bytes)
  return (isCompressed(bytes, handle) ? snappyInflate(content) : content) ?? EMPTY_BLOCK
}

/** Checksum of the block and of its type: 0, or 1 for Snappy. */
function isWhole(bytes: Buffer, { offset, bytes: length }: Handle): boolean {
  const end = offset + length + TYPE_BYTES
  if (end + TRAILER_BYTES - TYPE_BYTES > bytes.length || (bytes[end - TYPE_BYTES] as number) > 1)
    return false
  return crc32c(bytes.subarray(offset, end)) === unmaskCrc(bytes.readUInt32LE(end))
}

/** Of a block whose checksum is right. */
function entriesOf(block: Buffer): Array<{ readonly key: Buffer; readonly value: Buffer }> {
  const restarts = block.readUInt32LE(block.length - 4)
  const end = block.length - 4 * (restarts + 1)
  const entries: Array<{ readonly key: Buffer; readonly value: Buffer }> = []
  let key = Buffer.alloc(0)
  for (let at = 0; at < end; ) {
    const [shared = 0, unshared = 0, valueBytes = 0, headBytes = 0] = varintsAt(block, at, 3)
    const keyAt = at + headBytes
    key = Buffer.concat([key.subarray(0, shared), block.subarray(keyAt, keyAt + unshared)])
    at = keyAt + unshared + valueBytes
    entries.push({ key, value: block.subarray(keyAt + unshared, at) })
  }
  return entries
}

/** Fewer than `count` if the bytes do not hold so many. */
function varints(bytes: Buffer, count: number): number[] {
  return varintsAt(bytes, 0, count).slice(0, -1)
}

/** The numbers, and at the end how many bytes they took. */
function varintsAt(bytes: Buffer, from: number, count: number): number[] {
  const values: number[] = []
  let value = 0
  let factor = 1
  let at = from
  while (values.length < count && at < bytes.length) {
    const byte = bytes[at++] as number
    value += (byte & 0x7f) * factor
    factor *= 128
    if (byte >= 0x80) continue
    values.push(value)
    value = 0
    factor = 1
  }
  return [...values, at - from]
}
