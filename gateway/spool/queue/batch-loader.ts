/**
 * Reads a pinned batch: the same pin gives the same bytes, across a kill too (I4). Whole deflated
 * blocks go to the network as they lie on disk; slices, copies and blocks that were too small to
 * deflate are joined and recompressed.
 */
import type { LoadedBatch, Pin } from '../../ports/stream-queue.ts'
import { BlockDamagedError, decodeBlockHeader, readBlock } from '../codec/block.ts'
import { lineAt, lineOffsets, seqOfLine } from '../codec/record.ts'
import { joinIdentity, type Part, stitchGzip } from '../codec/stitch.ts'
import { blockKey } from '../store/keys.ts'
import type { BlockMeta } from '../stream/block-index.ts'
import { unskipped } from '../stream/state.ts'
import type { SpoolStream } from '../stream/stream.ts'
import { blockName, copyName, isBlock, lineOfCopy } from './block-check.ts'
import type { BlockReader } from './block-reader.ts'
import { loseCopy } from './losses.ts'

/** A stored piece of the batch: where its lines come from when an answer names one. */
interface Piece {
  readonly firstSeq: number
  readonly count: number
  /** All lines of the block or copy; `from` is the first that belongs to the batch. */
  readonly raw: () => Promise<Uint8Array>
  readonly from: number
}

interface BlockPiece {
  readonly ordinal: number
  readonly meta: BlockMeta
  readonly from: number
  readonly count: number
}

/** Blocks of the pin in order, with the slice of each that belongs to the batch. */
function pinnedBlocks(spool: SpoolStream, identity: number, pin: Pin): BlockPiece[] {
  const { state, index } = spool
  const pieces: BlockPiece[] = []
  let ordinal = unskipped(state, state.head.ordinal)
  for (let from = state.head.index; ; from = 0) {
    const meta = index.at(ordinal)
    if (!meta || meta.identity !== identity || meta.firstSeq + from > pin.lastSeq) return pieces
    const end = Math.min(meta.count, pin.lastSeq - meta.firstSeq + 1)
    pieces.push({ ordinal, meta, from, count: end - from })
    ordinal = unskipped(state, ordinal + 1)
  }
}

export async function loadBatch(
  spool: SpoolStream,
  identity: number,
  pin: Pin,
  reader: BlockReader,
  dissolvePin: () => void,
): Promise<LoadedBatch | null> {
  const { state } = spool
  const front = state.front.filter((a) => a.identity === identity && a.seq <= pin.lastSeq)
  await loadSegments(spool, reader, pin.recordCount)
  const blocks = pinnedBlocks(spool, identity, pin)
  const copies = await reader.readMany(front.map((a) => spool.asideKey(a.n)))
  const values = await reader.readMany(
    blocks.map((b) => blockKey(b.meta.commit, state.id, b.meta.index)),
  )
  const pieces: Piece[] = []
  const parts: Part[] = []
  let intact = true
  /** The pin goes first: no commit holds one whose records are counted as lost. */
  const notIntact = (): void => {
    if (intact) dissolvePin()
    intact = false
  }
  for (const [i, aside] of front.entries()) {
    const name = copyName(state, aside)
    const stored = copies[i]
    const line = isBlock(stored, name) ? lineOfCopy(stored) : await reader.salvageLine(name)
    if (line === null) {
      notIntact()
      loseCopy(spool, aside)
      continue
    }
    pieces.push({ firstSeq: aside.seq, count: 1, from: 0, raw: async () => line })
    parts.push({ kind: 'raw', bytes: line })
  }
  for (const [i, block] of blocks.entries()) {
    const part = await blockPart(spool, block, values[i], reader)
    if (!part) {
      notIntact()
      reader.lost(spool, block.ordinal, block.meta)
      continue
    }
    pieces.push({
      firstSeq: block.meta.firstSeq + block.from,
      count: block.count,
      from: block.from,
      raw: part.raw,
    })
    parts.push(part.part)
  }
  if (!intact) return null
  const body = pin.encoding === 'gzip' ? await stitchGzip(parts) : await joinIdentity(parts)
  return {
    pin,
    body: body.chunks,
    bodyBytes: body.byteLength,
    rawBytes: body.rawBytes,
    crc32: body.crc32,
    seqs: () => pieces.flatMap((p) => Array.from({ length: p.count }, (_, i) => p.firstSeq + i)),
    line: async (seq) => {
      const piece = pieces.find((p) => seq >= p.firstSeq && seq < p.firstSeq + p.count)
      if (!piece) throw new Error(`seq ${seq} is not in the batch ${pin.firstSeq}-${pin.lastSeq}`)
      const line = lineAt(await piece.raw(), piece.from + seq - piece.firstSeq)
      if (seqOfLine(line) !== seq)
        throw new Error(`seq ${seq}: the stored line says ${seqOfLine(line)}`)
      return line
    },
  }
}

/** A pin may reach into a segment that is not in memory (after a restart, for instance). */
async function loadSegments(
  spool: SpoolStream,
  reader: BlockReader,
  records: number,
): Promise<void> {
  const last = Math.min(spool.state.head.ordinal + records, spool.index.nextOrdinal - 1)
  for (let ordinal = spool.state.head.ordinal; ordinal <= last; ordinal++) {
    if (spool.index.missingAt(ordinal)) await spool.loadSegment(reader, ordinal)
  }
}

async function blockPart(
  spool: SpoolStream,
  block: BlockPiece,
  stored: Buffer | undefined,
  reader: BlockReader,
): Promise<{ part: Part; raw: () => Promise<Uint8Array> } | null> {
  const name = blockName(spool.state, block.meta)
  for (const attempt of ['stored', 'salvaged'] as const) {
    const value = attempt === 'stored' ? stored : await reader.salvage(name)
    if (!isBlock(value, name)) continue
    try {
      const header = decodeBlockHeader(value)
      const raw = (): Promise<Uint8Array> => readBlock(value)
      if (block.count < header.recordCount) {
        const all = await raw()
        const offsets = lineOffsets(all)
        const bytes = all.subarray(offsets[block.from], offsets[block.from + block.count])
        return { part: { kind: 'raw', bytes }, raw }
      }
      const body = value.subarray(header.bodyOffset)
      if (header.codec === 'none') return { part: { kind: 'raw', bytes: body }, raw }
      return {
        part: { kind: 'deflated', segment: body, rawBytes: header.rawBytes, crc32: header.crc32 },
        raw,
      }
    } catch (error) {
      if (!(error instanceof BlockDamagedError)) throw error
    }
  }
  return null
}
