/**
 * What a client may receive by the access rules: looked at for every copy, since a subscription may
 * be granted of which only a part may be received, rules may have changed since, and a session may
 * have been stored under others. Where a filter is allowed as a whole, and no rule has changed, that
 * costs nothing.
 */
import type { Principal } from '../auth/principal.ts'

export class ReceiveRights {
  readonly #principal: Principal
  /** Of the rules by which filters were granted; a filter of other rules was not judged by these. */
  #version: number | null = null
  /** Some topics of a granted filter may not be received. */
  #isPartial = false

  constructor(principal: Principal) {
    this.#principal = principal
  }

  /** May it have this filter? Asked when it gets it. */
  mayHold(filter: string): boolean {
    const principal = this.#principal
    if (!principal.maySubscribe(filter)) return false
    const { version } = principal
    this.#version ??= version
    if (version !== this.#version || !principal.mayReceiveAll(filter)) this.#isPartial = true
    return true
  }

  mayReceive(topic: string): boolean {
    const principal = this.#principal
    const isUnchecked = !this.#isPartial && this.#version === principal.version
    return isUnchecked || principal.mayReceive(topic)
  }
}
