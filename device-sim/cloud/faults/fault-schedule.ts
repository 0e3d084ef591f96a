/**
 * A bad day at the cloud, drawn from a seed: the same seed gives the same rules. Every kind that is
 * asked for comes at least once, and the ones that hit requests wait for one (they have a count,
 * not an end), so they are sure to fire while batches still come. Pure.
 */
import { Random } from '../../random.ts'
import type { FaultSpec } from './faults.ts'

interface ScheduleOptions {
  readonly seed: number
  /** All faults begin within this time, ms. */
  readonly durationMs: number
  /**
   * How many of each; 0 leaves a kind out. @default 1 outage, 2 bursts, 3 lost answers, 2 cut
   * requests, 2 partial acks, 1 slow spell
   */
  readonly outages?: number
  readonly busyBursts?: number
  readonly lostAnswers?: number
  readonly cutRequests?: number
  readonly partialAcks?: number
  readonly slowSpells?: number
  /** Length of an outage, ms. @default 2000 to 5000 */
  readonly outageMs?: readonly [least: number, most: number]
  /** Longest Retry-After, s. @default 2 */
  readonly maxRetryAfterSeconds?: number
}

/** The rules of the day, in order of their begin. */
export function faultSchedule(options: ScheduleOptions): FaultSpec[] {
  const random = new Random(options.seed, 'cloud schedule')
  const [leastOutage, mostOutage] = options.outageMs ?? [2000, 5000]
  const maxWait = options.maxRetryAfterSeconds ?? 2
  const begin = (): number => Math.floor(random.between(0.05, 0.75) * options.durationMs)
  const rules: FaultSpec[] = []
  repeat(options.outages ?? 1, (n) => {
    // The first one is a real outage; of further ones some are a proxy that says so.
    const mode = n === 0 ? 'refuse' : random.chance(0.5) ? '503' : 'reset'
    rules.push({
      kind: 'outage',
      mode,
      afterMs: begin(),
      forMs: Math.floor(random.between(leastOutage, mostOutage)),
    })
  })
  repeat(options.busyBursts ?? 2, (n) => {
    const wait = 1 + random.below(maxWait)
    const retryAfter = random.chance(0.5) ? { seconds: wait } : { dateSeconds: wait }
    rules.push({
      kind: 'busy',
      status: n % 2 === 0 ? 503 : 429,
      retryAfter,
      afterMs: begin(),
      count: 1 + random.below(2),
    })
  })
  repeat(options.lostAnswers ?? 3, () =>
    rules.push({ kind: 'lost-answer', afterMs: begin(), count: 1 }),
  )
  repeat(options.cutRequests ?? 2, () =>
    rules.push({ kind: 'drop-request', afterMs: begin(), count: 1 }),
  )
  repeat(options.partialAcks ?? 2, () => {
    rules.push({ kind: 'partial', keep: random.between(0.1, 0.9), afterMs: begin(), count: 1 })
  })
  repeat(options.slowSpells ?? 1, () => {
    rules.push({ kind: 'slow', delayMs: 50 + random.below(200), afterMs: begin(), count: 5 })
  })
  return rules.sort((a, b) => (a.afterMs ?? 0) - (b.afterMs ?? 0))
}

function repeat(times: number, work: (n: number) => void): void {
  for (let n = 0; n < times; n += 1) work(n)
}
