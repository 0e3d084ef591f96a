/**
 * Copies of live messages for local subscribers, between append and hand-over to aedes. A copy
 * waits for the commit of its message, then for its turn; order is that of arrival. Devices never
 * wait for it: acks do not pass here.
 *
 * Bounded (I6) by `maxSubscriberBytesTotal` together with all subscribers' queues: the oldest QoS 0
 * copies go first, counted (I9). It hands over a few hundred copies a turn, and none while a
 * subscriber has much at QoS 1 or 2 before it: a burst of one commit must not look like a slow
 * consumer. Who holds it up for long is disconnected by the gate.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { Ticket } from '../../ports/appender.ts'
import { COPIES_PER_TURN } from '../limits.ts'
import type { StagedCopies } from '../sessions/session-copies.ts'
import type { BrokerStats } from '../stats.ts'
import type { DeliveryOrder } from './delivery-order.ts'
import type { SubscriberLimits } from './outbound-queue.ts'

/** A message as its publisher sent it. */
export interface Published {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
  readonly retain: boolean
  /** Client id of who published it. */
  readonly from: string
  /** Its number (DeliveryOrder). */
  readonly order: number
  /** Its copies for persistent sessions; null: there are none. */
  readonly copies: StagedCopies | null
}

export interface DeliveryHost {
  deliver(message: Published): void
  /** A message that has copies for persistent sessions is not handed over. */
  onDropped(copies: StagedCopies): void
  /** A subscriber has enough for now; `resume` is called when it has not. */
  isPressed(): boolean
  /** Retained messages are on their way to a subscriber: none for now. */
  isHeldBack(): boolean
  /** Some copies are with their subscribers. */
  onHandedOver(): void
  /** Copies at QoS 1 and 2 do not fit any more: whoever holds them up has to go. */
  onOverflow(): void
  onCopiesDropped(count: number): void
  onFault(where: string, error: unknown): void
}

interface Copy extends Published {
  readonly ticket: Ticket
  readonly bytes: number
}

/** Beside topic and payload: the object and the buffer's header. */
const COPY_OVERHEAD_BYTES = 200

export class LocalDelivery {
  readonly #limits: SubscriberLimits
  readonly #stats: BrokerStats
  readonly #host: DeliveryHost
  readonly #order: DeliveryOrder
  /** Copies behind this number wait for this ticket, whatever their own. */
  #barrier: { order: number; ticket: Ticket } | null = null
  #copies: (Copy | null)[] = []
  #head = 0
  #qos0From = 0
  #qos0 = 0
  #durable: Ticket
  #isPumping = false
  #isStopped = false

  constructor(
    limits: SubscriberLimits,
    stats: BrokerStats,
    host: DeliveryHost,
    order: DeliveryOrder,
    durable: Ticket,
  ) {
    this.#order = order
    this.#limits = limits
    this.#stats = stats
    this.#host = host
    this.#durable = durable
  }

  /** Copies that wait. */
  get size(): number {
    return this.#copies.length - this.#head
  }

