/**
 * One LevelDB value: a run of records of one stream that one commit made durable. Header, then the
 * records' NDJSON, as a deflate segment or as it is. Immutable.
 *
 *   offset  bytes            little endian
 *        0      4  magic "SLBK"
 *        4      1  format version
 *        5      1  codec: 0 none, 1 deflate
 *        6      2  stream id
 *        8      4  record count
 *       12      4  length of the NDJSON
 *       16      4  length of the body
 *       20      4  CRC-32 of the NDJSON
 *       24      4  CRC-32 of the body
 *       28      8  first seq
 *       36      8  oldest receivedAt, ms, as a double
 *       44      8  spool time of the newest record, ms, as a double (spool-time.ts)
 *       52      1  length of the spool id
 *       53      n  spool id
 *     53+n      4  CRC-32 of the header so far
 *     57+n         body
 *
 * Everything that says whose records these are is here and not only in the key, so a block that was
 * salvaged from a damaged database still finds its place (I7). The body has a CRC of its own
 * because a deflated body goes to the sink without being inflated here: what the disk damaged must
 * not leave the house (I4, I7).
 *
 * Does not decide where blocks are cut, nor their keys.
 */
import {
  constants,
  createDeflateRaw,
  type DeflateRaw,
  deflateRawSync,
  inflateRaw,
  inflateRawSync,
  type ZlibOptions,
} from 'node:zlib'
import { crc32 } from './crc32.ts'

export interface BlockHeader {
  readonly spoolId: string
  /** 0 to 65535. */
  readonly streamId: number
  readonly firstSeq: number
  readonly recordCount: number
  readonly codec: 'deflate' | 'none'
  /** Length of the NDJSON. */
  readonly rawBytes: number
  /** CRC-32 of the NDJSON. */
  readonly crc32: number
  readonly oldestReceivedAtMs: number
  /** When the newest record was taken, for `maxAge`; no wall clock. */
  readonly spoolTimeMs: number
}

/**
 * Which block is meant, in the store or in raw bytes. The copy of a single record (a parked one)
 * and the block that it came from differ in their count.
 */
export type BlockName = Pick<BlockHeader, 'spoolId' | 'streamId' | 'firstSeq' | 'recordCount'>

/** The name as a key of maps. */
export function blockNameKey({ spoolId, streamId, firstSeq, recordCount }: BlockName): string {
  return `${spoolId}/${streamId}/${firstSeq}/${recordCount}`
}

/**
 * These bytes are no block, or not the one that was written. What is lost is a gap with the reason
 * `corrupt`.
 */
export class BlockDamagedError extends Error {
  readonly code = 'SLUICE_BLOCK_DAMAGED'
  readonly retryable = false

  constructor(what: string) {
    super(`damaged block: ${what}`)
    this.name = 'BlockDamagedError'
  }
}

const MAGIC = 0x4b424c53 // "SLBK"
const FORMAT_VERSION = 1
const CODECS = ['none', 'deflate'] as const
/** Up to the spool id. */
const FIXED_HEADER_BYTES = 53
const CRC_BYTES = 4
const MAX_SPOOL_ID_BYTES = 255

/**
 * No block is larger: one record of the largest MQTT packet (256 MiB, MQTT 3.1.1 section 2.2.3) as
 * base64, and its envelope. A header that says more is not ours.
 */
const MAX_BLOCK_RAW_BYTES = 400 * 1024 * 1024

/** `body`: the NDJSON itself (codec `none`) or its segment from {@link Deflater}. */
export function encodeBlock(header: BlockHeader, body: Uint8Array): Buffer {
  const spoolIdBytes = Buffer.byteLength(header.spoolId)
  assertEncodable(header, body, spoolIdBytes)
  const headerBytes = FIXED_HEADER_BYTES + spoolIdBytes
  const value = Buffer.allocUnsafe(headerBytes + CRC_BYTES + body.length)
  value.writeUInt32LE(MAGIC, 0)
  value[4] = FORMAT_VERSION
  value[5] = CODECS.indexOf(header.codec)
  value.writeUInt16LE(header.streamId, 6)
  value.writeUInt32LE(header.recordCount, 8)
  value.writeUInt32LE(header.rawBytes, 12)
  value.writeUInt32LE(body.length, 16)
  value.writeUInt32LE(header.crc32, 20)
  value.writeUInt32LE(header.codec === 'none' ? header.crc32 : crc32(body), 24)
  value.writeBigUInt64LE(BigInt(header.firstSeq), 28)
  value.writeDoubleLE(header.oldestReceivedAtMs, 36)
  value.writeDoubleLE(header.spoolTimeMs, 44)
  value[52] = spoolIdBytes
  value.write(header.spoolId, FIXED_HEADER_BYTES)
  value.writeUInt32LE(crc32(value.subarray(0, headerBytes)), headerBytes)
  value.set(body, headerBytes + CRC_BYTES)
  return value
}

