/**
 * Inflates the raw format of Snappy (google/snappy, format_description.txt): the store does not
 * compress, but LevelDB's own repair, which versions up to 0.7 ran, wrote the tables that it made of
 * logs with its own defaults.
 */

/** null: not what a compressor writes. */
export function snappyInflate(bytes: Buffer): Buffer | null {
  const [length, start] = varint(bytes)
  if (length === null || length > MAX_BLOCK_BYTES) return null
  const out = Buffer.alloc(length)
  let done = 0
  for (let at = start; at < bytes.length; ) {
    const tag = bytes[at++] as number
    const element = (tag & 3) === 0 ? literal(bytes, at, tag) : copy(bytes, at, tag)
    if (element === null || done + element.length > length) return null
    if (element.offset === 0) bytes.copy(out, done, element.next - element.length, element.next)
    else if (element.offset > done) return null
    // Byte by byte: a copy may reach into what it writes.
    else
      for (let i = done; i < done + element.length; i++) out[i] = out[i - element.offset] as number
    done += element.length
    at = element.next
  }
  return done === length ? out : null
}

/**
 * A block of a table holds one value or 4 KiB, whichever is more; values have a limit of their own.
 */
const MAX_BLOCK_BYTES = 512 * 1024 * 1024

interface Element {
  readonly length: number
  /** How far back it copies from; 0: its bytes are the ones in front of `next`. */
  readonly offset: number
  readonly next: number
}

function literal(bytes: Buffer, at: number, tag: number): Element | null {
  const code = tag >>> 2
  const extra = code < 60 ? 0 : code - 59
  if (at + extra > bytes.length) return null
  const length = (extra === 0 ? code : bytes.readUIntLE(at, extra)) + 1
  const next = at + extra + length
  return next > bytes.length ? null : { length, offset: 0, next }
}

function copy(bytes: Buffer, at: number, tag: number): Element | null {
  const kind = tag & 3
  const size = kind === 1 ? 1 : kind === 2 ? 2 : 4
  if (at + size > bytes.length) return null
  const next = at + size
  const value = bytes.readUIntLE(at, size)
  const offset = kind === 1 ? ((tag >>> 5) << 8) | value : value
  const length = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1
  return offset === 0 ? null : { length, offset, next }
}

function varint(bytes: Buffer): readonly [number | null, number] {
  let value = 0
  for (let at = 0; at < Math.min(5, bytes.length); at++) {
    const byte = bytes[at] as number
    value += (byte & 0x7f) * 128 ** at
    if (byte < 0x80) return [value, at + 1]
  }
  return [null, 0]
}
