/**
 * The demo's judgement: what was counted, held against what was promised (I1 to I5, I9). Pure;
 * every check can fail, and a fault that never happened is a failed check, too.
 */
import type { Verdict } from '../ledger/verify.ts'
import type { Account } from './status.ts'

export interface DemoCounts {
  /** null: an answer was never to be had. */
  readonly account: Account | null
  readonly verdict: Verdict
  /** Readings that were not acknowledged within the time for it. */
  readonly unacknowledged: number
  /**
   * From the fleet's stop until everything was acknowledged, and until nothing was pending; null:
   * not in time.
   */
  readonly ackSeconds: number | null
  readonly drainSeconds: number | null
  readonly kills: number
  /** Pending records at the last look before the kill. */
  readonly pendingAtKill: number
  readonly unexpectedExits: readonly string[]
  readonly sessionsLost: number
  readonly drops: number
  readonly cloud: {
    readonly outages: number
    readonly busy: number
    readonly lostAnswers: number
    readonly records: number
    readonly repeats: number
    readonly violations: number
    readonly missingSeqs: number
  }
}

export interface Check {
  readonly ok: boolean
  readonly what: string
  /** What was counted. */
  readonly got: string
}

export const ACK_SECONDS = 30
export const DRAIN_SECONDS = 60

/** All checks, in the order in which a person wants to read them. */
export function judge(counts: DemoCounts): Check[] {
  const { account, verdict, cloud } = counts
  const none = (what: string, value: number): Check => ({
    ok: value === 0,
    what,
    got: String(value),
  })
  const some = (what: string, value: number): Check => ({ ok: value > 0, what, got: String(value) })
  const within = (what: string, seconds: number | null, limit: number): Check => ({
    ok: seconds !== null && seconds <= limit,
    what: `${what} within ${limit} s`,
    got: seconds === null ? 'not in time' : `${seconds.toFixed(1)} s`,
  })
  const published = verdict.published[0] + verdict.published[1] + verdict.published[2]
  const unbalanced = account?.unbalanced ?? ['the gateway did not say']
  return [
    some('readings published', published),
    none('published and not acknowledged', counts.unacknowledged),
    within('every reading acknowledged', counts.ackSeconds, ACK_SECONDS),
    within('pending 0', counts.drainSeconds, DRAIN_SECONDS),
    none('acknowledged and lost', verdict.lost),
    none('QoS 2 readings stored twice', verdict.duplicated),
    none('out of order', verdict.reordered),
    none('stored bytes that were never published', verdict.differing + verdict.unreadable),
    none('refused, or said to be taken by nobody', verdict.refused + verdict.untaken),
    { ok: account?.dropped === 0, what: 'dropped', got: String(account?.dropped ?? 'unknown') },
    {
      ok: account?.deadLettered === 0,
      what: 'dead-lettered',
      got: String(account?.deadLettered ?? 'unknown'),
    },
    {
      ok: unbalanced.length === 0,
      what: 'I5 balances: received + requeued = delivered + dead-lettered + dropped + pending',
      got: unbalanced.length === 0 ? 'yes' : `no: ${unbalanced.join(', ')}`,
    },
    {
      ok: account?.delivered === cloud.records && cloud.records === verdict.storedLines,
      what: 'delivered = lines that the cloud stored',
      got: `${account?.delivered ?? 'unknown'} = ${verdict.storedLines}`,
    },
    none('seqs missing without a reported gap', cloud.missingSeqs),
    none('requests that broke the ingest contract', cloud.violations),
    none('QoS 2 sessions that the gateway forgot', counts.sessionsLost),
    none('ends of the gateway that nobody asked for', counts.unexpectedExits.length),
    some('gateway killed (SIGKILL)', counts.kills),
    some('records pending when it was killed', counts.pendingAtKill),
    some('cloud outages', cloud.outages),
    some('answers 503 with Retry-After', cloud.busy),
    some('answers lost after storing', cloud.lostAnswers),
    some('connections dropped by the fleet', counts.drops),
  ]
}
