/**
 * What goes wrong in the demo, and when: drawn from the seed, every fault at least once, while
 * readings still come. Pure. Times are ms since the fleet started.
 */
import type { FaultKind, FaultSpec } from '../cloud/faults/faults.ts'
import type { FaultRates } from '../fleet/options.ts'
import { Random } from '../random.ts'

export interface Plan {
  readonly cloudFaults: readonly FaultSpec[]
  readonly fleetFaults: FaultRates
  readonly outage: { readonly fromMs: number; readonly untilMs: number }
  readonly killAtMs: number
  /** How long the gateway then stays away. */
  readonly downMs: number
}

/** What the cloud must have done wrong before the demo may end. */
const REQUIRED: readonly FaultKind[] = ['outage', 'busy', 'lost-answer']

/**
 * The faults that still have to come when the fleet stops: those of a kind that never took effect.
 * Once, and at once.
 */
export function faultsStillDue(
  faults: readonly FaultSpec[],
  fired: Readonly<Record<FaultKind, number>>,
): FaultSpec[] {
  return REQUIRED.filter((kind) => fired[kind] === 0).flatMap((kind) => {
    const fault = faults.find((one) => one.kind === kind)
    return fault === undefined ? [] : [{ ...fault, afterMs: 0, count: 1 }]
  })
}

const LEAST_OUTAGE_MS = 2000

const DROPS_PER_MINUTE = 4
/**
 * Expected of the whole fleet: so many that none at all does not happen (e^-20), however small the
 * fleet.
 */
const LEAST_DROPS = 20
const DROPS_BETWEEN = { from: 0.1, until: 0.95 } as const
const MS_PER_MINUTE = 60_000

/** @param durationMs how long the fleet measures */
export function demoPlan(seed: string, devices: number, durationMs: number): Plan {
  const random = new Random(seed, 'demo')
  const at = (low: number, high: number): number =>
    Math.floor(random.between(low, high) * durationMs)
  const fromMs = at(0.35, 0.42)
  const outageMs = Math.max(LEAST_OUTAGE_MS, Math.floor(random.between(0.14, 0.2) * durationMs))
  // In the outage: what is acknowledged is on this box alone when the gateway is killed.
  const killAtMs = fromMs + Math.floor(outageMs * random.between(0.4, 0.8))
  // Few failures in a row, or the gateway's backoff (up to a minute) makes the demo a long one.
  const cloudFaults: FaultSpec[] = [
    { kind: 'busy', status: 503, retryAfter: { seconds: 1 }, afterMs: at(0.08, 0.12), count: 1 },
    { kind: 'lost-answer', afterMs: at(0.16, 0.22), count: 1 },
    { kind: 'partial', keep: random.between(0.2, 0.8), afterMs: at(0.24, 0.3), count: 2 },
    { kind: 'outage', mode: 'refuse', afterMs: fromMs, forMs: outageMs },
    { kind: 'lost-answer', afterMs: at(0.62, 0.68), count: 1 },
    { kind: 'drop-request', afterMs: at(0.7, 0.74), count: 1 },
    { kind: 'busy', status: 503, retryAfter: { dateSeconds: 2 }, afterMs: at(0.76, 0.8), count: 1 },
    { kind: 'slow', delayMs: 100, afterMs: at(0.84, 0.9), count: 3 },
  ]
  const dropMinutes = ((DROPS_BETWEEN.until - DROPS_BETWEEN.from) * durationMs) / MS_PER_MINUTE
  return {
    cloudFaults,
    fleetFaults: {
      dropsPerMinute: Math.max(DROPS_PER_MINUTE, LEAST_DROPS / (devices * dropMinutes)),
      halfOpensPerMinute: 0.5,
      stormsPerMinute: 2,
      stormShare: 0.5,
      duplicateShare: 0.01,
      lateShare: 0.01,
      malformedShare: 0.01,
      between: {
        fromMs: DROPS_BETWEEN.from * durationMs,
        untilMs: DROPS_BETWEEN.until * durationMs,
      },
    },
    outage: { fromMs, untilMs: fromMs + outageMs },
    killAtMs,
    downMs: Math.floor(random.between(500, 2000)),
  }
}
