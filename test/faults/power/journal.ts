/**
 * The journal of test/support/preload/disk-recorder.c: what a process did to the files below a
 * folder, what it sent, and notes that others put between, all in the order in which it happened.
 * Reads it; decides nothing.
 */
import { closeSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs'

export type Entry =
  /** What a driver did, or learned; written before it acts on it. */
  | { readonly type: 'note'; readonly note: unknown }
  | {
      readonly type: 'create'
      readonly ino: bigint
      readonly isFolder: boolean
      readonly path: string
    }
  | {
      readonly type: 'write'
      readonly ino: bigint
      readonly offset: number
      readonly bytes: Buffer
    }
  | { readonly type: 'truncate'; readonly ino: bigint; readonly size: number }
  | { readonly type: 'rename' | 'link'; readonly from: string; readonly to: string }
  | { readonly type: 'unlink' | 'rmdir'; readonly path: string }
  | { readonly type: 'sync-begin'; readonly id: bigint; readonly ino: bigint }
  | { readonly type: 'sync-end'; readonly id: bigint; readonly failed: boolean }
  | {
      readonly type: 'sent'
      readonly localPort: number
      readonly peerPort: number
      readonly bytes: Buffer
    }

const NOTE = 1
const CREATE = 2
const WRITE = 3
const TRUNCATE = 4
const RENAME = 5
const LINK = 6
const UNLINK = 7
const RMDIR = 8
const SYNC_BEGIN = 9
const SYNC_END = 10
const SENT = 11

const HEADER_BYTES = 5

/**
 * @throws when the process did what the recorder does not understand: the recording is not to be used then
 */
export function readJournal(path: string): Entry[] {
  const bytes = readFileSync(path)
  return wholeEntries(bytes).map(({ at, end }) =>
    decode(bytes[at + 4] as number, bytes.subarray(at + HEADER_BYTES, end)),
  )
}

/**
 * A SIGKILL between two pages of one append leaves a part of an entry, which would swallow what is
 * noted next. Call behind each kill, before anybody notes anything.
 */
export function dropTornEnd(path: string): void {
  truncateSync(path, wholeEntries(readFileSync(path)).at(-1)?.end ?? 0)
}

function wholeEntries(bytes: Buffer): { readonly at: number; readonly end: number }[] {
  const entries: { at: number; end: number }[] = []
  for (let at = 0; at + HEADER_BYTES <= bytes.length; ) {
    const end = at + 4 + bytes.readUInt32LE(at)
    if (end > bytes.length) break
    entries.push({ at, end })
    at = end
  }
  return entries
}

function decode(type: number, fields: Buffer): Entry {
  if (type === NOTE) return { type: 'note', note: JSON.parse(fields.toString()) as unknown }
  if (type === CREATE) {
    const [path] = paths(fields.subarray(9))
    return {
      type: 'create',
      ino: fields.readBigUInt64LE(0),
      isFolder: fields[8] === 1,
      path: path ?? '',
    }
  }
  if (type === WRITE) {
    const offset = Number(fields.readBigUInt64LE(8))
    return { type: 'write', ino: fields.readBigUInt64LE(0), offset, bytes: fields.subarray(16) }
  }
  if (type === TRUNCATE) {
    return {
      type: 'truncate',
      ino: fields.readBigUInt64LE(0),
      size: Number(fields.readBigUInt64LE(8)),
    }
  }
  if (type === SYNC_BEGIN) {
    return { type: 'sync-begin', id: fields.readBigUInt64LE(0), ino: fields.readBigUInt64LE(8) }
  }
  if (type === SYNC_END)
    return { type: 'sync-end', id: fields.readBigUInt64LE(0), failed: fields[8] !== 0 }
  if (type === SENT) {
    const [localPort, peerPort] = [fields.readUInt16LE(0), fields.readUInt16LE(2)]
    return { type: 'sent', localPort, peerPort, bytes: fields.subarray(4) }
  }
  const [from = '', to = ''] = paths(fields)
  if (type === RENAME) return { type: 'rename', from, to }
  if (type === LINK) return { type: 'link', from, to }
  if (type === UNLINK) return { type: 'unlink', path: from }
  if (type === RMDIR) return { type: 'rmdir', path: from }
  throw new Error(`the recorder met what it does not understand: ${from}`)
}

function paths(fields: Buffer): string[] {
  const found: string[] = []
  for (let at = 0; at < fields.length; ) {
    const length = fields.readUInt16LE(at)
    found.push(fields.toString('utf8', at + 2, at + 2 + length))
    at += 2 + length
  }
  return found
}

/** Adds notes to a journal that a recorded process writes at the same time. */
export class NoteWriter {
  readonly #file: number

  constructor(journalPath: string) {
    this.#file = openSync(journalPath, 'a')
  }

  /** In the journal when it returns: what follows from it comes later there. */
  write(note: unknown): void {
    const text = Buffer.from(JSON.stringify(note))
    const record = Buffer.alloc(HEADER_BYTES + text.length)
    record.writeUInt32LE(1 + text.length, 0)
    record[4] = NOTE
    text.copy(record, HEADER_BYTES)
    writeSync(this.#file, record)
  }

  close(): void {
    closeSync(this.#file)
  }
}
