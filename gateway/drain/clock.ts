/**
 * Time as the drain needs it, injected so that one seed reproduces one run. Waits are measured on
 * the monotonic clock: the wall clock of an edge box jumps when it finds a time server.
 */
import { readFileSync } from 'node:fs'

export interface Clock {
  /** ms since the epoch; may jump. For people and for the age of records. */
  wallMs(): number
  /** ms; never runs back, goes on across restarts of the process, starts anew at a boot. */
  monotonicMs(): number
  /** Differs after a reboot; null: this system does not tell. */
  readonly bootId: string | null
  /**
   * Calls `fire` once, on most systems not before `delayMs` passed: read the clock again. Returns
   * the cancel.
   */
  setTimer(delayMs: number, fire: () => void): () => void
}

/** Longest delay that Node's timers take. */
const MAX_TIMER_MS = 2 ** 31 - 1

export function systemClock(): Clock {
  return {
    wallMs: () => Date.now(),
    monotonicMs: () => Number(process.hrtime.bigint()) / 1e6,
    bootId: readBootId(),
    setTimer: (delayMs, fire) => {
      const timer = setTimeout(fire, Math.min(Math.max(0, delayMs), MAX_TIMER_MS))
      return () => clearTimeout(timer)
    },
  }
}

function readBootId(): string | null {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim() || null
  } catch {
    return null
  }
}
