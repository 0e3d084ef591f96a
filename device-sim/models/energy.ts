/**
 * A three-phase meter: a counter that only rises, and the power, voltages and currents that make it
 * rise.
 */
import type { Random } from '../random.ts'
import type { Values } from './values.ts'
import { Walk } from './walk.ts'

const MS_PER_HOUR = 3_600_000

export function energyValues(random: Random): Values {
  const watts = new Walk(random, { low: 200, high: 18_000, step: 120, pull: 0.004 })
  const volts = [0, 1, 2].map(
    () => new Walk(random, { low: 222, high: 238, step: 0.15, pull: 0.01 }),
  )
  let wattHours = Math.floor(random.between(1e6, 9e7))
  let lastMs: number | null = null
  return (atMs) => {
    const power = watts.next()
    if (lastMs !== null) wattHours += (power * (atMs - lastMs)) / MS_PER_HOUR
    lastMs = atMs
    const voltages = volts.map((volt) => volt.next())
    const amperes = voltages.map((volt) => (power / 3 / volt).toFixed(2))
    return `"kWh":${(wattHours / 1000).toFixed(4)},"W":${power.toFixed(0)},"V":[${voltages.map((volt) => volt.toFixed(1)).join(',')}],"A":[${amperes.join(',')}],"pf":${(0.9 + random.next() * 0.08).toFixed(3)}`
  }
}
