/**
 * The retained messages that a SUBSCRIBE asks for [MQTT-3.3.1-6], as of the moment in which its
 * subscriptions began.
 *
 * SUBACK does not wait. What is durable is sent at once; a value that rides in a commit is sent
 * when that is durable, and live copies of later messages wait behind it (LocalDelivery's barrier).
 * If the commit takes longer than RETAINED_WAIT_MS, the value that is durable is sent instead. A
 * subscriber with many retained messages before it counts as pressed: live copies do not overtake
 * them.
 */
import type { Ticket } from '../../../ports/appender.ts'
import { TopicTrie } from '../../../shared/topics/topic-trie.ts'
import { COPIES_PER_TURN, RETAINED_WAIT_MS } from '../../limits.ts'
import type { Subscribing } from '../../sessions/stored-subscriptions.ts'
import type { LocalDelivery } from '../local-delivery.ts'
import type { RetainedMessage, RetainedMessages, Staged } from './retained-messages.ts'

export interface RetainedSubscriber {
  readonly closed: boolean
  /** `granted`: of the filters of the SUBSCRIBE, those that take it. */
  takeRetained(message: RetainedMessage, granted: readonly Subscribing[]): void
  /** Resolves when it has room for more. */
  room(): Promise<void>
}

/** A SUBSCRIBE that was answered. */
class Asked {
  readonly subscriber: RetainedSubscriber
  readonly filters: readonly string[]
  readonly #granted = new TopicTrie<Subscribing>()

  constructor(subscriber: RetainedSubscriber, granted: readonly Subscribing[]) {
    this.subscriber = subscriber
    this.filters = granted.map(({ topic }) => topic)
    for (const subscribing of granted) this.#granted.add(subscribing.topic, subscribing)
  }

  send(message: RetainedMessage): void {
    const granted: Subscribing[] = []
    this.#granted.collect(message.topic, granted)
    this.subscriber.takeRetained(message, granted)
  }
}

interface Wait {
  readonly asked: Asked
  readonly since: number
  awaited: readonly Staged[]
  readonly timer: NodeJS.Timeout
}

export class RetainedDelivery {
  readonly #retained: RetainedMessages
  readonly #delivery: Pick<LocalDelivery, 'bar' | 'hold' | 'release'>
  readonly #chunk: number
  readonly #waits = new Set<Wait>()

  constructor(
    retained: RetainedMessages,
    limits: { readonly maxSubscriberMessages: number },
    delivery: Pick<LocalDelivery, 'bar' | 'hold' | 'release'>,
  ) {
    this.#retained = retained
    this.#delivery = delivery
    // As for live copies: a quarter of what the subscriber may have before it.
    this.#chunk = Math.max(1, Math.min(COPIES_PER_TURN, limits.maxSubscriberMessages >> 2))
  }

  /** `since`: the DeliveryOrder of the moment in which the subscriptions began. */
  subscribed(subscriber: RetainedSubscriber, granted: readonly Subscribing[], since: number): void {
    const asked = new Asked(subscriber, granted)
    const { ready, awaited } = this.#retained.asOf(asked.filters, since)
    this.#send(asked, ready)
    if (awaited.length === 0) return
    const timer = setTimeout(() => this.#giveUp(wait), RETAINED_WAIT_MS)
    timer.unref()
    const wait: Wait = { asked, since, awaited, timer }
    this.#waits.add(wait)
    this.#delivery.bar(Math.max(...awaited.map(({ ticket }) => ticket)))
  }

  /** Call when the retained values of these commits show, before live copies are released. */
  durable(ticket: Ticket): void {
    if (this.#waits.size === 0) return
    for (const wait of this.#waits) {
      const due = wait.awaited.filter((staged) => staged.ticket <= ticket)
      if (due.length === 0) continue
      wait.awaited = wait.awaited.filter((staged) => staged.ticket > ticket)
      this.#send(
        wait.asked,
        due.map(({ message }) => message).filter((message) => message !== null),
      )
      if (wait.awaited.length === 0) this.#end(wait)
    }
  }

  #giveUp(wait: Wait): void {
    const topics = wait.awaited.map(({ topic }) => topic)
    this.#send(wait.asked, this.#retained.durableOf(topics, wait.since))
    this.#end(wait)
  }

  #end(wait: Wait): void {
    clearTimeout(wait.timer)
    this.#waits.delete(wait)
    if (this.#waits.size === 0) this.#delivery.bar(null)
  }

  /** The first of them at once: nothing that is handed over later is before them. */
  #send(asked: Asked, messages: readonly RetainedMessage[]): void {
    if (messages.length === 0) return
    this.#delivery.hold()
    void this.#sendChunks(asked, messages)
  }

  async #sendChunks(asked: Asked, messages: readonly RetainedMessage[]): Promise<void> {
    const { subscriber } = asked
    for (let at = 0; at < messages.length && !subscriber.closed; at += this.#chunk) {
      for (const message of messages.slice(at, at + this.#chunk)) asked.send(message)
      await subscriber.room()
    }
    this.#delivery.release()
  }
}
