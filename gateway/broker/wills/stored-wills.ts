/**
 * The wills of connected clients, stored from their CONNACK until they were published or discarded:
 * a will that is there at the start belongs to a client that never said goodbye to an earlier run.
 * When a will is due, and what becomes of it, is the business of `wills.ts`.
 */
import type { KeyedStore } from '../../ports/appender.ts'
import type { DurableTickets } from '../../ports/durable-tickets.ts'
import { decodeWill, encodeWill, type StoredWill } from '../sessions/stored-values.ts'

/** A stored will. A later one of the same client takes its place. */
export interface WillToken {
  readonly clientId: string
}

interface RecoveredWill extends StoredWill {
  readonly token: WillToken
}

export class StoredWills {
  readonly #store: KeyedStore
  readonly #durable: DurableTickets
  /** The will that the store has of each client. */
  readonly #stored = new Map<string, WillToken>()
  readonly #recovered: RecoveredWill[] = []

  constructor(store: KeyedStore, durable: DurableTickets) {
    this.#store = store
    this.#durable = durable
  }

  async load(onUnreadable: (key: string, error: unknown) => void): Promise<void> {
    for (const [clientId, bytes] of await this.#store.entries()) {
      try {
        const will = decodeWill(bytes)
        this.#recovered.push({ token: this.#note(clientId), ...will })
      } catch (error) {
        onUnreadable(clientId, error)
      }
    }
  }

  /** Those of an earlier run. Publish each, then {@link delete} it. */
  get recovered(): readonly RecoveredWill[] {
    return this.#recovered
  }

  put(clientId: string, will: StoredWill): { token: WillToken; durable: Promise<void> } {
    const ticket = this.#store.put(clientId, encodeWill(will))
    return { token: this.#note(clientId), durable: this.#durable.until(ticket) }
  }

  /** It was published, or will never be. A later one of the same client stays. */
  delete(token: WillToken): void {
    const { clientId } = token
    if (this.#stored.get(clientId) !== token) return
    this.#stored.delete(clientId)
    this.#store.delete(clientId)
  }

  #note(clientId: string): WillToken {
    const token = { clientId }
    this.#stored.set(clientId, token)
    return token
  }
}
