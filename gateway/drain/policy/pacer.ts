/**
 * How fast a sink may be served: `maxBytesPerSecond`, and the spread of many gateways that come
 * back at once. Pure: times in, times out. ms by the monotonic clock.
 */
export class Pacer {
  readonly #maxBytesPerSecond: number | null
  #readyAtMs = Number.NEGATIVE_INFINITY

  /** null: no limit. Bytes are those of request bodies as they are sent. */
  constructor(maxBytesPerSecond: number | null) {
    this.#maxBytesPerSecond = maxBytesPerSecond
  }

  /**
   * A request of so many bytes begins: the next one has to wait until they are paid for. Repeats
   * count.
   */
  sent(bytes: number, nowMs: number): void {
    if (this.#maxBytesPerSecond === null) return
    this.#readyAtMs = Math.max(nowMs, this.#readyAtMs) + (bytes * 1000) / this.#maxBytesPerSecond
  }

  /** No request begins sooner. */
  get readyAtMs(): number {
    return this.#readyAtMs
  }
}

/** A random share of `recoveryJitterMs`. */
export function recoveryDelayMs(recoveryJitterMs: number, random: () => number): number {
  return random() * recoveryJitterMs
}
