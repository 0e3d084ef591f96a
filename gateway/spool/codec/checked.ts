/**
 * Small values with a CRC-32 in front: LevelDB checks none when it reads, and a bit that flipped in
 * a table would come back as data (I7). Blocks and state records have CRCs of their own.
 */
import { crc32 } from 'node:zlib'

export const CRC_BYTES = 4

export function withCrc(value: Uint8Array): Buffer {
  const checked = Buffer.allocUnsafe(CRC_BYTES + value.length)
  checked.writeUInt32BE(crc32(value), 0)
  checked.set(value, CRC_BYTES)
  return checked
}

/** A view of the value; null: missing, or not what was written. */
export function checked(stored: Buffer | undefined): Buffer | null {
  if (!stored || stored.length < CRC_BYTES) return null
  const value = stored.subarray(CRC_BYTES)
  return crc32(value) === stored.readUInt32BE(0) ? value : null
}
