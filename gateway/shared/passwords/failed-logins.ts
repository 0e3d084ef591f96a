/**
 * Who guessed wrong, and how long that keeps further guesses from being computed. Two dampers: a
 * pair of address and user waits twice as long after each wrong password in a row; an address has a
 * small budget of wrong passwords that fills up again with time. Credentials that are known to be
 * right never come here, so devices that are connected once are not locked out by a guesser behind
 * the same address. Bounded: the oldest entries are forgotten.
 */

/** The pause after the first wrong password of a pair, ms; doubled by each further one. */
const FIRST_PAUSE_MS = 1_000

/**
 * OWASP Authentication Cheat Sheet, account lockout: an exponential pause needs an upper end, or it
 * is a denial of service.
 */
const MAX_PAUSE_MS = 60_000

/**
 * Wrong passwords that an address may have at once: a plant's devices behind one address after a
 * typing error.
 */
const ADDRESS_BUDGET = 10

/** Time that gives an address one of them back, ms. */
const ADDRESS_REFILL_MS = 1_000

const MAX_ENTRIES = 10_000

interface Pair {
  inARow: number
  until: number
}

interface Budget {
  left: number
  at: number
}

export class FailedLogins {
  readonly #now: () => number
  readonly #pairs = new Map<string, Pair>()
  readonly #addresses = new Map<string, Budget>()

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /** May a password of this pair be computed now? */
  admits(address: string, user: string): boolean {
    const pair = this.#pairs.get(pairOf(address, user))
    if (pair !== undefined && this.#now() < pair.until) return false
    return this.#budget(address).left >= 1
  }

  /** Has this address guessed wrong lately? Then others go first. */
  isSuspect(address: string): boolean {
    return this.#budget(address).left < ADDRESS_BUDGET
  }

  wrong(address: string, user: string): void {
    const now = this.#now()
    const key = pairOf(address, user)
    const inARow = (this.#pairs.get(key)?.inARow ?? 0) + 1
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** (inARow - 1), MAX_PAUSE_MS)
    put(this.#pairs, key, { inARow, until: now + pause })
    const { left } = this.#budget(address)
    put(this.#addresses, address, { left: Math.max(left - 1, 0), at: now })
  }

  right(address: string, user: string): void {
    this.#pairs.delete(pairOf(address, user))
  }

  #budget(address: string): Budget {
    const now = this.#now()
    const known = this.#addresses.get(address)
    if (known === undefined) return { left: ADDRESS_BUDGET, at: now }
    return {
      left: Math.min(known.left + (now - known.at) / ADDRESS_REFILL_MS, ADDRESS_BUDGET),
      at: now,
    }
  }
}

function put<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key)
  map.set(key, value)
  if (map.size <= MAX_ENTRIES) return
  const [oldest] = map.keys()
  if (oldest !== undefined) map.delete(oldest)
}

function pairOf(address: string, user: string): string {
  return `${address} ${user}`
}
