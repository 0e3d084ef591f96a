/**
 * How long things took, counted in buckets: plain numbers that a hot path adds to and observe reads
 * at scrape. Nothing is allocated or looked up by an observation.
 */
export class LatencyHistogram {
  /** Upper bounds, rising, seconds. */
  readonly bucketsSeconds: readonly number[]
  /**
   * Not cumulative: `counts[i]` took at most `bucketsSeconds[i]` and more than the bound before;
   * the last is the rest.
   */
  readonly counts: number[]
  sumSeconds = 0
  count = 0

  constructor(bucketsSeconds: readonly number[]) {
    this.bucketsSeconds = bucketsSeconds
    this.counts = Array.from({ length: bucketsSeconds.length + 1 }, () => 0)
  }

  /** `times` observations of the same duration. */
  observe(seconds: number, times = 1): void {
    const { bucketsSeconds, counts } = this
    let bucket = 0
    while (bucket < bucketsSeconds.length && seconds > bucketsSeconds[bucket]!) bucket += 1
    counts[bucket] = counts[bucket]! + times
    this.sumSeconds += seconds * times
    this.count += times
  }
}
