/**
 * Takes the records of a store that was left aside (opening/left-aside.ts) into a stream, behind
 * all that it has.
 */
import { decodeBlockHeader } from '../codec/block.ts'
import type { StateChain } from '../commit/state-chain.ts'
import { LeftAsideError, type PutBack } from '../opening/left-aside.ts'
import { blockKey } from '../store/keys.ts'
import type { Op, Store } from '../store/store.ts'
import type { BlockMeta } from '../stream/block-index.ts'
import type { Identity } from '../stream/state.ts'
import type { OpenCommit, SpoolStream } from '../stream/stream.ts'
import { received } from '../stream/transitions.ts'

/** Bytes of blocks that are put back in one write. */
const WRITE_BYTES = 4 * 1024 * 1024

/**
 * Stores the blocks. The stream has them once the function that this gives is called, which returns
 * how many records they hold; until then they are garbage.
 */
export async function putBack(
  stream: SpoolStream,
  blocks: AsyncIterable<PutBack>,
  store: Store,
  chain: StateChain,
  commit: OpenCommit,
): Promise<() => number> {
  const found: Array<{
    readonly identity: Identity
    readonly meta: Omit<BlockMeta, 'identity'>
  }> = []
  let ops: Op[] = []
  let bytes = 0
  for await (const { identity, value } of blocks) {
    const at = chain.placeFound()
    if (!at) throw new LeftAsideError('it holds too many blocks to be put back at once')
    ops.push({ type: 'put', key: blockKey(at.commit, stream.state.id, at.index), value })
    bytes += value.length
    found.push({ identity, meta: { ...at, ...metaOf(value) } })
    if (bytes < WRITE_BYTES) continue
    await store.write(ops)
    ops = []
    bytes = 0
  }
  if (ops.length > 0) await store.write(ops)
  return () => {
    let records = 0
    for (const { identity, meta } of found) {
      if (stream.state.identities.at(-1)?.spoolId !== identity.spoolId)
        stream.startIdentity(identity)
      stream.index.push({ ...meta, identity: stream.identity })
      records += meta.count
    }
    received(stream.state, records)
    stream.recount()
    commit.touch(stream)
    return records
  }
}

function metaOf(value: Buffer): Omit<BlockMeta, 'identity' | 'commit' | 'index'> {
  const header = decodeBlockHeader(value)
  return {
    firstSeq: header.firstSeq,
    count: header.recordCount,
    rawBytes: header.rawBytes,
    storedBytes: value.length,
    oldestMs: header.oldestReceivedAtMs,
    spoolTimeMs: header.spoolTimeMs,
  }
}
