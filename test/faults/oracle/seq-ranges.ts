/** A set of whole numbers kept as ranges: what gaps cover, without a member each. Pure. */

export class SeqRanges {
  /** Ascending, apart from each other by at least one. */
  readonly #ranges: Array<readonly [first: number, last: number]> = []

  /** How many numbers it holds. */
  get size(): number {
    return this.#ranges.reduce((sum, [first, last]) => sum + last - first + 1, 0)
  }

  add(first: number, last: number): void {
    if (last < first) return
    let from = this.#firstEndingAt(first - 1)
    let low = first
    let high = last
    const start = from
    for (; ; from++) {
      const range = this.#ranges[from]
      if (range === undefined || range[0] > last + 1) break
      low = Math.min(low, range[0])
      high = Math.max(high, range[1])
    }
    this.#ranges.splice(start, from - start, [low, high])
  }

  has(seq: number): boolean {
    return this.overlap(seq, seq) !== null
  }

  /** The lowest number of the range that it holds, or null. */
  overlap(first: number, last: number): number | null {
    const range = this.#ranges[this.#firstEndingAt(first)]
    return range !== undefined && range[0] <= last ? Math.max(first, range[0]) : null
  }

  /** Index of the first range that ends at the number or behind it. */
  #firstEndingAt(seq: number): number {
    let low = 0
    let high = this.#ranges.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#ranges[middle]?.[1] ?? 0) < seq) low = middle + 1
      else high = middle
    }
    return low
  }
}
