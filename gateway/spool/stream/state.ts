/**
 * The durable state of one stream: what a commit's state record carries of it, and what can be
 * asked of it. Read-only here and everywhere but in transitions.ts. Seqs of one identity rise;
 * identities follow each other in the order of `identities`.
 */

import type { Gap, GapReason } from '../../ports/sink.ts'
import type { Pin } from '../../ports/stream-queue.ts'
import type { WrittenCode } from '../../shared/text/answer-code.ts'
import { copyCounters, type StreamCounters, zeroCounters } from './counters.ts'

/** Under which name records were written. A batch never mixes identities. */
export interface Identity {
  readonly spoolId: string
  readonly gateway: string
}

/** Seqs that the sink will never get, as they are stored. */
export interface StoredGap {
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

/**
 * Seqs that were first pinned at one instant: records of theirs that had expired by then, by the
 * word of their device, are left out of every batch. That is decided once, before the first send, so
 * a batch keeps its bytes (I4) and no gap is reported for a record that may have arrived (I9).
 */
export interface ExpiryMark {
  readonly identity: number
  readonly first: number
  readonly last: number
  /** Spool time, ms. */
  readonly asOfMs: number
}

interface DeadLetterQuota {
  /** Number that the next one gets; ids of ingest dead letters end in it. */
  readonly next: number
  readonly bytes: number
  readonly count: number
}

export interface StreamState {
  readonly name: string
  readonly id: number
  readonly identities: readonly Identity[]
  /** Of the last identity. */
  readonly nextSeq: number
  /** First record that is neither settled nor parked: (block ordinal, index in it). */
  readonly head: { readonly ordinal: number; readonly index: number }
  /**
   * Highest record in blocks that was settled or parked: finds the head again when ordinals are
   * lost (I7).
   */
  readonly settled: { readonly identity: number; readonly seq: number }
  /**
   * Blocks behind the head that are gone (dropped behind a pin, or damaged): [from, to) ordinals,
   * ascending.
   */
  readonly skips: ReadonlyArray<readonly [from: number, to: number]>
  readonly pin: (Pin & { readonly identity: number }) | null
  readonly parked: readonly Aside[]
  readonly front: readonly Aside[]
  readonly nextAside: number
  /** Oldest gaps; behind them come the stored pages [first, next), and behind those `gapsTail`. */
  readonly gaps: readonly StoredGap[]
  readonly gapPages: { readonly first: number; readonly next: number }
  readonly gapsTail: readonly StoredGap[]
  /** Highest seq ever in a batch, per identity. */
  readonly sent: readonly number[]
  /** Of what was sent and is not settled; ascending, empty where the stream ignores expiry. */
  readonly expiryMarks: readonly ExpiryMark[]
  readonly counters: StreamCounters
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
    parked: [],
    front: [],
    nextAside: 1,
    gaps: [],
    gapPages: { first: 1, next: 1 },
    gapsTail: [],
    sent: [],
    expiryMarks: [],
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
  readonly deadLetterBytes: { readonly ingest: number; readonly refused: number }
}

export function committedView(state: StreamState): CommittedView {
  const { ingest, refused } = state.deadLetters
  return {
    counters: copyCounters(state.counters),
    nextSeq: state.nextSeq,
    parked: state.parked.length,
    deadLettersKept: ingest.count + refused.count,
    deadLetterBytes: { ingest: ingest.bytes, refused: refused.bytes },
  }
}

/** So many of the gaps, from the oldest, as a sink is told of them. */
export function gapsOf(state: StreamState, count: number): Gap[] {
  return state.gaps.slice(0, count).map(({ identity, first, last, reason }) => {
    const spoolId = state.identities[identity]?.spoolId ?? ''
    return { spoolId, firstSeq: first, lastSeq: last, reason }
  })
}

/** The ordinal at or behind the given one that is not skipped. */
export function unskipped(state: StreamState, ordinal: number): number {
  let at = ordinal
  for (const [from, to] of state.skips) if (at >= from && at < to) at = to
  return at
}

export function byPlace(
  a: Pick<Aside, 'identity' | 'seq'>,
  b: Pick<Aside, 'identity' | 'seq'>,
): number {
  return a.identity - b.identity || a.seq - b.seq
}
