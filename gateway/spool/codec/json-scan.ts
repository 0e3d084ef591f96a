/**
 * Are these bytes one JSON text (RFC 8259) in valid UTF-8 (Unicode 16, table 3-7)? One pass over
 * the bytes, no strings, no allocation: this runs once for every message, and `JSON.parse` costs
 * several times as much.
 *
 * The verdict is that of `JSON.parse` of the bytes decoded strictly, byte order mark included (it
 * is not JSON), with one exception: nesting deeper than {@link MAX_JSON_DEPTH}. The scan decides
 * only whether a payload travels as
 * `payload` or as `payloadBase64`; it changes nothing, and a refused payload is not lost (I9).
 */

/**
 * Deepest nesting that travels as JSON. RFC 8259 section 9 allows a limit, and a deep payload would
 * break every recursive receiver behind us; it is carried as base64 instead.
 */
export const MAX_JSON_DEPTH = 256

const TAB = 0x09
const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const SPACE = 0x20
const QUOTE = 0x22
const PLUS = 0x2b
const COMMA = 0x2c
const MINUS = 0x2d
const POINT = 0x2e
const DIGIT_0 = 0x30
const DIGIT_9 = 0x39
const COLON = 0x3a
const OPEN_BRACKET = 0x5b
const BACKSLASH = 0x5c
const CLOSE_BRACKET = 0x5d
const LOWER_E = 0x65
const LOWER_U = 0x75
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
/** Sets the case bit of a letter. */
const CASE_BIT = 0x20

/**
 * 1 for bytes that stand for themselves inside a string: ASCII from space on, but not quote and
 * backslash.
 */
const PLAIN = new Uint8Array(256)
PLAIN.fill(1, SPACE, 0x80)
PLAIN[QUOTE] = 0
PLAIN[BACKSLASH] = 0

/** 1 for the byte behind a backslash, `u` apart. */
const ESCAPED = new Uint8Array(256)
for (const byte of Buffer.from('"\\/bfnrt')) ESCAPED[byte] = 1

const HEX = new Uint8Array(256)
for (const byte of Buffer.from('0123456789abcdefABCDEF')) HEX[byte] = 1

/** 1 at each depth that is an object. Shared: the scan never yields. */
const IS_OBJECT = new Uint8Array(MAX_JSON_DEPTH + 1)

/** True if `bytes[start, end)` is one JSON text. `end` must not be above `bytes.length`. */
export function isJson(bytes: Uint8Array, start: number, end: number): boolean {
  let at = start
  let depth = 0
  for (;;) {
    // A value is due.
    at = skipSpace(bytes, at, end)
    if (at >= end) return false
    const first = bytes[at] as number
    if (first === QUOTE) {
      at = endOfString(bytes, at + 1, end)
    } else if (first === OPEN_BRACE) {
      if (depth === MAX_JSON_DEPTH) return false
      at = skipSpace(bytes, at + 1, end)
      if (at >= end) return false
      if (bytes[at] === CLOSE_BRACE) {
        at += 1
      } else {
        at = endOfKey(bytes, at, end)
        if (at < 0) return false
        depth += 1
        IS_OBJECT[depth] = 1
        continue
      }
    } else if (first === OPEN_BRACKET) {
      if (depth === MAX_JSON_DEPTH) return false
      at = skipSpace(bytes, at + 1, end)
      if (at >= end) return false
      if (bytes[at] === CLOSE_BRACKET) {
        at += 1
      } else {
        depth += 1
        IS_OBJECT[depth] = 0
        continue
      }
    } else if (first === MINUS || (first >= DIGIT_0 && first <= DIGIT_9)) {
      at = endOfNumber(bytes, at, end)
    } else {
      at = endOfLiteral(bytes, at, end, first)
    }
    if (at < 0) return false

    // A value is complete: close what ends here, up to the comma before the next value.
    for (;;) {
      at = skipSpace(bytes, at, end)
      if (depth === 0) return at === end
      if (at >= end) return false
      const next = bytes[at] as number
      const inObject = IS_OBJECT[depth] === 1
      at += 1
      if (next === COMMA) {
        if (inObject) {
          at = endOfKey(bytes, skipSpace(bytes, at, end), end)
          if (at < 0) return false
        }
        break
      }
      if (next !== (inObject ? CLOSE_BRACE : CLOSE_BRACKET)) return false
      depth -= 1
    }
  }
}

function skipSpace(bytes: Uint8Array, from: number, end: number): number {
  let at = from
  while (at < end) {
    const byte = bytes[at] as number
    if (byte > SPACE) break
    if (byte !== SPACE && byte !== LINE_FEED && byte !== TAB && byte !== CARRIAGE_RETURN) break
    at += 1
  }
  return at
}

