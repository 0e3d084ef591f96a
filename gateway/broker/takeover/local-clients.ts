/** What is here of a client that connected to another gateway: its connection, or a will that waits. */
import type { ClientIds } from '../gate/client-ids.ts'
import type { DelayedWills } from '../wills/delayed-wills.ts'

/** A client is elsewhere now. */
export interface Elsewhere {
  readonly clientId: string
  /** What was here before that moment is older, monotonic ms. */
  readonly beforeMs: number
  /** It asked for the session that it had. */
  readonly goesOn: boolean
  /** Where, for people. */
  readonly gateway: string
}

export class LocalClients {
  readonly #clientIds: ClientIds
  readonly #delayedWills: DelayedWills

  constructor(clientIds: ClientIds, delayedWills: DelayedWills) {
    this.#clientIds = clientIds
    this.#delayedWills = delayedWills
  }

  get count(): number {
    return this.#clientIds.count + this.#delayedWills.count
  }

  knows(clientId: string): boolean {
    return this.#clientIds.has(clientId) || this.#delayedWills.has(clientId)
  }

  /** False: there is no older connection of it, and one that is younger stays. */
  end(elsewhere: Elsewhere): boolean {
    const { clientId, beforeMs, gateway } = elsewhere
    const gone = this.#clientIds.endOlder(clientId, beforeMs, gateway)
    if (gone === null) this.#settleWill(elsewhere)
    else void gone.then(() => this.#settleWill(elsewhere))
    return gone !== null
  }

  /** As a connection here would, that goes on with the session or begins another one. */
  #settleWill({ clientId, goesOn }: Elsewhere): void {
    if (this.#clientIds.has(clientId)) return
    if (goesOn) this.#delayedWills.sessionResumed(clientId)
    else this.#delayedWills.sessionEnded(clientId)
  }
}
