/**
 * When the next commit may begin: a pure decision. Load is committed in large blocks, a quiet box sees the latency
 * of one fsync, and a steady trickle does not wear out the flash (an append of a few hundred bytes costs 4 to 6 KB of
 * disk writes). A token bucket of small commits (`commitBurst`, one more per `commitInterval`) tells them apart.
 */

/** Pending bytes at which a commit does not wait for the interval. */
export const FULL_COMMIT_BYTES = 64 * 1024

export interface PaceOptions {
  readonly commitIntervalMs: number
  readonly commitBurst: number
}

export class Pace {
  readonly #options: PaceOptions
  #tokens: number
  #lastRefillMs: number
  #lastBeginMs = Number.NEGATIVE_INFINITY

  constructor(options: PaceOptions, nowMs: number) {
    this.#options = options
    this.#tokens = options.commitBurst
    this.#lastRefillMs = nowMs
  }

  /** ms until a commit may begin; 0: now. `nowMs` is monotonic. */
  delayMs(pendingBytes: number, nowMs: number): number {
    if (pendingBytes >= FULL_COMMIT_BYTES) return 0
    this.#refill(nowMs)
    if (this.#tokens >= 1) return 0
    return Math.max(0, this.#lastBeginMs + this.#options.commitIntervalMs - nowMs)
  }

  /** A commit begins. */
  begin(pendingBytes: number, nowMs: number): void {
    this.#refill(nowMs)
    // At the interval it may be 0.999...: a token all the same, or the next small commit would come at once.
    if (pendingBytes < FULL_COMMIT_BYTES) this.#tokens = Math.max(0, this.#tokens - 1)
    this.#lastBeginMs = nowMs
  }

  /** The budget of small commits is spent: a steady trickle, whose commits go by the interval. */
  get isSpent(): boolean {
    return this.#tokens < 1
  }

  #refill(nowMs: number): void {
    const interval = Math.max(1, this.#options.commitIntervalMs)
    const earned = (nowMs - this.#lastRefillMs) / interval
    this.#lastRefillMs = nowMs
    this.#tokens = Math.min(this.#options.commitBurst, this.#tokens + earned)
  }
}
