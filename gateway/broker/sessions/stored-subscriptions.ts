/**
 * Subscriptions of persistent sessions: in memory for matching, in the spool for the next start. A
 * change rides in the next commit, and is answered after that, so that a SUBACK is never for a
 * subscription that a power cut takes back. Those at QoS 1 and 2 are indexed by filter: for
 * them copies are queued while their session is away.
 *
 * Bounded (I6) per session; sessions are bounded by the session table.
 */
import type { KeyedStore, Ticket } from '../../ports/appender.ts'
import type { DurableTickets } from '../../ports/durable-tickets.ts'
import { TopicTrie } from '../../shared/topics/topic-trie.ts'
import {
  decodeSubscriptions,
  encodeSubscriptions,
  type StoredSubscription,
} from './stored-values.ts'

/** `topic`: the filter. */
export interface Subscribing extends StoredSubscription {
  readonly topic: string
}

export interface Subscribed extends Subscribing {
  readonly clientId: string
}

export class SubscriptionTable {
  readonly #store: KeyedStore
  readonly #durable: DurableTickets
  readonly #maxSubscriptions: number
  readonly #byClient = new Map<string, Map<string, StoredSubscription>>()
  /** Those at QoS 1 and 2, by filter. */
  readonly #index = new TopicTrie<Subscribed>()
  /** Those at QoS 0 whose identifier or RETAIN a copy for another filter of the session carries. */
  readonly #beside = new TopicTrie<Subscribed>()
  readonly #indexed = new Map<string, Map<string, Subscribed>>()
  /** The ticket of each client's last change that is not known to be durable. */
  readonly #lastTicket = new Map<string, Ticket>()
  #version = 0

  constructor(store: KeyedStore, durable: DurableTickets, maxSubscriptions: number) {
    this.#maxSubscriptions = maxSubscriptions
    this.#store = store
    this.#durable = durable
  }

  /** At the start. A value that cannot be read is left in the store and not used. */
  async load(onUnreadable: (clientId: string, error: unknown) => void): Promise<void> {
    for (const [clientId, bytes] of await this.#store.entries()) {
      try {
        const subscriptions = decodeSubscriptions(bytes)
        this.#byClient.set(clientId, subscriptions)
        for (const [topic, subscription] of subscriptions) {
          this.#indexOne(clientId, { ...subscription, topic })
        }
      } catch (error) {
        onUnreadable(clientId, error)
      }
    }
  }

  /** Rises with each change. */
  get version(): number {
    return this.#version
  }

