/**
 * The last resort of an opening (I7): the state's chain is broken, so everything is read, and the
 * index is made anew from the blocks that are there; what LevelDB cannot read is found by a scan of
 * the raw files and written again. Settled is what the newest readable state of a stream says;
 * numbers that no block has are a gap; counters resume from that state, and what does not balance
 * is counted as corrupt.
 */
import {
  BlockDamagedError,
  type BlockHeader,
  type BlockName,
  blockNameKey,
  decodeBlockHeader,
  readBlock,
} from '../codec/block.ts'
import { idOfLine, lineAt } from '../codec/record.ts'
import { decodeState, type StoredState } from '../commit/state-record.ts'
import { isDamage } from '../disk/disk-errors.ts'
import { FIRST_FORMAT } from '../format.ts'
import { blockKey, MAX_BLOCK_INDEX, NAMESPACE, parseCommitKey, prefixRange } from '../store/keys.ts'
import type { Op, Store } from '../store/store.ts'
import { BlockIndex, type BlockMeta } from '../stream/block-index.ts'
import {
  closeEnd,
  type FoundBlock,
  type PendingBlock,
  reindex,
  selectPending,
} from '../stream/reindex.ts'
import { newStreamState, type StreamState } from '../stream/state.ts'
import { balanced, unpinned } from '../stream/transitions.ts'
import type { RawScan } from './raw-scan.ts'
import { joinJournals, MAX_COMMIT, type RecoveredState, type RecoveredStream } from './recovery.ts'

interface Rebuilt {
  readonly recovered: RecoveredState
  /** Leftovers that nothing refers to any more. */
  readonly garbage: readonly Op[]
  /** What was found, one sentence each. */
  readonly notes: readonly string[]
}

/** Bytes of found blocks that are written again in one batch. */
const RESTORE_BATCH_BYTES = 4 * 1024 * 1024

/** Writes nothing but blocks that the store has lost; all else is for the first commit. */
export async function rebuildState(store: Store, raw: RawScan): Promise<Rebuilt> {
  const found = await readCommits(store)
  const { garbage, notes } = found
  const blocks = [...found.blocks, ...onlyRaw(found.blocks, raw)]
  const states = await newestStates(found.states, raw)
  const newest = states.at(-1)?.record
  if (!newest) notes.push('no state record is readable: the counters of all streams restart at 0')
  const byId = new Map<number, StreamState>()
  for (const { record } of states) for (const { state } of record.streams) byId.set(state.id, state)
  const lost = new LostBlocks(store, raw, Math.max(found.lastCommit, newest?.commit ?? 0) + 1)
  const streams = new Map<string, RecoveredStream>()
  // Those with a state first: a name that is taken is not guessed again.
  for (const id of new Set([...byId.keys(), ...blocks.map((b) => b.streamId)])) {
    const own = blocks.filter((b) => b.streamId === id)
    const state = byId.get(id) ?? (await unknownStream(id, own, [...streams.keys()], store, raw))
    if (!byId.has(id))
      notes.push(`stream ${state.name} has blocks and no state: all of them are pending`)
    const { pending, passed } = selectPending(state, own)
    for (const { key } of passed) if (key) garbage.push({ type: 'del', key })
    const metas = await lost.restore(pending)
    // The pinned batch may have lost records: what is there is sent as a new batch.
    unpinned(state)
    reindex(state, metas)
    closeEnd(state, metas)
    const isShort = balanced(
      state,
      metas.reduce((n, m) => n + m.count, 0) - (metas.length > 0 ? state.head.index : 0),
    )
    streams.set(state.name, { state, index: new BlockIndex([], metas, 0), isShort })
  }
  await lost.flush()
  if (lost.restored > 0) notes.push(`${lost.restored} blocks were found in damaged files`)
  // Changes of journals count only behind a checkpoint that is there; a hole in the chain ends
  // them.
  const checkpointAt = states.findLastIndex((s) => s.record.checkpoint)
  const lastCommit = lost.commit
  return {
    recovered: {
      lastCommit,
      stateCommit: newest?.commit ?? 0,
      checkpointCommit: lastCommit,
      chainCommits: 0,
      // All that were there are garbage of this opening.
      firstState: lastCommit + 1,
      gateway:
        newest?.gateway ?? [...streams.values()][0]?.state.identities.at(-1)?.gateway ?? null,
      // Records under another name: the newest readable state is not the newest that there was.
      spoolId:
        newest && [...streams.values()].every((s) => isNamed(s, newest.spoolId))
          ? newest.spoolId
          : null,
      spoolTime: newest?.spoolTime ?? null,
      format: newest?.format ?? FIRST_FORMAT,
      placed: newest?.placed ?? false,
      streams,
      journals: checkpointAt < 0 ? new Map() : joinJournals(states.slice(checkpointAt)),
    },
    garbage,
    notes,
  }
}

function isNamed({ state }: RecoveredStream, spoolId: string): boolean {
  return state.identities.at(-1)?.spoolId === spoolId
}

interface ReadCommits {
  readonly blocks: FoundBlock[]
  /** From the last checkpoint on; all that are readable, if there is none. */
  readonly states: StoredState[]
  readonly garbage: Op[]
  readonly notes: string[]
  readonly lastCommit: number
}

