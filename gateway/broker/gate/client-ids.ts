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

interface Held {
  readonly holder: Holder
  /** Monotonic ms. */
  readonly sinceMs: number
}

interface Watched {
  takeovers: number
  readonly sinceMs: number
}

export class ClientIds {
  readonly #reports: Pick<Reports, 'clientIdShared'>
  readonly #monotonicMs: () => number
  readonly #held = new Map<string, Held>()
  readonly #watched = new Map<string, Watched>()

  constructor(reports: Pick<Reports, 'clientIdShared'>, monotonicMs: () => number) {
    this.#reports = reports
    this.#monotonicMs = monotonicMs
  }

  get holders(): Holder[] {
    return [...this.#held.values()].map(({ holder }) => holder)
  }

  get count(): number {
    return this.#held.size
  }

  has(clientId: string): boolean {
    return this.#held.has(clientId)
  }

  /**
   * Makes the connection the holder of its client id. The former holder has published its will and
   * has no subscription left when this resolves. Of several that race, the last one stays.
   */
  async takeOver(holder: Holder): Promise<void> {
    const { clientId } = holder
    const former = this.#held.get(clientId)?.holder
    this.#held.set(clientId, { holder, sinceMs: this.#monotonicMs() })
    if (former === undefined) return
    this.#end(former, 'the client id connected again', holder.remoteAddress)
    // The former one may itself still wait for the one that it took over from.
    await within(former.gone, TAKEOVER_GRACE_MS)
  }

  /**
   * The client connected to another gateway: ends the connection that has held its id since before
   * that moment. Resolves when nothing of it is left; null: there is none.
   */
  endOlder(clientId: string, beforeMs: number, gateway: string): Promise<void> | null {
    const held = this.#held.get(clientId)
    if (held === undefined || held.sinceMs >= beforeMs) return null
    const { holder } = held
    const where = `gateway ${gateway}`
    this.#end(holder, `the client id connected to ${where}`, where)
    return holder.gone
  }

  /** Nothing of it is left: the client id is free, unless another connection holds it by now. */
  release(holder: Holder): void {
    const { clientId } = holder
    if (this.#held.get(clientId)?.holder === holder) this.#held.delete(clientId)
  }

  #end(former: Holder, detail: string, by: string): void {
    const { clientId, remoteAddress } = former
    former.close('takeover', detail)
    const takeovers = this.#count(clientId)
    if (takeovers < LEAST_TAKEOVERS) return
    this.#reports.clientIdShared(clientId, [...new Set([remoteAddress, by])], takeovers)
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
