/**
 * Reads a pinned batch: the same pin gives the same bytes, across a kill too (I4). Whole deflated
 * blocks go to the network as they lie on disk; slices, copies and blocks that were too small to
 * deflate are joined and recompressed. Records are read one block at a time, and only if somebody
 * asks for them.
 */
import { setImmediate } from 'node:timers/promises'
import type { Batch, BatchEncoder, BatchEncoding, SinkRecord } from '../../ports/sink.ts'
import type { LoadedBatch, Pin } from '../../ports/stream-queue.ts'
import { BlockDamagedError, decodeBlockHeader, readBlock } from '../codec/block.ts'
import { lineAt, lineOffsets, receivedAtOf, recordOfLine, seqOfLine } from '../codec/record.ts'
import { type Body, joinIdentity, type Part, stitchGzip, sumOf } from '../codec/stitch.ts'
import { blockKey } from '../store/keys.ts'
import type { BlockMeta } from '../stream/block-index.ts'
import { type ExpiryMark, gapsOf, unskipped } from '../stream/state.ts'
import type { SpoolStream } from '../stream/stream.ts'
import { blockName, copyName, isBlock, lineOfCopy } from './block-check.ts'
import type { BlockReader } from './block-reader.ts'
import { expirySecondsLeft, judgeExpiry, marksOver } from './expiry.ts'
import { loseCopy } from './losses.ts'

/** A stored piece of the batch: a block, a slice of one, or the copy of a record. */
interface Piece {
  /** In order; where none is left out, the first and how many. */
  readonly firstSeq: number
  readonly count: number
  /** Where some are: those that are not; `raw` has no other lines. */
  readonly kept: readonly number[] | null
  readonly receivedAtMs: number
  /** Of its block, ms, and what its records expire by. */
  readonly spoolTimeMs: number
  readonly marks: readonly ExpiryMark[]
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
  readonly leaveOut: (leftOut: LeftOut) => void
}

/** Records of a pin that had expired before it was made: they are not in its batch. */
export interface LeftOut {
  /** Ascending. */
  readonly seqs: readonly number[]
  /** Of those that are in the batch, the last; null: there is none. */
  readonly lastKept: number | null
  /** Spool time at which the next one of the batch expires; Infinity: none does. */
  readonly nextExpiryMs: number
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
  const all = [...copies, ...pieces].filter(({ count }) => count > 0)
  const last = all.at(-1)
  const seqs = pieces.flatMap(({ leftOut }) => leftOut)
  const nextExpiryMs = Math.min(...pieces.map((piece) => piece.nextExpiryMs))
  const lastKept = last === undefined ? null : lastSeqOf(last)
  pinned.leaveOut({ seqs, lastKept, nextExpiryMs })
  const parts = await partsOf(all)
  const body = encoder.stitches === null ? null : await stitch(parts, encoder.stitches)
  const batch = batchOf(pinned, all, body, body ?? sumOf(parts))
  return {
    pin,
    batch,
    seqs: () => all.flatMap(seqsOf),
    line: (seq) => lineOf(all, seq),
  }
}

function batchOf(
  { spool, identity, pin, encoder, keepNote }: PinnedBatch,
  pieces: readonly Piece[],
  body: Body | null,
  { rawBytes, crc32 }: Pick<Body, 'rawBytes' | 'crc32'>,
): Batch {
  const { spoolId, fingerprint } = pin
  const { state } = spool
  const first = pieces[0]
  const last = pieces.at(-1)
  return {
    gateway: state.identities[identity]?.gateway ?? '',
    spoolId,
    stream: spool.name,
    firstSeq: first === undefined ? pin.firstSeq : (first.kept?.[0] ?? first.firstSeq),
    lastSeq: last === undefined ? pin.lastSeq : lastSeqOf(last),
    recordCount: pieces.reduce((records, { count }) => records + count, 0),
    gaps: gapsOf(state, pin.gapCount),
    receivedAtMs: first?.receivedAtMs ?? 0,
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

/** Others have their turn when so many bytes of lines were read: acks of devices wait for it. */
const TURN_BYTES = 64 * 1024

async function* recordsOf(pieces: readonly Piece[]): AsyncGenerator<SinkRecord> {
  let bytes = 0
  for (const { raw, from, count, spoolTimeMs, marks } of pieces) {
    if (bytes >= TURN_BYTES) {
      await setImmediate()
      bytes = 0
    }
    const lines = await raw()
    bytes += lines.length
    const offsets = lineOffsets(lines)
    for (let i = from; i < from + count; i++) {
      const line = lines.subarray(offsets[i], offsets[i + 1])
      const record = recordOfLine(line)
      if (marks.length === 0) yield record
      else yield { ...record, expirySeconds: expirySecondsLeft(line, spoolTimeMs, marks) }
    }
  }
}

function seqsOf({ firstSeq, count, kept }: Piece): readonly number[] {
  return kept ?? Array.from({ length: count }, (_, i) => firstSeq + i)
}

function lastSeqOf({ firstSeq, count, kept }: Piece): number {
  return kept?.at(-1) ?? firstSeq + count - 1
}

/** Of the seq among the lines that belong to the batch; negative: it is not there. */
function placeIn({ firstSeq, count, kept }: Piece, seq: number): number {
  if (kept !== null) return kept.indexOf(seq)
  return seq < firstSeq + count ? seq - firstSeq : -1
}

async function lineOf(pieces: readonly Piece[], seq: number): Promise<Uint8Array> {
  const piece = pieces.find((each) => placeIn(each, seq) >= 0)
  if (!piece) throw new Error(`seq ${seq} is not in the batch`)
  const line = lineAt(await piece.raw(), piece.from + placeIn(piece, seq))
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
      kept: null,
      // It was sent, and is judged no more.
      spoolTimeMs: 0,
      marks: [],
      receivedAtMs: receivedAtOf(bytes) ?? aside.receivedAtMs,
      from: 0,
      raw: async () => bytes,
      part: async () => ({ kind: 'raw', bytes }),
    })
  }
  return pieces.length === front.length ? pieces : null
}

