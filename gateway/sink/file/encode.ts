/**
 * Batch -> its files. Pure but for reading the batch. I4: all of it depends on the batch alone, so
 * a repeat has the same names and the same bytes.
 */
import { createHash } from 'node:crypto'
import { crc32, gunzipSync } from 'node:zlib'
import type { Batch, BatchEncoder, BatchEncoding, SinkPromise } from '../../ports/sink.ts'
import type { FileSinkConfig } from './config.ts'
import { type FileLayout, leftoversOf, namesOf } from './file-name.ts'
import type { FilesToWrite, FormerFile } from './folder-writer.ts'

export type FileEncoder = BatchEncoder & { readonly stitches: BatchEncoding }
type FileForm = Pick<FileSinkConfig, 'compression' | 'layout'>

export const FILE_PROMISE = {
  delivery: 'exactly once',
  by: 'by file name',
  ack: 'durable',
} as const satisfies SinkPromise

const FINGERPRINT = /^file:ndjson:(gzip|identity):(flat|streams|days)$/

/** The layout is in the fingerprint: it says where an earlier try is looked for. */
export function fileEncoder({ compression, layout }: FileForm): FileEncoder {
  const stitches = compression === 'gzip' ? 'gzip' : 'identity'
  return {
    fingerprint: `file:ndjson:${stitches}:${layout}`,
    stitches,
    gapsThatFit: (gaps) => gaps.length,
    keepsWhole: true,
  }
}

export async function filesOf(
  batch: Batch,
  encoding: BatchEncoding,
  layout: FileLayout,
): Promise<FilesToWrite> {
  const named = { ...batch, encoding, fingerprint: shortened(batch.fingerprint) }
  const { folders, data, gaps } = namesOf(named, layout)
  return {
    folders,
    leftovers: leftoversOf(named),
    former: batch.formerFingerprints.flatMap((fingerprint) => formerOf(batch, fingerprint)),
    gaps: batch.gaps.length === 0 ? null : { name: gaps, chunks: [gapsText(batch)] },
    data: { name: data, chunks: (await batch.stitched(encoding)).chunks },
  }
}

/** An earlier try of a sink of this type: its file, if it is there, is these records already. */
function formerOf(batch: Batch, fingerprint: string): FormerFile[] {
  const [, encoding, layout] = FINGERPRINT.exec(fingerprint) ?? []
  if (encoding === undefined || layout === undefined) return []
  const named = {
    ...batch,
    encoding: encoding as BatchEncoding,
    fingerprint: shortened(fingerprint),
  }
  const { data } = namesOf(named, layout as FileLayout)
  return [{ name: data, isBatch: (bytes) => isBatch(batch, bytes, named.encoding) }]
}

function isBatch(batch: Batch, bytes: Uint8Array, encoding: BatchEncoding): boolean {
  try {
    const raw = encoding === 'gzip' ? gunzipSync(bytes) : bytes
    return raw.length === batch.rawBytes && crc32(raw) === batch.crc32 >>> 0
  } catch {
    return false
  }
}

function shortened(fingerprint: string): string {
  return createHash('sha256').update(fingerprint).digest('hex').slice(0, 8)
}

function gapsText({ gateway, spoolId, stream, firstSeq, lastSeq, gaps }: Batch): Uint8Array {
  const text = JSON.stringify({ gateway, spool: spoolId, stream, firstSeq, lastSeq, gaps }, null, 1)
  return Buffer.from(`${text}\n`)
}
