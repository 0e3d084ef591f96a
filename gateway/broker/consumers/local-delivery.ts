/**
 * Copies of live messages for local subscribers, between append and hand-over to the desk. A copy
 * waits for the commit of its message, then for its turn; order is that of arrival. Devices never
 * wait for it: acks do not pass here.
 *
 * Bounded (I6) by `maxSubscriberBytesTotal` together with all subscribers' queues: the oldest QoS 0
 * copies go first, counted (I9). It hands over a few hundred copies a turn, and none while a
 * subscriber has much at QoS 1 or 2 before it: a burst of one commit must not look like a slow
 * consumer. A subscriber that holds it up for long is disconnected by the gate.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { Ticket } from '../../ports/appender.ts'
import { Fifo } from '../../shared/fifo.ts'
import { COPIES_PER_TURN } from '../limits.ts'
import { optionsBytes } from '../mqtt/v5/message-options.ts'
import type { Reports } from '../reports.ts'
import type { LocalPublication, SessionCopies, StagedCopies } from '../sessions/session-copies.ts'
import type { BrokerStats } from '../stats.ts'
import type { DeliveryOrder } from './delivery-order.ts'
import type { SubscriberLimits } from './outbound-queue.ts'

/** A message with its number and its copies. */
export interface Published extends LocalPublication {
  readonly payload: Buffer
  /** Its number (DeliveryOrder). */
  readonly order: number
  /** Its copies for persistent sessions; null: there are none. */
  readonly copies: StagedCopies | null
}

/** A subscriber that may hold up the others. */
export interface PressedSubscriber {
  /** Copies at QoS 1 and 2 do not fit any more: it has to go. */
  onOverflow(): void
}

interface DeliveryParts {
  readonly limits: SubscriberLimits
  readonly stats: BrokerStats
  readonly reports: Reports
  readonly order: DeliveryOrder
  readonly copies: Pick<SessionCopies, 'unstage'>
  /** Hands a message to every subscriber. */
  readonly deliver: (message: Published) => void
  /** What is durable at the start. */
  readonly durable: Ticket
}

interface Copy extends Published {
  readonly ticket: Ticket
  readonly bytes: number
}

/** Beside topic and payload: the object and the buffer's header. */
const COPY_OVERHEAD_BYTES = 200

const isQos0 = ({ qos }: Copy): boolean => qos === 0

export class LocalDelivery {
  readonly #parts: DeliveryParts
  readonly #copies = new Fifo<Copy>(isQos0)
  /** Subscribers with much before them at QoS 1 or 2. */
  readonly #pressed = new Set<PressedSubscriber>()
  /** Retained messages are on their way to so many subscribers. */
  #holds = 0
  /** Copies behind this number wait for this ticket, whatever their own. */
  #barrier: { order: number; ticket: Ticket } | null = null
  #durable: Ticket
  #lastOrder = 0
  #onHandedOver: () => void = () => {}
  #isPumping = false
  #isStopped = false

  constructor(parts: DeliveryParts) {
    this.#parts = parts
    this.#durable = parts.durable
  }

  /** Number of the message that was offered last. */
  get lastOrder(): number {
    return this.#lastOrder
  }

  /** `listener`: some copies are with their subscribers. */
  onHandedOver(listener: () => void): void {
    this.#onHandedOver = listener
  }

