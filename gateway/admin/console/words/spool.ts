/** How the spool stands, and what a check of it found. Pure. */
import type { VerifyReport } from '../../../ports/operator.ts'
import type { SpoolStatus } from '../../../ports/status.ts'
import { count, counted, hours, plainLine } from '../../../shared/text/words.ts'
import { msOf, since } from './times.ts'

/** `read-only since 14:02 (38 min): …`; what the check after the start found. */
export function spoolText({ state, since: at, why, verified }: SpoolStatus, nowMs: number): string {
  const sinceMs = msOf(at)
  if (state !== 'ok')
    return `${state}${sinceMs === null ? '' : ` ${since(sinceMs, nowMs)}`}${why === null ? '' : `: ${plainLine(why)}`}`
  if (verified === null) return 'ok; the check after the start still runs'
  return verified
    ? 'ok; every block was found after the start'
    : 'ok; blocks were missing after the start'
}

/**
 * Of a forecast: null is not filling, or not known yet, which it may be for minutes after delivery
 * stopped.
 */
export function untilFullText(hoursUntilFull: number | null, isDelivering: boolean): string {
  if (hoursUntilFull !== null) return `about ${hours(hoursUntilFull)}`
  return isDelivering ? 'not filling' : 'no forecast yet'
}

export function checkText({ blocks, missing, damage }: VerifyReport): string {
  if (missing === 0 && damage.length === 0) return `${counted(blocks, 'block')} read, all whole.`
  return `${counted(blocks, 'block')} read, ${count(missing)} missing or damaged.`
}
