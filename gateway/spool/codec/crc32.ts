/**
 * CRC-32 (IEEE 802.3, the one of gzip, RFC 1952 section 8), and the CRC of two byte strings put
 * together from the CRCs of the two: what lets compressed blocks be joined into one gzip member
 * without inflating them.
 *
 * Owns no state. Serves I4 (a repeated batch has the same key, and the key carries this CRC) and I7
 * (damage is seen).
 */
import { crc32 as zlibCrc32 } from 'node:zlib'

/**
 * CRC-32 of `bytes`, going on from `seed` (the CRC of what came before; 0 at the start). Unsigned
 * 32 bits.
 */
export function crc32(bytes: Uint8Array, seed = 0): number {
  return zlibCrc32(bytes, seed)
}

/** The polynomial x^32+x^26+...+1, bits reflected: bit 31 is x^0. */
const POLYNOMIAL = 0xedb88320

/** Product of two polynomials modulo POLYNOMIAL, over GF(2). After zlib's crc32.c, multmodp(). */
function multiply(a: number, b: number): number {
  let mask = 0x80000000 | 0
  let product = 0
  let factor = b | 0
  while (mask !== 0) {
    if ((a & mask) !== 0) {
      product ^= factor
      // No bit of `a` is left below this one: done.
      if ((a & (mask - 1)) === 0) break
    }
    mask >>>= 1
    factor = (factor & 1) === 0 ? factor >>> 1 : (factor >>> 1) ^ POLYNOMIAL
  }
  return product
}

/**
 * x^(2^n) modulo POLYNOMIAL for n = 0..31; x^(2^32) is x again, so the index wraps. After zlib's
 * x2n_table.
 */
const POWERS = makePowers()

function makePowers(): Int32Array {
  const powers = new Int32Array(32)
  let power = 0x40000000 // x^1
  for (let n = 0; n < 32; n += 1) {
    powers[n] = power
    power = multiply(power, power)
  }
  return powers
}

/**
 * CRC-32 of A followed by B, from the CRCs of both and the length of B in bytes (up to 2^53 - 1).
 * O(log lengthB), no allocation. Source: zlib, crc32_combine().
 */
export function crc32Combine(crcA: number, crcB: number, lengthB: number): number {
  // Appending n bytes multiplies A's remainder by x^(8n): start at x^(2^3).
  let shift = 0x80000000 | 0 // x^0
  let rest = lengthB
  for (let n = 3; rest > 0; n += 1) {
    if (rest % 2 === 1) shift = multiply(POWERS[n & 31] as number, shift)
    rest = Math.floor(rest / 2)
  }
  return (multiply(shift, crcA) ^ crcB) >>> 0
}
