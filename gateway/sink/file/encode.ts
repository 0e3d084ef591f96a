/** Batch -> its files. What is shared with other types that keep batches by name: ../batch-files/. */
import type { Batch, BatchEncoding, SinkPromise } from '../../ports/sink.ts'
import {
  type BatchFileEncoder,
  type BatchFileForm,
  batchFileEncoder,
  batchFilesOf,
} from '../batch-files/batch-files.ts'
import { type FileLayout, lastSeqIn, leftoversOf } from '../batch-files/names.ts'
import type { FilesToWrite } from './folder-writer.ts'

export const FILE_PROMISE = {
  delivery: 'exactly once',
  by: 'by file name',
  ack: 'durable',
} as const satisfies SinkPromise

export const FILE_TYPE = 'file'

export function fileEncoder(form: BatchFileForm): BatchFileEncoder {
  return batchFileEncoder(FILE_TYPE, form)
}

export async function filesOf(
  batch: Batch,
  encoding: BatchEncoding,
  layout: FileLayout,
): Promise<FilesToWrite> {
  const files = await batchFilesOf(FILE_TYPE, batch, encoding, layout)
  const { named } = files
  return {
    ...files,
    leftovers: leftoversOf(named),
    queue: `${named.gateway}.${named.spoolId}.${named.stream}`,
    firstSeq: named.firstSeq,
    lastSeqIn: (name) => lastSeqIn(name, named),
  }
}
