/**
 * Which connection holds which client id. A client that connects again takes over from its old
 * connection, which is destroyed first [MQTT-3.1.4-2].
 *
 * Two clients with one id end each other's connection, come again, and get nothing done: that is
 * noticed and told. One takeover is a device that came back before its old connection was missed; a
 * few within a minute are not.
 */
import { within } from '../../shared/time/within.ts'
import type { CloseReason } from '../events.ts'
import { TAKEOVER_GRACE_MS } from '../limits.ts'
import type { Reports } from '../reports.ts'

/** So many takeovers within the window tell two clients from one whose link is bad. */
const LEAST_TAKEOVERS = 4
const WINDOW_MS = 60_000
/** Clients that are watched: outsiders choose the ids. */
const MAX_WATCHED = 1_000

export interface Holder {
  readonly clientId: string
  readonly remoteAddress: string
  /** Resolves when nothing of it is left. */
  readonly gone: Promise<void>
  close(reason: CloseReason, detail: string): void
}

interface Watched {
  takeovers: number
  readonly sinceMs: number
}

export class ClientIds {
  readonly #reports: Pick<Reports, 'clientIdShared'>
  readonly #monotonicMs: () => number
  readonly #holders = new Map<string, Holder>()
  readonly #watched = new Map<string, Watched>()

  constructor(reports: Pick<Reports, 'clientIdShared'>, monotonicMs: () => number) {
    this.#reports = reports
    this.#monotonicMs = monotonicMs
  }

  get holders(): Iterable<Holder> {
    return this.#holders.values()
  }

  /**
   * Makes the connection the holder of its client id. The former holder has published its will and
   * has no subscription left when this resolves. Of several that race, the last one stays.
   */
  async takeOver(holder: Holder): Promise<void> {
    const { clientId } = holder
    const former = this.#holders.get(clientId)
    this.#holders.set(clientId, holder)
    if (former === undefined) return
    former.close('takeover', 'the client id connected again')
    const takeovers = this.#count(clientId)
    if (takeovers >= LEAST_TAKEOVERS) {
      const addresses = [...new Set([former.remoteAddress, holder.remoteAddress])]
      this.#reports.clientIdShared(clientId, addresses, takeovers)
    }
    // The former one may itself still wait for the one that it took over from.
    await within(former.gone, TAKEOVER_GRACE_MS)
  }

  /** Nothing of it is left: the client id is free, unless another connection holds it by now. */
  release(holder: Holder): void {
    if (this.#holders.get(holder.clientId) === holder) this.#holders.delete(holder.clientId)
  }

  /** How many takeovers there were of this id within the window. */
  #count(clientId: string): number {
    const nowMs = this.#monotonicMs()
    let watched = this.#watched.get(clientId)
    if (watched === undefined || nowMs - watched.sinceMs > WINDOW_MS) {
      watched = { takeovers: 0, sinceMs: nowMs }
      this.#watched.delete(clientId)
      this.#watched.set(clientId, watched)
      const [oldest] = this.#watched.keys()
      if (this.#watched.size > MAX_WATCHED && oldest !== undefined) this.#watched.delete(oldest)
    }
    watched.takeovers += 1
    return watched.takeovers
  }
}
