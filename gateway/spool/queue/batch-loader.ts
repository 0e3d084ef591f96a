/**
 * Reads a pinned batch: the same pin gives the same bytes, across a kill too (I4). Whole deflated
 * blocks go to the network as they lie on disk; slices, copies and blocks that were too small to
 * deflate are joined and recompressed. Records are read one block at a time, and only if somebody
 * asks for them.
 */
import type { Batch, BatchEncoder, BatchEncoding, SinkRecord } from '../../ports/sink.ts'
import type { LoadedBatch, Pin } from '../../ports/stream-queue.ts'
import { BlockDamagedError, decodeBlockHeader, readBlock } from '../codec/block.ts'
import { lineAt, lineOffsets, receivedAtOf, recordOfLine, seqOfLine } from '../codec/record.ts'
import { type Body, joinIdentity, type Part, stitchGzip, sumOf } from '../codec/stitch.ts'
import { blockKey } from '../store/keys.ts'
import type { BlockMeta } from '../stream/block-index.ts'
import { gapsOf, unskipped } from '../stream/state.ts'
import type { SpoolStream } from '../stream/stream.ts'
import { blockName, copyName, isBlock, lineOfCopy } from './block-check.ts'
import type { BlockReader } from './block-reader.ts'
import { loseCopy } from './losses.ts'

/** A stored piece of the batch: a block, a slice of one, or the copy of a record. */
interface Piece {
  readonly firstSeq: number
  readonly count: number
  readonly receivedAtMs: number
  /** All lines of the block or copy; `from` is the first that belongs to the batch. */
  readonly raw: () => Promise<Uint8Array>
  readonly from: number
  /** As it is stitched. */
  readonly part: () => Promise<Part>
}

interface BlockPiece {
  readonly ordinal: number
  readonly meta: BlockMeta
  readonly from: number
  readonly count: number
}

interface PinnedBatch {
  readonly spool: SpoolStream
  readonly identity: number
  readonly pin: Pin
  readonly encoder: BatchEncoder
  /** Something of it is damaged. The pin goes first: no commit holds one of lost records. */
  readonly dissolvePin: () => void
  /** See `Batch.keepNote`. */
  readonly keepNote: (note: string) => Promise<void>
}

/** null: something of it is damaged for good, and was counted. */
export async function loadBatch(
  pinned: PinnedBatch,
  reader: BlockReader,
): Promise<LoadedBatch | null> {
  const { spool, pin, encoder } = pinned
  await loadSegments(spool, reader, pin.recordCount)
  const blocks = pinnedBlocks(pinned)
  const copies = await copyPieces(pinned, reader)
  const pieces = await blockPieces(pinned, blocks, reader)
  if (copies === null || pieces === null) return null
  const all = [...copies, ...pieces]
  const parts = await partsOf(all)
  const body = encoder.stitches === null ? null : await stitch(parts, encoder.stitches)
  const batch = batchOf(pinned, all, body, body ?? sumOf(parts))
  return {
    pin,
    batch,
    seqs: () => all.flatMap((p) => Array.from({ length: p.count }, (_, i) => p.firstSeq + i)),
    line: (seq) => lineOf(all, seq),
  }
}

function batchOf(
  { spool, identity, pin, encoder, keepNote }: PinnedBatch,
  pieces: readonly Piece[],
  body: Body | null,
  { rawBytes, crc32 }: Pick<Body, 'rawBytes' | 'crc32'>,
): Batch {
  const { spoolId, firstSeq, lastSeq, recordCount, fingerprint } = pin
  const { state } = spool
  return {
    gateway: state.identities[identity]?.gateway ?? '',
    spoolId,
    stream: spool.name,
    firstSeq,
    lastSeq,
    recordCount,
    gaps: gapsOf(state, pin.gapCount),
    receivedAtMs: pieces[0]?.receivedAtMs ?? 0,
    fingerprint,
    formerFingerprints: pin.formerFingerprints ?? [],
    note: pin.note ?? null,
    keepNote,
    rawBytes,
    crc32,
    bodyBytes: body?.byteLength ?? rawBytes,
    stitched: async (encoding) => {
      if (body !== null && encoding === encoder.stitches) return body
      return await stitch(await partsOf(pieces), encoding)
    },
    records: () => recordsOf(pieces),
  }
}

async function partsOf(pieces: readonly Piece[]): Promise<Part[]> {
  const parts: Part[] = []
  for (const piece of pieces) parts.push(await piece.part())
  return parts
}

function stitch(parts: readonly Part[], encoding: BatchEncoding): Promise<Body> {
  return encoding === 'gzip' ? stitchGzip(parts) : joinIdentity(parts)
}

