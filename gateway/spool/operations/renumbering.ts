/**
 * Pending records of earlier identities go on as new records under the newest one. For a stream
 * whose sink has other records under their numbers: behind a rollback it would refuse them for
 * ever, or take them for repeats. Each says which id it had (`requeuedFrom`). Parked and returned
 * records keep theirs.
 */
import { readBlock } from '../codec/block.ts'
import { lineOffsets, requeueLine } from '../codec/record.ts'
import { blockName, isBlock } from '../queue/block-check.ts'
import type { BlockReader } from '../queue/block-reader.ts'
import { blockKey } from '../store/keys.ts'
import { unskipped } from '../stream/state.ts'
import type { OpenCommit, SpoolStream } from '../stream/stream.ts'
import { takeSeqs } from '../stream/transitions.ts'

/**
 * Returns how many records were numbered anew; durable when it resolves. `raise` leases so many
 * seqs.
 */
export async function renumberPending(
  stream: SpoolStream,
  reader: BlockReader,
  commit: OpenCommit,
  raise: (records: number) => Promise<void>,
): Promise<number> {
  let records = 0
  for (;;) {
    const { state } = stream
    const ordinal = unskipped(state, state.head.ordinal)
    if (stream.index.missingAt(ordinal)) await stream.loadSegment(reader, ordinal)
    const meta = stream.index.at(ordinal)
    if (!meta || meta.identity >= stream.identity) return records
    const name = blockName(state, meta)
    const [stored] = await reader.readMany([blockKey(meta.commit, state.id, meta.index)])
    const value = isBlock(stored, name) ? stored : await reader.salvage(name)
    const raw = value && (await readBlock(value))
    await raise(meta.count)
    // From here on synchronous: what the sink has settled meanwhile is not numbered anew.
    if (stream.index.at(unskipped(state, state.head.ordinal)) !== meta) continue
    if (!raw) {
      reader.lost(stream, ordinal, meta)
      continue
    }
    const from = state.head.ordinal === ordinal ? state.head.index : 0
    const count = meta.count - from
    const offsets = lineOffsets(raw)
    const firstSeq = takeSeqs(state, count)
    const lines = Array.from({ length: count }, (_, i) =>
      requeueLine(
        raw.subarray(offsets[from + i], offsets[from + i + 1]),
        stream.prefix,
        firstSeq + i,
      ),
    )
    const doomed = { ordinal, meta, firstSeq: meta.firstSeq + from, count }
    stream.renumber(doomed, Buffer.concat(lines), firstSeq, commit)
    records += count
    await commit.durable(stream)
  }
}
