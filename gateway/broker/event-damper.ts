/**
 * Lets one event per key and minute through and counts the others. For events whose key an outsider
 * may choose: beyond the bound of keys, all further ones share one, so inventing keys makes the
 * damper stricter, never larger.
 */
import { DAMPING_WINDOW_MS, Damping } from '../shared/time/damping.ts'

const OVERFLOW_KEY = '\u0000overflow'

export class EventDamper {
  readonly #now: () => number
  readonly #damping = new Damping<null>()
  #sweptAt = 0

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /**
   * null: stay silent. A number: emit, and say that so many of this key were left out since the
   * last one.
   */
  pass(key: string): number | null {
    const now = this.#now()
    // Only when there is need: a key that is forgotten loses the number of those that were left
    // out.
    if (!this.#damping.hasRoomFor(key) && now - this.#sweptAt >= DAMPING_WINDOW_MS) {
      this.#sweptAt = now
      this.#damping.sweep(now)
    }
    const { pass, suppressed } = this.#damping.admit(key, OVERFLOW_KEY, null, now)
    return pass ? suppressed : null
  }
}
