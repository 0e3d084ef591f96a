/**
 * One device: what is remembered of it. A plain record, whose owner is the table; connections and
 * the silence watch write into it.
 */
import type { DeviceRefusal } from '../ports/devices.ts'

/** How long a message counts for the rate: after this time, as 1/e of one. */
const RATE_WINDOW_MS = 60_000

export class Device {
  readonly id: string
  readonly firstSeenAtMs: number
  /** Wall clock: for people. */
  lastSeenAtMs: number
  /** Wall clock; null: no message is known. */
  lastMessageAtMs: number | null = null
  /** What the table orders by, whatever the wall clock does. */
  seen: number
  /** False: it gave way to another one. */
  isListed = true
  /** Connections that are open: two for a moment, when one takes over from the other. */
  connections = 0
  messages = 0
  lastTopic: string | null = null
  lastRefusal: DeviceRefusal | null = null
  /** Of each stream that has told of its silence, its last message; null: there is none. */
  silences: Map<string, number> | null = null
  #rate = 0
  /** Monotonic. */
  #rateAtMs = 0

  constructor(id: string, firstSeenAtMs: number, seen: number) {
    this.id = id
    this.firstSeenAtMs = firstSeenAtMs
    this.lastSeenAtMs = firstSeenAtMs
    this.seen = seen
  }

  get isSilent(): boolean {
    return this.silences !== null && this.silences.size > 0
  }

  /** The earliest; null: it is not silent. */
  get silentSinceMs(): number | null {
    return this.isSilent ? Math.min(...this.silences!.values()) : null
  }

  /** So many messages came since it was last counted. `nowMs`: monotonic. */
  count(messages: number, nowMs: number): void {
    this.#rate = this.messagesPerMinute(nowMs) + messages
    this.#rateAtMs = nowMs
    this.messages += messages
  }

  /** Messages of about the last minute. `nowMs`: monotonic. */
  messagesPerMinute(nowMs: number): number {
    if (this.#rate === 0) return 0
    return this.#rate * Math.exp((this.#rateAtMs - nowMs) / RATE_WINDOW_MS)
  }
}
