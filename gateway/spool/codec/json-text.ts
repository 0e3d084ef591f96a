/**
 * Text as a JSON string (RFC 8259 section 7), byte for byte what JSON.stringify makes of it.
 * Without an allocation: it is on the way of every message of a stream with `payload: text`.
 */

const QUOTE = 0x22
const BACKSLASH = 0x5c
const HEX = Buffer.from('0123456789abcdef', 'latin1')
/** By control character: the letter behind the backslash, 0: \u00XX. */
const SHORT = new Uint8Array(0x20)
SHORT[0x08] = 0x62
SHORT[0x09] = 0x74
SHORT[0x0a] = 0x6e
SHORT[0x0c] = 0x66
SHORT[0x0d] = 0x72
const LONG_ESCAPE_BYTES = 6

/** Bytes of the string's content, without its quotes; -1: it is no well-formed UTF-8 (RFC 3629). */
export function textBytes(bytes: Uint8Array, start: number, end: number): number {
  let length = 0
  for (let at = start; at < end; ) {
    const byte = bytes[at] as number
    if (byte < 0x80) {
      if (byte < 0x20) length += SHORT[byte] === 0 ? LONG_ESCAPE_BYTES : 2
      else length += byte === QUOTE || byte === BACKSLASH ? 2 : 1
      at += 1
      continue
    }
    const size = sequenceBytes(bytes, at, end)
    if (size === 0) return -1
    length += size
    at += size
  }
  return length
}

/** Of the sequence that begins with a byte above 0x7f; 0: it is ill-formed. */
function sequenceBytes(bytes: Uint8Array, at: number, end: number): number {
  const first = bytes[at] as number
  if (first < 0xc2 || first > 0xf4) return 0
  const size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4
  if (at + size > end) return 0
  const second = bytes[at + 1] as number
  // Overlong forms, surrogates, and what is above U+10FFFF.
  const low = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80
  const high = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf
  if (second < low || second > high) return 0
  for (let i = 2; i < size; i += 1) if (((bytes[at + i] as number) & 0xc0) !== 0x80) return 0
  return size
}

/** Writes the content that `textBytes` measured; returns where it ends. */
export function putText(
  out: Buffer,
  from: number,
  bytes: Uint8Array,
  start: number,
  end: number,
): number {
  let to = from
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at] as number
    if (byte >= 0x20 && byte !== QUOTE && byte !== BACKSLASH) {
      out[to++] = byte
      continue
    }
    out[to++] = BACKSLASH
    if (byte >= 0x20) out[to++] = byte
    else if (SHORT[byte] === 0) to = putLongEscape(out, to, byte)
    else out[to++] = SHORT[byte] as number
  }
  return to
}

function putLongEscape(out: Buffer, from: number, byte: number): number {
  out[from] = 0x75
  out[from + 1] = 0x30
  out[from + 2] = 0x30
  out[from + 3] = HEX[byte >> 4] as number
  out[from + 4] = HEX[byte & 15] as number
  return from + LONG_ESCAPE_BYTES - 1
}
