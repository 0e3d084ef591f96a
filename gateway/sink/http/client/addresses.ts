/**
 * The addresses of a sink's name, in the order in which they are worth a try: families in turn, and
 * those that lately led to nothing last. One lookup at a time: one that hangs holds a thread that
 * the spool's fsync wants.
 */
import { lookup as lookupName } from 'node:dns/promises'
import { isIP } from 'node:net'

export interface Address {
  readonly address: string
  readonly family: 4 | 6
}

export type Lookup = (hostname: string) => Promise<readonly Address[]>

/** How long an address that led to nothing is tried behind the others, ms. */
export const SUSPECT_MS = 600_000

export class Addresses {
  readonly #hostname: string
  readonly #lookup: Lookup
  readonly #nowMs: () => number
  /** Address -> when it failed. */
  readonly #suspects = new Map<string, number>()
  #pending: Promise<readonly Address[]> | null = null

  /** @param nowMs monotonic */
  constructor(
    hostname: string,
    lookup: Lookup = systemLookup,
    nowMs: () => number = () => performance.now(),
  ) {
    this.#hostname = hostname
    this.#lookup = lookup
    this.#nowMs = nowMs
  }

  /** At least one; asked anew each time. @throws when the name is not known */
  async find(): Promise<Address[]> {
    const family = isIP(this.#hostname)
    if (family !== 0) return [{ address: this.#hostname, family: family === 4 ? 4 : 6 }]
    this.#pending ??= this.#lookup(this.#hostname).finally(() => {
      this.#pending = null
    })
    return this.#sort(await this.#pending)
  }

  /** It led to nothing: the others come first for a while. */
  suspect(address: Address): void {
    this.#suspects.set(address.address, this.#nowMs())
  }

  /** It works. */
  trust(address: Address): void {
    this.#suspects.delete(address.address)
  }

  #sort(found: readonly Address[]): Address[] {
    const now = this.#nowMs()
    for (const [address, at] of this.#suspects) {
      if (now - at >= SUSPECT_MS) this.#suspects.delete(address)
    }
    const at = (one: Address): number => this.#suspects.get(one.address) ?? -1
    // The sort is stable: among those of one age the order of the lookup stays.
    return inTurn(found).sort((a, b) => at(a) - at(b))
  }
}

/** The families alternate (RFC 8305, section 4), beginning with that of the first address. */
function inTurn(found: readonly Address[]): Address[] {
  const first = found.filter(({ family }) => family === found[0]?.family)
  const second = found.filter(({ family }) => family !== found[0]?.family)
  return Array.from({ length: Math.max(first.length, second.length) }, (_, n) => [
    first[n],
    second[n],
  ])
    .flat()
    .filter((one) => one !== undefined)
}

async function systemLookup(hostname: string): Promise<readonly Address[]> {
  const found = await lookupName(hostname, { all: true, verbatim: true })
  return found.map(({ address, family }) => ({ address, family: family === 6 ? 6 : 4 }))
}
