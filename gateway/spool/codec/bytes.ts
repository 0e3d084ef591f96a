/**
 * Text written straight into bytes: copies, JSON without line breaks, base64, decimal numbers.
 * Every function takes the place to write at and returns the place behind what it wrote; the caller
 * has made room.
 */

const DIGIT_0 = 0x30
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const SPACE = 0x20

/** Longest text of {@link putNumber}: digits of 2^53 - 1. */
export const MAX_NUMBER_BYTES = 16
/** Below it, numbers are split into digits with 32-bit arithmetic. */
const SMALL_NUMBER = 1_000_000_000

const BASE64 = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/')
const BASE64_PAD = 0x3d

/** Searches with memchr, which the method of plain typed arrays does not. */
const indexOf: (this: Uint8Array, byte: number) => number = Buffer.prototype.indexOf

/**
 * A native copy costs the same 15 ns for 10 bytes as for 200; a loop over 200 bytes costs 200 ns.
 */
export function put(out: Uint8Array, at: number, bytes: Uint8Array): number {
  out.set(bytes, at)
  return at + bytes.length
}

/**
 * Inside the strings of valid JSON there are no raw control characters, so every line break stands
 * between tokens, where a space means the same. Copy and two native searches: 100 ns for 200 bytes,
 * a loop needs 260 ns.
 */
export function putJson(
  out: Uint8Array,
  at: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  const payload = start === 0 && end === bytes.length ? bytes : bytes.subarray(start, end)
  out.set(payload, at)
  if (indexOf.call(payload, LINE_FEED) >= 0 || indexOf.call(payload, CARRIAGE_RETURN) >= 0) {
    for (let to = at; to < at + payload.length; to += 1) {
      if (out[to] === LINE_FEED || out[to] === CARRIAGE_RETURN) out[to] = SPACE
    }
  }
  return at + payload.length
}

export function base64Length(bytes: number): number {
  return Math.ceil(bytes / 3) * 4
}

/** RFC 4648 section 4, with padding. */
export function putBase64(
  out: Uint8Array,
  at: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  let to = at
  let from = start
  for (; from + 2 < end; from += 3) {
    const three =
      ((bytes[from] as number) << 16) |
      ((bytes[from + 1] as number) << 8) |
      (bytes[from + 2] as number)
    out[to++] = BASE64[three >>> 18] as number
    out[to++] = BASE64[(three >>> 12) & 63] as number
    out[to++] = BASE64[(three >>> 6) & 63] as number
    out[to++] = BASE64[three & 63] as number
  }
  if (from < end) {
    const first = bytes[from] as number
    const second = from + 1 < end ? (bytes[from + 1] as number) : 0
    out[to++] = BASE64[first >>> 2] as number
    out[to++] = BASE64[((first & 3) << 4) | (second >>> 4)] as number
    out[to++] = from + 1 < end ? (BASE64[(second & 15) << 2] as number) : BASE64_PAD
    out[to++] = BASE64_PAD
  }
  return to
}

/** Decimal digits of an integer from 0 to 2^53 - 1. */
export function putNumber(out: Uint8Array, at: number, value: number): number {
  if (value < SMALL_NUMBER) return putDigits(out, at, value, digitCount(value))
  const high = Math.floor(value / SMALL_NUMBER)
  const behindHigh = putDigits(out, at, high, digitCount(high))
  return putDigits(out, behindHigh, value - high * SMALL_NUMBER, 9)
}

function putDigits(out: Uint8Array, at: number, value: number, count: number): number {
  let rest = value | 0
  for (let to = at + count - 1; to >= at; to -= 1) {
    const tenth = (rest / 10) | 0
    out[to] = DIGIT_0 + rest - tenth * 10
    rest = tenth
  }
  return at + count
}

function digitCount(value: number): number {
  let count = 1
  for (let limit = 10; value >= limit; limit *= 10) count += 1
  return count
}
