/**
 * The pending records of one stream, page by page, as they would be delivered: for an operator who
 * exports them. Reads only: nothing is settled, and delivery may go on meanwhile.
 */
import type { RecordPage } from '../../ports/operator.ts'
import { decodeBlockHeader, readBlock } from '../codec/block.ts'
import { lineOffsets } from '../codec/record.ts'
import { blockName, copyName, isBlock, lineOfCopy } from '../queue/block-check.ts'
import type { BlockReader } from '../queue/block-reader.ts'
import { blockKey } from '../store/keys.ts'
import type { BlockMeta } from '../stream/block-index.ts'
import { byPlace, unskipped } from '../stream/state.ts'
import type { SpoolStream } from '../stream/stream.ts'

/** A page ends with the block that fills it. */
const PAGE_BYTES = 1024 * 1024

interface Place {
  readonly identity: number
  readonly seq: number
}

/**
 * `after`: `next` of the page before; null: from the first. @throws TypeError for what is no cursor
 */
export async function pendingRecords(
  stream: SpoolStream,
  reader: BlockReader,
  after: string | null,
): Promise<RecordPage> {
  const page = new Page(after === null ? { identity: 0, seq: 0 } : parsePlace(after))
  // Their seqs are below those of all blocks that are pending.
  const asides = [...stream.state.parked, ...stream.state.front].sort(byPlace)
  for (const aside of asides) {
    if (page.isFull) return page.done(false)
    if (!page.isBehind(aside)) continue
    const name = copyName(stream.state, aside)
    const [stored] = await reader.readMany([stream.asideKey(aside.n)])
    const line = isBlock(stored, name) ? lineOfCopy(stored) : await reader.salvageLine(name)
    page.add(line, aside)
  }
  for (let ordinal = unskipped(stream.state, stream.state.head.ordinal); ; ) {
    if (stream.index.missingAt(ordinal)) await stream.loadSegment(reader, ordinal)
    const meta = stream.index.at(ordinal)
    if (!meta) return page.done(true)
    if (page.isFull) return page.done(false)
    await addBlock(stream, reader, meta, ordinal, page)
    ordinal = unskipped(stream.state, Math.max(ordinal + 1, stream.state.head.ordinal))
  }
}

async function addBlock(
  stream: SpoolStream,
  reader: BlockReader,
  meta: BlockMeta,
  ordinal: number,
  page: Page,
): Promise<void> {
  const { identity, firstSeq, count, commit, index } = meta
  if (!page.isBehind({ identity, seq: firstSeq + count - 1 })) return
  const { head } = stream.state
  const settled = ordinal === head.ordinal ? head.index : 0
  const name = blockName(stream.state, meta)
  const [stored] = await reader.readMany([blockKey(commit, stream.state.id, index)])
  const value = isBlock(stored, name) ? stored : await reader.salvage(name)
  const raw = value && decodeBlockHeader(value) ? await readBlock(value) : null
  const offsets = raw ? lineOffsets(raw) : null
  for (let i = settled; i < count; i++) {
    const place = { identity, seq: firstSeq + i }
    if (page.isBehind(place))
      page.add(raw && offsets ? raw.subarray(offsets[i], offsets[i + 1]) : null, place)
  }
}

class Page {
  readonly #records: string[] = []
  #bytes = 0
  #unreadable = 0
  #last: Place

  constructor(after: Place) {
    this.#last = after
  }

  get isFull(): boolean {
    return this.#bytes >= PAGE_BYTES
  }

  isBehind({ identity, seq }: Place): boolean {
    return (
      identity > this.#last.identity || (identity === this.#last.identity && seq > this.#last.seq)
    )
  }

  add(line: Buffer | null, { identity, seq }: Place): void {
    this.#last = { identity, seq }
    if (line === null) this.#unreadable++
    else {
      this.#records.push(line.toString('utf8', 0, line.length - 1))
      this.#bytes += line.length
    }
  }

  done(isLast: boolean): RecordPage {
    const { identity, seq } = this.#last
    return {
      records: this.#records,
      unreadable: this.#unreadable,
      next: isLast ? null : `${identity}:${seq}`,
    }
  }
}

function parsePlace(text: string): Place {
  const match = /^(\d{1,9}):(\d{1,16})$/.exec(text)
  if (!match) throw new TypeError(`"${text}" is not a cursor of a list of records (like "0:17")`)
  return { identity: Number(match[1]), seq: Number(match[2]) }
}
