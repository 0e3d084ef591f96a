/**
 * What a device may expect of the session that it left behind: that it is there, that it is gone, or
 * either. Its time without a connection counts while the gateway runs, so a start begins it anew,
 * as far as the device can tell. Pure.
 */

/** How much later than it happened a device may see that its connection ended, ms. */
const SEEN_WITHIN_MS = 500

export class DeviceSession {
  readonly #expiryMs: number
  /** An ack said that it is on disk. */
  #isStored = false
  #leftAtMs = 0

  constructor(expirySeconds: number) {
    this.#expiryMs = expirySeconds * 1_000
  }

  get isStored(): boolean {
    return this.#isStored
  }

  /** What was acknowledged at QoS 2 is in a commit with the session. */
  store(): void {
    this.#isStored = true
  }

  /** The connection is over. */
  leave(nowMs: number): void {
    this.#leftAtMs = nowMs
  }

  /**
   * Null, or what is wrong. `askedAtMs`: when the CONNECT left; `upSinceMs`: the gateway has run
   * since then, for sure.
   */
  resume(isPresent: boolean, askedAtMs: number, upSinceMs: number): string | null {
    if (!this.#isStored) return null
    const mostAwayMs = askedAtMs - this.#leftAtMs + SEEN_WITHIN_MS
    const leastAwayMs = askedAtMs - Math.max(this.#leftAtMs, upSinceMs)
    this.#isStored = isPresent
    if (!isPresent && mostAwayMs < this.#expiryMs)
      return `I3: the gateway has lost its session, ${mostAwayMs.toFixed(0)} ms old at most`
    if (isPresent && leastAwayMs >= this.#expiryMs)
      return `its session is there after ${leastAwayMs.toFixed(0)} ms without it [MQTT-4.1.0-2]`
    return null
  }
}
