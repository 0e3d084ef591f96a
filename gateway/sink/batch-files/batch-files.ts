/**
 * Batch -> the files or objects that it is kept as, each under a name that says all of its identity.
 * Pure but for reading the batch. I4: all of it depends on the batch alone, so a repeat has the same
 * names and the same bytes; and an earlier try in another form is found under the name that it had.
 */
import { createHash } from 'node:crypto'
import { crc32, gunzipSync } from 'node:zlib'
import type { Batch, BatchEncoder, BatchEncoding } from '../../ports/sink.ts'
import { type FileLayout, type NamedBatch, namesOf } from './names.ts'

export type BatchFileEncoder = BatchEncoder & { readonly stitches: BatchEncoding }

export interface BatchFileForm {
  readonly compression: 'gzip' | 'none'
  readonly layout: FileLayout
}

export interface NamedFile {
  /** Relative to where all of them are. */
  readonly name: string
  readonly chunks: readonly Uint8Array[]
}

/** Where the same records may be as other bytes. */
export interface FormerFile {
  readonly name: string
  /** Most bytes that it can have. */
  readonly maxBytes: number
  isBatch(bytes: Uint8Array): boolean
}

export interface BatchFiles {
  readonly named: NamedBatch
  /** To be made first, outermost first. */
  readonly folders: readonly string[]
  /** One of them instead of `data` is as good. */
  readonly former: readonly FormerFile[]
  /** Seen before the data is. */
  readonly gaps: NamedFile | null
  readonly data: NamedFile
}

/** Of a gzip member that holds almost nothing but itself. */
const GZIP_ROOM_BYTES = 64 * 1024

/**
 * @param type of the sink: what it has written is found by that type alone. The layout is in the
 *   fingerprint: it says where an earlier try is looked for.
 */
export function batchFileEncoder(
  type: string,
  { compression, layout }: BatchFileForm,
): BatchFileEncoder {
  const stitches = encodingOf(compression)
  return {
    fingerprint: `${type}:ndjson:${stitches}:${layout}`,
    stitches,
    gapsThatFit: (gaps) => gaps.length,
    keepsWhole: true,
  }
}

export async function batchFilesOf(
  type: string,
  batch: Batch,
  encoding: BatchEncoding,
  layout: FileLayout,
): Promise<BatchFiles> {
  const named = { ...batch, encoding, fingerprint: shortened(batch.fingerprint) }
  const { folders, data, gaps } = namesOf(named, layout)
  return {
    named,
    folders,
    former: batch.formerFingerprints.flatMap((one) => formerOf(type, batch, one)),
    gaps: batch.gaps.length === 0 ? null : { name: gaps, chunks: [gapsText(batch)] },
    data: { name: data, chunks: (await batch.stitched(encoding)).chunks },
  }
}

/** For people: under the names that they would have, the data as text. */
export async function shownFilesOf(
  type: string,
  batch: Batch,
  { compression, layout }: BatchFileForm,
): Promise<readonly NamedFile[]> {
  const { named, gaps, data } = await batchFilesOf(type, batch, 'identity', layout)
  const { data: name } = namesOf({ ...named, encoding: encodingOf(compression) }, layout)
  const shown = { ...data, name }
  return gaps === null ? [shown] : [gaps, shown]
}

/** An earlier try of a sink of this type: its file, if it is there, is these records already. */
function formerOf(type: string, batch: Batch, fingerprint: string): FormerFile[] {
  const form = /^([a-z-]+):ndjson:(gzip|identity):(flat|streams|days)$/.exec(fingerprint)
  const [, by, encoding, layout] = form ?? []
  if (by !== type || encoding === undefined || layout === undefined) return []
  const named = {
    ...batch,
    encoding: encoding as BatchEncoding,
    fingerprint: shortened(fingerprint),
  }
  const { data } = namesOf(named, layout as FileLayout)
  const maxBytes = batch.rawBytes + GZIP_ROOM_BYTES
  return [{ name: data, maxBytes, isBatch: (bytes) => isBatch(batch, bytes, named.encoding) }]
}

function isBatch(batch: Batch, bytes: Uint8Array, encoding: BatchEncoding): boolean {
  try {
    const raw = encoding === 'gzip' ? gunzipSync(bytes) : bytes
    return raw.length === batch.rawBytes && crc32(raw) === batch.crc32 >>> 0
  } catch {
    return false
  }
}

function encodingOf(compression: BatchFileForm['compression']): BatchEncoding {
  return compression === 'gzip' ? 'gzip' : 'identity'
}

function shortened(fingerprint: string): string {
  return createHash('sha256').update(fingerprint).digest('hex').slice(0, 8)
}

function gapsText({ gateway, spoolId, stream, firstSeq, lastSeq, gaps }: Batch): Uint8Array {
  const text = JSON.stringify({ gateway, spool: spoolId, stream, firstSeq, lastSeq, gaps }, null, 1)
  return Buffer.from(`${text}\n`)
}
