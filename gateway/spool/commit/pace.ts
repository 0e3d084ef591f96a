/**
 * When the next commit may begin: a pure decision. Load is committed in large blocks, a quiet box
 * sees the latency of one fsync, and a steady trickle does not wear out the flash (an append of a
 * few hundred bytes costs 4 to 6 KB of disk writes). A token bucket of small commits
 * (`commitBurst`, one more per `commitInterval`) tells them apart.
 *
 * How large a commit may grow is learned from what comes. Devices that publish on whatever is
 * acknowledged cost least in few large commits; devices that wait for their acks would wait for the
 * interval, each time and in vain. So a commit of FULL_COMMIT_BYTES goes on to grow, and begins
 * when nothing came for STALL_MS; then the next ones do not wait for more until EAGER_MS have
 * passed.
 */

/** Pending bytes from which a commit is worth its disk writes: it takes nothing from the budget. */
export const FULL_COMMIT_BYTES = 64 * 1024
/** Pending bytes for each stream that has any, at which a commit does not wait. */
export const LARGE_COMMIT_BYTES = 128 * 1024
/** Pending bytes of all streams at which a commit does not wait. */
export const MAX_WAITING_BYTES = 1024 * 1024
/** A full commit to which so long nothing is added begins, ms. */
export const STALL_MS = 10
/** So long full commits do not wait for more, once one did in vain, ms. */
export const EAGER_MS = 1_000

export interface PaceOptions {
  readonly commitIntervalMs: number
  readonly commitBurst: number
}

export class Pace {
  #options: PaceOptions
  #tokens: number
  /** Up to here tokens were earned. */
  #earnedMs: number
  #lastBeginMs = Number.NEGATIVE_INFINITY
  #stalledMs = Number.NEGATIVE_INFINITY
  #isEager = false

  constructor(options: PaceOptions, nowMs: number) {
    this.#options = options
    this.#tokens = options.commitBurst
    this.#earnedMs = nowMs
  }

  /** From now on. What is left of the budget stays, up to the new one. */
  reconfigure(options: PaceOptions): void {
    this.#options = options
  }

  /** Pending bytes at which the next commit does not wait. `streams`: how many have any. */
  sufficientBytes(streams: number): number {
    if (this.#isEager) return FULL_COMMIT_BYTES
    return Math.min(MAX_WAITING_BYTES, LARGE_COMMIT_BYTES * Math.max(1, streams))
  }

  /** ms until a commit may begin; 0: now. `nowMs` is monotonic. */
  delayMs(pendingBytes: number, streams: number, nowMs: number): number {
    if (pendingBytes >= this.sufficientBytes(streams) || this.#budget(nowMs) >= 1) return 0
    return Math.max(0, this.#lastBeginMs + this.#options.commitIntervalMs - nowMs)
  }

  /** A full commit waited for STALL_MS, and nothing came: it is to begin. */
  stalled(nowMs: number): void {
    this.#stalledMs = nowMs
  }

  /** A commit begins. */
  begin(pendingBytes: number, nowMs: number): void {
    // At the interval it may be 0.999...: a token all the same, or the next small commit would come
    // at once. Load earns none: they would be spent on small commits between the full ones.
    if (pendingBytes < FULL_COMMIT_BYTES) this.#tokens = Math.max(0, this.#budget(nowMs) - 1)
    this.#earnedMs = nowMs
    this.#lastBeginMs = nowMs
    this.#isEager = nowMs < this.#stalledMs + EAGER_MS
  }

  /** The budget of small commits is spent: a steady trickle, whose commits go by the interval. */
  get isSpent(): boolean {
    return this.#tokens < 1
  }

  #budget(nowMs: number): number {
    const earned = (nowMs - this.#earnedMs) / Math.max(1, this.#options.commitIntervalMs)
    return Math.min(this.#options.commitBurst, this.#tokens + earned)
  }
}