  /**
   * A message that somebody local takes; `payload` is copied. `from`: the client that published it.
   * `ticket`: the commit that it waits for. `copies`: for persistent sessions. Returns the copy's
   * number.
   */
  offer(
    topic: string,
    payload: Uint8Array,
    qos: 0 | 1 | 2,
    retain: boolean,
    from: string,
    ticket: Ticket,
    copies: StagedCopies | null,
  ): number {
    const bytes = payload.length + topic.length + COPY_OVERHEAD_BYTES
    const order = this.#order.next()
    const own = copies?.payload ?? Buffer.from(payload)
    this.#copies.push({ topic, payload: own, qos, retain, from, order, ticket, bytes, copies })
    this.#stats.subscriberBytes += bytes
    if (qos === 0) this.#qos0 += 1
    if (ticket <= this.#durable) this.resume()
    if (this.#isOver()) this.#shrink()
    return order
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
    const { order, ticket: former } = this.#barrier ?? { order: this.#order.last, ticket: 0 }
    this.#barrier = ticket === null ? null : { order, ticket: Math.max(ticket, former) }
    if (ticket === null) this.resume()
  }

  /** Is a copy with this number, or one before it, not handed over yet? */
  isPending(order: number): boolean {
    return this.#first() !== null && this.#first()!.order <= order
  }

  resume(): void {
    if (this.#isPumping || this.#isStopped || !this.#hasDue()) return
    this.#isPumping = true
    void this.#pump()
  }

  stop(): void {
    this.#isStopped = true
    for (const copy of this.#copies) if (copy !== null) this.#stats.subscriberBytes -= copy.bytes
    this.#copies = []
    this.#head = 0
    this.#qos0 = 0
  }

  async #pump(): Promise<void> {
    while (this.#hasDue() && !this.#host.isPressed() && !this.#isStopped) {
      // Subscribers' sockets are written to in the turns between; and no device's message waits for
      // a hand-over.
      await turn()
      this.#handOver()
      this.#host.onHandedOver()
    }
    this.#isPumping = false
  }

  #handOver(): void {
    // A subscriber that was not pressed has room for half of its bounds; a turn uses half of that.
    const { maxSubscriberMessages, maxSubscriberBytes } = this.#limits
    const most = Math.max(1, Math.min(COPIES_PER_TURN, maxSubscriberMessages >> 2))
    let bytes = 0
    for (let count = 0; count < most && this.#hasDue() && !this.#host.isHeldBack(); count += 1) {
      const copy = this.#copies[this.#head]!
      this.#copies[this.#head] = null
      this.#head += 1
      if (this.#head === this.#copies.length) this.#reset()
      else if (this.#head >= 4096) this.#compact()
      if (copy === null) continue
      if (copy.qos === 0) this.#qos0 -= 1
      this.#stats.subscriberBytes -= copy.bytes
      bytes += copy.bytes
      try {
        this.#host.deliver(copy)
      } catch (error) {
        this.#host.onFault('local delivery', error)
      }
      if (bytes * 4 > maxSubscriberBytes) return
    }
  }

  #hasDue(): boolean {
    const copy = this.#first()
    if (copy === null || copy.ticket > this.#durable) return false
    const barrier = this.#barrier
    return barrier === null || copy.order <= barrier.order || barrier.ticket <= this.#durable
  }

  #first(): Copy | null {
    while (this.#head < this.#copies.length && this.#copies[this.#head] === null) this.#head += 1
    return this.#copies[this.#head] ?? null
  }

  #isOver(): boolean {
    return this.size > 0 && this.#stats.subscriberBytes > this.#limits.maxSubscriberBytesTotal
  }

  /**
   * QoS 0 copies go first, then whoever holds up the others; if nobody does, readings come in
   * faster than they can be handed over, and the oldest copies go.
   */
  #shrink(): void {
    let dropped = 0
    while (this.#qos0 > 0 && this.#isOver()) {
      this.#dropOldestQos0()
      dropped += 1
    }
    if (this.#isOver() && this.#host.isPressed()) this.#host.onOverflow()
    while (this.#isOver()) {
      const copy = this.#copies[this.#head] ?? null
      this.#copies[this.#head] = null
      this.#head += 1
      if (copy === null) continue
      this.#stats.subscriberBytes -= copy.bytes
      if (copy.copies !== null) this.#host.onDropped(copy.copies)
      dropped += 1
    }
    if (this.#head >= 4096) this.#compact()
    if (dropped === 0) return
    this.#stats.localCopies.dropped += dropped
    this.#host.onCopiesDropped(dropped)
  }

  #dropOldestQos0(): void {
    let at = Math.max(this.#qos0From, this.#head)
    while (this.#copies[at]?.qos !== 0) at += 1
    this.#stats.subscriberBytes -= this.#copies[at]!.bytes
    this.#copies[at] = null
    this.#qos0 -= 1
    this.#qos0From = at + 1
    if (this.#qos0From - this.#head > 16_384) this.#compact()
  }

  #compact(): void {
    this.#copies = this.#copies.slice(this.#head).filter((copy) => copy !== null)
    this.#head = 0
    this.#qos0From = 0
  }

  #reset(): void {
    this.#copies = []
    this.#head = 0
    this.#qos0From = 0
  }
}
