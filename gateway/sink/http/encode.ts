/**
 * What of the ingest contract is made of a batch: its key, the text of its gaps, the form of its
 * body. Pure: all of it depends on the batch and the encoder alone, so a repeat is the same request
 * (I4).
 */
import type { Batch, BatchEncoder, Gap, SinkPromise } from '../../ports/sink.ts'
import type { HttpSinkConfig } from './config.ts'

/** The contract: at most so many bytes of `Sluice-Gap` in a request. */
export const MAX_GAP_HEADER_BYTES = 2048

/** Its receivers know a repeat by ids, or by one number a queue. */
export const CONTRACT_PROMISE = {
  delivery: 'at least once',
  by: 'with ids; exactly once where the receiver keeps one number a queue',
  ack: 'durable',
} as const satisfies SinkPromise

type EncodingConfig = Pick<HttpSinkConfig, 'format' | 'compression'>

export function httpEncoder({ format, compression }: EncodingConfig): HttpEncoder {
  const stitches = compression === 'gzip' ? 'gzip' : 'identity'
  return { fingerprint: `http:${format}:${stitches}`, stitches, gapsThatFit }
}

export type HttpEncoder = BatchEncoder & { readonly stitches: 'gzip' | 'identity' }

/**
 * The batch's `Idempotency-Key`: a quoted string; same key, same bytes (I4). `crc32` is that of the
 * NDJSON. A batch whose earlier tries may have gone out in another form names the form it has now.
 */
export function idempotencyKey(batch: Batch): string {
  const { gateway, spoolId, stream, firstSeq, lastSeq, fingerprint } = batch
  const crc = (batch.crc32 >>> 0).toString(16).padStart(8, '0')
  const form = batch.formerFingerprints.length === 0 ? '' : `:${fingerprint}`
  return `"${gateway}:${spoolId}:${stream}:${firstSeq}-${lastSeq}:${crc}${form}"`
}

/** Value of `Sluice-Gap`; null: there are none. */
export function gapHeader(gaps: readonly Gap[], spoolId: string): string | null {
  return gaps.length === 0 ? null : gaps.map((gap) => gapText(gap, spoolId)).join(', ')
}

function gapsThatFit(gaps: readonly Gap[], spoolId: string): number {
  let bytes = 0
  let count = 0
  for (const gap of gaps) {
    bytes += gapText(gap, spoolId).length + (count === 0 ? 0 : ', '.length)
    if (bytes > MAX_GAP_HEADER_BYTES) break
    count++
  }
  return count
}

function gapText({ spoolId, firstSeq, lastSeq, reason }: Gap, batchSpoolId: string): string {
  const mark = spoolId === batchSpoolId ? '' : `;spool=${spoolId}`
  return `${firstSeq}-${lastSeq};reason=${reason}${mark}`
}
