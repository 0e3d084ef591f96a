/**
 * One timer for a whole fleet: a heap of what is due when. Thousands of devices cost one
 * setTimeout.
 */

interface Entry {
  readonly atMs: number
  /** Breaks ties: what was asked for first runs first. */
  readonly turn: number
  readonly run: () => void
}

export class Schedule {
  readonly #now: () => number
  readonly #heap: Entry[] = []
  #turn = 0
  #timer: NodeJS.Timeout | null = null
  #timerAtMs = Number.POSITIVE_INFINITY
  #stopped = false

  /** @param now monotonic clock, ms */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  get nowMs(): number {
    return this.#now()
  }

  /**
   * Runs once when the clock reaches `atMs`; never for Infinity. There is no cancelling: `run`
   * looks for itself.
   */
  at(atMs: number, run: () => void): void {
    if (this.#stopped || atMs === Number.POSITIVE_INFINITY) return
    const heap = this.#heap
    const entry: Entry = { atMs, turn: this.#turn++, run }
    let index = heap.length
    heap.push(entry)
    while (index > 0) {
      const parent = (index - 1) >> 1
      const above = heap[parent]
      if (above === undefined || !before(entry, above)) break
      heap[index] = above
      index = parent
    }
    heap[index] = entry
    this.#arm()
  }

  after(ms: number, run: () => void): void {
    this.at(this.#now() + ms, run)
  }

  /** Nothing that is scheduled runs any more. */
  stop(): void {
    this.#stopped = true
    this.#heap.length = 0
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
  }

  #arm(): void {
    const first = this.#heap[0]
    if (first === undefined || first.atMs >= this.#timerAtMs) return
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timerAtMs = first.atMs
    this.#timer = setTimeout(() => this.#due(), Math.max(1, Math.ceil(first.atMs - this.#now())))
  }

  #due(): void {
    this.#timer = null
    this.#timerAtMs = Number.POSITIVE_INFINITY
    const nowMs = this.#now()
    for (;;) {
      const first = this.#heap[0]
      if (first === undefined || first.atMs > nowMs) break
      this.#pop()
      first.run()
    }
    this.#arm()
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return
    let index = 0
    for (;;) {
      let child = 2 * index + 1
      let smallest = heap[child]
      if (smallest === undefined) break
      const right = heap[child + 1]
      if (right !== undefined && before(right, smallest)) {
        child++
        smallest = right
      }
      if (!before(smallest, last)) break
      heap[index] = smallest
      index = child
    }
    heap[index] = last
  }
}

function before(a: Entry, b: Entry): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.turn < b.turn)
}
