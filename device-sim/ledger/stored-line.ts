/**
 * Reads one stored NDJSON line of the ingest contract, with the payload's bytes exactly as they
 * stand in the line:
 * `JSON.parse` would lose digits. Pure. What the line's place in the store means is the cloud's business.
 */

export interface StoredReading {
  readonly device: string
  readonly seq: number
  readonly payload: Buffer
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const OPEN_BRACE = 0x7b
const CLOSE_BRACE = 0x7d
const OPEN_BRACKET = 0x5b
const CLOSE_BRACKET = 0x5d
const COMMA = 0x2c
const COLON = 0x3a

/** @throws with what is wrong, when the line breaks the contract */
export function parseStoredLine(line: Uint8Array): StoredReading {
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength)
  const record: unknown = JSON.parse(bytes.toString())
  if (typeof record !== 'object' || record === null || Array.isArray(record)) {
    throw new Error('a stored line is a JSON object')
  }
  const { device, seq, payloadBase64 } = record as Record<string, unknown>
  if (typeof device !== 'string') throw new Error('member device is not a string')
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 1) {
    throw new Error('member seq is not a number')
  }
  const inLine = 'payload' in record
  if (inLine === 'payloadBase64' in record)
    throw new Error('there must be one of payload and payloadBase64')
  if (inLine) return { device, seq, payload: rawMember(bytes, 'payload') }
  if (typeof payloadBase64 !== 'string') throw new Error('member payloadBase64 is not a string')
  return { device, seq, payload: Buffer.from(payloadBase64, 'base64') }
}

/**
 * The bytes of a top-level member's value in a line that is known to be valid JSON without raw line
 * breaks.
 */
function rawMember(bytes: Buffer, name: string): Buffer {
  const wanted = JSON.stringify(name)
  let index = bytes.indexOf(OPEN_BRACE) + 1
  for (;;) {
    while (bytes[index] !== QUOTE) index++
    const keyEnd = stringEnd(bytes, index)
    const key = bytes.toString('utf8', index, keyEnd)
    index = bytes.indexOf(COLON, keyEnd) + 1
    const end = valueEnd(bytes, index)
    if (key === wanted) return bytes.subarray(index, end)
    index = end
  }
}

/** Index behind the closing quote of the string that begins at `start`. */
function stringEnd(bytes: Buffer, start: number): number {
  let index = start + 1
  while (index < bytes.length && bytes[index] !== QUOTE) index += bytes[index] === BACKSLASH ? 2 : 1
  return index + 1
}

/** Index of the comma or brace at depth 0 behind the value that begins at `start`. */
function valueEnd(bytes: Buffer, start: number): number {
  let depth = 0
  let index = start
  while (index < bytes.length) {
    const byte = bytes[index]
    if (byte === QUOTE) {
      index = stringEnd(bytes, index)
      continue
    }
    if (byte === OPEN_BRACE || byte === OPEN_BRACKET) depth++
    if (depth === 0 && (byte === COMMA || byte === CLOSE_BRACE)) return index
    if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth--
    index++
  }
  throw new Error('the line ends within a member')
}
