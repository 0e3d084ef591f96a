/**
 * The long campaign of the sinks: at least `runs` actions for each type against its real receiver, in
 * episodes of a gateway, a receiver and a whole deck each. An action of the deck that never came
 * about fails the campaign: nothing was shown by it.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { missingLine, missingTools } from '../../support/tools.ts'
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { type EpisodeOptions, type EpisodeReport, runEpisode } from './episode.ts'
import type { TestedType } from './receiver.ts'
import { TESTED_TYPES } from './types.ts'

/** A long run makes 300 deaths at named points, and 100 faults of link and receiver. */
const DEATHS_A_FAULT = 3

/** An episode in a folder of its own. */
export async function episodeOf(options: Omit<EpisodeOptions, 'folder'>): Promise<EpisodeReport> {
  const folder = mkdtempSync(join(tmpdir(), `sluice-sinks-${options.type}-`))
  try {
    return await runEpisode({ ...options, folder })
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** @param types those of types.ts; absent: all */
export async function campaign(options: CampaignOptions): Promise<CampaignResult> {
  const { types = Object.keys(TESTED_TYPES) } = options
  const faults: Record<string, number> = {}
  const failures: string[] = []
  for (const type of types) {
    const load = TESTED_TYPES[type]
    if (load === undefined)
      throw new Error(`no type ${type}; there are ${Object.keys(TESTED_TYPES).join(', ')}`)
    const tested = await load()
    const missing = missingTools(tested.tools)
    if (missing.length > 0) failures.push(`${type} ${missingLine(missing)}`)
    else await runType(type, tested, options, faults, failures)
  }
  return { name: 'sinks', runs: options.runs * types.length, faults, failures }
}

async function runType(
  type: string,
  tested: TestedType,
  { runs, seed, say }: CampaignOptions,
  faults: Record<string, number>,
  failures: string[],
): Promise<void> {
  const possible = new Set<string>()
  let [decks, actions, readings, repeated] = [0, 0, 0, 0]
  while (actions < runs && failures.length === 0) {
    const seedOfDeck = `${seed}-${decks++}`
    const dealt = { seed: seedOfDeck, deathsAFault: DEATHS_A_FAULT }
    const report = await episodeOf({ type, tested, ...dealt })
    for (const name of report.possible) possible.add(name)
    for (const [what, times] of Object.entries(report.happened)) {
      const key = `${type}: ${what}`
      faults[key] = (faults[key] ?? 0) + times
    }
    failures.push(...report.faults)
    readings += report.readings
    repeated += report.repeated
    actions += report.possible.length
    const found = `${readings} acknowledged readings found at the receiver`
    say(`${type}: ${actions} actions, ${found}, ${repeated} records more than once`)
  }
  // One turn may be too short for it.
  if (failures.length > 0 || decks < 2) return
  for (const name of possible) {
    if (faults[`${type}: ${name}`] === undefined)
      failures.push(`${type}: never came about: ${name}`)
  }
}
