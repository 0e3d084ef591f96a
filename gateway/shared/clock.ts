/**
 * Is the wall clock known to be unset? Boxes without a battery start in 1970 and jump when the
 * network is there.
 */

/** No release of this program is older: a clock that shows less was never set. */
export const CLOCK_FLOOR_MS = Date.UTC(2026, 0, 1)

export function isClockSet(nowMs: number): boolean {
  return nowMs >= CLOCK_FLOOR_MS
}
