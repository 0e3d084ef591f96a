/**
 * Fault 7, the long campaign: each combination through each receiver, each scenario, and seeded
 * days, one for twenty runs.
 */
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { sideBySide } from '../side-by-side.ts'
import { COMBINATIONS, combine, day, RECEIVERS } from './mishaps.ts'
import {
  boundedLetters,
  type Happened,
  needle,
  parkedByHand,
  refusesEverything,
  refusesShare,
  STUMBLES,
  stumbles,
  stumblesAtAll,
} from './scenarios.ts'

const RUNS_PER_DAY = 20
const AT_ONCE = 4

export async function campaign({ runs, seed, say }: CampaignOptions): Promise<CampaignResult> {
  const failures: string[] = []
  const faults: Record<string, number> = {}
  const days = Math.max(1, Math.ceil(runs / RUNS_PER_DAY))
  const receivers = Object.keys(RECEIVERS)
  const jobs: [name: string, scenario: () => Promise<Happened>][] = [
    ...receivers.map((name): (typeof jobs)[number] => [
      `combinations, ${name}`,
      () => combine(name, COMBINATIONS),
    ]),
    ['share above', () => refusesShare(3)],
    ['share below', () => refusesShare(2)],
    ['letters held', () => boundedLetters('hold')],
    ['letters dropped', () => boundedLetters('drop-oldest')],
    ['parked by hand', parkedByHand],
    ...Object.keys(STUMBLES).flatMap((how): typeof jobs => [
      [`one record ${how}`, () => stumbles(String(seed), how)],
      [`all ${how}`, () => stumblesAtAll(how)],
    ]),
  ]
  for (let index = 0; index < days; index += 1) {
    const own = `${seed}-${index}`
    const receiver = receivers[index % receivers.length] ?? ''
    jobs.push([`day ${own}`, () => day(own, receiver)])
    if (index % 5 === 0) {
      jobs.push([
        `needle ${own}`,
        () => needle(own, index % 2 === 0 ? 400 : 422, { kill: index % 4 > 0 }),
      ])
      jobs.push([`everything ${own}`, () => refusesEverything(own)])
    }
  }
  let done = 0
  await sideBySide(AT_ONCE, jobs, async ([name, scenario]) => {
    try {
      for (const [fault, count] of Object.entries(await scenario())) {
        faults[fault] = (faults[fault] ?? 0) + count
      }
    } catch (error) {
      failures.push(`${name}: ${error instanceof Error ? error.message : String(error)}`)
      say(`poison: ${name} FAILED`)
    }
    done += 1
    if (done % 10 === 0) say(`poison: ${done} of ${jobs.length} done`)
  })
  return { name: 'poison', runs, faults, failures }
}
