/**
 * Simulated days of the pure parts and of sessions, as many seeds as runs; says how many days a minute that makes.
 */

import { Random } from '../../../device-sim/random.ts'
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { simulatePacing } from './pacing.ts'
import { simulateRate } from './rate.ts'
import type { Simulated } from './result.ts'
import { simulateRetaining } from './retaining.ts'
import { simulateScheduling } from './scheduling.ts'
import { simulateSessions } from './sessions/world.ts'
import { simulateWaits } from './waits.ts'

/** Simulated days of one run: what is decided in one of them takes about as long for each. */
const SIMULATIONS: Readonly<
  Record<
    string,
    {
      readonly days: number
      readonly run: (random: Random, days: number) => Simulated | Promise<Simulated>
    }
  >
> = {
  pacing: { days: 5, run: simulatePacing },
  'rate limit': { days: 0.5, run: simulateRate },
  scheduling: { days: 2, run: simulateScheduling },
  waits: { days: 5, run: simulateWaits },
  retention: { days: 5, run: simulateRetaining },
  sessions: { days: 0.5, run: simulateSessions },
}

export async function campaign({ runs, seed, say }: CampaignOptions): Promise<CampaignResult> {
  const faults: Record<string, number> = {}
  const failures: string[] = []
  for (const [name, { days, run }] of Object.entries(SIMULATIONS)) {
    const beganMs = performance.now()
    let decisions = 0
    for (let index = 0; index < runs; index += 1) {
      const own = `${seed}-${index}`
      const result = await run(new Random(own, name), days)
      decisions += result.decisions
      for (const fault of result.faults) failures.push(`${name} ${own}: ${fault}`)
    }
    const minutes = (performance.now() - beganMs) / 60_000
    const daysPerMinute = Math.round((runs * days) / minutes)
    say(`simulation of ${name}: ${daysPerMinute} days a minute, ${decisions} decisions`)
    faults[`simulated days of ${name}`] = runs * days
    faults[`decisions of ${name}`] = decisions
  }
  return { name: 'simulation', runs, faults, failures }
}
