/**
 * Fault 9, the long campaign: each scenario, decisions in made-up worlds, and one seeded walk for
 * twenty runs.
 */
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { sideBySide } from '../side-by-side.ts'
import { ageRun, ageTotals } from './ages.ts'
import { HOUR_MS, YEAR_MS } from './clock-bench.ts'
import {
  agesCount,
  anything,
  certificates,
  drift,
  fiftyYears,
  type Happened,
  retryAfter,
  startIn1970,
} from './scenarios.ts'

const RUNS_PER_WALK = 20
const WALKS_AT_ONCE = 4
/** They are cheap. */
const WORLDS_PER_RUN = 50

export async function campaign({ runs, seed, say }: CampaignOptions): Promise<CampaignResult> {
  const failures: string[] = []
  const faults: Record<string, number> = {}
  const run = async (name: string, scenario: () => Promise<Happened>): Promise<void> => {
    try {
      for (const [fault, count] of Object.entries(await scenario()))
        faults[fault] = (faults[fault] ?? 0) + count
    } catch (error) {
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
      say(`clock: ${name} FAILED`)
    }
  }
  await run('worlds', async () => {
    const totals = ageTotals()
    for (let world = 0; world < runs * WORLDS_PER_RUN; world += 1)
      ageRun(`${seed}-${world}`, 100, totals)
    const { jumps, restarts, reboots } = totals
    return {
      'jumps in made-up worlds': jumps,
      'restarts there': restarts,
      'reboots there': reboots,
    }
  })
  await run('start in 1970', startIn1970)
  await run('fifty years', fiftyYears)
  for (const form of ['seconds', 'date'] as const) {
    for (const jumpMs of [-HOUR_MS, HOUR_MS, 50 * YEAR_MS]) {
      for (const then of ['goes on', 'is killed', 'reboots'] as const) {
        await run(`${form}, ${jumpMs} ms, ${then}`, () => retryAfter(form, jumpMs, then))
      }
    }
  }
  await run('certificates', certificates)
  await run('ages count', agesCount)
  const walks = Math.max(1, Math.ceil(runs / RUNS_PER_WALK))
  await sideBySide(WALKS_AT_ONCE, Array(walks).keys(), async (index) => {
    await run(`drift ${seed}-${index}`, () => drift(`${seed}-${index}`))
    await run(`walk ${seed}-${index}`, () => anything(`${seed}-${index}`, 30))
    if ((index + 1) % 10 === 0) say(`clock: ${index + 1} of ${walks} walks`)
  })
  return { name: 'clock', runs, faults, failures }
}
