/**
 * Past one box: three gateways behind HAProxy, three nats-servers, 200 devices. One run is one
 * scenario after the other; times of the faults grow with the runs, to those of a long outage.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { reapProcesses } from '../../support/process.ts'
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { ClusterBench } from './bench.ts'
import { type ClusterReport, SCENARIOS } from './scenarios.ts'

const GATEWAYS = 3
const DEVICES = 200
const PACE_MS = 1_000
/** A long campaign (`--runs 100` and more) holds each fault for so long. */
const LONG_HOLD_MS = 120_000
const LONG_KILLS = 30

export async function campaign({ runs, seed, say }: CampaignOptions): Promise<CampaignResult> {
  const failures: string[] = []
  const faults: Record<string, number> = {}
  const share = Math.min(1, runs / 100)
  const options = {
    seed,
    holdMs: Math.max(2_000, LONG_HOLD_MS * share),
    kills: Math.max(3, Math.round(LONG_KILLS * share)),
  }
  for (const name of Object.keys(SCENARIOS) as (keyof typeof SCENARIOS)[]) {
    const fleet = { seed, gateways: GATEWAYS, devices: DEVICES, paceMs: PACE_MS }
    const holdMs = name.startsWith('T1') ? Math.min(options.holdMs, 20_000) : options.holdMs
    const { faults: broken, happened } = await runScenario(name, fleet, { ...options, holdMs })
    for (const [what, count] of Object.entries(happened)) faults[`${name}: ${what}`] = count
    failures.push(...broken.map((fault) => `${name}, seed ${seed}: ${fault}`))
    say(`cluster: ${name}: ${broken.length === 0 ? 'kept' : broken.join('; ')}`)
  }
  return { name: 'cluster', runs, faults, failures }
}

/** One scenario on a cluster of its own, which is gone afterwards. */
export async function runScenario(
  name: keyof typeof SCENARIOS,
  fleet: Omit<Parameters<typeof ClusterBench.start>[0], 'folder'>,
  options: Parameters<(typeof SCENARIOS)[typeof name]>[1],
): Promise<ClusterReport> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-cluster-'))
  let bench: ClusterBench | null = null
  try {
    bench = await ClusterBench.start({ ...fleet, folder })
    bench.begin()
    return await SCENARIOS[name](bench, options)
  } catch (error) {
    return { happened: {}, faults: [String(error)] }
  } finally {
    await bench?.stop()
    await reapProcesses()
    rmSync(folder, { recursive: true, force: true })
  }
}
