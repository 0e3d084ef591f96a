/**
 * Every change of a stream's durable state. Nothing else writes it: its type is read-only
 * elsewhere, so what can happen to a record is what stands here, with what each step does to the
 * counters (I5) and to the gaps (I9). No IO; what a step changes in the store rides in the same
 * commit, by who calls it.
 */
import type { GapReason } from '../../ports/sink.ts'
import {
  type DropReason,
  keptByCounters,
  pendingByCounters,
  type RemovalReason,
} from './counters.ts'
import {
  type Aside,
  byPlace,
  type Identity,
  type StoredGap,
  type StreamState,
  unskipped,
} from './state.ts'

type Writable<T> = T extends readonly (infer E)[]
  ? number extends T['length']
    ? E[]
    : T
  : T extends object
    ? { -readonly [K in keyof T]: K extends 'pin' ? T[K] : Writable<T[K]> }
    : T

function writable(state: StreamState): Writable<StreamState> {
  return state as Writable<StreamState>
}

// Numbers.

/** Takes so many seqs; returns the first. */
export function takeSeqs(state: StreamState, count: number): number {
  const first = state.nextSeq
  writable(state).nextSeq = first + count
  return first
}

/** Numbers up to there were leased and never used, or nobody can say. */
export function skipSeqsTo(state: StreamState, end: number, reason: GapReason): void {
  if (end <= state.nextSeq) return
  const identity = state.identities.length - 1
  addGap(state, { identity, first: state.nextSeq, last: end - 1, reason })
  writable(state).nextSeq = end
}

/** New records start under a fresh name, from seq 1. Returns the number of the identity. */
export function startIdentity(state: StreamState, identity: Identity): number {
  const { identities } = writable(state)
  writable(state).nextSeq = 1
  return identities.push(identity) - 1
}

// At ingest.

export function received(state: StreamState, records: number): void {
  writable(state).counters.received += records
}

/** A message that took no seq: counted, no gap. */
export function dropped(state: StreamState, reason: DropReason): void {
  writable(state).counters.dropped[reason]++
}

/** What the stream's rules refuse, kept as a dead letter of so many bytes. */
export function refusedAtIngest(state: StreamState, bytes: number): void {
  const { counters } = writable(state)
  counters.deadLettered++
  addLetter(state, 'ingest', bytes)
}

// The batch in flight.

/** `gaps`: how many of the oldest its request carries; null: as many as before. */
export function pinned(state: StreamState, pin: NonNullable<StreamState['pin']>): void {
  const changed = writable(state)
  changed.pin = pin
  changed.sent[pin.identity] = Math.max(changed.sent[pin.identity] ?? 0, pin.lastSeq)
}

/** What of the pin lies above `sentThrough`, and so was never sent, is judged as of that spool time. */
export function expiryMarked(
  state: StreamState,
  { identity, firstSeq, lastSeq }: NonNullable<StreamState['pin']>,
  sentThrough: number,
  asOfMs: number,
): void {
  unmarkedAbove(state, identity, sentThrough)
  const first = Math.max(firstSeq, sentThrough + 1)
  if (first <= lastSeq) writable(state).expiryMarks.push({ identity, first, last: lastSeq, asOfMs })
}

function unmarkedAbove(state: StreamState, identity: number, sentThrough: number): void {
  const changed = writable(state)
  changed.expiryMarks = changed.expiryMarks.filter(
    (mark) => mark.identity !== identity || mark.last <= sentThrough,
  )
}

/** Marks of what is settled are forgotten. */
export function expiryPassed(state: StreamState): void {
  if (state.expiryMarks.length === 0) return
  const { identity, seq } = state.settled
  const changed = writable(state)
  changed.expiryMarks = changed.expiryMarks.filter(
    (mark) => mark.identity > identity || (mark.identity === identity && mark.last > seq),
  )
}

export function unpinned(state: StreamState): void {
  writable(state).pin = null
}

/** How many gaps, from the oldest, the batch in flight carries: those no longer change. */
function pinnedGaps({ pin }: StreamState): number {
  return pin?.gapCount ?? 0
}

/** The pinned batch never left. `sentThrough`: highest seq of its identity that did before. */
export function unpinnedUnsent(state: StreamState, sentThrough: number): void {
  const { pin } = state
  if (pin !== null) {
    writable(state).sent[pin.identity] = sentThrough
    unmarkedAbove(state, pin.identity, sentThrough)
  }
  unpinned(state)
}

/** The request that carried the pin's gaps was acked: they are not reported again. */
export function gapsReported(state: StreamState): void {
  writable(state).gaps.splice(0, pinnedGaps(state))
}

