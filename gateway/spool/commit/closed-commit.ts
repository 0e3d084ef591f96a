/**
 * A commit that takes no more: what it holds of each stream, of the chain and of the journals, as of
 * one instant, and how that becomes operations of the store. Blocks are being deflated while the
 * commit before is synced; `encode` waits for them.
 */
import { encodeBlock } from '../codec/block.ts'
import { blockKey, stateKey } from '../store/keys.ts'
import type { Op } from '../store/store.ts'
import { type BlockMeta, packMeta } from '../stream/block-index.ts'
import type { UncommittedBlock } from '../stream/open-blocks.ts'
import type { ClosedStream, SpoolStream } from '../stream/stream.ts'
import type { ClosedCommit } from './committer.ts'
import type { ChainLink } from './state-chain.ts'
import { encodeState, type StateRecord, type StoredState } from './state-record.ts'

export class SpoolCommit implements ClosedCommit {
  readonly link: ChainLink
  readonly records: number
  readonly rawBytes: number
  readonly streams: readonly ClosedStream[]
  /** Of the state record; known once it is encoded. */
  stateBytes = 0
  /** Of the blocks as stored, likewise. */
  blockBytes = 0
  readonly #header: Omit<StateRecord, 'streams'>
  readonly #journals: StoredState['journals']
  readonly #metas = new Map<ClosedStream, readonly BlockMeta[]>()

  constructor(
    link: ChainLink,
    header: Omit<StateRecord, 'streams'>,
    streams: readonly ClosedStream[],
    journals: StoredState['journals'],
  ) {
    this.link = link
    this.#header = header
    this.streams = streams
    this.#journals = journals
    const blocks = streams.flatMap((stream) => stream.blocks)
    this.records = blocks.reduce((n, { count }) => n + count, 0)
    this.rawBytes = blocks.reduce((n, { raw }) => n + raw.length, 0)
  }

  get number(): number {
    return this.link.commit
  }

  /** Where the blocks of the stream lie. */
  metasOf(closed: ClosedStream): readonly BlockMeta[] {
    return this.#metas.get(closed) ?? []
  }

  async encode(sparing: boolean): Promise<readonly Op[]> {
    const ops: Op[] = []
    for (const closed of this.streams)
      this.#metas.set(closed, await this.#encodeBlocks(closed, ops))
    const entries = this.streams.map((closed) => {
      return `{${closed.entry},"added":${JSON.stringify(this.metasOf(closed).map(packMeta))}}`
    })
    const header = JSON.stringify(this.#header).slice(0, -1)
    const value = encodeState(
      `${header},"streams":[${entries.join(',')}]}`,
      this.#journals,
      sparing,
    )
    this.stateBytes = value.length
    for (const old of this.link.obsolete) ops.push({ type: 'del', key: stateKey(old) })
    ops.push({ type: 'put', key: stateKey(this.number), value })
    return ops
  }

  async #encodeBlocks({ stream, blocks }: ClosedStream, ops: Op[]): Promise<BlockMeta[]> {
    const metas: BlockMeta[] = []
    for (const [index, block] of blocks.entries()) {
      const value = await encode(stream, block)
      ops.push({ type: 'put', key: blockKey(this.number, stream.state.id, index), value })
      this.blockBytes += value.length
      const { identity, firstSeq, count, oldestMs, spoolTimeMs } = block
      metas.push({
        commit: this.number,
        index,
        identity,
        firstSeq,
        count,
        rawBytes: block.raw.length,
        storedBytes: value.length,
        oldestMs,
        spoolTimeMs,
      })
    }
    return metas
  }
}

async function encode({ state }: SpoolStream, block: UncommittedBlock): Promise<Buffer> {
  const body = await block.body
  return encodeBlock(
    {
      spoolId: state.identities[block.identity]?.spoolId ?? '',
      streamId: state.id,
      firstSeq: block.firstSeq,
      recordCount: block.count,
      codec: body === block.raw ? 'none' : 'deflate',
      rawBytes: block.raw.length,
      crc32: block.crc32,
      oldestReceivedAtMs: block.oldestMs,
      spoolTimeMs: block.spoolTimeMs,
    },
    body,
  )
}
