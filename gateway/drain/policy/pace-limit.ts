/**
 * How large a batch a link takes in time, learned from what tries moved and how long they took: a
 * batch is meant to take at most half of the sink's time-out, however thin the link. Kept across
 * restarts (the caller stores it). Pure.
 *
 * Only a try that took longer teaches a limit, so a fast link never has one. Whether it is the
 * bytes that take the time is seen by two tries of different size: a sink that needs as long for
 * half a batch gets whole ones. Grows back as fast as tries prove it.
 */

/** A batch is meant to take at most this share of the time-out. */
const SHARE_OF_TIMEOUT = 0.5
/** Tries whose sizes differ by less say nothing about what a byte costs. */
const APART = 1.5
/** If the bytes make less than this share of the time, smaller batches do not help. */
const SHARE_OF_BYTES = 0.25
/** Below this only single records are sent, whatever their size. */
const FLOOR_BYTES = 256

interface Seen {
  readonly bytes: number
  readonly ms: number
}

export class PaceLimit {
  readonly #maxBytes: number
  readonly #targetMs: number
  #bytes: number | null
  #last: Seen | null = null
  /** The latest one of another size than the last. */
  #other: Seen | null = null

  /**
   * Uncompressed bytes. `maxBytes`: the configured limit; `bytes`: what was learned before, or null.
   */
  constructor(maxBytes: number, timeoutMs: number, bytes: number | null) {
    this.#maxBytes = maxBytes
    this.#targetMs = timeoutMs * SHARE_OF_TIMEOUT
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

  /** A batch of so many uncompressed bytes was sent and answered within so many ms. */
  answered(bytes: number, ms: number): void {
    if (this.#last !== null && isApart(this.#last.bytes, bytes)) this.#other = this.#last
    this.#last = { bytes, ms }
    if (ms <= this.#targetMs) {
      // Only one that used at least half of the limit says anything about it.
      if (this.#bytes !== null && bytes >= this.#bytes / 2) {
        this.#set(this.#bytes * Math.min(2, this.#targetMs / Math.max(1, ms)))
      }
      return
    }
    const byBytes = this.#shareOfBytes(bytes, ms)
    if (byBytes !== null && byBytes < SHARE_OF_BYTES) this.#bytes = null
    else {
      // Half of it is a try that tells.
      const fits = byBytes === null ? bytes / 2 : Math.max(bytes / 2, (bytes * this.#targetMs) / ms)
      this.#set(Math.min(this.maxBytes, fits))
    }
  }

  /** A batch of so many was given up again, because it did not get through in time. */
  timedOut(bytes: number): void {
    this.#set(Math.min(this.maxBytes, bytes / 2))
  }

  /** Of a try's time, what its bytes cost; null: nothing to compare it with. */
  #shareOfBytes(bytes: number, ms: number): number | null {
    const other = this.#other
    if (other === null || !isApart(other.bytes, bytes)) return null
    return ((ms - other.ms) / (bytes - other.bytes)) * (bytes / ms)
  }

  #set(bytes: number): void {
    this.#bytes = bytes >= this.#maxBytes ? null : Math.max(FLOOR_BYTES, Math.floor(bytes))
  }
}

function isApart(a: number, b: number): boolean {
  return Math.max(a, b) >= APART * Math.min(a, b)
}
