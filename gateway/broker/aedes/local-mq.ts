/**
 * The emitter (`mq`) that aedes delivers through: who subscribed locally to what. It has of
 * mqemitter 7's interface what aedes calls, with three differences that the gate needs:
 *
 * - `matches(topic)` tells whether anybody would take a message, so that a reading that only the
 *   cloud wants never enters aedes.
 * - No queue and no limit of concurrent messages: with mqemitter's, consumers that stopped reading
 *   hold all the slots and no other gets anything. Hand-overs are bounded by the gate, per
 *   subscriber and in total (I6).
 * - A listener that throws does not end the process.
 *
 * Sessions that are away have no listener here; the subscription table knows what they take.
 */

import { TopicTrie } from '../../shared/topics/topic-trie.ts'
import { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent } from '../events.ts'

/** A message as aedes hands it over; only the topic matters here. */
interface LocalMessage {
  readonly topic: string
}

export type LocalListener = (message: never, done: () => void) => void

/** Subscriptions of persistent sessions, whether these are connected or away. */
interface StoredSubscriptions {
  takes(topic: string): boolean
  /** Rises with each change. */
  readonly version: number
}

const DOLLAR = 36

export class LocalMq {
  readonly #listeners = new TopicTrie<LocalListener>()
  readonly #stored: StoredSubscriptions
  readonly #emitEvent: EmitBrokerEvent
  readonly #damper = new EventDamper()
  #version = 0
  #isClosed = false

  constructor(stored: StoredSubscriptions, emitEvent: EmitBrokerEvent) {
    this.#stored = stored
    this.#emitEvent = emitEvent
  }

  /** Rises with each subscription change, of connected sessions and of those that are away. */
  get version(): number {
    return this.#version + this.#stored.version
  }

  /**
   * Would any local subscriber take a message of this topic: one that is connected, or at QoS 1 or
   * 2 a persistent session that is away? `$` topics are the server's own and always answer false:
   * aedes' internal listeners live there, and no client may publish there.
   */
  matches(topic: string): boolean {
    if (topic.charCodeAt(0) === DOLLAR) return false
    return this.#listeners.matches(topic) || this.#stored.takes(topic)
  }

  /** Is a connected client subscribed to it? Also for `$` topics. */
  hasListener(topic: string): boolean {
    return this.#listeners.matches(topic)
  }

  /** Has a session, connected or away, a subscription at QoS 1 or 2 that takes it? */
  isQueued(topic: string): boolean {
    return topic.charCodeAt(0) !== DOLLAR && this.#stored.takes(topic)
  }

  on(topic: string, listener: LocalListener, done?: () => void): this {
    if (this.#listeners.add(topic, listener)) this.#version += 1
    if (done !== undefined) setImmediate(done)
    return this
  }

  removeListener(topic: string, listener: LocalListener, done?: () => void): this {
    if (this.#listeners.remove(topic, listener)) this.#version += 1
    if (done !== undefined) setImmediate(done)
    return this
  }

  /**
   * Hands a message to every listener whose filter takes the topic; a listener under two such
   * filters gets it twice, as with mqemitter.
   */
  emit(message: LocalMessage, done: (error?: Error) => void = noop): this {
    const listeners: LocalListener[] = []
    if (!this.#isClosed) this.#listeners.collect(message.topic, listeners)
    for (const listener of listeners) this.#deliver(listener, message)
    done()
    return this
  }

  close(done: () => void = noop): this {
    this.#isClosed = true
    setImmediate(done)
    return this
  }

  #deliver(listener: LocalListener, message: LocalMessage): void {
    try {
      listener(message as never, noop)
    } catch (error) {
      const suppressed = this.#damper.pass('throw')
      if (suppressed !== null) {
        this.#emitEvent({
          type: 'broker.local-delivery-failed',
          message: String(error),
          suppressed,
        })
      }
    }
  }
}

function noop(): void {}
