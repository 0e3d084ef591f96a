/**
 * The seed of every random test. `npm test` runs with one that is fixed, so that a red test means
 * that something changed; the fault campaigns draw their own. `SLUICE_SEED=7` repeats a run of
 * another, `SLUICE_SEED=random` draws one for each file; it stands in the test's title.
 */
const DEFAULT_SEED = 20261123
const MAX_SEED = 2 ** 31 - 1

/** An integer from 0 to 2^31-1. Throws where SLUICE_SEED is neither that nor `random`. */
export function seedFrom(given: string | undefined): number {
  if (given === undefined || given === '') return DEFAULT_SEED
  if (given === 'random') return Math.floor(Math.random() * MAX_SEED)
  const seed = Number(given)
  if (!/^\d+$/.test(given) || seed > MAX_SEED)
    throw new Error(`SLUICE_SEED=${given}: give an integer from 0 to ${MAX_SEED}, or random`)
  return seed
}

export const SEED = seedFrom(process.env['SLUICE_SEED'])
