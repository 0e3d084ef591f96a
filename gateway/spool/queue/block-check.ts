/**
 * Is a stored value the block that the index means? LevelDB may give another one: a key that was
 * damaged, a file of earlier days. Copies of single records (parked, returned) are stored as blocks
 * of one, so that they are checked and found again in the same way (I4, I7).
 */
import { crc32 } from 'node:zlib'
import {
  BlockDamagedError,
  type BlockName,
  decodeBlockHeader,
  encodeBlock,
} from '../codec/block.ts'
import type { BlockMeta } from '../stream/block-index.ts'
import type { Aside, StreamState } from '../stream/state.ts'

export function blockName(
  state: StreamState,
  { identity, firstSeq, count }: Pick<BlockMeta, 'identity' | 'firstSeq' | 'count'>,
): BlockName {
  const spoolId = state.identities[identity]?.spoolId ?? ''
  return { spoolId, streamId: state.id, firstSeq, recordCount: count }
}

export function copyName(
  state: StreamState,
  { identity, seq }: Pick<Aside, 'identity' | 'seq'>,
): BlockName {
  return blockName(state, { identity, firstSeq: seq, count: 1 })
}

/** Whole, and the one that is meant. */
export function isBlock(value: Buffer | null | undefined, name: BlockName): value is Buffer {
  if (!value) return false
  try {
    const header = decodeBlockHeader(value)
    return (
      header.spoolId === name.spoolId &&
      header.streamId === name.streamId &&
      header.firstSeq === name.firstSeq &&
      header.recordCount === name.recordCount
    )
  } catch (error) {
    if (error instanceof BlockDamagedError) return false
    throw error
  }
}

export function encodeCopy(
  name: BlockName,
  line: Uint8Array,
  times: { readonly receivedAtMs: number; readonly spoolTimeMs: number },
): Buffer {
  const header = {
    ...name,
    codec: 'none',
    rawBytes: line.length,
    crc32: crc32(line),
    oldestReceivedAtMs: times.receivedAtMs,
    spoolTimeMs: times.spoolTimeMs,
  } as const
  return encodeBlock(header, line)
}

/** The record's line. Of a value that `isBlock` has checked. */
export function lineOfCopy(value: Buffer): Buffer {
  return value.subarray(decodeBlockHeader(value).bodyOffset)
}
