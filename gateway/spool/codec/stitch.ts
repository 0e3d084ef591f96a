/**
 * The body of a request from stored blocks. Deflate segments go into one gzip member as they lie on
 * disk, with neither inflating nor deflating; the member's CRC is computed from those of its parts.
 *
 * The same parts give the same bytes (I4), whenever and by whatever process of this version they
 * are joined. What is only a few records is recompressed together with its neighbours: alone it
 * deflates to half, together to a quarter.
 */
import { constants, deflateRaw } from 'node:zlib'
import { BlockDamagedError, inflateSegments } from './block.ts'
import { crc32, crc32Combine } from './crc32.ts'

/**
 * A run of whole NDJSON lines. `segment`, `rawBytes` and `crc32` (of the lines) are those of a
 * block.
 */
export type Part =
  | {
      readonly kind: 'deflated'
      readonly segment: Uint8Array
      readonly rawBytes: number
      readonly crc32: number
    }
  | { readonly kind: 'raw'; readonly bytes: Uint8Array }

export interface Body {
  readonly chunks: Uint8Array[]
  /** Of all chunks. */
  readonly byteLength: number
  /** Of the NDJSON. */
  readonly rawBytes: number
  /** Of the NDJSON. */
  readonly crc32: number
}

/**
 * Deflated parts with less NDJSON than this are recompressed together with small or raw parts
 * beside them.
 */
export const SMALL_PART_RAW_BYTES = 8 * 1024
/** A run is recompressed in pieces of about so much: what one call inflates stays bounded. */
const MAX_RECOMPRESSED_BYTES = 4 * 1024 * 1024
const RECOMPRESS_LEVEL = 1

/**
 * RFC 1952: deflate, no flags, no time (the same batch must have the same bytes), unknown operating
 * system.
 */
const GZIP_HEADER = Buffer.from([0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff])
/** The final block, empty, with fixed codes (RFC 1951, section 3.2.6). */
const FINAL_BLOCK = Buffer.from([0x03, 0x00])
/** CRC-32 and length modulo 2^32. */
const GZIP_TRAILER_BYTES = 8

/**
 * One gzip member (RFC 1952) that holds all parts in order.
 *
 * @throws BlockDamagedError if a part that had to be inflated is not what it says.
 */
export async function stitchGzip(parts: readonly Part[]): Promise<Body> {
  const chunks: Uint8Array[] = [GZIP_HEADER]
  let sum = EMPTY_SUM
  for (const run of runsOf(parts)) {
    const runSum = run.reduce(addPart, EMPTY_SUM)
    chunks.push(await segmentOf(run, runSum))
    sum = combine(sum, runSum)
  }
  const trailer = Buffer.alloc(FINAL_BLOCK.length + GZIP_TRAILER_BYTES)
  trailer.set(FINAL_BLOCK)
  trailer.writeUInt32LE(sum.crc32, FINAL_BLOCK.length)
  trailer.writeUInt32LE(sum.rawBytes % 2 ** 32, FINAL_BLOCK.length + 4)
  chunks.push(trailer)
  return { chunks, byteLength: byteLengthOf(chunks), ...sum }
}

/**
 * The NDJSON of all parts in order.
 *
 * @throws BlockDamagedError if a part is not what it says.
 */
export async function joinIdentity(parts: readonly Part[]): Promise<Body> {
  const chunks: Uint8Array[] = []
  let sum = EMPTY_SUM
  for (const run of deflatedRunsOf(parts)) {
    const runSum = run.reduce(addPart, EMPTY_SUM)
    if (runSum.rawBytes > 0) chunks.push(await rawOf(run, runSum))
    sum = combine(sum, runSum)
  }
  return { chunks, byteLength: byteLengthOf(chunks), ...sum }
}

/** Of the NDJSON of all parts, without inflating any. */
export function sumOf(parts: readonly Part[]): Sum {
  return parts.reduce(addPart, EMPTY_SUM)
}

interface Sum {
  readonly rawBytes: number
  readonly crc32: number
}

const EMPTY_SUM: Sum = { rawBytes: 0, crc32: 0 }

function combine(a: Sum, b: Sum): Sum {
  return { rawBytes: a.rawBytes + b.rawBytes, crc32: crc32Combine(a.crc32, b.crc32, b.rawBytes) }
}

