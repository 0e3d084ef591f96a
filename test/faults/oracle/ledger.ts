/**
 * The sink's ledger: one number per queue, to the letter of the ingest contract, and
 * everything that a sink can see of I2, I4 and I9 while it fills: ids that are used twice, seqs
 * that go back, gaps that lie over records, batches that change between two tries. Pure: requests
 * in, answers out; what is wrong is a sentence in `faults`.
 */
import { createHash } from 'node:crypto'
import type { StreamTotals } from './checks.ts'
import { SeqRanges } from './seq-ranges.ts'

/** A request of the contract. */
export interface LedgerRequest {
  readonly gateway: string
  readonly spool: string
  readonly stream: string
  readonly key: string
  readonly firstSeq: number
  readonly lastSeq: number
  readonly recordCount: number
  readonly gap: string | null
  /** As sent, compressed or not: a repeat has the same. */
  readonly raw: Buffer
  /** Uncompressed, without LF. */
  readonly lines: readonly string[]
}

interface Queue {
  readonly stream: string
  highest: number
  /**
   * Digests of the lines as first seen since the last rest, by seq: also of those that were not
   * stored then.
   */
  readonly lines: Map<number, string>
  /** Every seq that ever came. */
  readonly seen: SeqRanges
  /** All below was settled at the last rest. */
  settledThrough: number
  readonly gaps: Map<string, SeqRanges>
  /** The last request, if its answer did not say that all of it is stored. */
  open: { readonly key: string; readonly raw: Buffer } | null
}

interface Line {
  readonly id: string
  readonly seq: number
  readonly device: string
  readonly payload: { readonly n: number }
}

/** A number for how much of a faulty run is told; the first faults say what happened. */
const MAX_FAULTS = 20

export class Ledger {
  readonly faults: string[] = []
  readonly #queues = new Map<string, Queue>()
  /** Readings by device, as stored since the last `takeStored`. */
  #stored = new Map<string, number[]>()

  /** The highest seq stored or skipped; the request is answered with it. */
  take(request: LedgerRequest): { readonly ackedThrough: number } {
    const queue = this.#see(request)
    let ackedThrough = request.firstSeq - 1
    for (const text of request.lines) {
      const line = JSON.parse(text) as Line
      if (line.seq > queue.highest) {
        this.#store(line)
        queue.highest = line.seq
      }
      ackedThrough = line.seq
    }
    this.#takeGaps(request)
    return { ackedThrough }
  }

  /** A request came and was answered otherwise, or not at all: nothing of it is stored. */
  refuse(request: LedgerRequest): void {
    this.#see(request)
  }

  /** Its 2xx left: the gateway may go on behind it. */
  answered(request: LedgerRequest): void {
    const queue = this.#queue(request)
    if (queue.open?.key === request.key) queue.open = null
  }

  /**
   * Nothing is pending: what came so far must not come again, and need not be remembered line by
   * line.
   */
  rest(): void {
    for (const queue of this.#queues.values()) {
      queue.lines.clear()
      queue.settledThrough = queue.highest
    }
  }

  /** Readings by device since the last call, in the order of storing. */
  takeStored(): ReadonlyMap<string, readonly number[]> {
    const stored = this.#stored
    this.#stored = new Map()
    return stored
  }

  totals(): ReadonlyMap<string, StreamTotals> {
    const totals = new Map<string, { stored: number; gaps: Record<string, number> }>()
    for (const { stream, seen, gaps } of this.#queues.values()) {
      const one = totals.get(stream) ?? { stored: 0, gaps: {} }
      totals.set(stream, one)
      // Refused tries were seen, too; at rest all of them are stored.
      one.stored += seen.size
      for (const [reason, ranges] of gaps) one.gaps[reason] = (one.gaps[reason] ?? 0) + ranges.size
    }
    return totals
  }

  #queue({ gateway, spool, stream }: LedgerRequest): Queue {
    const name = `${gateway}:${spool}:${stream}`
    const queue = this.#queues.get(name) ?? {
      stream,
      highest: 0,
      lines: new Map(),
      seen: new SeqRanges(),
      settledThrough: 0,
      gaps: new Map(),
      open: null,
    }
    this.#queues.set(name, queue)
    return queue
  }

  /** Everything that is looked at whatever the answer will be. */
  #see(request: LedgerRequest): Queue {
    const { gateway, spool, stream, key, firstSeq, lastSeq, recordCount, raw, lines } = request
    const queue = this.#queue(request)
    const name = `${gateway}:${spool}:${stream}`
    if (queue.open !== null) {
      if (queue.open.key !== key)
        this.#fault(`I4: ${queue.open.key} was not acked, and ${key} came`)
      else if (!queue.open.raw.equals(raw)) this.#fault(`I4: ${key} came with other bytes`)
    }
    queue.open = { key, raw }
    if (lines.length !== recordCount)
      this.#fault(`${key}: ${lines.length} records, announced ${recordCount}`)
    let previous = firstSeq - 1
    for (const text of lines) {
      const { id, seq } = JSON.parse(text) as Line
      if (id !== `${name}:${seq}`) this.#fault(`I4: ${key}: id ${id} of seq ${seq}`)
      if (seq <= previous || seq > lastSeq) this.#fault(`I2: ${key}: seq ${seq} behind ${previous}`)
      previous = seq
      const known = queue.lines.get(seq)
      if (seq <= queue.settledThrough) this.#fault(`I4: ${id} came again behind its settlement`)
      else if (known === undefined && seq <= queue.highest)
        this.#fault(`I2: ${id} comes behind ${queue.highest}`)
      const digest = digestOf(text)
      if (known !== undefined && known !== digest)
        this.#fault(`I4: ${id} is used twice: now ${text.slice(0, 200)}`)
      queue.lines.set(seq, digest)
      queue.seen.add(seq, seq)
      for (const [reason, gap] of queue.gaps) {
        if (gap.has(seq))
          this.#fault(`I4: ${id} came, and was reported as a gap before (${reason})`)
      }
    }
    return queue
  }

  #store({ device, payload }: Line): void {
    const readings = this.#stored.get(device) ?? []
    this.#stored.set(device, readings)
    readings.push(payload.n)
  }

  #takeGaps(request: LedgerRequest): void {
    for (const item of request.gap?.split(',') ?? []) {
      const match = /^\s*(\d+)-(\d+);reason=([a-z-]+)(?:;spool=(\w+))?$/.exec(item)
      if (match === null) {
        this.#fault(`I9: ${request.key}: unreadable gap ${item}`)
        continue
      }
      const [, first, last, reason = '', spool] = match
      const queue = spool === undefined ? this.#queue(request) : this.#queue({ ...request, spool })
      const ranges = queue.gaps.get(reason) ?? new SeqRanges()
      queue.gaps.set(reason, ranges)
      ranges.add(Number(first), Number(last))
      const inside = queue.seen.overlap(Number(first), Number(last))
      if (inside !== null)
        this.#fault(`I9: ${request.key}: the gap ${item} lies over record ${inside}`)
    }
  }

  #fault(what: string): void {
    if (this.faults.length < MAX_FAULTS) this.faults.push(what)
  }
}

function digestOf(text: string): string {
  return createHash('sha1').update(text).digest('base64')
}
