/**
 * How large a batch a sink takes, learned from its word that one was too large, and from refusals
 * of batches whose pieces it all took. Kept across restarts (the caller stores it). It grows back
 * slowly, because each try beyond a real limit costs a request, and ever faster the longer nothing
 * is too large, because the limit may have been lifted. Pure.
 */

/** One step of growth is not sooner after the last one than this. */
const GROWTH_INTERVAL_MS = 30_000
/**
 * The first step after a batch was too large adds this share, each further one twice as much, at
 * most all of it.
 */
const FIRST_GROWTH = 1 / 64
/** Below this only single records are sent, whatever their size. */
const FLOOR_BYTES = 256

/** What is only inferred is never taken for less than this. */
const INFERRED_FLOOR_BYTES = 4096

export class LearnedLimit {
  readonly #maxBytes: number
  #bytes: number | null
  #grownAtMs = Number.NEGATIVE_INFINITY
  #growth = FIRST_GROWTH

  /**
   * Uncompressed bytes. `maxBytes`: the configured limit; `bytes`: what was learned before, or null.
   */
  constructor(maxBytes: number, bytes: number | null) {
    this.#maxBytes = maxBytes
    this.#bytes = bytes !== null && bytes > 0 && bytes < maxBytes ? bytes : null
  }

  /** What a batch may hold now. */
  get maxBytes(): number {
    return this.#bytes ?? this.#maxBytes
  }

  /** What is to be remembered; null: the configured limit is in force. */
  get learnedBytes(): number | null {
    return this.#bytes
  }

  /** A batch of so many bytes was too large. */
  shrink(rawBytes: number, nowMs: number): void {
    this.#bytes = Math.min(this.maxBytes, Math.max(FLOOR_BYTES, Math.floor(rawBytes / 2)))
    this.#grownAtMs = nowMs
    this.#growth = FIRST_GROWTH
  }

  /**
   * A larger batch was refused, and each piece of it was taken: it was its size. The largest piece
   * had so many bytes.
   */
  passes(rawBytes: number, nowMs: number): void {
    this.#bytes = Math.min(this.maxBytes, Math.max(INFERRED_FLOOR_BYTES, rawBytes))
    this.#grownAtMs = nowMs
    this.#growth = FIRST_GROWTH
  }

  /**
   * A batch of so many bytes was acked. Only one that used at least half of the limit says anything
   * about it.
   */
  accepted(rawBytes: number, nowMs: number): void {
    if (this.#bytes === null || rawBytes < this.#bytes / 2) return
    if (nowMs - this.#grownAtMs < GROWTH_INTERVAL_MS) return
    this.#grownAtMs = nowMs
    const grown = Math.ceil(this.#bytes * (1 + this.#growth))
    this.#growth = Math.min(1, this.#growth * 2)
    this.#bytes = grown < this.#maxBytes ? grown : null
  }
}
