/**
 * How LevelDB stores checksums: those of the records of logs and MANIFEST, and of the blocks of
 * tables.
 *
 * Source: leveldb 1.20, util/crc32c.h.
 */

/** Rotated and offset, so that a CRC of bytes with CRCs in them stays a good one. */
export function maskCrc(crc: number): number {
  return ((((crc >>> 15) | (crc << 17)) >>> 0) + 0xa282ead8) >>> 0
}

export function unmaskCrc(masked: number): number {
  const rotated = (masked - 0xa282ead8) >>> 0
  return ((rotated >>> 17) | (rotated << 15)) >>> 0
}
