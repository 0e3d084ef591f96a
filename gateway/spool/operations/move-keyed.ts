/**
 * Small keyed values of formats 1 and 2 lie behind the blocks; they are moved before them, once, at
 * the first opening by a version of format 3 (see store/keys.ts for why). A commit moves some of
 * them, so a kill at any moment leaves each in one place, and the next opening goes on.
 */
import type { Committer } from '../commit/committer.ts'
import { FORMER_KEYED_RANGE, keyedOfFormer } from '../store/keys.ts'

/** Of values that one commit moves. */
const COMMIT_BYTES = 4 * 1024 * 1024

/** To be called before anything reads one. */
export async function moveKeyed(committer: Committer): Promise<void> {
  let hasMoved = false
  while (await moveSome(committer)) hasMoved = true
  // What was deleted there overlaps with every flush as well, until it is compacted away.
  const { gte, lt } = FORMER_KEYED_RANGE
  if (hasMoved) await committer.store.compact(gte, lt).catch(() => undefined)
}

/** False: none is left. */
async function moveSome(committer: Committer): Promise<boolean> {
  let bytes = 0
  for await (const [key, value] of committer.store.entries(FORMER_KEYED_RANGE)) {
    committer.add({ type: 'put', key: keyedOfFormer(key), value })
    committer.add({ type: 'del', key })
    bytes += key.length + value.length
    if (bytes >= COMMIT_BYTES) break
  }
  if (bytes > 0) await committer.durable()
  return bytes > 0
}
