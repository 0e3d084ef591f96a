/** The balance of each stream (I5): what came in is delivered, dead, dropped or still here. Pure. */
import type { StreamStatus } from '../../../ports/status.ts'

export interface Balance {
  readonly cameIn: number
  readonly dropped: number
  /** cameIn minus all that became of it; 0 if nothing is missing. */
  readonly missing: number
}

export function balanceOf({ counters }: StreamStatus): Balance {
  const cameIn = counters.received + counters.requeued
  const dropped = total(counters.dropped)
  const known = counters.delivered + counters.deadLettered + dropped + counters.pending
  return { cameIn, dropped, missing: cameIn - known }
}

export function total(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((all, one) => all + one, 0)
}
