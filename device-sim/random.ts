/**
 * Seeded random numbers: one seed reproduces one run. Every decision has a stream of its own,
 * derived from the seed and a label, so that one device's timing never shifts what another device
 * decides. Not for anything secret.
 */

const TWO_32 = 0x1_0000_0000

/**
 * 32-bit hash of a label (FNV-1a, then murmur3's finaliser): turns names into seeds that have
 * nothing in common.
 */
function hashLabel(label: string): number {
  let hash = 0x811c9dc5
  for (let index = 0; index < label.length; index++) {
    hash = Math.imul(hash ^ label.charCodeAt(index), 0x01000193)
  }
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** xoshiro128** (Blackman, Vigna 2018), its state filled by splitmix32. */
export class Random {
  #a: number
  #b: number
  #c: number
  #d: number
  #spareNormal: number | null = null

  /** Same seed and label, same numbers. */
  constructor(seed: number | string, label = '') {
    let state = hashLabel(`${seed}/${label}`)
    const splitmix = (): number => {
      state = (state + 0x9e3779b9) | 0
      let z = state
      z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
      z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
      return z ^ (z >>> 15)
    }
    this.#a = splitmix()
    this.#b = splitmix()
    this.#c = splitmix()
    this.#d = splitmix() | 1
  }

  /** From 0 to 2^32-1. */
  uint32(): number {
    const five = Math.imul(this.#b, 5)
    const result = Math.imul((five << 7) | (five >>> 25), 9) >>> 0
    const shifted = this.#b << 9
    this.#c ^= this.#a
    this.#d ^= this.#b
    this.#b ^= this.#c
    this.#a ^= this.#d
    this.#c ^= shifted
    this.#d = (this.#d << 11) | (this.#d >>> 21)
    return result
  }

  /** From 0 up to, not including, 1. */
  next(): number {
    return this.uint32() / TWO_32
  }

  /** A whole number from 0 up to, not including, `bound`. */
  below(bound: number): number {
    return Math.floor(this.next() * bound)
  }

  between(low: number, high: number): number {
    return low + this.next() * (high - low)
  }

  /** True in a share `probability` of the calls; always takes exactly one number. */
  chance(probability: number): boolean {
    return this.next() < probability
  }

  /** Mean 0, deviation 1 (Marsaglia's polar method). */
  normal(): number {
    if (this.#spareNormal !== null) {
      const spare = this.#spareNormal
      this.#spareNormal = null
      return spare
    }
    for (;;) {
      const u = this.next() * 2 - 1
      const v = this.next() * 2 - 1
      const s = u * u + v * v
      if (s === 0 || s >= 1) continue
      const factor = Math.sqrt((-2 * Math.log(s)) / s)
      this.#spareNormal = v * factor
      return u * factor
    }
  }

  /** Time to the next event of a Poisson process. `perMs` events a ms; Infinity for 0. */
  exponential(perMs: number): number {
    const unit = -Math.log(1 - this.next())
    return perMs > 0 ? unit / perMs : Number.POSITIVE_INFINITY
  }
}
