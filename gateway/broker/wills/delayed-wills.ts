/**
 * Wills that wait for their Will Delay Interval (MQTT 5, section 3.1.3.2.2): published when that has
 * passed or the session ends, whichever comes first, and not at all if the session goes on before
 * [MQTT-3.1.3-9]. Each stays stored meanwhile: a start publishes what an earlier run left.
 *
 * Bounded by the sessions, of which each has one at most, and by what a CONNECT may hold.
 */

interface DelayedWill {
  readonly publish: () => void
  /** It will never be published: its stored copy may go. */
  readonly discard: () => void
}

interface Waiting extends DelayedWill {
  readonly timer: NodeJS.Timeout
}

/** A timer takes no more; 24.8 days. */
const MAX_TIMER_MS = 2_147_483_647

export class DelayedWills {
  readonly #waiting = new Map<string, Waiting>()

  get count(): number {
    return this.#waiting.size
  }

  has(clientId: string): boolean {
    return this.#waiting.has(clientId)
  }

  add(clientId: string, delayMs: number, will: DelayedWill): void {
    const due = (): void => this.sessionEnded(clientId)
    const timer = setTimeout(due, Math.min(delayMs, MAX_TIMER_MS)).unref()
    this.#waiting.set(clientId, { timer, ...will })
  }

  /** The session goes on: its will is not published. */
  sessionResumed(clientId: string): void {
    this.#take(clientId)?.discard()
  }

  /** The session is over: its will is due. */
  sessionEnded(clientId: string): void {
    this.#take(clientId)?.publish()
  }

  /** The gateway stops: what waits is published by the next start. */
  stop(): void {
    for (const clientId of this.#waiting.keys()) this.#take(clientId)
  }

  #take(clientId: string): Waiting | undefined {
    const delayed = this.#waiting.get(clientId)
    if (delayed === undefined) return undefined
    clearTimeout(delayed.timer)
    this.#waiting.delete(clientId)
    return delayed
  }
}
