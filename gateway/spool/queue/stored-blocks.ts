/**
 * The blocks of all streams as the store has them, and what is done where it does not (I7): a block
 * is looked for in the bytes of the files, an index that lost a segment is made anew from the
 * blocks. What is lost all the same is counted in its stream, in the open commit (I9).
 */
import { type BlockName, blockNameKey } from '../codec/block.ts'
import type { StateChain } from '../commit/state-chain.ts'
import { lostValues, streamBlocks } from '../opening/found-blocks.ts'
import type { OpenedFolder } from '../opening/opened-folder.ts'
import { nameOf } from '../opening/rebuild.ts'
import { blockKey } from '../store/keys.ts'
import type { BlockMeta } from '../stream/block-index.ts'
import { selectPending } from '../stream/reindex.ts'
import { unskipped } from '../stream/state.ts'
import type { OpenCommit, SpoolStream } from '../stream/stream.ts'
import { recordsMissing } from '../stream/transitions.ts'
import type { BlockReader } from './block-reader.ts'
import { loseBlock } from './losses.ts'

export class StoredBlocks implements BlockReader {
  readonly #folder: OpenedFolder
  readonly #chain: StateChain
  readonly #commit: OpenCommit
  readonly #reindexing = new Map<SpoolStream, Promise<void>>()

  constructor(folder: OpenedFolder, chain: StateChain, commit: OpenCommit) {
    this.#folder = folder
    this.#chain = chain
    this.#commit = commit
  }

  /** undefined: missing, or damaged. */
  read(key: Buffer): Promise<Buffer | undefined> {
    return this.#folder.reads.get(this.#folder.store, key)
  }

  readMany(keys: readonly Buffer[]): Promise<Array<Buffer | undefined>> {
    return this.#folder.reads.getMany(this.#folder.store, keys)
  }

  lost(stream: SpoolStream, ordinal: number, meta: BlockMeta): void {
    // Between finding and telling the index may have been made anew, without it, or a limit may
    // have taken the block.
    const { state, index } = stream
    const isPending = ordinal >= state.head.ordinal && unskipped(state, ordinal) === ordinal
    if (isPending && index.at(ordinal) === meta) loseBlock(stream, ordinal, meta, this.#commit)
  }

  salvage(name: BlockName): Promise<Buffer | null> {
    return this.#folder.salvage(name)
  }

  salvageLine(name: BlockName): Promise<Buffer | null> {
    return this.#folder.salvageLine(name)
  }

  reindex(stream: SpoolStream): Promise<void> {
    const running = this.#reindexing.get(stream) ?? this.#reindex(stream)
    this.#reindexing.set(stream, running)
    return running.finally(() => this.#reindexing.delete(stream))
  }

  async #reindex(stream: SpoolStream): Promise<void> {
    const { state } = stream
    const why = `a segment of the index of stream ${stream.name} is damaged: the index was made anew from the blocks`
    const scans = await this.#folder.rawScans(why)
    this.#folder.note(why, null)
    // What is committed from here on stays in the index's tail.
    const through = this.#chain.lastStored
    const { nextSeq } = stream.view
    const { store } = this.#folder
    const blocks = await streamBlocks(store, state, { commit: through, nextSeq }, scans)
    const values = await lostValues(selectPending(state, blocks).pending, scans)
    // From here on synchronous: state, index and counters are of one instant.
    const metas: BlockMeta[] = []
    for (const block of selectPending(state, blocks).pending) {
      const { key, meta, identity } = block
      if (key) {
        metas.push({ ...meta, identity })
        continue
      }
      const value = values.get(blockNameKey(nameOf(block)))
      const at = value && this.#chain.placeFound()
      if (!at) continue
      this.#commit.add({ type: 'put', key: blockKey(at.commit, state.id, at.index), value })
      metas.push({ ...meta, ...at, identity })
    }
    const tail = stream.index.tail.filter(({ commit }) => commit > through)
    const before = stream.blockRecords
    stream.replaceIndex([...metas, ...tail])
    const missing = before - stream.blockRecords
    recordsMissing(state, missing)
    if (missing > 0) stream.passage?.lostSome()
    this.#chain.checkpointNext()
    this.#commit.touch(stream)
  }
}
