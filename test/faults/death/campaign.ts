/**
 * The long campaign of process deaths: `runs` deaths at every point, on two gateways side by side.
 */
import type { CampaignOptions, CampaignResult } from '../campaign.ts'
import type { DeviceDeeds } from '../oracle/device.ts'
import { MISSED, runDeaths } from './deaths.ts'
import { type DeathPoint, INNER_POINTS, OUTER_POINTS } from './points.ts'

/** Two: while one starts, the other's traffic runs. */
const SIDE_BY_SIDE = 2

export async function campaign(options: CampaignOptions): Promise<CampaignResult> {
  const { runs, seed, say } = options
  const reports = await Promise.all(
    Array.from({ length: SIDE_BY_SIDE }, (_, i) =>
      runDeaths({
        deaths: Math.ceil((runs - i) / SIDE_BY_SIDE),
        seed: seed * SIDE_BY_SIDE + i,
        points: pointsOf(i),
        outages: true,
        say: (line) => say(`death ${i + 1}: ${line}`),
      }),
    ),
  )
  const faults: Record<string, number> = {}
  for (const { points } of reports) {
    for (const [point, count] of Object.entries(points))
      faults[point] = (faults[point] ?? 0) + count
  }
  const sum = (of: (report: (typeof reports)[number]) => number): number =>
    reports.reduce((all, report) => all + of(report), 0)
  say(
    `death: ${sum((r) => r.deaths)} deaths (${faults[MISSED] ?? 0} at a time-out), ${sum((r) => r.cleanStops)} orderly stops, ` +
      `${sum((r) => r.checks)} checks, ${sum((r) => r.readings)} acknowledged readings found at the sink`,
  )
  const deeds = (key: keyof DeviceDeeds): number => sum((report) => report.deeds[key])
  faults['takeovers'] = deeds('takeovers')
  faults['takeovers in MQTT 5'] = deeds('takeovers5')
  faults['of them told with 0x8E'] = deeds('farewells')
  faults['sessions gone on with'] = deeds('resumed')
  faults['sessions expired'] = deeds('expired')
  return {
    name: 'process death',
    runs: sum((r) => r.deaths),
    faults,
    failures: reports.flatMap((r) => [...r.faults]),
  }
}

/** A death at the lease takes 50,000 readings: one of the two points for each gateway. */
function pointsOf(gateway: number): DeathPoint[] {
  const lease: readonly DeathPoint[] = ['lease.before', 'lease.after']
  const others = lease.filter((_, i) => i !== gateway)
  return [...INNER_POINTS, ...OUTER_POINTS].filter((point) => !others.includes(point))
}