  /**
   * A message that local subscribers take. `ticket`: the commit that it waits for. `copies`: for
   * persistent sessions.
   */
  offer(message: LocalPublication, ticket: Ticket, copies: StagedCopies | null): void {
    const { order, stats } = this.#parts
    const { topic, qos, retain, from, options } = message
    const payload = copies?.payload ?? Buffer.from(message.payload)
    const bytes = payload.length + topic.length + optionsBytes(options) + COPY_OVERHEAD_BYTES
    this.#lastOrder = order.next()
    this.#copies.push({
      topic,
      payload,
      qos,
      retain,
      from,
      options,
      order: this.#lastOrder,
      ticket,
      bytes,
      copies,
    })
    stats.subscriberBytes += bytes
    if (ticket <= this.#durable) this.resume()
    if (this.#isOver()) this.#shrink()
  }

  /** Everything under this ticket or an earlier one is fsynced. */
  durable(ticket: Ticket): void {
    this.#durable = ticket
    this.resume()
  }

  /**
   * Copies that are offered from now on wait until the ticket is durable: a retained value that
   * rides there goes first. null: they need not.
   */
  bar(ticket: Ticket | null): void {
    const former = this.#barrier ?? { order: this.#parts.order.last, ticket: 0 }
    this.#barrier =
      ticket === null ? null : { order: former.order, ticket: Math.max(ticket, former.ticket) }
    if (ticket === null) this.resume()
  }

  /** Retained messages are on their way to a subscriber: no copies until they are sent. */
  hold(): void {
    this.#holds += 1
  }

  /** Those of one {@link hold} are sent. */
  release(): void {
    this.#holds -= 1
    if (this.#holds === 0) this.resume()
  }

  /** The subscriber has enough for now. */
  press(subscriber: PressedSubscriber): void {
    this.#pressed.add(subscriber)
  }

  /** It has room again, or is gone. Call {@link resume} then. */
  relieve(subscriber: PressedSubscriber): void {
    this.#pressed.delete(subscriber)
  }

  /** Is a copy with this number, or one before it, not handed over yet? */
  isPending(order: number): boolean {
    const { first } = this.#copies
    return first !== null && first.order <= order
  }

  resume(): void {
    if (this.#isPumping || this.#isStopped || !this.#hasDue()) return
    this.#isPumping = true
    void this.#pump()
  }

  stop(): void {
    this.#isStopped = true
    for (const { bytes } of this.#copies) this.#parts.stats.subscriberBytes -= bytes
    this.#copies.clear()
  }

  get #isPressed(): boolean {
    return this.#holds > 0 || this.#pressed.size > 0
  }

  async #pump(): Promise<void> {
    while (this.#hasDue() && !this.#isPressed && !this.#isStopped) {
      // Subscribers' sockets are written to in the turns between; and no device's message waits for
      // a hand-over.
      await turn()
      this.#handOver()
      this.#onHandedOver()
    }
    this.#isPumping = false
  }

  #handOver(): void {
    const { deliver, limits, reports, stats } = this.#parts
    // A subscriber that was not pressed has room for half of its bounds; a turn uses half of that.
    const most = Math.max(1, Math.min(COPIES_PER_TURN, limits.maxSubscriberMessages >> 2))
    let bytes = 0
    for (let count = 0; count < most && this.#hasDue() && this.#holds === 0; count += 1) {
      const copy = this.#copies.shift()!
      stats.subscriberBytes -= copy.bytes
      bytes += copy.bytes
      try {
        deliver(copy)
      } catch (error) {
        reports.fault('local delivery', error)
      }
      if (bytes * 4 > limits.maxSubscriberBytes) return
    }
  }

  #hasDue(): boolean {
    const { first } = this.#copies
    if (first === null || first.ticket > this.#durable) return false
    const barrier = this.#barrier
    return barrier === null || first.order <= barrier.order || barrier.ticket <= this.#durable
  }

  #isOver(): boolean {
    const { limits, stats } = this.#parts
    return this.#copies.length > 0 && stats.subscriberBytes > limits.maxSubscriberBytesTotal
  }

  /**
   * QoS 0 copies go first, then the subscribers that hold up the others; if none does, messages
   * come in faster than they can be handed over, and the oldest copies go.
   */
  #shrink(): void {
    let dropped = 0
    const drop = (copy: Copy | null): void => {
      if (copy === null) return
      this.#parts.stats.subscriberBytes -= copy.bytes
      if (copy.copies !== null) this.#parts.copies.unstage(copy.copies)
      dropped += 1
    }
    while (this.#copies.expendable > 0 && this.#isOver()) drop(this.#copies.shiftExpendable())
    if (this.#isOver() && this.#isPressed) {
      for (const subscriber of this.#pressed) subscriber.onOverflow()
    }
    while (this.#isOver()) drop(this.#copies.shift())
    if (dropped > 0) this.#parts.reports.copiesDropped(null, dropped)
  }
}
