/**
 * What must hold of a stream's state at every commit and after every opening (I4, I5), whatever
 * happened before: the program's own mistakes, not damage, which is found elsewhere.
 *
 * Checked in production. A rule that does not hold must not make a box unusable, and an abort would:
 * the state on disk would abort the next start as well. So it is told as damage, once, and files
 * that were put aside stay; counters are balanced as at an opening, and everything goes on.
 */
import { droppedTotal, keptByCounters, pendingByCounters } from './counters.ts'
import type { StreamState } from './state.ts'

/** What the state does not hold itself. */
interface StreamFacts {
  /** First seq that the lease does not cover. */
  readonly leaseEnd: number
  /** Pending records in blocks, those of the commit that is being closed included. */
  readonly recordsInBlocks: number
}

const RULES: ReadonlyArray<readonly [text: string, holds: Rule]> = [
  ['settled <= pin: the batch in flight begins behind what is settled', pinIsBehindSettled],
  ['pin <= next: the batch in flight ends before the next seq', pinEndsBeforeNext],
  ['next <= lease: no seq is taken that was not leased', nextIsLeased],
  ['pin <= sent: what is pinned counts as sent', pinCountsAsSent],
  ['the gaps that the pin carries are there', pinnedGapsAreThere],
  ['I5: received + requeued = delivered + dead-lettered + dropped + pending', pendingBalances],
  ['I5: dead-lettered = kept + requeued from here + removed', lettersBalance],
  ['no counter is below zero', countersArePositive],
]

type Rule = (state: StreamState, facts: StreamFacts) => boolean

/** The rules that do not hold, in words. */
export function brokenRules(state: StreamState, facts: StreamFacts): readonly string[] {
  return RULES.filter(([, holds]) => !holds(state, facts)).map(([text]) => text)
}

/** Records that returned to the front have their place below what is settled. */
function pinIsBehindSettled({ pin, settled, front }: StreamState): boolean {
  if (pin === null) return true
  const isOfFront = front.some((a) => a.identity === pin.identity && a.seq <= pin.lastSeq)
  if (isOfFront || pin.identity > settled.identity) return true
  return pin.identity === settled.identity && pin.firstSeq > settled.seq
}

function pinEndsBeforeNext({ pin, nextSeq, identities }: StreamState): boolean {
  if (pin === null) return true
  const isOrdered = pin.firstSeq <= pin.lastSeq && pin.lastSeq <= pin.outerLastSeq
  const isNewest = pin.identity === identities.length - 1
  return isOrdered && (!isNewest || pin.outerLastSeq < nextSeq)
}

function nextIsLeased({ nextSeq }: StreamState, { leaseEnd }: StreamFacts): boolean {
  return nextSeq === 1 || nextSeq <= leaseEnd
}

function pinCountsAsSent({ pin, sent }: StreamState): boolean {
  return pin === null || (sent[pin.identity] ?? 0) >= pin.lastSeq
}

function pinnedGapsAreThere({ pin, gaps }: StreamState): boolean {
  return pin === null || pin.gapCount <= gaps.length
}

function pendingBalances(state: StreamState, { recordsInBlocks }: StreamFacts): boolean {
  const pending = recordsInBlocks + state.parked.length + state.front.length
  return pendingByCounters(state.counters) === pending
}

function lettersBalance({ counters, deadLetters }: StreamState): boolean {
  return keptByCounters(counters) === deadLetters.ingest.count + deadLetters.refused.count
}

function countersArePositive({ counters, deadLetters }: StreamState): boolean {
  const { received, requeued, delivered, deadLettered } = counters
  const { ingest, refused } = deadLetters
  const least = Math.min(received, requeued, delivered, deadLettered, droppedTotal(counters))
  return Math.min(least, ingest.count, ingest.bytes, refused.count, refused.bytes) >= 0
}
