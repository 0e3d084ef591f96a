/**
 * Stores that were left aside: what could not be repaired (`spool.damaged-*`) or read
 * (`spool.unreadable-*`), or was moved away by mistake. The operator can have their pending records
 * put back; they keep spool id, seq and bytes (I4), and are delivered behind what waits now.
 * Nothing in the folder that was left aside is changed but its name.
 *
 * Refused where records would be delivered twice: the store that is in use has the same spool id.
 */
import { readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { syncFolder, unlessGone } from '../../shared/files.ts'
import { type BlockHeader, decodeBlockHeader, encodeBlock, readBlock } from '../codec/block.ts'
import { crc32 } from '../codec/crc32.ts'
import { lineOffsets } from '../codec/record.ts'
import { isDamage, isReadFailure } from '../disk/disk-errors.ts'
import { listDatabaseFiles } from '../leveldb/database-files.ts'
import { dropSalvage, salvageDatabase } from '../leveldb/put-aside.ts'
import { copyName, isBlock } from '../queue/block-check.ts'
import { blockKey, parkedKey } from '../store/keys.ts'
import { openStore, type Store } from '../store/store.ts'
import type { Identity } from '../stream/state.ts'
import { RawScan } from './raw-scan.ts'
import { rebuildState } from './rebuild.ts'
import type { RecoveredStream } from './recovery.ts'

const LEFT = /^spool\.(?:damaged|unreadable)-\d+$/
const DONE_ENDING = '.restored'

export class LeftAsideError extends Error {
  readonly code = 'SLUICE_NOT_RESTORED'
  readonly retryable = false
}

export interface LeftAside {
  readonly name: string
  /** Pending records by stream; those of settled ones are not counted. */
  readonly streams: ReadonlyArray<{
    readonly name: string
    readonly spoolIds: readonly string[]
    readonly records: number
  }>
  /** Files that the disk cannot read (yet). */
  readonly unreadable: readonly string[]
}

/** A pending block as it is to be stored, or the copy of one record. */
export interface PutBack {
  readonly identity: Identity
  readonly value: Buffer
}

/** What takes the records; they come in the order in which they are to be delivered. */
interface Taker {
  readonly spoolIds: ReadonlySet<string>
  /** Numbers of its streams. */
  readonly streams: ReadonlyMap<string, number>
  /** Ages begin anew: nothing expires sooner for having been away. */
  readonly spoolTimeMs: number
  /**
   * Stores the blocks; the stream has them when what this gives is called, which returns how many
   * records they hold.
   */
  store(stream: string, blocks: AsyncIterable<PutBack>): Promise<() => number>
  /** All streams have theirs: makes it durable. */
  commit(): Promise<void>
}

export async function listLeftAside(dataDir: string): Promise<LeftAside[]> {
  const names = (await readdir(dataDir)).filter((name) => LEFT.test(name)).toSorted()
  const found: LeftAside[] = []
  for (const name of names)
    found.push(await withLeftAside(dataDir, name, async (left) => left.summary))
  return found
}

/** Returns how many records were put back. @throws LeftAsideError where none is, and why */
export async function restoreLeftAside(
  dataDir: string,
  name: string,
  taker: Taker,
): Promise<number> {
  const records = await withLeftAside(dataDir, name, async ({ store, streams, summary }) => {
    refuse(summary, taker)
    const puts: Array<() => number> = []
    for (const stream of streams.values()) {
      const streamId = taker.streams.get(stream.state.name)
      if (streamId === undefined) continue
      const as = { streamId, spoolTimeMs: taker.spoolTimeMs }
      puts.push(await taker.store(stream.state.name, blocksOf(store, stream, as)))
    }
    // From here on all of it, in one commit.
    const records = puts.reduce((sum, put) => sum + put(), 0)
    await taker.commit()
    return records
  })
  // Once more would be twice.
  await rename(join(dataDir, name), join(dataDir, `${name}${DONE_ENDING}`))
  await syncFolder(dataDir)
  return records
}

function refuse({ name, streams }: LeftAside, taker: Taker): void {
  for (const { name: stream, spoolIds, records } of streams) {
    if (records === 0) continue
    const known = spoolIds.find((spoolId) => taker.spoolIds.has(spoolId))
    if (known !== undefined) {
      throw new LeftAsideError(
        `the records of ${name} are of spool id ${known}, which the store that is in use has as well: they would be ` +
          'delivered twice. Nothing was put back',
      )
    }
    if (!taker.streams.has(stream)) {
      throw new LeftAsideError(
        `${name} holds ${records} records of stream ${stream}, which is not in the configuration: add it there first. ` +
          'Nothing was put back',
      )
    }
  }
}

interface OpenLeftAside {
  readonly summary: LeftAside
  readonly store: Store
  readonly streams: ReadonlyMap<string, RecoveredStream>
}

async function withLeftAside<T>(
  dataDir: string,
  name: string,
  work: (left: OpenLeftAside) => Promise<T>,
): Promise<T> {
  const folder = join(dataDir, name)
  const files = LEFT.test(name) ? await listDatabaseFiles(folder) : []
  if (files.length === 0) {
    throw new LeftAsideError(
      `nothing was left aside under the name ${name}; without a name the command lists what there is`,
    )
  }
  const unreadable: string[] = []
  for (const { name: file } of files)
    if (await isUnreadable(join(folder, file))) unreadable.push(file)
  const raw = await RawScan.of([folder], ['table', 'log'], (_, error) => isReadFailure(error))
  // Of links: neither repair nor use writes to a file that is there.
  const scratch = await salvageDatabase(folder, join(dataDir, 'aside'), unreadable)
  try {
    const store = await openCopy(scratch)
    try {
      const { recovered } = await rebuildState(store, raw)
      const { streams } = recovered
      const summary = { name, unreadable, streams: [...streams.values()].map(summaryOf) }
      return await work({ summary, store, streams })
    } finally {
      await store.close()
    }
  } finally {
    await dropSalvage(scratch)
  }
}

/** Of what cannot be opened, only what the raw scan finds is there. */
async function openCopy(scratch: string): Promise<Store> {
  try {
    return await openStore(scratch, { create: false })
  } catch (error) {
    if (!isDamage(error)) throw error
    await dropSalvage(scratch)
    return await openStore(scratch, { create: true })
  }
}

async function isUnreadable(path: string): Promise<boolean> {
  try {
    await unlessGone(readFile(path), null)
    return false
  } catch (error) {
    if (!isReadFailure(error)) throw error
    return true
  }
}

function summaryOf({ state, index }: RecoveredStream): LeftAside['streams'][number] {
  const copies = [...state.front, ...state.parked]
  const inBlocks = index.tail.reduce((sum, { count }) => sum + count, 0) - state.head.index
  const identities = new Set([...index.tail, ...copies].map(({ identity }) => identity))
  return {
    name: state.name,
    spoolIds: [...identities].map((identity) => state.identities[identity]?.spoolId ?? ''),
    records: Math.max(0, inBlocks) + copies.length,
  }
}

/** Refused ones that were undecided first: they have the lowest seqs. */
async function* blocksOf(
  store: Store,
  { state, index }: RecoveredStream,
  as: As,
): AsyncGenerator<PutBack> {
  const identityOf = (identity: number): Identity => state.identities[identity] as Identity
  const copies = [...state.front, ...state.parked].toSorted(
    (a, b) => a.identity - b.identity || a.seq - b.seq,
  )
  for (const copy of copies) {
    const value = await store.get(parkedKey(state.id, copy.n))
    if (!isBlock(value, copyName(state, copy))) continue
    yield { identity: identityOf(copy.identity), value: await asBlockOf(value, as, 0) }
  }
  for (const [i, meta] of index.tail.entries()) {
    const value = await store.get(blockKey(meta.commit, state.id, meta.index))
    if (!value) continue
    const settled = i === 0 ? state.head.index : 0
    yield { identity: identityOf(meta.identity), value: await asBlockOf(value, as, settled) }
  }
}

type As = Pick<BlockHeader, 'streamId' | 'spoolTimeMs'>

/** The same records under the stream's number here; without those that were settled. */
async function asBlockOf(value: Buffer, as: As, settled: number): Promise<Buffer> {
  const { bodyOffset, ...header } = decodeBlockHeader(value)
  if (settled === 0) return encodeBlock({ ...header, ...as }, value.subarray(bodyOffset))
  const raw = await readBlock(value)
  const rest = raw.subarray(lineOffsets(raw)[settled])
  const { firstSeq, recordCount } = header
  return encodeBlock(
    {
      ...header,
      ...as,
      firstSeq: firstSeq + settled,
      recordCount: recordCount - settled,
      codec: 'none',
      rawBytes: rest.length,
      crc32: crc32(rest),
    },
    rest,
  )
}
