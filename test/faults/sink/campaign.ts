/**
 * Fault 6, the long campaign: each scenario, and seeded days of misdeeds with kills, one for twenty
 * runs.
 */
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { sideBySide } from '../side-by-side.ts'
import {
  certificate,
  credentials,
  day,
  flapping,
  type Happened,
  redirect,
  retryAfter,
} from './scenarios.ts'

const RUNS_PER_DAY = 20
const DAYS_AT_ONCE = 5

export async function campaign({ runs, seed, say }: CampaignOptions): Promise<CampaignResult> {
  const failures: string[] = []
  const faults: Record<string, number> = {}
  const run = async (name: string, scenario: () => Promise<Happened>): Promise<void> => {
    try {
      const happened = await scenario()
      for (const [fault, count] of Object.entries(happened))
        faults[fault] = (faults[fault] ?? 0) + count
    } catch (error) {
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
      say(`sink: ${name} FAILED`)
    }
  }
  for (const status of [429, 503] as const) {
    for (const form of ['seconds', 'date'] as const) {
      await run(`${status}, ${form}`, () => retryAfter(status, form, runs < 100 ? 4 : 10))
    }
  }
  await run('credentials', credentials)
  await run('certificate', certificate)
  await run('redirect', redirect)
  await run('flapping', () => flapping(runs < 100 ? 6 : 60))
  const days = Math.max(1, Math.ceil(runs / RUNS_PER_DAY))
  await sideBySide(DAYS_AT_ONCE, Array(days).keys(), async (index) => {
    await run(`day ${seed}-${index}`, () => day(`${seed}-${index}`, 20, 4))
    if ((index + 1) % 10 === 0) say(`sink: ${index + 1} of ${days} days`)
  })
  return { name: 'sink', runs, faults, failures }
}
