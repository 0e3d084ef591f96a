/**
 * Damping of what repeats itself, events where they are emitted and lines of the log: the same key
 * passes once a minute, then with the number of those held back. When a key falls quiet, the sweep
 * hands out the last one that was held back (I9). Pure but for its memory, which is bounded: keys may hold client ids,
 * addresses and topics, and outsiders choose those.
 */

export const DAMPING_WINDOW_MS = 60_000

/** Beyond, new keys share one that the caller names. */
export const MAX_KEYS = 1_000

interface Admission {
  readonly pass: boolean
  /** Of this key held back since the last one that passed. */
  readonly suppressed: number
}

interface Leftover<T> {
  /** The last one that was held back: it passes now. */
  readonly last: T
  /** Held back besides it. */
  readonly suppressed: number
}

interface Entry<T> {
  windowEndMs: number
  suppressed: number
  last: T
}

/** `T` is what the caller wants back of the last one that was held back. */
export class Damping<T> {
  readonly #entries = new Map<string, Entry<T>>()

  /** False: this key would share the overflow key. */
  hasRoomFor(key: string): boolean {
    return this.#entries.size < MAX_KEYS || this.#entries.has(key)
  }

  /**
   * May this one pass now? `nowMs` is monotonic; `overflowKey` stands in when there are too many
   * keys.
   */
  admit(key: string, overflowKey: string, one: T, nowMs: number): Admission {
    let entry = this.#entries.get(key)
    if (entry === undefined && this.#entries.size >= MAX_KEYS)
      entry = this.#entries.get(overflowKey)
    if (entry === undefined) {
      const full = this.#entries.size >= MAX_KEYS
      this.#entries.set(full ? overflowKey : key, {
        windowEndMs: nowMs + DAMPING_WINDOW_MS,
        suppressed: 0,
        last: one,
      })
      return { pass: true, suppressed: 0 }
    }
    entry.last = one
    if (nowMs < entry.windowEndMs) {
      entry.suppressed++
      return { pass: false, suppressed: 0 }
    }
    const { suppressed } = entry
    entry.suppressed = 0
    entry.windowEndMs = nowMs + DAMPING_WINDOW_MS
    return { pass: true, suppressed }
  }

  /** Forgets keys whose minute is over, and returns what is left of those that held one back. */
  sweep(nowMs: number): Leftover<T>[] {
    const leftovers: Leftover<T>[] = []
    for (const [key, entry] of this.#entries) {
      if (nowMs < entry.windowEndMs) continue
      this.#entries.delete(key)
      const { last, suppressed } = entry
      if (suppressed > 0) leftovers.push({ last, suppressed: suppressed - 1 })
    }
    return leftovers
  }
}
