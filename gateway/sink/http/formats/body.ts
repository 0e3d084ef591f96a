/**
 * Batch -> the body of its request, in the format of its sink. Records that have no place in the
 * format are left out of it, and are refused whatever else becomes of the batch.
 */
import { promisify } from 'node:util'
import { crc32, gzip } from 'node:zlib'
import type { Batch, Listed, SinkAnswer } from '../../../ports/sink.ts'
import { RecordView, Unmappable } from '../../mapping/record-view.ts'
import type { Format, QueryOfBatch } from './format.ts'

const compress = promisify(gzip)

/** As of the blocks in the spool: more costs much processor and saves little. */
const LEVEL = 6
/**
 * Text becomes bytes at so many characters. The text of a whole batch would be so many small strings
 * that live so long that to collect garbage took more than to encode.
 */
const CHUNK_CHARS = 64 * 1024
/** Of what compression gives: each piece is a turn through the thread pool. */
const MIN_COMPRESSED_CHUNK = 16 * 1024
const MAX_COMPRESSED_CHUNK = 256 * 1024
/** Of a body: what JSON of readings becomes, and some more. */
const COMPRESSED_SHARE = 0.25

export interface RequestBody {
  readonly chunks: readonly Uint8Array[]
  /** Of all chunks. */
  readonly byteLength: number
  readonly contentType: string
  readonly contentEncoding: 'gzip' | null
  /** Of the records that are in it. */
  readonly recordCount: number
  /**
   * Their seqs, in the order of the body: of which record an answer by index speaks. null: all of
   * the batch's, as they lie.
   */
  readonly seqs: readonly number[] | null
  readonly query: QueryOfBatch | null
  /** What the key names; null: what the batch itself says. Of the body before compression. */
  readonly crc32: number | null
  /** Records that are not in it, in order of seq. */
  readonly refused: readonly Listed[]
}

export async function bodyOf(batch: Batch, format: Format): Promise<RequestBody> {
  const { contentType, contentEncoding, query = null, stitches } = format
  if (stitches !== null) {
    const { chunks, byteLength } = await batch.stitched(stitches)
    const { recordCount } = batch
    const whole = { recordCount, seqs: null, crc32: null, refused: [] }
    return { chunks, byteLength, contentType, contentEncoding, query, ...whole }
  }
  const plain = await encodedBody(batch, format)
  const [bytes] = plain.chunks
  if (contentEncoding === null || bytes === undefined) return plain
  const body = await compress(bytes, { level: LEVEL, chunkSize: compressedChunk(bytes.length) })
  return { ...plain, chunks: [body], byteLength: body.length, contentEncoding }
}

function compressedChunk(byteLength: number): number {
  const share = Math.ceil(byteLength * COMPRESSED_SHARE)
  return Math.min(MAX_COMPRESSED_CHUNK, Math.max(MIN_COMPRESSED_CHUNK, share))
}

/** The body of a format that does not stitch, not compressed. */
export async function encodedBody(batch: Batch, format: Format): Promise<RequestBody> {
  const { prefix, separator, suffix, each } = format.text(batch)
  const view = new RecordView(batch)
  const seqs: number[] = []
  const refused: Listed[] = []
  const body = new TextBytes(batch.rawBytes)
  let text = prefix
  for await (const record of batch.records()) {
    try {
      const one = each(view.at(record))
      text += seqs.length === 0 ? one : separator + one
      seqs.push(record.seq)
    } catch (error) {
      if (!(error instanceof Unmappable)) throw error
      refused.push(refusal(record.seq, error))
    }
    if (text.length < CHUNK_CHARS) continue
    body.append(text)
    text = ''
  }
  body.append(text + suffix)
  const { bytes } = body
  return {
    chunks: [bytes],
    byteLength: bytes.length,
    contentType: format.contentType,
    contentEncoding: null,
    query: format.query ?? null,
    recordCount: seqs.length,
    seqs,
    crc32: crc32(bytes),
    refused,
  }
}

/** A UTF-8 character of a text has at most so many bytes a unit. */
const MAX_BYTES_A_CHAR = 3

/** Text that becomes bytes piece by piece, in one place. */
class TextBytes {
  #buffer: Buffer
  #length = 0

  /** @param expected bytes, to begin with */
  constructor(expected: number) {
    this.#buffer = Buffer.allocUnsafeSlow(expected + CHUNK_CHARS * MAX_BYTES_A_CHAR)
  }

  append(text: string): void {
    const needed = this.#length + text.length * MAX_BYTES_A_CHAR
    if (needed > this.#buffer.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#buffer.length * 2))
      larger.set(this.#buffer.subarray(0, this.#length))
      this.#buffer = larger
    }
    this.#length += this.#buffer.write(text, this.#length)
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }
}

function refusal(seq: number, { message }: Unmappable): Listed {
  return { seq, verdict: 'refused', code: null, reason: `unmappable: ${message}` }
}

/** The answer to what was sent, and what was not sent beside it. */
export function withRefused(answer: SinkAnswer, refused: readonly Listed[]): SinkAnswer {
  if (answer.kind !== 'verdicts' || refused.length === 0) return answer
  const listed = [...answer.listed, ...refused].toSorted((a, b) => a.seq - b.seq)
  return { ...answer, listed }
}
