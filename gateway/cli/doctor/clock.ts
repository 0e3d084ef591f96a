/** Is the clock right, as far as this machine and the sinks can tell? Pure. */
import type { Status } from '../../ports/status.ts'
import { isClockSet } from '../../shared/clock.ts'
import { span } from '../../shared/text/words.ts'
import { type Diagnosis, problem, untold, warning, well } from './diagnosis.ts'

/** More is no network delay. */
const MOST_SKEW_SECONDS = 60

const SYNC_FIX =
  'let systemd-timesyncd or chrony set it: timedatectl set-ntp true, and open UDP port 123 to a time server'

/** `isSynchronized`: as the service that sets it says; null: nobody says. */
export function clockDiagnoses(nowMs: number, isSynchronized: boolean | null): Diagnosis[] {
  const now = new Date(nowMs).toISOString()
  const set = isClockSet(nowMs)
    ? well('clock', `it shows ${now}`)
    : problem(
        'clock',
        `it shows ${now} and was never set: records are marked "clock":"unset"`,
        `set it (date -s, hwclock -w). For good: ${SYNC_FIX}`,
      )
  if (isSynchronized === null)
    return [set, untold('clock-sync', 'neither timedatectl nor chronyc says whether it is')]
  if (isSynchronized) return [set, well('clock-sync', 'a time server sets the clock')]
  return [set, warning('clock-sync', 'no time server sets the clock: it drifts', SYNC_FIX)]
}

/** Of each sink that dated an answer. */
export function skewDiagnoses({ sinks }: Status): Diagnosis[] {
  return sinks.flatMap(({ name, clockSkewSeconds: skew }) => {
    if (skew === null) return []
    if (Math.abs(skew) <= MOST_SKEW_SECONDS)
      return [well('clock-skew', `its clock and ours agree within a minute`, name)]
    const which = skew > 0 ? 'behind' : 'ahead of'
    return [
      warning(
        'clock-skew',
        `this clock is ${span(Math.abs(skew))} ${which} that of the sink`,
        `find out which is right; ${SYNC_FIX}`,
        name,
      ),
    ]
  })
}

/** Of `timedatectl show --property=NTPSynchronized --value`. */
export function readTimedatectl(output: string): boolean | null {
  const said = output.trim()
  return said === 'yes' ? true : said === 'no' ? false : null
}

/** Of `chronyc -n tracking`. */
export function readChronyc(output: string): boolean | null {
  const said = /^Leap status\s*:\s*(.+?)\s*$/m.exec(output)?.[1]
  return said === undefined ? null : said !== 'Not synchronised'
}
