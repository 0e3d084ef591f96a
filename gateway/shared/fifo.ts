/**
 * A first-in, first-out queue with constant cost per item, however long it is. Some of its items may
 * be expendable: the oldest of those can be taken out from between the others, for queues that drop
 * at a bound.
 */

/** Places that are done with are given back in steps of so many. */
const COMPACT_AT = 1_024

export class Fifo<T extends object> {
  readonly #isExpendable: (item: T) => boolean
  /** From `#head`; null: it was taken out. */
  #items: (T | null)[] = []
  #head = 0
  #length = 0
  #expendable = 0
  /** No expendable item stands before this place. */
  #expendableFrom = 0

  constructor(isExpendable: (item: T) => boolean = () => false) {
    this.#isExpendable = isExpendable
  }

  get length(): number {
    return this.#length
  }

  /** How many of the items are expendable. */
  get expendable(): number {
    return this.#expendable
  }

  /** The oldest item; null: it is empty. */
  get first(): T | null {
    return this.#length === 0 ? null : this.#items[this.#head]!
  }

  push(item: T): void {
    this.#items.push(item)
    this.#length += 1
    if (this.#isExpendable(item)) this.#expendable += 1
  }

  /** Takes the oldest item. */
  shift(): T | null {
    const item = this.first
    if (item === null) return null
    if (this.#isExpendable(item)) this.#expendable -= 1
    this.#take(this.#head)
    return item
  }

  /** Takes the oldest expendable item. */
  shiftExpendable(): T | null {
    if (this.#expendable === 0) return null
    let at = Math.max(this.#expendableFrom, this.#head)
    let item = this.#items[at]!
    while (item === null || !this.#isExpendable(item)) {
      at += 1
      item = this.#items[at]!
    }
    this.#expendable -= 1
    this.#expendableFrom = at + 1
    this.#take(at)
    return item
  }

  clear(): void {
    this.#items = []
    this.#head = 0
    this.#length = 0
    this.#expendable = 0
    this.#expendableFrom = 0
  }

  *[Symbol.iterator](): Generator<T> {
    for (let at = this.#head; at < this.#items.length; at += 1) {
      const item = this.#items[at]!
      if (item !== null) yield item
    }
  }

  #take(at: number): void {
    this.#length -= 1
    if (this.#length === 0) {
      this.clear()
      return
    }
    this.#items[at] = null
    while (this.#items[this.#head] === null) this.#head += 1
    const holes = this.#items.length - this.#length
    if (holes < COMPACT_AT || holes < this.#length) return
    this.#items = this.#items.filter((item) => item !== null)
    this.#head = 0
    this.#expendableFrom = 0
  }
}
