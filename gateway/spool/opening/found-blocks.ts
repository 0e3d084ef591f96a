/**
 * The blocks of one stream that are there, in the store or in the raw files, for a new index while
 * the store is open (I7).
 */

import { blockNameKey } from '../codec/block.ts'
import { NAMESPACE, parseCommitKey, prefixRange } from '../store/keys.ts'
import type { Store } from '../store/store.ts'
import type { FoundBlock } from '../stream/reindex.ts'
import type { StreamState } from '../stream/state.ts'
import type { RawScan } from './raw-scan.ts'
import { foundBlock, nameOf, onlyRaw } from './rebuild.ts'

/**
 * Of commits through the given one, with seqs below its next. Leaves out spool ids that the stream
 * does not know: they are not its own.
 */
export async function streamBlocks(
  store: Store,
  state: StreamState,
  through: { readonly commit: number; readonly nextSeq: number },
  scans: readonly RawScan[],
): Promise<FoundBlock[]> {
  const found: FoundBlock[] = []
  for await (const [key, value] of store.entries(prefixRange(NAMESPACE.commits))) {
    const at = parseCommitKey(key)
    if (at?.kind !== 'block' || at.streamId !== state.id || at.commit > through.commit) continue
    const block = foundBlock(key, value, at)
    if (block) found.push(block)
  }
  for (const scan of scans) found.push(...onlyRaw(found, scan))
  const newest = state.identities.at(-1)?.spoolId
  return found.filter(({ streamId, spoolId, meta }) => {
    if (streamId !== state.id || !state.identities.some((i) => i.spoolId === spoolId)) return false
    return spoolId !== newest || meta.firstSeq < through.nextSeq
  })
}

/** Values of those that only the raw files have, by name. */
export async function lostValues(
  blocks: readonly FoundBlock[],
  scans: readonly RawScan[],
): Promise<ReadonlyMap<string, Buffer>> {
  const values = new Map<string, Buffer>()
  for (const block of blocks) {
    if (block.key) continue
    for (const scan of scans) {
      const value = await scan.block(nameOf(block))
      if (value) values.set(blockNameKey(nameOf(block)), value)
    }
  }
  return values
}