export function delivered(state: StreamState, records: number): void {
  writable(state).counters.delivered += records
}

// The head.

/** Records of the block at the head are settled, the last of them with the seq. */
export function headInBlock(
  state: StreamState,
  settled: StreamState['settled'],
  index: number,
): void {
  writable(state).settled = settled
  writable(state).head = { ordinal: state.head.ordinal, index }
}

/** All of the block at the head is. */
export function headPastBlock(state: StreamState, settled: StreamState['settled']): void {
  writable(state).settled = settled
  writable(state).head = { ordinal: state.head.ordinal + 1, index: 0 }
  normaliseHead(state)
}

/** Blocks behind the head were dropped up to there, and the head has passed them. */
export function settledThrough(state: StreamState, settled: StreamState['settled']): void {
  const { identity, seq } = state.settled
  const isBehind =
    settled.identity > identity || (settled.identity === identity && settled.seq > seq)
  if (isBehind) writable(state).settled = settled
}

/** Ordinals are dealt anew, from 0: so many records of the first block are settled. */
export function headAtFirst(state: StreamState, index: number): void {
  writable(state).head = { ordinal: 0, index }
  writable(state).skips = []
}

/** Blocks [from, to) are gone. Keeps the list sorted and joined; moves the head out of it. */
export function skipBlocks(state: StreamState, from: number, to: number): void {
  const all = [...state.skips, [from, to] as const].sort((a, b) => a[0] - b[0])
  const joined: Array<[number, number]> = []
  for (const [f, t] of all) {
    const last = joined.at(-1)
    if (last && f <= last[1]) last[1] = Math.max(last[1], t)
    else joined.push([f, t])
  }
  writable(state).skips = joined
  normaliseHead(state)
}

/** A head in a skipped range moves behind it; ranges below the head are forgotten. */
function normaliseHead(state: StreamState): void {
  const changed = writable(state)
  const ordinal = unskipped(state, state.head.ordinal)
  if (ordinal !== state.head.ordinal) changed.head = { ordinal, index: 0 }
  if (state.skips.length > 0) changed.skips = changed.skips.filter(([, to]) => to > ordinal)
}

// Records beside their blocks.

/** A refused record left its block; it is still pending. Returns the number of its copy. */
export function parked(state: StreamState, aside: Omit<Aside, 'n'>): number {
  const n = writable(state).nextAside++
  writable(state).parked.push({ ...aside, n })
  return n
}

/** A record that had returned to the front was refused once more. */
export function parkedAgain(state: StreamState, aside: Aside): void {
  writable(state).parked.push(aside)
}

/** It is no longer parked: for one of the ends below. null: it was not. */
export function unparked(state: StreamState, identity: number, seq: number): Aside | null {
  const at = state.parked.findIndex((each) => each.identity === identity && each.seq === seq)
  return writable(state).parked.splice(at, at < 0 ? 0 : 1)[0] ?? null
}

/** All parked records go back to their place in order. */
export function returned(state: StreamState): void {
  const changed = writable(state)
  changed.front = [...changed.front, ...changed.parked].sort(byPlace)
  changed.parked = []
}

/** Takes those of the front that a batch of the identity settles, up to the seq. */
export function takeFront(state: StreamState, identity: number, throughSeq: number): Aside[] {
  const isTaken = (each: Aside): boolean => each.identity === identity && each.seq <= throughSeq
  const taken = state.front.filter(isTaken)
  writable(state).front = writable(state).front.filter((each) => !isTaken(each))
  return taken
}

/** A parked record became a dead letter of so many bytes. */
export function deadLettered(state: StreamState, { identity, seq }: Aside, bytes: number): void {
  writable(state).counters.deadLettered++
  addLetter(state, 'refused', bytes)
  addGap(state, { identity, first: seq, last: seq, reason: 'dead-lettered' })
}

/** The copy of a record is damaged: nothing is left of it (I7). */
export function copyLost(state: StreamState, aside: Aside): void {
  const { identity, seq } = aside
  const changed = writable(state)
  changed.front = changed.front.filter((each) => each !== aside)
  changed.counters.dropped.corrupt++
  addGap(state, { identity, first: seq, last: seq, reason: 'corrupt' })
}

// Records that leave their block undelivered.

/** By a limit or by damage: counted, and a gap. */
export function recordsDropped(state: StreamState, gap: StoredGap & { reason: DropReason }): void {
  addGap(state, gap)
  writable(state).counters.dropped[gap.reason] += gap.last - gap.first + 1
}

