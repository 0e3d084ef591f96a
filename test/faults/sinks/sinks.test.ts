/**
 * Sinks and their real receivers under faults: the fast selection for each type, and its planted
 * defects. The long campaign is campaign.ts.
 */
import { afterAll, describe, expect, test } from 'vitest'
import { errorMessage } from '../../../gateway/shared/errors.ts'
import { reapProcesses } from '../../support/process.ts'
import { SEED } from '../../support/seed.ts'
import { missingLine, missingTools, toolsAreRequired } from '../../support/tools.ts'
import { episodeOf } from './campaign.ts'
import type { TestedType } from './receiver.ts'
import { TESTED_TYPES } from './types.ts'

/** One of each kind: what a type does not know is left out. */
const SELECTION = [
  'killed at answer.read',
  'killed at note.after',
  'link answers lost',
  'receiver no-place',
]
/** Not each of them comes at a moment that brings a defect to light. */
const MOST_ACTIONS = 8
const TIMEOUT_MS = 120_000

afterAll(reapProcesses)

const types = await Promise.all(
  Object.entries(TESTED_TYPES).map(async ([type, load]) => ({ type, tested: await load() })),
)

/** In words, or null. */
function missingOf({ tools, node }: TestedType): string | null {
  const missing = missingTools(tools)
  if (missing.length > 0) return missingLine(missing)
  try {
    node?.()
    return null
  } catch (error) {
    return errorMessage(error).slice(0, 200)
  }
}

describe.concurrent.each(types)(`a $type sink and its receiver (SLUICE_SEED=${SEED})`, (each) => {
  const { type, tested } = each
  const missing = missingOf(tested)
  const isSkipped = missing !== null && !toolsAreRequired()

  test(
    'I1, I2, I4: each acknowledged reading is there as its type promises',
    async (context) => {
      if (isSkipped) context.skip(missing)
      const actions = SELECTION.length
      const report = await episodeOf({ type, tested, seed: String(SEED), actions, only: SELECTION })
      expect(report.faults).toEqual([])
      expect(Object.keys(report.happened)).toEqual(expect.arrayContaining([...report.possible]))
      expect(report.readings).toBeGreaterThan(20)
    },
    TIMEOUT_MS,
  )

  test.each(tested.planted)(
    'the campaign sees a planted defect: $defect',
    async ({ defect, only, seenAs }) => {
      if (isSkipped) return
      const planted = { defect: `${type}/${defect}`, only, actions: MOST_ACTIONS }
      // A record that is refused leads a sink another way, where a defect may only keep it waiting.
      const { poison: _poison, ...harmless } = tested
      const episode = { type, tested: harmless, seed: String(SEED), ...planted }
      const report = await episodeOf(episode)
      expect(report.faults.join('\n')).toMatch(seenAs)
    },
    TIMEOUT_MS,
  )
})
