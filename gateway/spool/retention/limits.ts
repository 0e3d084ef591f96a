/**
 * Applies the limits that the operator set for a stream, by age and by size, in the commit that is
 * about to be closed. What goes is decided in retention.ts.
 */
import type { BlockMeta } from '../stream/block-index.ts'
import { unskipped } from '../stream/state.ts'
import type { OpenCommit, SpoolStream } from '../stream/stream.ts'
import { doomedBlocks, roomBytes } from './retention.ts'

export function retain(stream: SpoolStream, commit: OpenCommit): void {
  const { config, marks, time } = stream
  if (!config) return
  const { maxAge, maxBytes, whenFull } = config
  marks.fixedBytes = fixedBytes(stream)
  if (maxAge !== null) {
    const nowMs = time.nowMs()
    limit(stream, 'expired', (meta) => meta.spoolTimeMs + maxAge < nowMs, commit)
  }
  if (whenFull !== 'drop-oldest') return
  const stored = stream.storedBytes + stream.uncommittedRawBytes
  const over = stored - roomBytes(maxBytes, marks.fixedBytes)
  if (over > 0) limit(stream, 'dropped-oldest', (_, freed) => freed < over, commit)
}

function fixedBytes({ state, index, marks, isPinGuarded }: SpoolStream): number {
  let bytes = isPinGuarded ? marks.pinnedBlocks(state, index).bytes : 0
  for (const aside of state.parked) bytes += aside.bytes
  for (const aside of state.front) bytes += aside.bytes
  return bytes
}

function limit(
  stream: SpoolStream,
  reason: 'expired' | 'dropped-oldest',
  wanted: (meta: BlockMeta, freedBytes: number) => boolean,
  commit: OpenCommit,
): void {
  const { state, index, marks, isPinGuarded } = stream
  const start = isPinGuarded ? marks.pinnedBlocks(state, index).end : state.head.ordinal
  const from = unskipped(state, start)
  const doomed = doomedBlocks(state, index, from, wanted)
  const next = unskipped(state, (doomed.at(-1)?.ordinal ?? from - 1) + 1)
  if (doomed.length > 0) {
    if (from < marks.pinnedBlocks(state, index).end) stream.dissolveUnsentPin()
    stream.drop(doomed, reason, commit)
    const records = doomed.reduce((n, { count }) => n + count, 0)
    stream.emit({ type: 'spool.retention', stream: stream.name, reason, records })
  }
  marks.ordinal = next
  // Far behind a pin its segment is not in memory, and nothing else would fetch it.
  stream.prefetch(commit, next)
}