async function* recordsOf(pieces: readonly Piece[]): AsyncGenerator<SinkRecord> {
  for (const piece of pieces) {
    const raw = await piece.raw()
    const offsets = lineOffsets(raw)
    for (let i = piece.from; i < piece.from + piece.count; i++)
      yield recordOfLine(raw.subarray(offsets[i], offsets[i + 1]))
  }
}

async function lineOf(pieces: readonly Piece[], seq: number): Promise<Uint8Array> {
  const piece = pieces.find((p) => seq >= p.firstSeq && seq < p.firstSeq + p.count)
  if (!piece) throw new Error(`seq ${seq} is not in the batch`)
  const line = lineAt(await piece.raw(), piece.from + seq - piece.firstSeq)
  if (seqOfLine(line) !== seq)
    throw new Error(`seq ${seq}: the stored line says ${seqOfLine(line)}`)
  return line
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

/** Blocks of the pin in order, with the slice of each that belongs to the batch. */
function pinnedBlocks({ spool, identity, pin }: PinnedBatch): BlockPiece[] {
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

/** Records that were returned to their place. null: one is gone. */
async function copyPieces(
  { spool, identity, pin, dissolvePin }: PinnedBatch,
  reader: BlockReader,
): Promise<Piece[] | null> {
  const { state } = spool
  const front = state.front.filter((a) => a.identity === identity && a.seq <= pin.lastSeq)
  const values = await reader.readMany(front.map((a) => spool.asideKey(a.n)))
  const pieces: Piece[] = []
  for (const [i, aside] of front.entries()) {
    const name = copyName(state, aside)
    const stored = values[i]
    const bytes = isBlock(stored, name) ? lineOfCopy(stored) : await reader.salvageLine(name)
    if (bytes === null) {
      dissolvePin()
      loseCopy(spool, aside)
      continue
    }
    pieces.push({
      firstSeq: aside.seq,
      count: 1,
      receivedAtMs: receivedAtOf(bytes) ?? aside.receivedAtMs,
      from: 0,
      raw: async () => bytes,
      part: async () => ({ kind: 'raw', bytes }),
    })
  }
  return pieces.length === front.length ? pieces : null
}

/** null: a block is gone. */
async function blockPieces(
  { spool, dissolvePin }: PinnedBatch,
  blocks: readonly BlockPiece[],
  reader: BlockReader,
): Promise<Piece[] | null> {
  const values = await reader.readMany(
    blocks.map((b) => blockKey(b.meta.commit, spool.state.id, b.meta.index)),
  )
  const pieces: Piece[] = []
  for (const [i, block] of blocks.entries()) {
    const piece = await blockPiece(spool, block, values[i], reader)
    if (piece) {
      pieces.push(piece)
      continue
    }
    dissolvePin()
    reader.lost(spool, block.ordinal, block.meta)
  }
  return pieces.length === blocks.length ? pieces : null
}

async function blockPiece(
  spool: SpoolStream,
  block: BlockPiece,
  stored: Buffer | undefined,
  reader: BlockReader,
): Promise<Piece | null> {
  const name = blockName(spool.state, block.meta)
  for (const attempt of ['stored', 'salvaged'] as const) {
    const value = attempt === 'stored' ? stored : await reader.salvage(name)
    if (!isBlock(value, name)) continue
    try {
      return await pieceOf(value, block)
    } catch (error) {
      if (!(error instanceof BlockDamagedError)) throw error
    }
  }
  return null
}

/** @throws BlockDamagedError */
async function pieceOf(value: Buffer, block: BlockPiece): Promise<Piece> {
  const { from, count, meta } = block
  const header = decodeBlockHeader(value)
  const raw = (): Promise<Uint8Array> => readBlock(value)
  const slice = async (): Promise<Part> => {
    const all = await raw()
    const offsets = lineOffsets(all)
    return { kind: 'raw', bytes: all.subarray(offsets[from], offsets[from + count]) }
  }
  const bytes = value.subarray(header.bodyOffset)
  const { rawBytes, crc32 } = header
  const whole: Part =
    header.codec === 'none'
      ? { kind: 'raw', bytes }
      : { kind: 'deflated', segment: bytes, rawBytes, crc32 }
  const isSliced = count < header.recordCount
  // Inflated now, it shows damage; what is stitched right away need not be inflated once more.
  let inflated = isSliced ? await slice() : null
  const part = async (): Promise<Part> => {
    if (!isSliced) return whole
    const first = inflated
    inflated = null
    return first ?? (await slice())
  }
  const { oldestReceivedAtMs: receivedAtMs } = header
  return { firstSeq: meta.firstSeq + from, count, receivedAtMs, raw, from, part }
}