/** Seqs of a commit that failed: their records go on under new ones. */
export function seqsRetaken(
  state: StreamState,
  identity: number,
  first: number,
  last: number,
): void {
  addGap(state, { identity, first, last, reason: 'commit-failed' })
}

// Dead letters.

type Origin = keyof StreamState['deadLetters']

function addLetter(state: StreamState, origin: Origin, bytes: number): void {
  const quota = writable(state).deadLetters[origin]
  quota.next++
  quota.count++
  quota.bytes += bytes
}

/** One is not kept any more. Which way it went is counted with all of its batch. */
export function letterGone(state: StreamState, origin: Origin, bytes: number): void {
  const quota = writable(state).deadLetters[origin]
  quota.count--
  quota.bytes -= bytes
}

export function lettersRemoved(state: StreamState, reason: RemovalReason, letters: number): void {
  writable(state).counters.deadLettersRemoved[reason] += letters
}

/** As new records of the same stream. */
export function lettersRequeued(state: StreamState, letters: number): void {
  const { counters } = writable(state)
  counters.requeued += letters
  counters.deadLettersRequeued += letters
}

/**
 * After damage: so many more or fewer letters are there than the quota says. What is gone was
 * removed, `corrupt`; what a repair brought back is kept once more.
 */
export function lettersFound(
  state: StreamState,
  origin: Origin,
  found: { readonly next: number; readonly count: number; readonly bytes: number },
): void {
  const { counters, deadLetters } = writable(state)
  const quota = deadLetters[origin]
  quota.next = Math.max(quota.next, found.next)
  quota.count += found.count
  quota.bytes += found.bytes
  if (found.count < 0) counters.deadLettersRemoved.corrupt -= found.count
  else {
    counters.deadLettered += found.count
    counters.received += found.count
  }
}

// Damage.

/**
 * I5 after damage: what the counters miss was received; what the spool misses is dropped as
 * corrupt. `inBlocks`: pending records that are there in blocks. True: they differed.
 */
export function balanced(state: StreamState, inBlocks: number): boolean {
  const there = inBlocks + state.parked.length + state.front.length
  const missing = pendingByCounters(state.counters) - there
  recordsMissing(state, missing)
  return missing !== 0
}

/** The index was made anew, and has so many records less; fewer than 0: more. */
export function recordsMissing(state: StreamState, records: number): void {
  const { counters } = writable(state)
  if (records > 0) counters.dropped.corrupt += records
  else counters.received -= records
}

/** The same for dead letters: what the counters miss was kept, what is missed was removed. */
export function lettersBalanced(state: StreamState): void {
  const { counters, deadLetters } = writable(state)
  const missing =
    keptByCounters(state.counters) - (deadLetters.ingest.count + deadLetters.refused.count)
  if (missing > 0) counters.deadLettersRemoved.corrupt += missing
  else counters.deadLettered -= missing
}

// Gaps.

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
export function addGap(state: StreamState, gap: StoredGap): void {
  if (gap.last < gap.first) return
  const { gaps, gapPages, gapsTail } = writable(state)
  const isPaged = gapPages.next > gapPages.first || gapsTail.length > 0
  const list = isPaged || gaps.length >= MAX_GAPS_IN_STATE ? gapsTail : gaps
  const i = list.length - 1
  const newest = list[i]
  const joins =
    newest !== undefined &&
    (list === gapsTail || i >= pinnedGaps(state)) &&
    newest.identity === gap.identity &&
    newest.reason === gap.reason &&
    newest.last + 1 === gap.first
  if (joins) list[i] = { ...newest, last: gap.last }
  else list.push({ ...gap })
}

/** The newest gaps as a page to store, when they are many; null: not yet. */
export function takeGapPage(
  state: StreamState,
): { readonly page: number; readonly gaps: readonly StoredGap[] } | null {
  if (state.gapsTail.length < MAX_GAPS_IN_STATE) return null
  const changed = writable(state)
  const gaps = changed.gapsTail
  changed.gapsTail = []
  return { page: changed.gapPages.next++, gaps }
}

/**
 * True: the oldest gaps run out, and a page must be read. Without pages the newest move up at once.
 */
export function wantsGapPage(state: StreamState): boolean {
  if (state.gaps.length >= MAX_GAPS_IN_STATE / 2) return false
  if (state.gapPages.first < state.gapPages.next) return true
  const { gaps, gapsTail } = writable(state)
  gaps.push(...gapsTail.splice(0))
  return false
}

/** The oldest page, as read; an unreadable one counts as empty. */
export function putGapPage(state: StreamState, page: readonly StoredGap[]): void {
  const { gapPages, gaps } = writable(state)
  gapPages.first++
  gaps.push(...page)
}
