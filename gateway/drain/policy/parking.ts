/**
 * When a refusal is believed. A refused record is parked; it becomes a dead letter once the sink
 * accepted a later record of its stream; a sink that refuses too much is held, and nothing more is
 * dead-lettered (I8, I9). Pure.
 *
 * A parked record with a later one accepted is "ripe". Only unripe ones may return to their place:
 * a receiver that keeps one number would skip a ripe one as already stored.
 */
import type { ParkedRecord } from '../../ports/stream-queue.ts'
import type { DrainRules } from './rules.ts'
import type { RecordRun } from './verdicts.ts'

/** The last judged records of a stream, refused or not, as runs. */
export class JudgedWindow {
  readonly #size: number
  #runs: { refused: boolean; count: number }[] = []
  #total = 0
  #refused = 0

  constructor(size: number) {
    this.#size = size
  }

  get total(): number {
    return this.#total
  }

  get refused(): number {
    return this.#refused
  }

  /** O(runs that fall out), whatever `count` is. */
  push(refused: boolean, count: number): void {
    const added = Math.min(count, this.#size)
    const last = this.#runs.at(-1)
    if (last && last.refused === refused) last.count += added
    else this.#runs.push({ refused, count: added })
    this.#total += added
    if (refused) this.#refused += added
    while (this.#total > this.#size) this.#shift(this.#total - this.#size)
  }

  clear(): void {
    this.#runs = []
    this.#total = 0
    this.#refused = 0
  }

  #shift(excess: number): void {
    const oldest = this.#runs[0]
    if (!oldest) return
    const cut = Math.min(excess, oldest.count)
    oldest.count -= cut
    this.#total -= cut
    if (oldest.refused) this.#refused -= cut
    if (oldest.count === 0) this.#runs.shift()
  }
}

export interface Suspicion {
  readonly window: JudgedWindow
  /** Parked records behind which nothing was accepted yet. */
  readonly unripe: number
  /** 0 to 1. */
  readonly maxRefusedShare: number
  /** An operator asked for a full round: no limit ends it. */
  readonly lifted: boolean
}

/** What of an answer is believed. */
interface Believed {
  /** To be settled: all runs that were given, or a prefix of them. */
  readonly runs: readonly RecordRun[]
  /** The sink refuses too much to be believed from there on; why. */
  readonly distrust: string | null
}

/**
 * Weighs the verdicts in order; pushes them into the window. Where a refusal is one too many, what
 * is believed ends with the last record acked before it: what was refused behind that stays in its
 * place.
 */
export function weigh(
  runs: readonly RecordRun[],
  suspicion: Suspicion,
  rules: DrainRules,
): Believed {
  const { window, lifted, maxRefusedShare } = suspicion
  if (lifted) return { runs, distrust: null }
  let { unripe } = suspicion
  let believed = 0
  for (const [i, run] of runs.entries()) {
    if (run.kind === 'acked') {
      window.push(false, run.count)
      unripe = 0
      believed = i + 1
      continue
    }
    unripe++
    window.push(true, 1)
    const distrust = tooMuch(window, unripe, maxRefusedShare, rules)
    if (distrust !== null) return { runs: runs.slice(0, believed), distrust }
  }
  return { runs, distrust: null }
}

function tooMuch(
  window: JudgedWindow,
  unripe: number,
  maxShare: number,
  rules: DrainRules,
): string | null {
  if (unripe >= rules.parkedLimit) return `refused ${unripe} records in a row without accepting one`
  if (window.total >= rules.judgedFrom && window.refused > maxShare * window.total) {
    return `refused ${window.refused} of the last ${window.total} records`
  }
  return null
}

/** Highest seq that the sink accepted, under which identity. */
export interface Acceptance {
  readonly spoolId: string
  readonly seq: number
}

/**
 * Was a later record than this one accepted? `batchSpoolId`: identity of the batch that is being
 * settled. Identities drain in order, so what was accepted under the batch's own is later than all
 * of any other; what was accepted under an earlier one says nothing about others.
 */
export function isRipe(
  record: { readonly spoolId: string; readonly seq: number },
  accepted: Acceptance | null,
  batchSpoolId: string,
): boolean {
  if (accepted === null) return false
  return record.spoolId === accepted.spoolId
    ? record.seq < accepted.seq
    : accepted.spoolId === batchSpoolId
}

interface DeadLetterChoice {
  /** Of the batch's identity. */
  readonly seqs: readonly number[]
  readonly earlier: readonly { readonly spoolId: string; readonly seq: number }[]
  /** Ripe ones that found no room. */
  readonly left: number
}

/**
 * Which ripe records become dead letters now, oldest first, as far as there is room for their
 * bytes.
 */
export function chooseDeadLetters(
  parked: readonly Pick<ParkedRecord, 'spoolId' | 'seq' | 'bytes'>[],
  accepted: Acceptance | null,
  batchSpoolId: string,
  hasRoom: (bytes: number, letters: number) => boolean,
): DeadLetterChoice {
  const seqs: number[] = []
  const earlier: { spoolId: string; seq: number }[] = []
  let bytes = 0
  let left = 0
  for (const record of parked) {
    if (!isRipe(record, accepted, batchSpoolId)) continue
    if (left > 0 || !hasRoom(bytes + record.bytes, seqs.length + earlier.length + 1)) {
      left++
      continue
    }
    bytes += record.bytes
    if (record.spoolId === batchSpoolId) seqs.push(record.seq)
    else earlier.push({ spoolId: record.spoolId, seq: record.seq })
  }
  return { seqs, earlier, left }
}
