/**
 * Key layout of the spool. One byte of name space, then big-endian numbers, so that byte order is
 * the order meant.
 *
 *   'a' space(1) utf-8                 small keyed values (retained, subscriptions, wills, notes, copies)
 *   'b' commit(8) stream(2) index(2)   a block
 *   'b' commit(8) stream(2) ffff       a sealed segment of a stream's block index
 *   'b' commit(8) ffff      ffff       the commit's state record
 *   'd' stream(2) origin(1) n(8)       a dead letter
 *   'p' stream(2) n(8)                 the copy of a parked record
 *   'g' stream(2) n(8)                 a page of gaps that wait to be reported
 *
 * All that a commit writes on the main path leads with the commit number: flushed tables then do
 * not overlap, and LevelDB moves them down instead of merging them (state under a fixed key costs 4
 * to 6 x the stored bytes). What is written once must not lie behind them either: its table reaches
 * over all later blocks and is merged with each, 3.2 x instead of 2.3 x. So keyed values lie before
 * the blocks; up to format 2 they were behind, under 'k'.
 */

export const NAMESPACE = {
  keyed: 0x61,
  commits: 0x62,
  deadLetters: 0x64,
  gaps: 0x67,
  formerKeyed: 0x6b,
  parked: 0x70,
} as const

/** Highest block index of a stream in one commit; 0xffff marks an index segment. */
export const MAX_BLOCK_INDEX = 0xfffe

export type DeadLetterOrigin = 'ingest' | 'refused'

const COMMIT_KEY_BYTES = 13

function commitKey(commit: number, streamId: number, index: number): Buffer {
  const key = Buffer.allocUnsafe(COMMIT_KEY_BYTES)
  key[0] = NAMESPACE.commits
  writeNumber(key, 1, commit)
  key.writeUInt16BE(streamId, 9)
  key.writeUInt16BE(index, 11)
  return key
}

function writeNumber(key: Buffer, offset: number, value: number): void {
  key.writeUInt32BE(Math.floor(value / 0x1_0000_0000), offset)
  key.writeUInt32BE(value >>> 0, offset + 4)
}

export function blockKey(commit: number, streamId: number, index: number): Buffer {
  return commitKey(commit, streamId, index)
}

export function segmentKey(commit: number, streamId: number): Buffer {
  return commitKey(commit, streamId, 0xffff)
}

export function stateKey(commit: number): Buffer {
  return commitKey(commit, 0xffff, 0xffff)
}

type CommitKey =
  | {
      readonly kind: 'block'
      readonly commit: number
      readonly streamId: number
      readonly index: number
    }
  | { readonly kind: 'segment'; readonly commit: number; readonly streamId: number }
  | { readonly kind: 'state'; readonly commit: number }

/** null: not a key of the commit space. */
export function parseCommitKey(key: Uint8Array): CommitKey | null {
  if (key.length !== COMMIT_KEY_BYTES || key[0] !== NAMESPACE.commits) return null
  const view = Buffer.from(key.buffer, key.byteOffset, key.byteLength)
  const commit = view.readUInt32BE(1) * 0x1_0000_0000 + view.readUInt32BE(5)
  const streamId = view.readUInt16BE(9)
  const index = view.readUInt16BE(11)
  if (streamId === 0xffff) return { kind: 'state', commit }
  if (index === 0xffff) return { kind: 'segment', commit, streamId }
  return { kind: 'block', commit, streamId, index }
}

export function deadLetterKey(streamId: number, origin: DeadLetterOrigin, n: number): Buffer {
  const key = Buffer.allocUnsafe(12)
  key[0] = NAMESPACE.deadLetters
  key.writeUInt16BE(streamId, 1)
  key[3] = origin === 'ingest' ? 0 : 1
  writeNumber(key, 4, n)
  return key
}

export function deadLetterNumber(key: Uint8Array): number {
  const view = Buffer.from(key.buffer, key.byteOffset, key.byteLength)
  return view.readUInt32BE(4) * 0x1_0000_0000 + view.readUInt32BE(8)
}

export function parkedKey(streamId: number, n: number): Buffer {
  return numberedKey(NAMESPACE.parked, streamId, n)
}

export function gapPageKey(streamId: number, n: number): Buffer {
  return numberedKey(NAMESPACE.gaps, streamId, n)
}

function numberedKey(namespace: number, streamId: number, n: number): Buffer {
  const key = Buffer.allocUnsafe(11)
  key[0] = namespace
  key.writeUInt16BE(streamId, 1)
  writeNumber(key, 3, n)
  return key
}

const SPACES = { retained: 0, subscriptions: 1, wills: 2, notes: 3, copies: 4, devices: 5 } as const
export type KeyedSpace = keyof typeof SPACES

export function keyedKey(space: KeyedSpace, name: string): Buffer {
  return Buffer.concat([Buffer.from([NAMESPACE.keyed, SPACES[space]]), Buffer.from(name, 'utf8')])
}

export function keyedName(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset + 2, key.byteLength - 2).toString('utf8')
}

/** Half-open range of all keys that begin with the bytes. */
export function prefixRange(...prefix: readonly number[]): {
  readonly gte: Buffer
  readonly lt: Buffer
} {
  const gte = Buffer.from(prefix)
  const lt = Buffer.from(prefix)
  const last = lt.length - 1
  lt[last] = (lt[last] ?? 0) + 1
  return { gte, lt }
}

export function keyedRange(space: KeyedSpace): { readonly gte: Buffer; readonly lt: Buffer } {
  return prefixRange(NAMESPACE.keyed, SPACES[space])
}

/** Keyed values as formats 1 and 2 had them. */
export const FORMER_KEYED_RANGE = prefixRange(NAMESPACE.formerKeyed)

/** The key that the value of a former one has now. */
export function keyedOfFormer(key: Uint8Array): Buffer {
  return Buffer.concat([Buffer.of(NAMESPACE.keyed), key.subarray(1)])
}
