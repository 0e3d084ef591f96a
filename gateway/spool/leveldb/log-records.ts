/**
 * The records of LevelDB's logs, in bytes: what is whole of them, what can be had of the rest, and
 * the other way round (I7).
 *
 * Source: leveldb 1.20, doc/log_format.md, db/log_reader.cc: blocks of 32 KiB; in them records of
 * checksum u32, length u16, type u8, data.
 */

import { crc32c } from '../../shared/crc32c.ts'
import { maskCrc, unmaskCrc } from './masked-crc.ts'

export const LOG_BLOCK_BYTES = 32_768
export const RECORD_HEADER_BYTES = 7
export const FULL = 1
export const FIRST = 2
export const MIDDLE = 3
export const LAST = 4

/** The same log with its complete records alone, those whose checksums are right. */
export function cleanLogBytes(bytes: Buffer): Buffer {
  const records: Buffer[] = []
  let parts: Buffer[] | null = null
  for (let block = 0; block < bytes.length; block += LOG_BLOCK_BYTES) {
    const end = Math.min(bytes.length, block + LOG_BLOCK_BYTES)
    for (let at = block; at + RECORD_HEADER_BYTES <= end; ) {
      if (!isIntact(bytes, at, end)) {
        // As LevelDB does: where a length cannot be trusted, the next block is where records begin
        // again.
        parts = null
        break
      }
      const type = bytes[at + 6] as number
      const dataAt = at + RECORD_HEADER_BYTES
      const dataEnd = dataAt + bytes.readUInt16LE(at + 4)
      const data = bytes.subarray(dataAt, dataEnd)
      if (type === FULL || type === FIRST) parts = [data]
      else if (parts) parts.push(data)
      if (parts && (type === FULL || type === LAST)) {
        records.push(Buffer.concat(parts))
        parts = null
      }
      at = dataEnd
    }
  }
  return logOf(records)
}

/** A log of these records. */
export function logOf(records: readonly Buffer[]): Buffer {
  const out: Buffer[] = []
  let at = 0
  const put = (part: Buffer): void => {
    out.push(part)
    at += part.length
  }
  for (const record of records) {
    for (let done = 0, first = true; first || done < record.length; first = false) {
      const left = LOG_BLOCK_BYTES - (at % LOG_BLOCK_BYTES)
      if (left < RECORD_HEADER_BYTES) put(Buffer.alloc(left))
      const room = LOG_BLOCK_BYTES - (at % LOG_BLOCK_BYTES) - RECORD_HEADER_BYTES
      const data = record.subarray(done, done + room)
      done += data.length
      const isLast = done === record.length
      const type = first ? (isLast ? FULL : FIRST) : isLast ? LAST : MIDDLE
      const typed = Buffer.concat([Buffer.of(type), data])
      const header = Buffer.alloc(RECORD_HEADER_BYTES - 1)
      header.writeUInt32LE(maskCrc(crc32c(typed)), 0)
      header.writeUInt16LE(data.length, 4)
      put(header)
      put(typed)
    }
  }
  return Buffer.concat(out)
}

/**
 * What the records of a log hold, one behind the other, without the headers in between; damaged
 * ones as well, because values have CRCs of their own. Where a header cannot be right, the rest of
 * its 32 KiB comes as it is.
 */
export function logPayload(bytes: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let block = 0; block < bytes.length; block += LOG_BLOCK_BYTES) {
    const end = Math.min(bytes.length, block + LOG_BLOCK_BYTES)
    for (let at = block; at + RECORD_HEADER_BYTES <= end; ) {
      const dataAt = at + RECORD_HEADER_BYTES
      const dataEnd = dataAt + bytes.readUInt16LE(at + 4)
      const isRight =
        isIntact(bytes, at, end) || isIntact(bytes, dataEnd, end) || isLast(bytes, dataEnd, end)
      parts.push(bytes.subarray(dataAt, isRight ? Math.min(dataEnd, end) : end))
      at = isRight ? dataEnd : end
    }
  }
  return Buffer.concat(parts)
}

/** A record whose checksum is right begins here. */
function isIntact(bytes: Buffer, at: number, end: number): boolean {
  if (at + RECORD_HEADER_BYTES > end) return false
  const dataEnd = at + RECORD_HEADER_BYTES + bytes.readUInt16LE(at + 4)
  return (
    dataEnd <= end && crc32c(bytes.subarray(at + 6, dataEnd)) === unmaskCrc(bytes.readUInt32LE(at))
  )
}

/** Nothing but padding follows. */
function isLast(bytes: Buffer, at: number, end: number): boolean {
  return (
    at <= end &&
    end - at < RECORD_HEADER_BYTES &&
    bytes.subarray(at, end).every((byte) => byte === 0)
  )
}
