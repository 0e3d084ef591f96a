/**
 * Notices that two clients have one client id: each ends the other's connection [MQTT-3.1.4-2],
 * both come again, and neither gets anything done. One takeover is a device that came back before
 * its old connection was missed; a few within a minute are not. Pure but for its memory, which is
 * bounded, as outsiders choose the ids.
 */

/** So many takeovers within the window tell two clients from one whose link is bad. */
const LEAST_TAKEOVERS = 4
const WINDOW_MS = 60_000
const MAX_CLIENTS = 1_000

interface Watched {
  takeovers: number
  readonly sinceMs: number
}

export class TakeoverWatch {
  readonly #watched = new Map<string, Watched>()

  /**
   * A takeover happened, `nowMs` monotonic. Not 0: so many within the window that two clients must
   * be at it.
   */
  note(clientId: string, nowMs: number): number {
    let watched = this.#watched.get(clientId)
    if (watched === undefined || nowMs - watched.sinceMs > WINDOW_MS) {
      watched = { takeovers: 0, sinceMs: nowMs }
      this.#watched.delete(clientId)
      this.#watched.set(clientId, watched)
      const [oldest] = this.#watched.keys()
      if (this.#watched.size > MAX_CLIENTS && oldest !== undefined) this.#watched.delete(oldest)
    }
    watched.takeovers += 1
    return watched.takeovers < LEAST_TAKEOVERS ? 0 : watched.takeovers
  }
}
