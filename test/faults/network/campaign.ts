/**
 * Fault 8, the long campaign: cuts at each byte, slow peers of each kind, takeovers, absences and
 * floods of devices of MQTT 5, and a reconnect storm of 5,000 devices.
 */

import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import { FuzzedGate } from '../fuzz/fuzzed-gate.ts'
import { CUT_KINDS, type CutTotals, cutEveryState } from './cuts.ts'
import {
  halfOpen,
  neverRead,
  oneByteSegments,
  type SlowReport,
  slowConnects,
  slowFrames,
} from './slow-peers.ts'
import { describeStorm, measureStorms } from './storm.ts'
import { absences, floods, takeovers } from './version-5.ts'

const FULL_STORM = 5_000

export async function campaign(options: CampaignOptions): Promise<CampaignResult> {
  const { runs, seed, say } = options
  const failures: string[] = []
  const faults: Record<string, number> = {}
  await cuts(runs, faults, failures)
  say(`network: ${faults['links cut']} links cut`)
  const peers = Math.min(300, 20 + runs)
  const kinds: (() => Promise<SlowReport>)[] = [
    () => slowConnects(peers, seed),
    () => halfOpen(peers, seed),
    () => oneByteSegments(Math.min(50, peers), 40, seed),
    ...(runs < 50 ? [] : [() => slowFrames(peers, seed), () => neverRead(50, seed)]),
  ]
  for (const run of kinds) {
    try {
      const { kind, ended, heldBytes } = await run()
      faults[`slow peers: ${kind}`] = ended
      say(`network: ${ended} peers of kind "${kind}", at most ${heldBytes} bytes held`)
    } catch (error) {
      failures.push(`slow peers: ${String(error)}`)
    }
  }
  const devices = Math.min(100, 10 + runs)
  for (const run of [takeovers, absences, floods]) {
    try {
      const { kind } = await run(devices)
      faults[`devices of MQTT 5: ${kind}`] = devices
      say(`network: ${devices} devices of MQTT 5 ${kind}`)
    } catch (error) {
      failures.push(`devices of MQTT 5: ${String(error)}`)
    }
  }
  await storms(options, faults, failures)
  return { name: 'network', runs, faults, failures }
}

async function cuts(
  runs: number,
  faults: Record<string, number>,
  failures: string[],
): Promise<void> {
  const totals: CutTotals = { cuts: 0, interrupted: 0, acked: 0, failures }
  // A round cuts two thousand links.
  for (let round = 0; round < Math.max(1, runs / 50) && failures.length < 10; round += 1) {
    const gate = await FuzzedGate.start()
    try {
      for (const kind of CUT_KINDS) {
        await cutEveryState(gate, kind, totals)
        gate.appender.records.length = 0
      }
      await gate.bystander.publish(10)
      failures.push(...gate.takeFaults())
    } catch (error) {
      failures.push(String(error))
    } finally {
      await gate.stop()
    }
  }
  faults['links cut'] = totals.cuts
  faults['links cut with messages unacknowledged'] = totals.interrupted
  faults['messages acknowledged in the end'] = totals.acked
}

async function storms(
  { runs, seed, say }: CampaignOptions,
  faults: Record<string, number>,
  failures: string[],
): Promise<void> {
  const devices = Math.min(FULL_STORM, 50 * runs)
  try {
    const withinMs = (2_000 * devices) / FULL_STORM
    const storm = { devices, withinMs, quietMs: 5_000, seed }
    const { reports, isHarmless } = await measureStorms(storm)
    const seen = reports.map(describeStorm)
    for (const line of seen) say(`network: ${line}`)
    faults['devices back in storms'] = reports.reduce((sum, { connected }) => sum + connected, 0)
    const allBack = reports.every(({ connected }) => connected === devices)
    if (!allBack || !isHarmless) failures.push(`reconnect storm: ${seen.join('; ')}`)
  } catch (error) {
    failures.push(`reconnect storm: ${String(error)}`)
  }
}