  get clientIds(): readonly string[] {
    return [...this.#byClient.keys()]
  }

  /**
   * Has a persistent session, connected or away, a subscription at QoS 1 or 2 that takes the topic?
   */
  takes(topic: string): boolean {
    return this.#index.matches(topic)
  }

  /** Subscriptions at QoS 1 and 2 that take the topic. */
  taking(topic: string): Subscribed[] {
    const found: Subscribed[] = []
    this.#index.collect(topic, found)
    return found
  }

  /**
   * Subscriptions at QoS 0 that take the topic and say how a copy looks that their session gets
   * under another filter.
   */
  besides(topic: string): Subscribed[] {
    const found: Subscribed[] = []
    this.#beside.collect(topic, found)
    return found
  }

  of(clientId: string): Subscribing[] {
    const stored = this.#byClient.get(clientId) ?? NONE
    return [...stored].map(([topic, options]) => ({ topic, ...options }))
  }

  /**
   * Resolves when they are durable. Throws if the session would have too many; nothing is added
   * then.
   */
  async add(clientId: string, added: readonly Subscribing[]): Promise<void> {
    const stored = this.#byClient.get(clientId) ?? new Map<string, StoredSubscription>()
    const fresh = new Set(added.map(({ topic }) => topic).filter((topic) => !stored.has(topic)))
    if (stored.size + fresh.size > this.#maxSubscriptions) {
      throw new Error(`more than ${this.#maxSubscriptions} subscriptions in one session`)
    }
    let changed = false
    for (const subscribing of added) {
      const { topic } = subscribing
      const subscription = optionsOf(subscribing)
      const former = stored.get(topic)
      if (former !== undefined && sameOptions(former, subscription)) continue
      changed = true
      stored.set(topic, subscription)
    }
    if (changed) this.#byClient.set(clientId, stored)
    await (changed
      ? this.#save(clientId, stored)
      : this.#durable.until(this.#lastTicket.get(clientId) ?? null))
    if (changed) this.#version += 1
    // Only now copies are queued for it: delivery begins in this same moment, and what was queued
    // before would lie there until the client comes again.
    for (const { topic } of added) {
      const subscription = this.#byClient.get(clientId)?.get(topic)
      if (subscription !== undefined) this.#indexOne(clientId, { ...subscription, topic })
    }
  }

  /** Resolves when it is durable that they are gone. */
  async remove(clientId: string, filters: readonly string[]): Promise<void> {
    const stored = this.#byClient.get(clientId)
    if (stored === undefined) return
    const removed = filters.filter((filter) => stored.delete(filter))
    for (const filter of removed) this.#unindexOne(clientId, filter)
    if (removed.length === 0) return
    this.#version += 1
    await this.#save(clientId, stored)
  }

  /** The session is discarded. */
  async clear(clientId: string): Promise<void> {
    await this.remove(clientId, [...(this.#byClient.get(clientId) ?? NONE).keys()])
  }

  async #save(clientId: string, stored: ReadonlyMap<string, StoredSubscription>): Promise<void> {
    let ticket: Ticket
    if (stored.size > 0) {
      ticket = this.#store.put(clientId, encodeSubscriptions(stored))
    } else {
      this.#byClient.delete(clientId)
      ticket = this.#store.delete(clientId)
    }
    if (this.#durable.has(ticket)) return
    this.#lastTicket.set(clientId, ticket)
    await this.#durable.until(ticket)
    if (this.#lastTicket.get(clientId) === ticket) this.#lastTicket.delete(clientId)
  }

  #indexOne(clientId: string, subscription: Subscribing): void {
    const { topic } = subscription
    this.#unindexOne(clientId, topic)
    const index = this.#indexOf(subscription)
    if (index === null) return
    const entry = { ...subscription, clientId }
    index.add(topic, entry)
    const filters = this.#indexed.get(clientId)
    if (filters === undefined) this.#indexed.set(clientId, new Map([[topic, entry]]))
    else filters.set(topic, entry)
  }

  #unindexOne(clientId: string, filter: string): void {
    const filters = this.#indexed.get(clientId)
    const entry = filters?.get(filter)
    if (filters === undefined || entry === undefined) return
    this.#indexOf(entry)?.remove(filter, entry)
    filters.delete(filter)
    if (filters.size === 0) this.#indexed.delete(clientId)
  }

  #indexOf({ qos, rap, subscriptionIdentifier }: Subscribing): TopicTrie<Subscribed> | null {
    if (qos > 0) return this.#index
    return rap === true || subscriptionIdentifier !== undefined ? this.#beside : null
  }
}

const NONE: ReadonlyMap<string, StoredSubscription> = new Map()

function optionsOf(subscribing: Subscribing): StoredSubscription {
  const { qos, rh, rap, nl, subscriptionIdentifier } = subscribing
  const options = { qos, rh, rap, nl }
  return subscriptionIdentifier === undefined ? options : { ...options, subscriptionIdentifier }
}

function sameOptions(a: StoredSubscription, b: StoredSubscription): boolean {
  return (
    a.qos === b.qos &&
    a.rh === b.rh &&
    a.rap === b.rap &&
    a.nl === b.nl &&
    a.subscriptionIdentifier === b.subscriptionIdentifier
  )
}
