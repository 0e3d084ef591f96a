/**
 * One queue (gateway, spool, stream) of the reference sink: its lines, its one number, its gaps;
 * one batch at a time. The contract's rule lives here: skip what is known, store the next in order,
 * stop at the first that is not stored, fsync, and only then say so. Not here: HTTP, faults.
 */
import { appendFile, open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { BatchHead, Gap } from '../head.ts'
import { GapLedger, type GapNote } from './gap-ledger.ts'
import { LineMemory } from './line-memory.ts'
import { eachLine, type Judge, type Judged, judgeLines, linePrefix } from './lines.ts'
import {
  type QueueName,
  queueFolder,
  type SegmentOptions,
  Segments,
  syncFolder,
} from './segments.ts'

const NOTES = 'gaps.log'

/** What became of one batch. */
export interface Taken extends Judged {
  /** The contract's number: last seq stored or skipped; Sluice-First-Seq - 1 if none. */
  readonly ackedThrough: number
  /** A reported gap that a record of this batch lies in: the gateway broke the contract. */
  readonly overlap: string | null
}

interface TakeOptions {
  /** The judge for a batch with about so many new records; null: all are stored. */
  readonly judgeFor: (newRecords: number) => Judge | null
  /** A refused record refuses the whole batch: nothing of it is stored. */
  readonly wholeOnly: boolean
  /** The gateway will get the answer, as far as this side can tell. */
  readonly answered: boolean
}

export interface QueueStats {
  readonly gateway: string
  readonly spool: string
  readonly stream: string
  readonly highest: number
  readonly records: number
  readonly bytes: number
  /** Seqs that gaps say will never come. */
  readonly gapSeqs: number
  readonly gaps: number
  /** Missing seqs without a gap, not (yet) worth an alarm. */
  readonly unexplainedSeqs: number
  /** Missing seqs without a gap although a later gap-free batch was acked. */
  readonly missingSeqs: number
}

export class Queue {
  readonly name: QueueName
  readonly #dir: string
  readonly #options: SegmentOptions
  readonly #ledger: GapLedger
  readonly #memory = new LineMemory()
  #segments: Segments
  #last: Promise<unknown> = Promise.resolve()

  private constructor(
    dir: string,
    name: QueueName,
    options: SegmentOptions,
    segments: Segments,
    ledger: GapLedger,
  ) {
    this.#dir = dir
    this.name = name
    this.#options = options
    this.#segments = segments
    this.#ledger = ledger
  }

  static async open(dir: string, name: QueueName, options: SegmentOptions): Promise<Queue> {
    const segments = await Segments.open(dir, name, options)
    const ledger = new GapLedger()
    for (const note of await readNotes(dir, name)) ledger.replay(note)
    return new Queue(dir, name, options, segments, ledger)
  }

  /** Bytes that opening cut from a torn append. */
  get tornBytes(): number {
    return this.#segments.tornBytes
  }

  get ledger(): GapLedger {
    return this.#ledger
  }

  get stats(): QueueStats {
    const size = (ranges: ReadonlyArray<{ first: number; last: number }>): number =>
      ranges.reduce((sum, range) => sum + range.last - range.first + 1, 0)
    return {
      ...this.name,
      highest: this.#segments.highest,
      records: this.#segments.records,
      bytes: this.#segments.bytes,
      gapSeqs: size(this.#ledger.gaps),
      gaps: this.#ledger.gaps.length,
      unexplainedSeqs: size(this.#ledger.unexplained),
      missingSeqs: size(this.#ledger.alarms),
    }
  }

  /**
   * Stores what is new of a batch; durable when it resolves. A string says how the batch breaks the
   * contract; `conflict` is the seq of a record that is stored with another content: nothing of the
   * batch is stored then.
   * @throws when the disk does not take it: nothing may be acked then
   */
  async take(
    head: BatchHead,
    body: Buffer,
    how: TakeOptions,
  ): Promise<Taken | { readonly conflict: number } | string> {
    return this.#exclusive(async () => {
      if (this.#segments.broken)
        this.#segments = await Segments.open(this.#dir, this.name, this.#options)
      const highest = this.#segments.highest
      const fresh = Math.max(0, Math.min(head.recordCount, head.lastSeq - highest))
      const judged = judgeLines(body, head, highest, how.judgeFor(fresh))
      if (typeof judged === 'string') return judged
      const conflict = judged.repeats > 0 ? this.#conflict(body, head) : null
      if (conflict !== null) return { conflict }
      if (how.wholeOnly && judged.stop?.refused === true) {
        return { ...judged, stored: 0, ackedThrough: head.firstSeq - 1, overlap: null }
      }
      // Before the lines: after a kill between the two the hole is noted once more, which changes
      // nothing.
      await this.#keep(judged.missing.flatMap((range) => this.#ledger.miss(range, head.lastSeq)))
      const overlap = this.#overlap(judged)
      if (judged.stored > 0) {
        const lines = body.subarray(judged.fromByte, judged.toByte)
        await this.#segments.append(lines, judged.firstStored, judged.lastStored, judged.stored)
        eachLine(lines, linePrefix(head), (seq, line) => this.#memory.note(seq, line))
      }
      const { stop } = judged
      if (stop === null && how.answered && head.gaps.length === 0) {
        await this.#keep(this.#ledger.ackedGapFree(head.firstSeq))
      }
      const through = Math.min(this.#segments.highest, head.lastSeq)
      return {
        ...judged,
        ackedThrough: stop === null ? head.lastSeq : Math.max(through, head.firstSeq - 1),
        overlap,
      }
    })
  }

  /** Keeps reported gaps; durable when it resolves. The number of those that are new. */
  async report(gaps: readonly Gap[]): Promise<number> {
    if (gaps.length === 0) return 0
    return this.#exclusive(async () => {
      const notes = gaps.map((gap) => this.#ledger.report(gap)).filter((note) => note !== null)
      await this.#keep(notes)
      return notes.length
    })
  }

  async close(): Promise<void> {
    await this.#exclusive(() => this.#segments.close())
  }

  #conflict(body: Buffer, head: BatchHead): number | null {
    let conflict: number | null = null
    eachLine(body, linePrefix(head), (seq, line) => {
      if (conflict === null && this.#memory.differs(seq, line)) conflict = seq
    })
    return conflict
  }

  #overlap(judged: Judged): string | null {
    if (judged.stored === 0) return null
    const stored = { first: judged.firstStored, last: judged.lastStored }
    const gap = this.#ledger.overlap(stored, judged.missing)
    return gap === null
      ? null
      : `a record of ${stored.first}-${stored.last} lies in the gap ${gap.first}-${gap.last}`
  }

  /** The lock on the row: one after the other, whatever becomes of the one before. */
  async #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(work)
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #keep(notes: readonly GapNote[]): Promise<void> {
    if (notes.length === 0) return
    const path = join(queueFolder(this.#dir, this.name), NOTES)
    // The leading LF ends a line that a kill may have torn: it is skipped at replay, this one is
    // not.
    await appendFile(path, notes.map((note) => `\n${JSON.stringify(note)}\n`).join(''))
    if (!this.#options.sync) return
    const file = await open(path, 'r+')
    try {
      await file.sync()
    } finally {
      await file.close()
    }
    await syncFolder(queueFolder(this.#dir, this.name))
  }
}

/** The queue's notes about gaps, in order; torn ones left out. */
export async function readNotes(dir: string, name: QueueName): Promise<GapNote[]> {
  const text = await readFile(join(queueFolder(dir, name), NOTES), 'utf8').catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return ''
      throw error
    },
  )
  const notes: GapNote[] = []
  for (const line of text.split('\n')) {
    if (line === '') continue
    try {
      notes.push(JSON.parse(line) as GapNote)
    } catch {
      // Torn by a kill; what it said was never acked, so the gateway says it again.
    }
  }
  return notes
}
