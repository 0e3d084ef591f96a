/**
 * A bearing: velocity and acceleration per axis around a speed that wanders, with bursts when
 * something knocks.
 */
import type { Random } from '../random.ts'
import type { Values } from './values.ts'
import { Walk } from './walk.ts'

const BURST_PROBABILITY = 0.01

export function vibrationValues(random: Random): Values {
  const rpm = new Walk(random, { low: 1380, high: 1530, step: 2.5, pull: 0.01 })
  const level = new Walk(random, { low: 0.4, high: 7.1, step: 0.05, pull: 0.003 })
  const axes = [0.6, 1, 0.35].map((share) => share * random.between(0.85, 1.15))
  return () => {
    const base = level.next() * (random.chance(BURST_PROBABILITY) ? random.between(2, 5) : 1)
    const velocity = axes.map((share) => (base * share * (1 + random.normal() * 0.03)).toFixed(3))
    const speed = rpm.next()
    const peak = base * (2.6 + random.next() * 0.5)
    return `"rpm":${speed.toFixed(0)},"mms":{"x":${velocity[0]},"y":${velocity[1]},"z":${velocity[2]}},"peakG":${peak.toFixed(3)},"peakHz":${(speed / 60).toFixed(2)}`
  }
}
