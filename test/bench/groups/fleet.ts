/**
 * How many mqtt.js devices the simulator drives on one core, and from which rate on it is the limit
 * itself.
 */
import { type Goal, judged } from '../goals.ts'
import { type Group, type Settings, withSluice } from '../group.ts'
import { cpuSeconds, runNode } from '../processes.ts'
import type { System } from '../systems.ts'

const DEVICES = 2000
/** Messages a second of all devices: the goal's, then on until the fleet does not keep up. */
const RATES = [10, 2000, 10_000, 20_000]
const RAMP_SECONDS = 10
const KEEPS_UP_SHARE = 0.95

interface FleetFigures {
  readonly rate: number
  readonly devices: number
  readonly publishedPerSecond: number
  readonly unacknowledged: number
  readonly failures: number
  /** Of one core, from the end of the connects on. */
  readonly busyShare: number
}

interface Report {
  readonly devices: number
  readonly published: readonly number[]
  readonly unacknowledged: number
  readonly measuredSeconds: number
  readonly connections: {
    readonly failures: number
    readonly refusals: number
    readonly disconnects: number
  }
}

async function runFleet(system: System, rate: number, settings: Settings): Promise<FleetFigures> {
  let pid = 0
  let cpuBefore = 0
  let cpuAfter = 0
  const flags: Record<string, string> = {
    url: `mqtt://127.0.0.1:${system.port}`,
    devices: String(DEVICES),
    rate: String(rate),
    seconds: String(RAMP_SECONDS + settings.seconds + 1),
    qos: '0:1:0',
    ramp: String(RAMP_SECONDS),
    seed: String(settings.seed),
  }
  const args = Object.entries(flags).flatMap(([name, value]) => [`--${name}`, value])
  const timers: NodeJS.Timeout[] = []
  const out = await runNode('device-sim/main.js', ['run', ...args, '--json'], (started) => {
    pid = started
    const startMs = (RAMP_SECONDS + 1) * 1000
    timers.push(setTimeout(() => (cpuBefore = cpuSeconds(pid)), startMs))
    timers.push(
      setTimeout(() => (cpuAfter = cpuSeconds(pid)), startMs + (settings.seconds - 1) * 1000),
    )
  })
  for (const timer of timers) clearTimeout(timer)
  const report = JSON.parse(out) as Report
  return {
    rate,
    devices: report.devices,
    // Devices connect evenly over the ramp: on average they measured half of it.
    publishedPerSecond:
      report.published.reduce((a, b) => a + b, 0) / (report.measuredSeconds - RAMP_SECONDS / 2),
    unacknowledged: report.unacknowledged,
    failures:
      report.connections.failures + report.connections.refusals + report.connections.disconnects,
    busyShare: (cpuAfter - cpuBefore) / (settings.seconds - 1),
  }
}

export const fleet: Group = {
  name: 'fleet',
  about: `the simulator with ${DEVICES} mqtt.js devices: where it saturates`,
  run: async (settings): Promise<readonly Goal[]> =>
    withSluice({}, async (system) => {
      let kept = 0
      let first: FleetFigures | null = null
      let saturates = `keeps up with all of ${RATES.at(-1)} messages/s`
      for (const rate of RATES) {
        const figures = await runFleet(system, rate, settings)
        first ??= figures
        settings.say(
          `  ${DEVICES} devices, ${rate} messages/s in all: ${figures.publishedPerSecond.toFixed(0)} published/s, ` +
            `${figures.unacknowledged} unacknowledged, ${figures.failures} failed connections, ${(figures.busyShare * 100).toFixed(0)} % of a core`,
        )
        // Few messages scatter: at the lowest rate the share of the core tells.
        const behind = rate > (RATES[0] ?? 0) && figures.publishedPerSecond < rate * KEEPS_UP_SHARE
        if (behind || figures.busyShare > KEEPS_UP_SHARE) {
          saturates = `saturates between ${kept} and ${rate} messages/s`
          break
        }
        kept = rate
      }
      const held = first !== null && first.unacknowledged === 0 && first.failures === 0 && kept > 0
      return [
        judged(
          {
            measure: 'devices of the fleet simulator on one core, 10 messages/s in all',
            atLeast: DEVICES,
            unit: 'devices',
            digits: 0,
            note: `${((first?.busyShare ?? Number.NaN) * 100).toFixed(0)} % of the core; ${saturates}`,
          },
          [held ? (first?.devices ?? 0) : 0],
        ),
      ]
    }),
}
