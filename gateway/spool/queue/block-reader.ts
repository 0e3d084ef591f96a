/**
 * What reads the blocks of a stream, and is told of those that are gone. The commit's owner answers
 * for both, because a lost block changes the state of its stream (I7, I9).
 */
import type { BlockName } from '../codec/block.ts'
import type { BlockMeta } from '../stream/block-index.ts'
import type { SegmentSource, SpoolStream } from '../stream/stream.ts'

/** Reads many values at once, and answers for one that is missing or damaged. */
export interface BlockReader extends SegmentSource {
  /** undefined: missing, or the store cannot read it. Rejects only if it may be read later. */
  readMany(keys: readonly Buffer[]): Promise<ReadonlyArray<Buffer | undefined>>
  /**
   * A block is gone for good: it was not salvageable. Its records are counted and reported (I7).
   */
  lost(stream: SpoolStream, ordinal: number, meta: BlockMeta): void
  /** Looks for a block that is missing or damaged in the bytes of the files. */
  salvage(name: BlockName): Promise<Buffer | null>
  /** The same for the copy of a record, whose block may still be there: its line. */
  salvageLine(name: BlockName): Promise<Buffer | null>
}
