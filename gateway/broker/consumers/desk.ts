/**
 * The desk of the local subscribers: hands each message to those who subscribed to it when it was
 * published, once each, with the best of what their filters say. Who takes a message is found by
 * aedes (engine.ts), which calls one listener per subscription; the copies leave through each
 * subscriber's own queue (subscriber.ts), and what a session is owed waits in its kept copies.
 */
import type { AedesEngine } from '../aedes/engine.ts'
import type { Qos } from '../mqtt/publish.ts'
import { sharedFilter } from '../mqtt/subscribe.ts'
import type { Reports } from '../reports.ts'
import type { SessionCopies } from '../sessions/session-copies.ts'
import type { Subscribing } from '../sessions/stored-subscriptions.ts'
import { CopyFrames } from './copy-frames.ts'
import type { Published } from './local-delivery.ts'
import { ShareGroup } from './share-group.ts'
import { Subscription, type Taker, type Wanted } from './subscription.ts'

export class SubscriberDesk {
  readonly #engine: AedesEngine
  readonly #copies: SessionCopies
  readonly #reports: Pick<Reports, 'fault'>
  /** Clients whose sessions outlive the connection, by client id. */
  readonly #stored = new Map<string, Taker>()
  /** While a message is handed over. */
  #message: Published | null = null
  readonly #wanted = new Map<Taker, Wanted>()
  /** Groups of shared subscriptions, by their filter as it was subscribed. */
  readonly #shared = new Map<string, ShareGroup>()
  /** Those that take the message. */
  readonly #groups = new Set<ShareGroup>()
  readonly #onMessage = (subscription: Subscription): void => this.#collect(subscription)

  constructor(engine: AedesEngine, copies: SessionCopies, reports: Pick<Reports, 'fault'>) {
    this.#engine = engine
    this.#copies = copies
    this.#reports = reports
  }

  /** A client whose session outlives the connection is there. */
  attach(taker: Taker): void {
    this.#stored.set(taker.clientId, taker)
  }

  detach(taker: Taker): void {
    if (this.#stored.get(taker.clientId) === taker) this.#stored.delete(taker.clientId)
  }

  /** `since`: see {@link Subscription}. */
  subscribe(taker: Taker, options: Subscribing, since: number): Subscription {
    const subscription = new Subscription(taker, options, since, this.#onMessage)
    const shared = sharedFilter(options.topic)
    if (shared === null) this.#engine.subscribe(options.topic, subscription.listener)
    else this.#join(subscription, shared.filter)
    return subscription
  }

  unsubscribe(subscription: Subscription): void {
    const { options, listener } = subscription
    const group = this.#shared.get(options.topic)
    if (group === undefined) this.#engine.unsubscribe(options.topic, listener)
    else if (group.leave(subscription)) {
      this.#shared.delete(options.topic)
      this.#engine.unsubscribe(group.filter, group.listener)
    }
  }

  #join(subscription: Subscription, filter: string): void {
    const { topic } = subscription.options
    let group = this.#shared.get(topic)
    if (group === undefined) {
      group = new ShareGroup(filter, (due) => this.#groups.add(due))
      this.#shared.set(topic, group)
      this.#engine.subscribe(filter, group.listener)
    }
    group.join(subscription)
  }

  /**
   * Hands one message to every local subscriber, and into the queues of persistent sessions. In
   * order.
   */
  deliver(message: Published): void {
    const { copies, topic, payload } = message
    const frames = new CopyFrames(message)
    this.#message = message
    this.#engine.publish(topic, payload)
    this.#message = null
    if (copies !== null) {
      this.#copies.release(copies, (clientId, copy) => {
        const taker = this.#stored.get(clientId)
        if (taker === undefined) return
        this.#wanted.delete(taker)
        this.#guard(() => taker.takeKept(copy, frames))
      })
    }
    for (const [taker, wanted] of this.#wanted) {
      this.#guard(() => taker.take(message, frames, wanted, null))
    }
    this.#wanted.clear()
    for (const group of this.#groups) this.#guard(() => group.send(message, frames))
    this.#groups.clear()
  }

  #collect({ taker, options, since }: Subscription): void {
    const message = this.#message
    if (message === null || since >= message.order) return
    if (options.nl === true && message.from === taker.clientId) return
    const qos = Math.min(message.qos, options.qos) as Qos
    const retain = options.rap === true && message.retain
    let wanted = this.#wanted.get(taker)
    if (wanted === undefined) {
      wanted = { qos, retain, identifiers: [] }
      this.#wanted.set(taker, wanted)
    } else {
      if (qos > wanted.qos) wanted.qos = qos
      wanted.retain ||= retain
    }
    const identifier = options.subscriptionIdentifier
    if (identifier !== undefined) wanted.identifiers.push(identifier)
  }

  #guard(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#reports.fault('local delivery', error)
    }
  }
}
