/**
 * Records of one stream that are not durable yet: the block that is being filled, and those that
 * are full and being deflated while the commit before is synced. Their raw bytes are kept until the
 * commit is durable, because a failed commit writes them again under new seqs (I1, I4).
 */
import { crc32 } from 'node:zlib'
import type { Deflater } from '../codec/block.ts'
import { RecordBuffer, type RecordFields, renumber } from '../codec/record.ts'

/**
 * Uncompressed bytes at which a block is full: deflate gains little beyond, and a slice inflates
 * one block.
 */
export const BLOCK_TARGET_BYTES = 64 * 1024
/** Below this a block is stored as it is: deflate's gain is smaller than its cost. */
const MIN_DEFLATE_BYTES = 512
/** Buffers kept for the next blocks. */
const MAX_SPARE_BUFFERS = 4

export interface UncommittedBlock {
  readonly identity: number
  readonly firstSeq: number
  readonly count: number
  readonly raw: Uint8Array
  /** CRC-32 of `raw`. */
  readonly crc32: number
  readonly oldestMs: number
  /** When it was full, in spool time: not before its newest record was taken. */
  readonly spoolTimeMs: number
  /** The stored body; the raw bytes themselves where deflate would not pay. */
  readonly body: Promise<Uint8Array>
  /** Given back when the block is durable. */
  readonly buffer: RecordBuffer | null
}

export interface BlockLimits {
  readonly maxRecords: number
  readonly maxRawBytes: number
}

export class OpenBlocks {
  readonly #deflater: Deflater
  /** Of blocks that are begun from now on. */
  limits: BlockLimits
  readonly #spoolTimeMs: () => number
  readonly #spares: RecordBuffer[] = []
  #buffer: RecordBuffer
  #identity = 0
  #firstSeq = 0
  #oldestMs = 0
  #full: UncommittedBlock[] = []
  #fullRawBytes = 0

  constructor(deflater: Deflater, limits: BlockLimits, spoolTimeMs: () => number) {
    this.#deflater = deflater
    this.limits = limits
    this.#spoolTimeMs = spoolTimeMs
    this.#buffer = new RecordBuffer(4096)
  }

  get rawBytes(): number {
    return this.#fullRawBytes + this.#buffer.byteLength
  }

  append(identity: number, fields: RecordFields): void {
    const buffer = this.#buffer
    if (buffer.recordCount > 0) {
      const size = fields.end - fields.start
      const full =
        buffer.byteLength + size > this.limits.maxRawBytes ||
        buffer.recordCount >= this.limits.maxRecords
      if (full || identity !== this.#identity) this.#seal()
    }
    const at = fields.receivedAtMs
    if (this.#buffer.recordCount === 0) {
      this.#identity = identity
      this.#firstSeq = fields.seq
      this.#oldestMs = at
    } else if (at < this.#oldestMs) {
      // Not the order of arrival: a clock may jump back.
      this.#oldestMs = at
    }
    this.#buffer.append(fields)
  }

  /** Adds finished lines (requeued dead letters) as a block of their own. */
  appendLines(
    identity: number,
    firstSeq: number,
    count: number,
    raw: Uint8Array,
    receivedAtMs: number,
  ): void {
    this.#seal()
    this.#push({
      identity,
      firstSeq,
      count,
      raw,
      oldestMs: receivedAtMs,
      spoolTimeMs: this.#spoolTimeMs(),
      buffer: null,
    })
  }

  /** Everything so far, in order; begins anew. */
  take(): UncommittedBlock[] {
    this.#seal()
    const blocks = this.#full
    this.#full = []
    this.#fullRawBytes = 0
    return blocks
  }

  /**
   * Blocks of a failed commit come back in front, and all records get new seqs from `nextSeq` on.
   */
  putBack(
    failed: readonly UncommittedBlock[],
    identity: number,
    prefix: Uint8Array,
    nextSeq: number,
  ): UncommittedBlock[] {
    const old = [...failed, ...this.take()]
    let seq = nextSeq
    for (const block of old) {
      const raw = renumber(block.raw, prefix, seq)
      this.#push({ ...block, identity, firstSeq: seq, raw, buffer: null })
      seq += block.count
    }
    return old
  }

  /** The blocks are durable: their buffers may be used again. */
  recycle(blocks: readonly UncommittedBlock[]): void {
    for (const { buffer } of blocks) {
      if (buffer && this.#spares.length < MAX_SPARE_BUFFERS) {
        buffer.clear()
        this.#spares.push(buffer)
      }
    }
  }

  #seal(): void {
    const buffer = this.#buffer
    if (buffer.recordCount === 0) return
    this.#push({
      identity: this.#identity,
      firstSeq: this.#firstSeq,
      count: buffer.recordCount,
      raw: buffer.bytes(),
      oldestMs: this.#oldestMs,
      spoolTimeMs: this.#spoolTimeMs(),
      buffer,
    })
    this.#buffer = this.#spares.pop() ?? new RecordBuffer(4096)
  }

  /** Full: deflated now, while an earlier commit may be being synced. */
  #push(block: Omit<UncommittedBlock, 'body' | 'crc32'>): void {
    const { raw } = block
    const body = raw.length < MIN_DEFLATE_BYTES ? Promise.resolve(raw) : this.#deflater.deflate(raw)
    // A failed deflate surfaces where the commit awaits it, not as an unhandled rejection before.
    body.catch(() => undefined)
    this.#full.push({ ...block, body, crc32: crc32(raw) })
    this.#fullRawBytes += raw.length
  }
}
