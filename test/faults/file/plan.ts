/** What parent and child of a file sink's fault run agree on: batches by number, from a seed. */
import { Random } from '../../../device-sim/random.ts'
import type { Batch, BatchEncoding, Stitched } from '../../../gateway/ports/sink.ts'
import type { FileSinkConfig } from '../../../gateway/sink/file/config.ts'
import { fileSinkConfig } from '../../sink/file/configs.ts'
import { batchOf, expired, recordLine } from '../../sink/http/batches.ts'

export interface ChildPlan {
  readonly folder: string
  readonly seed: string
  /** First batch, from 1, and how many. */
  readonly from: number
  readonly batches: number
  /** Where its notes go besides standard output. */
  readonly journal?: string
  /** Of the library that fails calls: one of `faults` is in force while each batch is sent. */
  readonly flag?: string
  readonly faults?: readonly string[]
}

export type Said =
  | { readonly acked: number; readonly fault: string; readonly hit: boolean }
  | {
      readonly batch: number
      readonly fault: string
      readonly kind: string
      readonly detail: string
    }

const MAX_RECORDS = 40
/** Several chunks, and calls of write, of some of them. */
const CHUNK_BYTES = 40

export function configOf(folder: string): FileSinkConfig {
  return fileSinkConfig({ folder, layout: 'streams', minFreeBytes: 0 })
}

/** The nth batch of a seed: the same in each process. Some have gaps before them. */
export function batchAt(seed: string, n: number): Batch {
  const firstSeq = firstSeqOf(seed, n)
  const lastSeq = firstSeqOf(seed, n + 1) - 1
  const gap = new Random(seed, `gap ${n}`).chance(0.4)
  const batch = batchOf(firstSeq, lastSeq, {
    gaps: gap ? [expired(firstSeq, firstSeq)] : [],
  })
  const stitched = async (encoding: BatchEncoding): Promise<Stitched> => {
    const { chunks, byteLength } = await batch.stitched(encoding)
    return { chunks: chunks.flatMap(chunksOf), byteLength }
  }
  return { ...batch, stitched }
}

function firstSeqOf(seed: string, n: number): number {
  let seq = 1
  for (let i = 1; i < n; i++) seq += 1 + new Random(seed, `records ${i}`).below(MAX_RECORDS)
  return seq
}

function chunksOf(bytes: Uint8Array): Uint8Array[] {
  const chunks: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += CHUNK_BYTES)
    chunks.push(bytes.subarray(at, at + CHUNK_BYTES))
  return chunks
}

/** What its data file must hold, uncompressed. */
export function textOf({ firstSeq, lastSeq }: Batch): string {
  let text = ''
  for (let seq = firstSeq; seq <= lastSeq; seq++) text += recordLine(seq)
  return text
}
