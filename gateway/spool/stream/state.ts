/**
 * The durable state of one stream: what a commit's state record carries of it, and the plain rules
 * over it. No IO. Seqs of one identity rise; identities follow each other in the order of
 * `identities`.
 */

import type { Pin } from '../../ports/stream-queue.ts'
import type { WrittenCode } from '../../shared/text/answer-code.ts'
import { copyCounters, type StreamCounters, zeroCounters } from './counters.ts'

/** Under which name records were written. A batch never mixes identities. */
export interface Identity {
  readonly spoolId: string
  readonly gateway: string
}

export type GapReason =
  | 'expired'
  | 'dropped-oldest'
  | 'corrupt'
  | 'commit-failed'
  | 'unused'
  | 'dead-lettered'
  | 'purged'

/** Seqs that the sink will never get. */
export interface Gap {
  readonly identity: number
  readonly first: number
  readonly last: number
  readonly reason: GapReason
}

/**
 * A record that left its block: parked (refused, undecided) or returned to its place at the front.
 */
export interface Aside {
  readonly identity: number
  readonly seq: number
  /** Number of its copy in the parked name space. */
  readonly n: number
  readonly bytes: number
  readonly status: WrittenCode
  readonly reason: string
  readonly receivedAtMs: number
}

export interface DeadLetterQuota {
  /** Number that the next one gets; ids of ingest dead letters end in it. */
  next: number
  bytes: number
  count: number
}

export interface StreamState {
  readonly name: string
  readonly id: number
  readonly identities: Identity[]
  /** Of the last identity. */
  nextSeq: number
  /** First record that is neither settled nor parked: (block ordinal, index in it). */
  head: { ordinal: number; index: number }
  /**
   * Highest record in blocks that was settled or parked: finds the head again when ordinals are
   * lost (I7).
   */
  settled: { identity: number; seq: number }
  /**
   * Blocks behind the head that are gone (dropped behind a pin, or damaged): [from, to) ordinals,
   * ascending.
   */
  skips: Array<[from: number, to: number]>
  pin: (Pin & { readonly identity: number }) | null
  /** How many of `gaps`, from the oldest, the pinned request carries. */
  pinnedGaps: number
  parked: Aside[]
  front: Aside[]
  nextAside: number
  /** Oldest gaps; behind them come the stored pages [first, next), and behind those `gapsTail`. */
  gaps: Gap[]
  gapPages: { first: number; next: number }
  gapsTail: Gap[]
  /** Highest seq ever in a batch, per identity. */
  readonly sent: number[]
  counters: StreamCounters
  readonly deadLetters: { readonly ingest: DeadLetterQuota; readonly refused: DeadLetterQuota }
}

export function newStreamState(name: string, id: number, identity: Identity): StreamState {
  const quota = (): DeadLetterQuota => ({ next: 1, bytes: 0, count: 0 })
  return {
    name,
    id,
    identities: [identity],
    nextSeq: 1,
    head: { ordinal: 0, index: 0 },
    settled: { identity: 0, seq: 0 },
    skips: [],
    pin: null,
    pinnedGaps: 0,
    parked: [],
    front: [],
    nextAside: 1,
    gaps: [],
    gapPages: { first: 1, next: 1 },
    gapsTail: [],
    sent: [],
    counters: zeroCounters(),
    deadLetters: { ingest: quota(), refused: quota() },
  }
}

/** What metrics and status show: as of a commit. */
export interface CommittedView {
  readonly counters: StreamCounters
  readonly nextSeq: number
  readonly parked: number
  readonly deadLettersKept: number
  readonly deadLetterBytes: number
}

export function committedView(state: StreamState): CommittedView {
  const { ingest, refused } = state.deadLetters
  return {
    counters: copyCounters(state.counters),
    nextSeq: state.nextSeq,
    parked: state.parked.length,
    deadLettersKept: ingest.count + refused.count,
    deadLetterBytes: ingest.bytes + refused.bytes,
  }
}

