/**
 * A bounded random walk: what a slow physical value looks like when it is sampled, and what it
 * costs deflate.
 */
import type { Random } from '../random.ts'

interface WalkOptions {
  readonly low: number
  readonly high: number
  /** Deviation of one step. */
  readonly step: number
  /** Share of the distance to the middle of the bounds that one step goes back; 0: a free walk. */
  readonly pull?: number
}

export class Walk {
  readonly #random: Random
  readonly #options: WalkOptions
  #value: number

  constructor(random: Random, options: WalkOptions) {
    this.#random = random
    this.#options = options
    this.#value = random.between(
      options.low + (options.high - options.low) * 0.3,
      options.low + (options.high - options.low) * 0.7,
    )
  }

  /** One step; bounces off the bounds. */
  next(): number {
    const { low, high, step, pull = 0 } = this.#options
    let value = this.#value + this.#random.normal() * step + ((low + high) / 2 - this.#value) * pull
    if (value < low) value = Math.min(high, 2 * low - value)
    if (value > high) value = Math.max(low, 2 * high - value)
    this.#value = value
    return value
  }
}
