/**
 * What is kept for local consumers over a restart: retained messages, subscriptions and copies of
 * persistent sessions, wills. All of it is in memory for matching and in the spool's keyed values
 * for the next start; changes ride in the next commit.
 *
 * A value that cannot be read at the start is left where it is, reported, and not used (I7).
 */
import type { Appender, Ticket } from '../../ports/appender.ts'
import { DurableTickets } from '../../ports/durable-tickets.ts'
import { errorMessage } from '../../shared/errors.ts'
import type { MqttConfig } from '../config.ts'
import type { BrokerEvent, EmitBrokerEvent } from '../events.ts'
import { SessionCopies } from '../sessions/session-copies.ts'
import type { QueueLimits } from '../sessions/session-queues.ts'
import { SubscriptionTable } from '../sessions/stored-subscriptions.ts'
import type { ConsumerStateStats } from '../stats.ts'
import { StoredWills } from '../wills/stored-wills.ts'
import type { DeliveryOrder } from './delivery-order.ts'
import { type RetainedLimits, RetainedMessages } from './retained/retained-messages.ts'

type ConsumerLimits = RetainedLimits & QueueLimits & Pick<MqttConfig, 'maxSubscriptions'>
type Store = Pick<Appender, 'keyed' | 'durableTicket' | 'onDurable'>
type StoredSpace = Extract<BrokerEvent, { type: 'broker.stored-state-unreadable' }>['space']

export class ConsumerState {
  readonly retained: RetainedMessages
  readonly subscriptions: SubscriptionTable
  readonly copies: SessionCopies
  readonly wills: StoredWills
  readonly #durable: DurableTickets

  private constructor(
    store: Store,
    limits: ConsumerLimits,
    order: DeliveryOrder,
    emit: EmitBrokerEvent,
  ) {
    this.retained = new RetainedMessages(store.keyed('retained'), limits, order, emit)
    store.onDurable((ticket) => this.retained.durable(ticket))
    this.#durable = new DurableTickets(store)
    const { maxSubscriptions } = limits
    const subscriptions = store.keyed('subscriptions')
    this.subscriptions = new SubscriptionTable(subscriptions, this.#durable, maxSubscriptions)
    const copies = store.keyed('copies')
    this.copies = new SessionCopies(copies, limits, this.subscriptions, this.#durable, emit)
    this.wills = new StoredWills(store.keyed('wills'), this.#durable)
  }

  /** Takes up what the earlier run left. */
  static async load(
    store: Store,
    limits: ConsumerLimits,
    order: DeliveryOrder,
    emit: EmitBrokerEvent,
  ): Promise<ConsumerState> {
    const state = new ConsumerState(store, limits, order, emit)
    const unreadable =
      (space: StoredSpace) =>
      (key: string, error: unknown): void => {
        const message = errorMessage(error)
        emit({ type: 'broker.stored-state-unreadable', space, key, message })
      }
    await state.retained.load(unreadable('retained'))
    await state.subscriptions.load(unreadable('subscriptions'))
    await state.wills.load(unreadable('wills'))
    await state.copies.load(unreadable('copies'))
    return state
  }

  get stats(): ConsumerStateStats {
    return {
      retainedMessages: this.retained.count,
      retainedBytes: this.retained.bytes,
      retainedRefused: this.retained.refused,
      queuedMessages: this.copies.messages,
      queuedBytes: this.copies.bytes,
      queuedDropped: this.copies.dropped,
    }
  }

  /** Is there anything that the session would resume? */
  keepsFor(clientId: string): boolean {
    return this.subscriptions.of(clientId).length > 0 || this.copies.of(clientId).length > 0
  }

  /** The session is discarded [MQTT-3.1.2-6]; resolves when that is durable. */
  async discardSession(clientId: string): Promise<void> {
    this.copies.discard(clientId)
    await this.subscriptions.clear(clientId)
  }

  /** Resolves when the commit is durable. */
  async durable(ticket: Ticket): Promise<void> {
    await this.#durable.until(ticket)
  }

  /** No commit follows: ends all waiting for one. */
  release(): void {
    this.#durable.release()
  }
}
