/**
 * What of the ingest contract is made of a batch: its key, the text of its gaps, the form of its
 * body. Pure: all of it depends on the batch and the encoder alone, so a repeat is the same request
 * (I4).
 */
import type { Batch, BatchEncoder, Gap } from '../../ports/sink.ts'
import type { HttpSinkConfig } from './config.ts'
import type { Format } from './formats/format.ts'
import { formatOf } from './formats/registry.ts'

/** The contract: at most so many bytes of `Sluice-Gap` in a request. */
export const MAX_GAP_HEADER_BYTES = 2048

type EncodingConfig = Pick<HttpSinkConfig, 'format' | 'compression'>

export function httpEncoder({ format, compression }: EncodingConfig): HttpEncoder {
  const form = formatOf(format, compression)
  const { fingerprint, stitches, maxBatchRecords, keepsWhole } = form
  return {
    format: form,
    fingerprint: `http:${fingerprint}`,
    stitches,
    gapsThatFit,
    ...(maxBatchRecords === undefined ? {} : { maxBatchRecords }),
    ...(keepsWhole === undefined ? {} : { keepsWhole }),
  }
}

export type HttpEncoder = BatchEncoder & { readonly format: Format }

/**
 * The batch's `Idempotency-Key`: a quoted string; same key, same bytes (I4). It has the checksum of
 * the body before compression. A body that is encoded names its form, as does a batch whose earlier
 * tries may have gone out in another one.
 * @param bodyCrc32 of an encoded body; null: it is the NDJSON
 */
export function idempotencyKey(batch: Batch, bodyCrc32: number | null = null): string {
  const { gateway, spoolId, stream, firstSeq, lastSeq, fingerprint } = batch
  const crc = ((bodyCrc32 ?? batch.crc32) >>> 0).toString(16).padStart(8, '0')
  const isNamed = bodyCrc32 !== null || batch.formerFingerprints.length > 0
  const form = isNamed ? `:${fingerprint}` : ''
  return `"${gateway}:${spoolId}:${stream}:${firstSeq}-${lastSeq}:${crc}${form}"`
}

/** Value of `Sluice-Gap`; null: there are none. */
export function gapHeader(gaps: readonly Gap[], spoolId: string): string | null {
  return gaps.length === 0 ? null : gaps.map((gap) => gapText(gap, spoolId)).join(', ')
}

/** How many of them, from the oldest, {@link gapHeader} may have. */
export function gapsThatFit(gaps: readonly Gap[], spoolId: string): number {
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
