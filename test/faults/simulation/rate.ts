/**
 * Days of requests to a sink with `maxBytesPerSecond`: no window of time holds more than the rate,
 * and one batch.
 */
import type { Random } from '../../../device-sim/random.ts'
import { Pacer } from '../../../gateway/drain/policy/pacer.ts'
import { DAY_MS, EPSILON_MS, Faults, type Simulated } from './result.ts'

/** Every window that begins with one of so many last requests is looked at. */
const WINDOWS = 64

interface Sent {
  readonly atMs: number
  readonly bytes: number
}

export function simulateRate(
  random: Random,
  days: number,
  newPacer: (maxBytesPerSecond: number) => Pick<Pacer, 'sent' | 'readyAtMs'> = (rate) =>
    new Pacer(rate),
): Simulated {
  const rate = 1_024 * 2 ** random.below(14)
  const pacer = newPacer(rate)
  const faults = new Faults()
  const last: Sent[] = []
  let nowMs = 0
  let decisions = 0
  while (nowMs < days * DAY_MS) {
    // The night is quiet; what it did not use must not be used later.
    nowMs += random.chance(0.02) ? random.exponential(1 / (DAY_MS / 10)) : 0
    nowMs = Math.max(nowMs, pacer.readyAtMs) + (random.chance(0.3) ? random.between(0, 2_000) : 0)
    const bytes =
      1 + Math.floor(random.chance(0.1) ? random.between(0, 8e6) : random.between(0, 1e5))
    let inWindow = 0
    for (const one of last.toReversed()) {
      inWindow += one.bytes
      const allowed = (rate * (nowMs - one.atMs)) / 1_000
      const over = inWindow - allowed
      faults.expect(
        over <= 1,
        () => `at ${nowMs}: ${over} bytes over ${rate} a second since ${one.atMs}`,
      )
    }
    last.push({ atMs: nowMs, bytes })
    if (last.length > WINDOWS) last.shift()
    pacer.sent(bytes, nowMs)
    decisions += 1
    const waitMs = pacer.readyAtMs - nowMs - (bytes * 1_000) / rate
    faults.expect(
      waitMs <= EPSILON_MS,
      () => `at ${nowMs}: waits ${waitMs} ms longer than the rate asks`,
    )
  }
  return { days, decisions, faults: faults.list }
}