function addPart(sum: Sum, part: Part): Sum {
  if (part.kind === 'deflated') return combine(sum, part)
  return { rawBytes: sum.rawBytes + part.bytes.length, crc32: crc32(part.bytes, sum.crc32) }
}

function rawBytesOf(part: Part): number {
  return part.kind === 'raw' ? part.bytes.length : part.rawBytes
}

/** Every run becomes one segment: large deflated parts alone, all others with their neighbours. */
function* runsOf(parts: readonly Part[]): Generator<readonly Part[]> {
  let run: Part[] = []
  let runBytes = 0
  for (const part of parts) {
    const bytes = rawBytesOf(part)
    if (bytes === 0) continue
    const alone = part.kind === 'deflated' && bytes >= SMALL_PART_RAW_BYTES
    if (run.length > 0 && (alone || runBytes + bytes > MAX_RECOMPRESSED_BYTES)) {
      yield run
      run = []
      runBytes = 0
    }
    if (alone) {
      yield [part]
    } else {
      run.push(part)
      runBytes += bytes
    }
  }
  if (run.length > 0) yield run
}

/** Neighbouring deflated parts are inflated in one go; raw parts stay as they are. */
function* deflatedRunsOf(parts: readonly Part[]): Generator<readonly Part[]> {
  let run: Part[] = []
  let runBytes = 0
  for (const part of parts) {
    const bytes = rawBytesOf(part)
    if (run.length > 0 && (part.kind === 'raw' || runBytes + bytes > MAX_RECOMPRESSED_BYTES)) {
      yield run
      run = []
      runBytes = 0
    }
    if (part.kind === 'raw') {
      yield [part]
    } else {
      run.push(part)
      runBytes += bytes
    }
  }
  if (run.length > 0) yield run
}

async function segmentOf(run: readonly Part[], sum: Sum): Promise<Uint8Array> {
  const only = run[0]
  if (run.length === 1 && only?.kind === 'deflated') return only.segment
  const raw = await rawOf(run, sum)
  return new Promise((resolve, reject) => {
    const options = {
      level: RECOMPRESS_LEVEL,
      finishFlush: constants.Z_SYNC_FLUSH,
      chunkSize: recompressedChunkBytes(raw.length),
    }
    deflateRaw(raw, options, (error, segment) => (error ? reject(error) : resolve(segment)))
  })
}

/** A third of the input is enough for most output, and saves trips to the thread pool. */
function recompressedChunkBytes(rawBytes: number): number {
  return Math.max(1024, Math.min(256 * 1024, Math.ceil(rawBytes / 3)))
}

/**
 * The run's NDJSON. Segments are concatenable, and raw bytes are a deflate stream too when they are
 * framed as stored blocks: so the whole run, ten thousand blocks of one record as well as one, is
 * inflated in a single call.
 */
async function rawOf(run: readonly Part[], sum: Sum): Promise<Uint8Array> {
  const only = run[0]
  if (run.length === 1 && only?.kind === 'raw') return only.bytes
  const pieces: Uint8Array[] = []
  for (const part of run) {
    if (part.kind === 'deflated') pieces.push(part.segment)
    else pushStored(pieces, part.bytes)
  }
  const onlyRaw = run.every((part) => part.kind === 'raw')
  const raw = onlyRaw
    ? Buffer.concat(run.map((part) => (part as Part & { kind: 'raw' }).bytes))
    : await inflateSegments(Buffer.concat(pieces), sum.rawBytes)
  if (raw.length !== sum.rawBytes)
    throw new BlockDamagedError(`${raw.length} bytes of ${sum.rawBytes}`)
  if (crc32(raw) !== sum.crc32) throw new BlockDamagedError('the CRC of its records is wrong')
  return raw
}

/** RFC 1951, section 3.2.4: not final, stored, padded to a byte; length and its complement. */
const MAX_STORED_BYTES = 65_535

function pushStored(pieces: Uint8Array[], bytes: Uint8Array): void {
  for (let from = 0; from < bytes.length; from += MAX_STORED_BYTES) {
    const stored = bytes.subarray(from, from + MAX_STORED_BYTES)
    const head = Buffer.alloc(5)
    head.writeUInt16LE(stored.length, 1)
    head.writeUInt16LE(stored.length ^ 0xffff, 3)
    pieces.push(head, stored)
  }
}

function byteLengthOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((bytes, chunk) => bytes + chunk.length, 0)
}