async function readCommits(store: Store): Promise<ReadCommits> {
  const blocks: FoundBlock[] = []
  let states: StoredState[] = []
  const garbage: Op[] = []
  let damagedBlocks = 0
  let lastCommit = 0
  for await (const [key, value] of store.entries(prefixRange(NAMESPACE.commits))) {
    const parsed = parseCommitKey(key)
    if (parsed && parsed.commit > MAX_COMMIT) continue
    if (parsed?.kind === 'block') {
      const found = foundBlock(key, value, parsed)
      if (found) {
        blocks.push(found)
        lastCommit = Math.max(lastCommit, parsed.commit)
        continue
      }
      damagedBlocks++
    }
    garbage.push({ type: 'del', key })
    if (parsed?.kind !== 'state') continue
    const state = decodeState(value)
    if (state?.record.commit !== parsed.commit) continue
    lastCommit = Math.max(lastCommit, parsed.commit)
    if (state.record.checkpoint) states = []
    states.push(state)
  }
  const notes = damagedBlocks > 0 ? [`${damagedBlocks} blocks are damaged`] : []
  return { blocks, states, garbage, notes, lastCommit }
}

/** null: damaged. */
export function foundBlock(
  key: Buffer,
  value: Buffer,
  at: { readonly commit: number; readonly index: number },
): FoundBlock | null {
  try {
    const header = decodeBlockHeader(value)
    return ofHeader(header, value.length, key, at)
  } catch (error) {
    if (error instanceof BlockDamagedError) return null
    throw error
  }
}

function ofHeader(
  header: BlockHeader,
  storedBytes: number,
  key: Buffer | null,
  at: { readonly commit: number; readonly index: number },
): FoundBlock {
  return {
    key,
    spoolId: header.spoolId,
    streamId: header.streamId,
    meta: {
      commit: at.commit,
      index: at.index,
      firstSeq: header.firstSeq,
      count: header.recordCount,
      rawBytes: header.rawBytes,
      storedBytes,
      oldestMs: header.oldestReceivedAtMs,
      spoolTimeMs: header.spoolTimeMs,
    },
  }
}

/** What the raw files have and the store has not. */
export function onlyRaw(blocks: readonly FoundBlock[], raw: RawScan): FoundBlock[] {
  const known = new Set(blocks.map((block) => blockNameKey(nameOf(block))))
  return [...raw.blocks]
    .filter(({ header }) => !known.has(blockNameKey(header)))
    .map(({ header, storedBytes }) => ofHeader(header, storedBytes, null, { commit: 0, index: 0 }))
}

export function nameOf({ spoolId, streamId, meta }: FoundBlock): BlockName {
  return { spoolId, streamId, firstSeq: meta.firstSeq, recordCount: meta.count }
}

/**
 * From the last checkpoint on, oldest first; those that the store cannot read from the raw files.
 */
async function newestStates(stored: readonly StoredState[], raw: RawScan): Promise<StoredState[]> {
  const found = [...raw.states]
  const checkpoints = [
    ...stored.filter((s) => s.record.checkpoint).map((s) => s.record.commit),
    ...found.filter((s) => s.checkpoint).map((s) => s.commit),
  ]
  const from = checkpoints.reduce((a, b) => Math.max(a, b), 0)
  const states = new Map<number, StoredState>()
  for (const each of found) {
    const state = each.commit >= from ? await raw.state(each) : null
    if (state) states.set(each.commit, state)
  }
  for (const state of stored)
    if (state.record.commit >= from) states.set(state.record.commit, state)
  return [...states.values()].sort((a, b) => a.record.commit - b.record.commit)
}

/** Blocks that the store has lost, written again under keys of a commit of their own. */
class LostBlocks {
  restored = 0
  readonly #store: Store
  readonly #raw: RawScan
  readonly #firstCommit: number
  #index = 0
  #commit: number
  #ops: Op[] = []
  #bytes = 0

  constructor(store: Store, raw: RawScan, commit: number) {
    this.#store = store
    this.#raw = raw
    this.#firstCommit = commit
    this.#commit = commit
  }

  /** The last commit number in use. */
  get commit(): number {
    return this.restored > 0 ? this.#commit : this.#firstCommit - 1
  }

  /** What the index gets: all that are in the store, or could be written again. */
  async restore(pending: readonly PendingBlock[]): Promise<BlockMeta[]> {
    const metas: BlockMeta[] = []
    for (const block of pending) {
      const { meta, identity, key, streamId } = block
      if (key) {
        metas.push({ ...meta, identity })
        continue
      }
      const value = await this.#raw.block(nameOf(block))
      if (!value) continue
      const at = this.#next()
      this.#ops.push({ type: 'put', key: blockKey(at.commit, streamId, at.index), value })
      this.#bytes += value.length
      if (this.#bytes >= RESTORE_BATCH_BYTES) await this.flush()
      metas.push({ ...meta, ...at, identity })
    }
    return metas
  }

  #next(): { readonly commit: number; readonly index: number } {
    if (this.#index > MAX_BLOCK_INDEX) {
      this.#index = 0
      this.#commit++
    }
    this.restored++
    return { commit: this.#commit, index: this.#index++ }
  }

  async flush(): Promise<void> {
    if (this.#ops.length > 0) await this.#store.write(this.#ops)
    this.#ops = []
    this.#bytes = 0
  }
}

/** Its blocks say whose they are: the ids of their records have the names of gateway and stream. */
async function unknownStream(
  id: number,
  blocks: readonly FoundBlock[],
  taken: readonly string[],
  store: Store,
  raw: RawScan,
): Promise<StreamState> {
  for (const block of blocks) {
    try {
      const value = block.key ? await store.get(block.key) : await raw.block(nameOf(block))
      const line = value && lineAt(await readBlock(value), 0)
      const [gateway, spoolId, name] = line ? idOfLine(line).split(':') : []
      if (gateway && spoolId && name && !taken.includes(name))
        return newStreamState(name, id, { spoolId, gateway })
    } catch (error) {
      if (!(error instanceof BlockDamagedError) && !isDamage(error)) throw error
    }
  }
  return newStreamState(`recovered-${id}`, id, { spoolId: blocks[0]?.spoolId ?? '', gateway: '' })
}
