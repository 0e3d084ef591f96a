/**
 * What a simulation tells: how much virtual time passed, what was decided in it, and what must not
 * have been.
 */
export interface Simulated {
  readonly days: number
  readonly decisions: number
  /** Sentences; none: all is well. */
  readonly faults: readonly string[]
}

export const DAY_MS = 86_400_000
/** Sums of times are rounded. */
export const EPSILON_MS = 1e-3
/** The first ones say what happened. */
const MAX_FAULTS = 10

export class Faults {
  readonly list: string[] = []

  expect(isTrue: boolean, what: () => string): void {
    if (!isTrue && this.list.length < MAX_FAULTS) this.list.push(what())
  }
}