/** Against our own mistakes, before they become durable. */
function assertEncodable(header: BlockHeader, body: Uint8Array, spoolIdBytes: number): void {
  if (spoolIdBytes === 0 || spoolIdBytes > MAX_SPOOL_ID_BYTES)
    throw new RangeError('spool id too short or long')
  if (!Number.isSafeInteger(header.firstSeq) || header.firstSeq < 1)
    throw new RangeError('first seq below 1')
  if (header.recordCount < 1) throw new RangeError('a block without records')
  if (header.rawBytes < 1 || header.rawBytes > MAX_BLOCK_RAW_BYTES)
    throw new RangeError('block empty or too large')
  if (header.codec === 'none' ? body.length !== header.rawBytes : body.length === 0) {
    throw new RangeError('the body is not what the header says')
  }
}

/**
 * Checks the header and that the body is the one that was written, byte for byte, without inflating
 * it. The body is `value.subarray(bodyOffset)`.
 *
 * @throws BlockDamagedError
 */
export function decodeBlockHeader(
  value: Uint8Array,
): BlockHeader & { readonly bodyOffset: number } {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
  if (bytes.length < FIXED_HEADER_BYTES + CRC_BYTES)
    throw new BlockDamagedError('cut off in its header')
  if (bytes.readUInt32LE(0) !== MAGIC) throw new BlockDamagedError('no block')
  const version = bytes[4] as number
  const headerBytes = FIXED_HEADER_BYTES + (bytes[52] as number)
  const bodyOffset = headerBytes + CRC_BYTES
  if (bytes.length < bodyOffset) throw new BlockDamagedError('cut off in its header')
  if (bytes.readUInt32LE(headerBytes) !== crc32(bytes.subarray(0, headerBytes))) {
    throw new BlockDamagedError('the CRC of its header is wrong')
  }
  // Behind the CRC: only an intact header can say that a later version wrote it.
  if (version !== FORMAT_VERSION)
    throw new BlockDamagedError(`format ${version}, this version reads 1`)
  const codec = CODECS[bytes[5] as number]
  if (codec === undefined) throw new BlockDamagedError(`unknown codec ${bytes[5]}`)
  const bodyBytes = bytes.readUInt32LE(16)
  if (bytes.length !== bodyOffset + bodyBytes) {
    throw new BlockDamagedError(`${bytes.length - bodyOffset} bytes of ${bodyBytes}`)
  }
  if (crc32(bytes.subarray(bodyOffset)) !== bytes.readUInt32LE(24)) {
    throw new BlockDamagedError('the CRC of its body is wrong')
  }
  return {
    spoolId: bytes.toString('utf8', FIXED_HEADER_BYTES, headerBytes),
    streamId: bytes.readUInt16LE(6),
    firstSeq: Number(bytes.readBigUInt64LE(28)),
    recordCount: bytes.readUInt32LE(8),
    codec,
    rawBytes: bytes.readUInt32LE(12),
    crc32: bytes.readUInt32LE(20),
    oldestReceivedAtMs: bytes.readDoubleLE(36),
    spoolTimeMs: bytes.readDoubleLE(44),
    bodyOffset,
  }
}

/**
 * How long the block that begins here says it is; 0: its header is cut off or damaged. For finding
 * blocks in raw bytes.
 */
export function blockBytes(value: Uint8Array): number {
  const bytes = Buffer.from(value.buffer, value.byteOffset, value.length)
  if (bytes.length < FIXED_HEADER_BYTES + CRC_BYTES || bytes.readUInt32LE(0) !== MAGIC) return 0
  const headerBytes = FIXED_HEADER_BYTES + (bytes[52] as number)
  if (bytes.length < headerBytes + CRC_BYTES) return 0
  if (bytes.readUInt32LE(headerBytes) !== crc32(bytes.subarray(0, headerBytes))) return 0
  return headerBytes + CRC_BYTES + bytes.readUInt32LE(16)
}

/**
 * The block's NDJSON, checked against length, CRC and record count. Of an uncompressed block a view
 * of `value`. Never inflates beyond the length in the header.
 *
 * @throws BlockDamagedError
 */
