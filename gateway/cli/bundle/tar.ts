/** A tar archive (POSIX ustar) of a few texts, in memory. Pure. */

const BLOCK_BYTES = 512
/** Field widths of the header, in its order; see "ustar Interchange Format" of POSIX pax. */
const MAX_NAME_BYTES = 100

export interface TarEntry {
  /** ASCII, at most 100 characters. */
  readonly name: string
  readonly content: string
}

/** `nowMs`: when each was made, ms since the epoch. */
export function tar(entries: readonly TarEntry[], nowMs: number): Buffer {
  const parts = entries.flatMap(({ name, content }) => {
    const bytes = Buffer.from(content)
    const padding = Buffer.alloc((BLOCK_BYTES - (bytes.length % BLOCK_BYTES)) % BLOCK_BYTES)
    return [header(name, bytes.length, nowMs), bytes, padding]
  })
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK_BYTES)])
}

function header(name: string, size: number, nowMs: number): Buffer {
  if (Buffer.byteLength(name) > MAX_NAME_BYTES) throw new Error(`too long for tar: ${name}`)
  const block = Buffer.alloc(BLOCK_BYTES)
  const octal = (value: number, at: number, digits: number): void => {
    block.write(`${value.toString(8).padStart(digits, '0')}\0`, at, 'ascii')
  }
  block.write(name, 0, 'ascii')
  octal(0o600, 100, 7)
  octal(0, 108, 7)
  octal(0, 116, 7)
  octal(size, 124, 11)
  octal(Math.floor(nowMs / 1_000), 136, 11)
  block.write('0', 156, 'ascii')
  block.write('ustar\u000000', 257, 'ascii')
  // The sum is taken with blanks in its own place.
  block.fill(' ', 148, 156)
  const sum = block.reduce((total, byte) => total + byte, 0)
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'ascii')
  return block
}
