/**
 * The names of a batch's files. Pure. A name says the whole identity of its batch, so the same
 * batch has the same name on every try, also after a kill and on another Node; and the names of one
 * queue sort by seq, as text.
 */

/** `flat`: all in the folder. `streams`: a folder a stream. `days`: below that, one a UTC day. */
export type FileLayout = 'flat' | 'streams' | 'days'

export interface NamedBatch {
  readonly gateway: string
  readonly spoolId: string
  readonly stream: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly encoding: 'gzip' | 'identity'
  /** Of the encoder that made the bytes: other bytes have another name. */
  readonly fingerprint: string
  /** When its first record was received, ms since the epoch: never from now. */
  readonly receivedAtMs: number
}

/** Relative to the sink's folder. */
interface BatchFileNames {
  /** Folders to make below the sink's folder, outermost first. */
  readonly folders: readonly string[]
  readonly data: string
  readonly gaps: string
}

/** 2^53 - 1 has 16 digits. */
const SEQ_DIGITS = 16

export function namesOf(batch: NamedBatch, layout: FileLayout): BatchFileNames {
  const { gateway, spoolId, stream, firstSeq, lastSeq, encoding, fingerprint } = batch
  const range = `${padded(firstSeq)}-${padded(lastSeq)}`
  const base = [gateway, spoolId, stream, range, fingerprint].map(safe).join('.')
  const folders =
    layout === 'flat' ? [] : layout === 'streams' ? [safe(stream)] : dayFolders(batch, stream)
  const path = [...folders.slice(-1), base].join('/')
  const data = `${path}.ndjson${encoding === 'gzip' ? '.gz' : ''}`
  return { folders, data, gaps: `${path}.gaps.json` }
}

/**
 * Of a file, in the same folder: a rename between two is not one step everywhere. The dot keeps it
 * from those who look for `*.ndjson.gz`.
 */
export function temporaryName(name: string): string {
  return `.${name}.tmp`
}

/** Temporary files of a stream, of whatever spool id. */
export function leftoversOf({ gateway, stream }: NamedBatch): RegExp {
  return new RegExp(`^\\.${safe(gateway)}\\.[^.]+\\.${safe(stream)}\\..+\\.tmp$`)
}

/**
 * Where names of a batch's queue begin, in the folder of its data, and behind which name those are
 * that begin with its first record or a later one.
 */
export function placeInQueue(
  { gateway, spoolId, stream, firstSeq }: NamedBatch,
  data: string,
): { readonly prefix: string; readonly after: string } {
  const folder = data.slice(0, data.lastIndexOf('/') + 1)
  const prefix = `${folder}${[gateway, spoolId, stream].map(safe).join('.')}.`
  return { prefix, after: `${prefix}${padded(firstSeq)}` }
}

/** Last seq of a data file of the same queue; null: it is none. */
export function lastSeqIn(name: string, { gateway, spoolId, stream }: NamedBatch): number | null {
  const queue = [gateway, spoolId, stream].map(safe).join('.')
  if (!name.startsWith(`${queue}.`)) return null
  const rest = /^\d{16}-(\d{16})\.[^.]+\.ndjson(\.gz)?$/.exec(name.slice(queue.length + 1))
  return rest === null ? null : Number(rest[1])
}

function dayFolders({ receivedAtMs }: NamedBatch, stream: string): string[] {
  const day = new Date(receivedAtMs).toISOString().slice(0, 10)
  return [safe(stream), `${safe(stream)}/${day}`]
}

function padded(seq: number): string {
  return String(seq).padStart(SEQ_DIGITS, '0')
}

/** Names of ours need nothing; whatever else there may be must not leave the folder. */
function safe(part: string): string {
  return part.replaceAll(/[^A-Za-z0-9_-]/g, '_')
}