export async function readBlock(value: Uint8Array): Promise<Buffer> {
  const header = decodeBlockHeader(value)
  const body = Buffer.from(
    value.buffer,
    value.byteOffset + header.bodyOffset,
    value.length - header.bodyOffset,
  )
  const raw = header.codec === 'none' ? body : await inflateBlock(body, header.rawBytes)
  if (raw.length !== header.rawBytes)
    throw new BlockDamagedError(`${raw.length} bytes of ${header.rawBytes}`)
  if (crc32(raw) !== header.crc32) throw new BlockDamagedError('the CRC of its records is wrong')
  const lines = lineCount(raw)
  if (lines !== header.recordCount)
    throw new BlockDamagedError(`${lines} records of ${header.recordCount}`)
  return raw
}

/** Complete lines; -1 if the last one has no end. */
function lineCount(raw: Buffer): number {
  const LINE_FEED = 0x0a
  if (raw[raw.length - 1] !== LINE_FEED) return -1
  let lines = 0
  for (let at = 0; at < raw.length; lines += 1) at = raw.indexOf(LINE_FEED, at) + 1
  return lines
}

/** Output buffers of this size save trips to the thread pool and waste little. */
const MIN_INFLATE_CHUNK_BYTES = 1024
const MAX_INFLATE_CHUNK_BYTES = 256 * 1024

/**
 * Up to here a block is inflated where it is asked for, in 0.1 ms for 64 KiB: to make a stream for
 * the thread pool and to come back from it takes more of the main thread than that.
 */
const INFLATE_IN_PLACE_BYTES = 128 * 1024

function inflateBlock(segment: Uint8Array, rawBytes: number): Buffer | Promise<Buffer> {
  if (rawBytes < 1 || rawBytes > INFLATE_IN_PLACE_BYTES) return inflateSegments(segment, rawBytes)
  try {
    return inflateRawSync(segment, inflateOptions(rawBytes))
  } catch (error) {
    throw new BlockDamagedError(error instanceof Error ? error.message : String(error))
  }
}

function inflateOptions(rawBytes: number): ZlibOptions {
  return {
    // There is no final block.
    finishFlush: constants.Z_SYNC_FLUSH,
    maxOutputLength: rawBytes,
    // One more than needed: a full output buffer means another trip to see whether there is more.
    chunkSize: Math.min(MAX_INFLATE_CHUNK_BYTES, Math.max(MIN_INFLATE_CHUNK_BYTES, rawBytes + 1)),
  }
}

/**
 * Inflates one segment of {@link Deflater}, or several, one behind the other, to at most
 * `rawBytes`. Runs in the thread pool.
 *
 * @throws BlockDamagedError if there is more in it, or it is no deflate stream. Less is for the caller to notice.
 */
export function inflateSegments(segments: Uint8Array, rawBytes: number): Promise<Buffer> {
  if (rawBytes < 1 || rawBytes > MAX_BLOCK_RAW_BYTES) {
    return Promise.reject(new BlockDamagedError(`it claims to hold ${rawBytes} bytes`))
  }
  return new Promise((resolve, reject) => {
    inflateRaw(segments, inflateOptions(rawBytes), (error, raw) => {
      if (error) reject(new BlockDamagedError(error.message))
      else resolve(raw)
    })
  })
}

/**
 * A full block of 64 KiB that does not compress, and deflate's own bytes: the output is made in one
 * trip.
 */
const DEFLATE_CHUNK_BYTES = 66 * 1024
/**
 * Up to here deflate is done where it is asked for, in 20 to 120 us: the way to the thread pool and
 * back would add 60 to 170 us of processor time, some 40 of them of the main thread. A commit of
 * 100 streams is 100 such blocks.
 */
const IN_PLACE_BYTES = 32 * 1024
/** What a sync flush ends with: an empty stored block (RFC 1951, section 3.2.4). */
const SYNC_FLUSH_END = Buffer.from([0x00, 0x00, 0xff, 0xff])

interface Job {
  readonly raw: Uint8Array
  readonly resolve: (segment: Buffer) => void
  readonly reject: (error: Error) => void
}

/**
 * Makes deflate segments: each starts from an empty window and ends at a byte boundary with a sync
 * flush and without a final block, so segments that are written one behind the other are one valid
 * deflate stream (RFC 1951).
 *
 * Small inputs at once; others in the thread pool, at most `concurrency` at a time. Streams are
 * reset and used again: at 64 KiB that takes 35 to 45 us of the main thread instead of 65 to 100
 * for a stream a call, and two thirds of the processor time in all.
 */
