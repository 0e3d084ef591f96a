/**
 * Faults of a file sink's disk, many: power cuts at every step of recordings, kills at calls,
 * calls that fail, by the seed.
 */
import { Random } from '../../../device-sim/random.ts'
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { SURVIVALS } from '../power/disk-model.ts'
import { sideBySide } from '../side-by-side.ts'
import { CALLS, drawFailingCall, runErrnos, runKill, runPowerCuts } from './runs.ts'
import { stickDay } from './stick.ts'

/** Of `runs`: cut points, failing calls, and one kill for twenty of them: that takes a process. */
const CUTS_A_RECORDING = 200
const CALLS_A_PROCESS = 100
const RUNS_PER_KILL = 20
/** Days of a real gateway, one for so many runs. */
const RUNS_PER_DAY = 25
const STEPS_OF_A_DAY = 20
const DAYS_AT_ONCE = 2

/** `runs`: cut points, and as many failing calls. */
export async function campaign({ runs, seed, say }: CampaignOptions): Promise<CampaignResult> {
  const faults: Record<string, number> = { cuts: 0, kills: 0, 'failed calls': 0 }
  const failures: string[] = []
  const tell = (what: string, found: readonly string[]): void => {
    for (const one of found) {
      failures.push(`seed ${seed}, ${what}: ${one}`)
      say(`file: seed ${seed}, ${what}: ${one}`)
    }
  }
  const count = (what: string, more: number): void => {
    faults[what] = (faults[what] ?? 0) + more
  }
  const random = new Random(seed, 'file')
  for (let done = 0, i = 0; done < runs; i++) {
    const wanted = Math.min(CUTS_A_RECORDING, runs - done)
    const choose = (steps: number) =>
      Array.from({ length: wanted }, () => ({
        at: 1 + random.below(steps),
        survival: SURVIVALS[random.below(SURVIVALS.length)] ?? 'none',
      }))
    const result = await runPowerCuts(`${seed}-${i}`, 2 + random.below(8), choose, random)
    tell(`recording ${i}`, result.faults)
    count('cuts', result.cuts)
    done += wanted
  }
  for (let i = 0; i < Math.ceil(runs / RUNS_PER_KILL); i++) {
    const call = CALLS[random.below(CALLS.length)] ?? 'rename'
    const nth = 1 + random.below(6)
    const found = await runKill(`${seed}-${i}`, 3, call, nth)
    if (found === null) continue
    tell(`killed at ${call} ${nth}`, found)
    count('kills', 1)
  }
  for (let done = 0, i = 0; done < runs; i++, done += CALLS_A_PROCESS) {
    const calls = Array.from({ length: Math.min(CALLS_A_PROCESS, runs - done) }, () =>
      drawFailingCall(random),
    )
    const result = await runErrnos(`${seed}-${i}`, calls)
    if (result === null) throw new Error('needs gcc')
    tell(`failing calls ${i}`, result.faults)
    count('failed calls', result.fired.length)
  }
  await sideBySide(DAYS_AT_ONCE, Array(Math.ceil(runs / RUNS_PER_DAY)).keys(), async (i) => {
    try {
      const happened = await stickDay(`${seed}-${i}`, STEPS_OF_A_DAY)
      for (const [what, times] of Object.entries(happened)) count(`gateway: ${what}`, times)
    } catch (error) {
      tell(`day ${i}`, [error instanceof Error ? error.message : String(error)])
    }
  })
  return { name: 'file', runs, faults, failures }
}