/**
 * Gaps that a state record holds at each end. A sink that refuses every other record makes more
 * gaps than its requests can report: what is between the ends is stored in pages, or each commit
 * would write them all again.
 */
export const MAX_GAPS_IN_STATE = 500

/**
 * Adds a gap; joins it to the newest where they touch, unless that one is already on its way to the
 * sink.
 */
export function addGap(state: StreamState, gap: Gap): void {
  if (gap.last < gap.first) return
  const isPaged = state.gapPages.next > state.gapPages.first || state.gapsTail.length > 0
  const list = isPaged || state.gaps.length >= MAX_GAPS_IN_STATE ? state.gapsTail : state.gaps
  const i = list.length - 1
  const newest = list[i]
  const joins =
    newest !== undefined &&
    (list === state.gapsTail || i >= state.pinnedGaps) &&
    newest.identity === gap.identity &&
    newest.reason === gap.reason &&
    newest.last + 1 === gap.first
  if (joins) list[i] = { ...newest, last: gap.last }
  else list.push(gap)
}

/** The newest gaps as a page to store, when they are many; null: not yet. */
export function takeGapPage(
  state: StreamState,
): { readonly page: number; readonly gaps: readonly Gap[] } | null {
  if (state.gapsTail.length < MAX_GAPS_IN_STATE) return null
  const gaps = state.gapsTail
  state.gapsTail = []
  return { page: state.gapPages.next++, gaps }
}

/**
 * True: the oldest gaps run out, and a page must be read. Without pages the newest move up at once.
 */
export function wantsGapPage(state: StreamState): boolean {
  if (state.gaps.length >= MAX_GAPS_IN_STATE / 2) return false
  if (state.gapPages.first < state.gapPages.next) return true
  state.gaps.push(...state.gapsTail.splice(0))
  return false
}

/** The oldest page, as read; an unreadable one counts as empty. */
export function putGapPage(state: StreamState, gaps: readonly Gap[]): void {
  state.gapPages.first++
  state.gaps.push(...gaps)
}

/** The ingest contract: at most so many bytes of `Sluice-Gap` in a request. */
export const MAX_GAP_HEADER_BYTES = 2048

/** The oldest gaps that fit into one request under the identity. */
export function gapHeader(
  state: StreamState,
  identity: number,
): { header: string | null; count: number } {
  let header = ''
  let count = 0
  for (const gap of state.gaps) {
    const mark =
      gap.identity === identity ? '' : `;spool=${state.identities[gap.identity]?.spoolId ?? ''}`
    const item = `${gap.first}-${gap.last};reason=${gap.reason}${mark}`
    const next = header === '' ? item : `${header}, ${item}`
    if (next.length > MAX_GAP_HEADER_BYTES) break
    header = next
    count++
  }
  return { header: header === '' ? null : header, count }
}

/** The ordinal at or behind the given one that is not skipped. */
export function unskipped(state: StreamState, ordinal: number): number {
  let at = ordinal
  for (const [from, to] of state.skips) if (at >= from && at < to) at = to
  return at
}

/** Blocks [from, to) are gone. Keeps the list sorted and joined; moves the head out of it. */
export function addSkip(state: StreamState, from: number, to: number): void {
  const all = [...state.skips, [from, to] as [number, number]].sort((a, b) => a[0] - b[0])
  const joined: Array<[number, number]> = []
  for (const [f, t] of all) {
    const last = joined.at(-1)
    if (last && f <= last[1]) last[1] = Math.max(last[1], t)
    else joined.push([f, t])
  }
  state.skips = joined
  normaliseHead(state)
}

/** A head in a skipped range moves behind it; ranges below the head are forgotten. */
export function normaliseHead(state: StreamState): void {
  const ordinal = unskipped(state, state.head.ordinal)
  if (ordinal !== state.head.ordinal) state.head = { ordinal, index: 0 }
  if (state.skips.length > 0) state.skips = state.skips.filter(([, to]) => to > ordinal)
}

export function byPlace(a: Aside, b: Aside): number {
  return a.identity - b.identity || a.seq - b.seq
}