export class Deflater {
  readonly #level: number
  readonly #concurrency: number
  readonly #inPlaceBytes: number
  readonly #idle: ReusableStream[] = []
  readonly #waiting: Job[] = []
  #running = 0
  #closed = false

  /**
   * `level`: 0 to 9 as in zlib; 1 costs least, and gives nearly all of the gain on telemetry. `inPlaceBytes`: the largest
   * input that is deflated at once, on the main thread; what comes of it is the same.
   */
  constructor(options: {
    readonly level: number
    readonly concurrency: number
    readonly inPlaceBytes?: number
  }) {
    this.#level = options.level
    this.#inPlaceBytes = options.inPlaceBytes ?? IN_PLACE_BYTES
    this.#concurrency = Math.max(1, options.concurrency)
  }

  /**
   * `raw` must not be empty, nor change before the promise settles. The same bytes always give the same segment.
   */
  deflate(raw: Uint8Array): Promise<Buffer> {
    if (this.#closed) return Promise.reject(new Error('the deflater is closed'))
    if (raw.length === 0) return Promise.reject(new RangeError('nothing to deflate'))
    if (raw.length <= this.#inPlaceBytes) {
      return Promise.resolve(deflateRawSync(raw, smallOptions(this.#level, raw.length)))
    }
    return new Promise((resolve, reject) => {
      this.#waiting.push({ raw, resolve, reject })
      this.#next()
    })
  }

  /** What was handed over before is still finished. */
  close(): void {
    this.#closed = true
    for (const stream of this.#idle.splice(0)) stream.close()
  }

  #next(): void {
    if (this.#running >= this.#concurrency) return
    const job = this.#waiting.shift()
    if (job === undefined) return
    const stream = this.#idle.pop() ?? new ReusableStream(this.#level)
    this.#running += 1
    stream.deflate(job.raw, (error, segment) => {
      this.#running -= 1
      // After an error its state is unknown.
      if (error === null && !(this.#closed && this.#waiting.length === 0)) this.#idle.push(stream)
      else stream.close()
      if (error === null) job.resolve(segment)
      else job.reject(error)
      this.#next()
    })
  }
}

/** What zlib keeps free at the end of its window (deflate.h, MIN_LOOKAHEAD). */
const MIN_LOOKAHEAD_BYTES = 262
const MIN_WINDOW_BITS = 9

/**
 * Window and output no larger than the input needs: half of the time of a small one went into
 * clearing memory.
 */
function smallOptions(level: number, rawBytes: number): ZlibOptions {
  const fitting = Math.ceil(Math.log2(rawBytes + MIN_LOOKAHEAD_BYTES))
  const windowBits = Math.min(constants.Z_MAX_WINDOWBITS, Math.max(MIN_WINDOW_BITS, fitting))
  const chunkSize = Math.max(constants.Z_MIN_CHUNK, rawBytes)
  return { level, windowBits, chunkSize, finishFlush: constants.Z_SYNC_FLUSH }
}

type DeflateDone = (error: Error | null, segment: Buffer) => void

class ReusableStream {
  readonly #stream: DeflateRaw
  #chunks: Buffer[] = []
  #done: DeflateDone | null = null

  constructor(level: number) {
    this.#stream = createDeflateRaw({
      level,
      // Every write is flushed: one write, one segment.
      flush: constants.Z_SYNC_FLUSH,
      chunkSize: DEFLATE_CHUNK_BYTES,
    })
    this.#stream.on('data', (chunk: Buffer) => this.#chunks.push(chunk))
    this.#stream.on('error', (error) => this.#finish(error))
  }

  deflate(raw: Uint8Array, done: DeflateDone): void {
    this.#done = done
    this.#stream.write(raw, (error) => this.#finish(error ?? null))
  }

  close(): void {
    this.#stream.destroy()
  }

  #finish(error: Error | null): void {
    const done = this.#done
    if (done === null) return
    this.#done = null
    const chunks = this.#chunks
    this.#chunks = []
    const segment = chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
    if (error !== null) done(error, segment)
    else if (!segment.subarray(-SYNC_FLUSH_END.length).equals(SYNC_FLUSH_END)) {
      done(new Error('deflate gave a segment without its end'), segment)
    } else {
      this.#stream.reset()
      done(null, segment)
    }
  }
}
