/** Reloads under load, the long campaign: one run is one pair of configurations. */
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { reloadPairs } from './pairs.ts'

export async function campaign({ runs, seed, say }: CampaignOptions): Promise<CampaignResult> {
  const { pairs, acked, effects, sentAway, failures } = await reloadPairs(runs, seed)
  say(`reload: ${pairs} pairs, ${acked} acknowledged readings, ${sentAway} sent away`)
  return { name: 'reload', runs: pairs, faults: { ...effects, sentAway }, failures: [...failures] }
}
