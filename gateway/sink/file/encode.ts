/**
 * Batch -> its files. Pure but for reading the batch. I4: all of it depends on the batch alone, so
 * a repeat has the same names and the same bytes.
 */
import type { Batch } from '../../ports/sink.ts'
import { type FileLayout, leftoversOf, namesOf } from './file-name.ts'
import type { FilesToWrite } from './folder-writer.ts'

export function filesOf(batch: Batch, layout: FileLayout): FilesToWrite {
  const named = { ...batch, fingerprint: 'ndjson-1', receivedAtMs: 0 }
  const { folders, data, gaps } = namesOf(named, layout)
  return {
    folders,
    leftovers: leftoversOf(named),
    gaps: batch.gaps === null ? null : { name: gaps, chunks: [gapsText(batch)] },
    data: { name: data, chunks: batch.body },
  }
}

function gapsText({ gateway, spoolId, stream, firstSeq, lastSeq, gaps }: Batch): Uint8Array {
  const text = JSON.stringify({ gateway, spool: spoolId, stream, firstSeq, lastSeq, gaps }, null, 1)
  return Buffer.from(`${text}\n`)
}
