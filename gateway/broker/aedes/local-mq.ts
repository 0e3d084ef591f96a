/**
 * The emitter (`mq`) that aedes delivers through: who subscribed locally to what. Same interface as
 * mqemitter 7, with three differences that the gate needs:
 *
 * - `matches(topic)` tells whether anybody would take a message, so that a reading that only the
 *   cloud wants never enters aedes. Restored subscriptions emit no event in aedes, but they pass
 *   through here.
 * - No queue and no limit of concurrent messages: with mqemitter's, consumers that stopped reading
 *   hold all the slots and nobody else gets anything. Hand-overs are bounded by the gate, per
 *   subscriber and in total (I6).
 * - A listener that throws does not end the process.
 *
 * Sessions that are away have no listener here; the persistence adapter knows their subscriptions.
 */

import { TopicTrie } from '../../shared/topics/topic-trie.ts'
import type { DeliveryOrder } from '../consumers/delivery-order.ts'
import { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent } from '../events.ts'

/** A message as aedes hands it over; only the topic matters here. */
export interface LocalMessage {
  readonly topic: string
}

export type LocalListener = (message: never, done: () => void) => void

/**
 * Subscriptions of sessions, whether they are connected or away: what the persistence adapter
 * offers.
 */
export interface StoredSubscriptions {
  takes(topic: string): boolean
  /** Rises with each change. */
  readonly version: number
}

const DOLLAR = 36

export class LocalMq {
  readonly #listeners = new TopicTrie<LocalListener>()
  readonly #stored: StoredSubscriptions | null
  readonly #emitEvent: EmitBrokerEvent
  readonly #damper = new EventDamper()
  readonly #order: Pick<DeliveryOrder, 'last'> | null
  /**
   * Listeners that began while messages from before were on their way, in that order: they do not
   * get those.
   */
  readonly #since = new Map<LocalListener, number>()
  /** Listeners that take another's place: since when that one is there. */
  readonly #inherited = new WeakMap<LocalListener, number>()
  #handedOver = 0
  #version = 0
  #closed = false
  /** Messages whose listeners have not all finished; mqemitter's name for it. */
  current = 0

  /**
   * `stored`: subscriptions of persistent sessions; without it only those that are connected count.
   */
  constructor(
    stored: StoredSubscriptions | null = null,
    emitEvent: EmitBrokerEvent = () => {},
    order: Pick<DeliveryOrder, 'last'> | null = null,
  ) {
    this.#stored = stored
    this.#order = order
    this.#emitEvent = emitEvent
  }

  /** Rises with each subscription change, of connected sessions and of those that are away. */
  get version(): number {
    return this.#version + (this.#stored?.version ?? 0)
  }

  /**
   * Would any local subscriber take a message of this topic: one that is connected, or at QoS 1 or
   * 2 a persistent session that is away? `$` topics are the server's own and always answer false:
   * aedes' internal listeners live there, and no client may publish there.
   */
  matches(topic: string): boolean {
    if (topic.charCodeAt(0) === DOLLAR) return false
    return this.#listeners.matches(topic) || this.#stored?.takes(topic) === true
  }

  /** Is somebody that is connected subscribed to it? Of `$` topics, too. */
  hasListener(topic: string): boolean {
    return this.#listeners.matches(topic)
  }

  on(topic: string, listener: LocalListener, done?: () => void): this {
    if (this.#listeners.add(topic, listener)) this.#version += 1
    const since = this.#inherited.get(listener) ?? this.#order?.last ?? 0
    if (since > this.#handedOver) this.#since.set(listener, since)
    if (done !== undefined) setImmediate(done)
    return this
  }

  removeListener(topic: string, listener: LocalListener, done?: () => void): this {
    if (this.#listeners.remove(topic, listener)) this.#version += 1
    if (done !== undefined) setImmediate(done)
    return this
  }

  /** `next` will listen where `former` does, and gets what that one would have got. */
  replace(former: LocalListener, next: LocalListener): void {
    this.#inherited.set(next, this.#since.get(former) ?? 0)
  }

  /**
   * It will listen for a session that goes on, and gets what was published before and not handed
   * over.
   */
  restore(listener: LocalListener): void {
    this.#inherited.set(listener, 0)
  }

  /** Has a session, connected or away, a subscription at QoS 1 or 2 that takes it? */
  isQueued(topic: string): boolean {
    return topic.charCodeAt(0) !== DOLLAR && this.#stored?.takes(topic) === true
  }

  /**
   * As {@link emit}, for a message with its number (DeliveryOrder): only to those who were there
   * when it was published.
   */
  handOver(message: LocalMessage, order: number): void {
    this.#handedOver = order
    if (this.#since.size === 0) {
      this.emit(message)
      return
    }
    for (const [listener, since] of this.#since) {
      if (since >= order) break
      this.#since.delete(listener)
    }
    this.emit(message, noop, order)
  }

  /**
   * Hands the message to every listener whose filter takes the topic (a listener under two such
   * filters gets it twice, as with mqemitter), then calls `done` once, when each of them has
   * finished.
   */
  emit(
    message: LocalMessage,
    done: (error?: Error) => void = noop,
    order = Number.POSITIVE_INFINITY,
  ): this {
    if (this.#closed) {
      done(new Error('the local message queue is closed'))
      return this
    }
    let listeners: LocalListener[] = []
    this.#listeners.collect(message.topic, listeners)
    if (order !== Number.POSITIVE_INFINITY) {
      listeners = listeners.filter((listener) => (this.#since.get(listener) ?? 0) < order)
    }
    if (listeners.length === 0) {
      done()
      return this
    }
    this.current += 1
    let open = listeners.length
    const finished = (): void => {
      open -= 1
      if (open > 0) return
      this.current -= 1
      done()
    }
    for (const listener of listeners) this.#deliver(listener, message, once(finished))
    return this
  }

  close(done: () => void = noop): this {
    this.#closed = true
    setImmediate(done)
    return this
  }

  #deliver(listener: LocalListener, message: LocalMessage, finished: () => void): void {
    try {
      listener(message as never, finished)
    } catch (error) {
      const suppressed = this.#damper.pass('throw')
      if (suppressed !== null) {
        this.#emitEvent({
          type: 'broker.local-delivery-failed',
          message: String(error),
          suppressed,
        })
      }
      finished()
    }
  }
}

function once(callback: () => void): () => void {
  let called = false
  return () => {
    if (called) return
    called = true
    callback()
  }
}

function noop(): void {}
