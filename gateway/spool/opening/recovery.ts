/**
 * Reads the state back at opening (I7): the chain of state records to the last checkpoint, without
 * touching a block. A chain that is broken anywhere is rebuilt from the blocks themselves: see
 * rebuild.ts.
 */
import type { RecoveredJournal } from '../../ports/appender.ts'
import {
  decodeState,
  type StateRecord,
  type StoredState,
  type StreamEntry,
} from '../commit/state-record.ts'
import { isDamage } from '../disk/disk-errors.ts'
import { FIRST_FORMAT } from '../format.ts'
import { NAMESPACE, parseCommitKey, prefixRange, stateKey } from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import {
  BlockIndex,
  type BlockMeta,
  type SegmentRef,
  unpackMeta,
  unpackSegment,
} from '../stream/block-index.ts'
import type { StreamState } from '../stream/state.ts'
import type { SpoolTimeMark } from '../time/spool-time.ts'

export interface RecoveredStream {
  readonly state: StreamState
  readonly index: BlockIndex
  /** Records that it had were not found. */
  readonly isShort: boolean
}

export interface RecoveredState {
  /** Highest commit number in the store; the next one is above it. */
  readonly lastCommit: number
  /** Commit of the newest state record; 0: none was readable. */
  readonly stateCommit: number
  /** Of the last checkpoint, and how many records the chain from it has. */
  readonly checkpointCommit: number
  readonly chainCommits: number
  /** State records below this commit are deleted. */
  readonly firstState: number
  readonly gateway: string | null
  readonly spoolId: string | null
  /** null: the newest state record has none. */
  readonly spoolTime: SpoolTimeMark | null
  /** See format.ts. */
  readonly format: number
  /** The folder has a file `place`, or it has lost it. */
  readonly placed: boolean
  readonly streams: ReadonlyMap<string, RecoveredStream>
  readonly journals: ReadonlyMap<string, RecoveredJournal>
}

/** No box lives to see so many commits: a key that says so was damaged. */
export const MAX_COMMIT = 2 ** 48

/** 0: there is none. A key that is no commit's was damaged: what is below it counts. */
export async function lastCommitNumber(store: Store): Promise<number> {
  for await (const key of store.keys({ ...prefixRange(NAMESPACE.commits), reverse: true })) {
    const commit = parseCommitKey(key)?.commit ?? 0
    if (commit > 0 && commit <= MAX_COMMIT) return commit
  }
  return 0
}

/** The chain from the last checkpoint to `lastCommit`, oldest first; null: it is broken. */
async function readChain(store: Store, lastCommit: number): Promise<StoredState[] | null> {
  const chain: StoredState[] = []
  for (let commit = lastCommit; ; ) {
    const value = await store.get(stateKey(commit)).catch(unlessDamaged)
    const stored = value && decodeState(value)
    if (stored?.record.commit !== commit) return null
    chain.unshift(stored)
    if (stored.record.checkpoint) return chain
    commit = stored.record.previous
  }
}

class StreamBuilder {
  state: StreamState
  #segments: SegmentRef[] = []
  #tail: BlockMeta[] = []
  #tailOrdinal = 0

  constructor(entry: StreamEntry) {
    this.state = entry.state
  }

  apply(entry: StreamEntry): void {
    this.state = entry.state
    if (entry.index) {
      this.#segments = entry.index.segments.map(unpackSegment)
      this.#tail = entry.index.tail.map(unpackMeta)
      this.#tailOrdinal = entry.index.tailOrdinal
    }
    if (entry.sealed) {
      const ref = unpackSegment(entry.sealed)
      const end = ref.firstOrdinal + ref.blocks
      this.#segments.push(ref)
      this.#tail = this.#tail.slice(end - this.#tailOrdinal)
      this.#tailOrdinal = end
    }
    this.#tail.push(...entry.added.map(unpackMeta))
  }

  build(): RecoveredStream {
    const index = new BlockIndex(this.#segments, this.#tail, this.#tailOrdinal)
    index.release(this.state.head.ordinal)
    return { state: this.state, index, isShort: false }
  }
}

function unlessDamaged(error: unknown): undefined {
  if (!isDamage(error)) throw error
  return undefined
}

/** null: the store is empty. 'broken': state records are missing or damaged. */
export async function recoverState(store: Store): Promise<RecoveredState | null | 'broken'> {
  const lastCommit = await lastCommitNumber(store)
  if (lastCommit === 0) {
    for await (const _ of store.keys({ gte: Buffer.of(0), lt: Buffer.of(0xff), limit: 1 }))
      return 'broken'
    return null
  }
  const chain = await readChain(store, lastCommit)
  if (!chain) return 'broken'
  const streams = new Map<string, StreamBuilder>()
  for (const { record } of chain) {
    for (const entry of record.streams) {
      const builder = streams.get(entry.state.name) ?? new StreamBuilder(entry)
      builder.apply(entry)
      streams.set(entry.state.name, builder)
    }
  }
  const newest = chain.at(-1)?.record as StateRecord
  return {
    lastCommit,
    stateCommit: newest.commit,
    checkpointCommit: chain[0]?.record.commit ?? 0,
    chainCommits: chain.length,
    firstState: newest.firstState,
    gateway: newest.gateway,
    spoolId: newest.spoolId,
    spoolTime: newest.spoolTime ?? null,
    format: newest.format ?? FIRST_FORMAT,
    placed: newest.placed ?? false,
    streams: new Map([...streams].map(([name, builder]) => [name, builder.build()])),
    journals: joinJournals(chain),
  }
}

/**
 * A checkpoint starts all journals anew: the first entry of a name is its whole state (empty: there
 * is none yet), entries behind it are changes, as they were carried over for a journal that nobody
 * had joined when the checkpoint was made.
 */
export function joinJournals(chain: readonly StoredState[]): Map<string, RecoveredJournal> {
  let journals = new Map<string, { checkpoint: Uint8Array | null; changes: Uint8Array[] }>()
  for (const { record, journals: entries } of chain) {
    if (record.checkpoint) journals = new Map()
    for (const [name, bytes] of entries) {
      const known = journals.get(name)
      if (known) known.changes.push(bytes)
      else if (record.checkpoint)
        journals.set(name, { checkpoint: bytes.length === 0 ? null : bytes, changes: [] })
      else journals.set(name, { checkpoint: null, changes: [bytes] })
    }
  }
  return journals
}
