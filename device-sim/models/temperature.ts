/**
 * A machine's temperatures: a slow walk with the day's swing, humidity against it, a battery that
 * runs down.
 */
import type { Random } from '../random.ts'
import type { Values } from './values.ts'
import { Walk } from './walk.ts'

const DAY_MS = 86_400_000

export function temperatureValues(random: Random): Values {
  const celsius = new Walk(random, { low: 15, high: 85, step: 0.08, pull: 0.002 })
  const humidity = new Walk(random, { low: 20, high: 95, step: 0.3, pull: 0.002 })
  const phase = random.next()
  let battery = random.between(3.4, 3.65)
  return (atMs) => {
    const swing = 2.5 * Math.sin(2 * Math.PI * (atMs / DAY_MS + phase))
    battery = Math.max(2.8, battery - random.next() * 0.000_002)
    const value = celsius.next()
    return `"celsius":${(value + swing).toFixed(2)},"board":${(value * 0.7 + 11).toFixed(1)},"humidity":${humidity.next().toFixed(1)},"battery":${battery.toFixed(3)},"ok":true`
  }
}
