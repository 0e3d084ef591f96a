/**
 * The wills of connected clients, stored from their CONNACK until they were published or discarded:
 * a will that is there at the start belongs to a client that never said goodbye to an earlier run.
 * When a will is due, and what becomes of it, is the business of `wills.ts`.
 */
import type { KeyedStore } from '../../ports/appender.ts'
import type { DurableTickets } from '../durable-tickets.ts'
import { decodeWill, encodeWill, type StoredWill } from '../sessions/stored-values.ts'

interface RecoveredWill extends StoredWill {
  readonly clientId: string
}

export class StoredWills {
  readonly #store: KeyedStore
  readonly #durable: DurableTickets
  readonly #clientIds = new Set<string>()
  readonly #recovered: RecoveredWill[] = []

  constructor(store: KeyedStore, durable: DurableTickets) {
    this.#store = store
    this.#durable = durable
  }

  async load(onUnreadable: (key: string, error: unknown) => void): Promise<void> {
    for (const [clientId, bytes] of await this.#store.entries()) {
      try {
        this.#recovered.push({ clientId, ...decodeWill(bytes) })
        this.#clientIds.add(clientId)
      } catch (error) {
        onUnreadable(clientId, error)
      }
    }
  }

  /** Those of an earlier run. Publish each, then {@link delete} it. */
  get recovered(): readonly RecoveredWill[] {
    return this.#recovered
  }

  /** Resolves when it is durable. */
  async put(clientId: string, will: StoredWill): Promise<void> {
    this.#clientIds.add(clientId)
    await this.#durable.until(this.#store.put(clientId, encodeWill(will)))
  }

  delete(clientId: string): void {
    if (this.#clientIds.delete(clientId)) this.#store.delete(clientId)
  }
}
