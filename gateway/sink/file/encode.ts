/**
 * Batch -> its files. Pure but for reading the batch. I4: all of it depends on the batch alone, so
 * a repeat has the same names and the same bytes.
 */
import type { Batch, BatchEncoder, BatchEncoding } from '../../ports/sink.ts'
import type { FileSinkConfig } from './config.ts'
import { type FileLayout, leftoversOf, namesOf } from './file-name.ts'
import type { FilesToWrite } from './folder-writer.ts'

export function fileEncoder({ compression }: Pick<FileSinkConfig, 'compression'>): FileEncoder {
  const stitches = compression === 'gzip' ? 'gzip' : 'identity'
  return { fingerprint: `file:ndjson:${stitches}`, stitches, gapsThatFit: (gaps) => gaps.length }
}

export type FileEncoder = BatchEncoder & { readonly stitches: BatchEncoding }

export async function filesOf(
  batch: Batch,
  encoding: BatchEncoding,
  layout: FileLayout,
): Promise<FilesToWrite> {
  // Of the fingerprint the ending says the rest.
  const named = { ...batch, encoding, fingerprint: 'ndjson-1' }
  const { folders, data, gaps } = namesOf(named, layout)
  return {
    folders,
    leftovers: leftoversOf(named),
    gaps: batch.gaps.length === 0 ? null : { name: gaps, chunks: [gapsText(batch)] },
    data: { name: data, chunks: (await batch.stitched(encoding)).chunks },
  }
}

function gapsText({ gateway, spoolId, stream, firstSeq, lastSeq, gaps }: Batch): Uint8Array {
  const text = JSON.stringify({ gateway, spool: spoolId, stream, firstSeq, lastSeq, gaps }, null, 1)
  return Buffer.from(`${text}\n`)
}