/** With what was judged of its records' expiry. */
interface JudgedPiece extends Piece {
  readonly leftOut: readonly number[]
  readonly nextExpiryMs: number
}

/** null: a block is gone. */
async function blockPieces(
  { spool, dissolvePin }: PinnedBatch,
  blocks: readonly BlockPiece[],
  reader: BlockReader,
): Promise<JudgedPiece[] | null> {
  const values = await reader.readMany(
    blocks.map((b) => blockKey(b.meta.commit, spool.state.id, b.meta.index)),
  )
  const pieces: JudgedPiece[] = []
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
): Promise<JudgedPiece | null> {
  const name = blockName(spool.state, block.meta)
  const marks = marksOver(
    spool.state.expiryMarks,
    block.meta.identity,
    block.meta.firstSeq + block.from,
    block.meta.firstSeq + block.from + block.count - 1,
  )
  for (const attempt of ['stored', 'salvaged'] as const) {
    const value = attempt === 'stored' ? stored : await reader.salvage(name)
    if (!isBlock(value, name)) continue
    try {
      return await pieceOf(value, block, marks)
    } catch (error) {
      if (!(error instanceof BlockDamagedError)) throw error
    }
  }
  return null
}

const NO_LINES = new Uint8Array()

/** @throws BlockDamagedError */
async function pieceOf(
  value: Buffer,
  block: BlockPiece,
  marks: readonly ExpiryMark[],
): Promise<JudgedPiece> {
  const { from, count, meta } = block
  const header = decodeBlockHeader(value)
  const raw = (): Promise<Uint8Array> => readBlock(value)
  const slice = async (): Promise<Uint8Array> => {
    const all = await raw()
    if (count === header.recordCount) return all
    const offsets = lineOffsets(all)
    return all.subarray(offsets[from], offsets[from + count])
  }
  const { oldestReceivedAtMs: receivedAtMs, spoolTimeMs } = header
  const firstSeq = meta.firstSeq + from
  const lines = marks.length === 0 ? null : await slice()
  const judged = judgeExpiry({ lines: lines ?? NO_LINES, firstSeq, spoolTimeMs }, marks)
  const { leftOut, nextExpiryMs, rest } = judged
  const common = { firstSeq, receivedAtMs, spoolTimeMs, marks, leftOut, nextExpiryMs }
  if (rest !== null) {
    const { raw: bytes, kept } = rest
    const part = async (): Promise<Part> => ({ kind: 'raw', bytes })
    return { ...common, count: kept.length, kept, raw: async () => bytes, from: 0, part }
  }
  const isSliced = count < header.recordCount
  // Inflated now, it shows damage; what is stitched right away need not be inflated once more.
  let inflated = isSliced ? (lines ?? (await slice())) : null
  const part = async (): Promise<Part> => {
    if (!isSliced) return wholeOf(value, header)
    const bytes = inflated ?? (await slice())
    inflated = null
    return { kind: 'raw', bytes }
  }
  return { ...common, count, kept: null, raw, from, part }
}

/** As it lies. */
function wholeOf(value: Buffer, header: ReturnType<typeof decodeBlockHeader>): Part {
  const { bodyOffset, codec, rawBytes, crc32 } = header
  const bytes = value.subarray(bodyOffset)
  return codec === 'none'
    ? { kind: 'raw', bytes }
    : { kind: 'deflated', segment: bytes, rawBytes, crc32 }
}
