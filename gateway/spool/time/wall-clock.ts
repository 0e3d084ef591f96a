/**
 * What records say while the wall clock is known to be unset. Those from before it is set say so
 * and carry the boot and the time since it, so that a receiver can date them later; they are never
 * rewritten (ingest contract: `clock`, `bootId`, `uptimeMs`).
 */
import { uptime } from 'node:os'
import { isClockSet } from '../../shared/clock.ts'
import { unsetClockBytes } from '../codec/record.ts'
import { bootId } from '../disk/folder.ts'

/** Of this boot, read once: while the clock is unset it goes into every record. */
const BOOT_ID = bootId() ?? 'unknown'

/**
 * The members of a record that was received at this time; null: the clock is set, as far as one can
 * know. `arrivedMs`: the same instant by `performance.now`.
 */
export function clockMembers(receivedAtMs: number, arrivedMs: number): Uint8Array | null {
  if (isClockSet(receivedAtMs)) return null
  const waitedMs = Math.max(0, performance.now() - arrivedMs)
  return unsetClockBytes(BOOT_ID, Math.max(0, uptime() * 1000 - waitedMs))
}
