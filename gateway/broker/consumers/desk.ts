/**
 * The desk of the local subscribers: hands each message to those who subscribed to it when it was
 * published, once each, with the best of what their filters say. Who takes a message is found by
 * aedes (engine.ts), which calls one listener per subscription; the copies leave through each
 * subscriber's own queue (subscriber.ts), and what a session is owed waits in its kept copies.
 */
import type { AedesEngine } from '../aedes/engine.ts'
import type { Qos } from '../mqtt/publish.ts'
import type { Reports } from '../reports.ts'
import type { SessionCopies } from '../sessions/session-copies.ts'
import type { KeptCopy } from '../sessions/session-queues.ts'
import type { Subscribing } from '../sessions/stored-subscriptions.ts'
import { type CopyFrame, CopyFrames } from './copy-frames.ts'
import type { Published } from './local-delivery.ts'

/** A connected client, as far as the desk sees it. */
export interface Taker {
  readonly clientId: string
  /** A copy that is kept nowhere. */
  take(topic: string, frame: CopyFrame): void
  /** A copy that is kept for its session. */
  takeKept(copy: KeptCopy, frames: CopyFrames): void
}

/** One filter of a connected client. */
export class Subscription {
  readonly taker: Taker
  readonly options: Subscribing
  /** Messages up to this number (DeliveryOrder) were published before it. */
  readonly since: number
  readonly listener: () => void

  constructor(
    taker: Taker,
    options: Subscribing,
    since: number,
    onMessage: (subscription: Subscription) => void,
  ) {
    this.taker = taker
    this.options = options
    this.since = since
    this.listener = () => onMessage(this)
  }
}

/** What a client's filters say together about one message [MQTT-3.3.5-1]. */
interface Wanted {
  qos: Qos
  retain: boolean
}

export class SubscriberDesk {
  readonly #engine: AedesEngine
  readonly #copies: SessionCopies
  readonly #reports: Pick<Reports, 'fault'>
  /** Clients whose sessions outlive the connection, by client id. */
  readonly #stored = new Map<string, Taker>()
  /** While a message is handed over. */
  #message: Published | null = null
  readonly #wanted = new Map<Taker, Wanted>()
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
    this.#engine.subscribe(options.topic, subscription.listener)
    return subscription
  }

  unsubscribe({ options, listener }: Subscription): void {
    this.#engine.unsubscribe(options.topic, listener)
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
    for (const [taker, { qos, retain }] of this.#wanted) {
      this.#guard(() => taker.take(topic, frames.at(qos, retain)))
    }
    this.#wanted.clear()
  }

  #collect({ taker, options, since }: Subscription): void {
    const message = this.#message
    if (message === null || since >= message.order) return
    if (options.nl === true && message.from === taker.clientId) return
    const qos = Math.min(message.qos, options.qos) as Qos
    const retain = options.rap === true && message.retain
    const wanted = this.#wanted.get(taker)
    if (wanted === undefined) this.#wanted.set(taker, { qos, retain })
    else {
      if (qos > wanted.qos) wanted.qos = qos
      wanted.retain ||= retain
    }
  }

  #guard(step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#reports.fault('local delivery', error)
    }
  }
}