/** From the opening quote of a member's name to behind its colon; -1 if it is neither. */
function endOfKey(bytes: Uint8Array, from: number, end: number): number {
  if (from >= end || bytes[from] !== QUOTE) return -1
  let at = endOfString(bytes, from + 1, end)
  if (at < 0) return -1
  at = skipSpace(bytes, at, end)
  return at < end && bytes[at] === COLON ? at + 1 : -1
}

/** From behind the opening quote to behind the closing one; -1 if the string is not valid. */
function endOfString(bytes: Uint8Array, from: number, end: number): number {
  for (let at = from; at < end; ) {
    const byte = bytes[at] as number
    at += 1
    if (PLAIN[byte] === 1) continue
    if (byte === QUOTE) return at
    at = byte === BACKSLASH ? endOfEscape(bytes, at, end) : endOfSequence(bytes, at - 1, end, byte)
    if (at < 0) return -1
  }
  return -1
}

/**
 * `\uD800` alone is allowed: RFC 8259 section 8.2 leaves it to the receiver, `JSON.parse` accepts it.
 */
function endOfEscape(bytes: Uint8Array, at: number, end: number): number {
  if (at >= end) return -1
  const byte = bytes[at] as number
  if (ESCAPED[byte] === 1) return at + 1
  if (byte !== LOWER_U || at + 4 >= end) return -1
  const digits =
    (HEX[bytes[at + 1] as number] as number) &
    (HEX[bytes[at + 2] as number] as number) &
    (HEX[bytes[at + 3] as number] as number) &
    (HEX[bytes[at + 4] as number] as number)
  return digits === 1 ? at + 5 : -1
}

/**
 * One UTF-8 sequence of two to four bytes; -1 for control characters and everything table 3-7 does
 * not list.
 */
function endOfSequence(bytes: Uint8Array, at: number, end: number, lead: number): number {
  if (lead < 0xc2 || lead > 0xf4 || at + 1 >= end) return -1
  const second = bytes[at + 1] as number
  if (lead < 0xe0) return isContinuation(second) ? at + 2 : -1
  if (at + 2 >= end || !isContinuation(bytes[at + 2] as number)) return -1
  if (lead < 0xf0) {
    // E0 would be overlong below A0; ED from A0 on is a surrogate.
    const low = lead === 0xe0 ? 0xa0 : 0x80
    const high = lead === 0xed ? 0x9f : 0xbf
    return second >= low && second <= high ? at + 3 : -1
  }
  if (at + 3 >= end || !isContinuation(bytes[at + 3] as number)) return -1
  // F0 would be overlong below 90; F4 from 90 on is above U+10FFFF.
  const low = lead === 0xf0 ? 0x90 : 0x80
  const high = lead === 0xf4 ? 0x8f : 0xbf
  return second >= low && second <= high ? at + 4 : -1
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80
}

/** RFC 8259 section 6: `-`, an integer without leading zeros, fraction, exponent. */
function endOfNumber(bytes: Uint8Array, from: number, end: number): number {
  let at = bytes[from] === MINUS ? from + 1 : from
  if (at < end && bytes[at] === DIGIT_0) {
    at += 1
  } else {
    at = endOfDigits(bytes, at, end)
    if (at < 0) return -1
  }
  if (at < end && bytes[at] === POINT) {
    at = endOfDigits(bytes, at + 1, end)
    if (at < 0) return -1
  }
  if (at < end && ((bytes[at] as number) | CASE_BIT) === LOWER_E) {
    at += 1
    if (at < end && (bytes[at] === PLUS || bytes[at] === MINUS)) at += 1
    at = endOfDigits(bytes, at, end)
  }
  return at
}

/** At least one digit; -1 if there is none. */
function endOfDigits(bytes: Uint8Array, from: number, end: number): number {
  let at = from
  while (at < end) {
    const byte = bytes[at] as number
    if (byte < DIGIT_0 || byte > DIGIT_9) break
    at += 1
  }
  return at === from ? -1 : at
}

const TRUE = Buffer.from('true')
const FALSE = Buffer.from('false')
const NULL = Buffer.from('null')

function endOfLiteral(bytes: Uint8Array, from: number, end: number, first: number): number {
  let word: Uint8Array
  if (first === TRUE[0]) word = TRUE
  else if (first === FALSE[0]) word = FALSE
  else if (first === NULL[0]) word = NULL
  else return -1
  if (from + word.length > end) return -1
  for (let n = 1; n < word.length; n += 1) if (bytes[from + n] !== word[n]) return -1
  return from + word.length
}
