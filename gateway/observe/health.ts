/**
 * /livez and /readyz as decisions over snapshots. Neither looks at sinks: the gateway exists
 * to bridge their outages, and an orchestrator that restarted it or took it out of service would
 * only add to one.
 *
 * That the event loop turns is shown by the answer itself: a probe's time-out is the other half of
 * /livez.
 */
import type { Health } from '../ports/status.ts'
import type { BrokerSnapshot, SpoolSnapshot } from './sources.ts'

/**
 * A commit takes milliseconds, on a worn-out card with a full queue some seconds. One that runs
 * this long will not end.
 */
export const WEDGED_AFTER_SECONDS = 120

/**
 * Would a restart help? Only if a commit hangs. `storage-failed` is not such a case: the spool
 * tries to reopen every 5 s by itself, and a restart would only lose what it holds in memory.
 */
export function liveness(spool: SpoolSnapshot): Health {
  const running = spool.commitRunningSeconds
  if (running === null || running < WEDGED_AFTER_SECONDS) return { ok: true, reasons: [] }
  return {
    ok: false,
    reasons: [`a commit has been running for ${Math.floor(running)} s: the disk does not answer`],
  }
}

/** Are new messages taken, and acknowledged once they are durable? */
export function readiness(broker: BrokerSnapshot, spool: SpoolSnapshot): Health {
  const reasons: string[] = []
  if (broker.traffic.leaving) reasons.push('the gateway leaves: it takes no more devices')
  else if (!broker.traffic.accepting)
    reasons.push('the broker does not accept messages: it is starting or stopping')
  if (spool.state !== 'ok')
    reasons.push(`the spool is ${spool.state}${spool.why === null ? '' : `: ${spool.why}`}`)
  return { ok: reasons.length === 0, reasons }
}
