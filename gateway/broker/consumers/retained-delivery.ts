/**
 * The retained messages that a SUBSCRIBE asks for [MQTT-3.3.1-6], in place of aedes' own, which
 * would read what is durable in that moment: a value that was published and is not committed yet
 * would never be seen, or the one before it would stay.
 *
 * SUBACK does not wait. What is durable is sent at once; a value that rides in a commit is sent
 * when that is durable, and live copies of later messages wait behind it (LocalDelivery's barrier).
 * If the commit takes longer than RETAINED_WAIT_MS, the value that is durable is sent instead. A
 * subscriber with many retained messages before it counts as pressed: live copies do not overtake
 * them.
 */
import type { Ticket } from '../../ports/appender.ts'
import { COPIES_PER_TURN, RETAINED_WAIT_MS } from '../limits.ts'
import type { LocalDelivery } from './local-delivery.ts'
import type { RetainedMessages, RetainedPacket, Staged } from './retained-messages.ts'

/** A client of aedes, as a subscriber. */
export interface RetainedSubscriber {
  readonly closed: boolean
  deliverQoS(packet: RetainedPacket, done: () => void): void
}

interface Wait {
  readonly subscriber: RetainedSubscriber
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
  subscribed(subscriber: RetainedSubscriber, filters: readonly string[], since: number): void {
    const { ready, awaited } = this.#retained.asOf(filters, since)
    this.#send(subscriber, ready)
    if (awaited.length === 0) return
    const timer = setTimeout(() => this.#giveUp(wait), RETAINED_WAIT_MS)
    timer.unref()
    const wait: Wait = { subscriber, since, awaited, timer }
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
        wait.subscriber,
        due.map(({ packet }) => packet).filter((packet) => packet !== null),
      )
      if (wait.awaited.length === 0) this.#end(wait)
    }
  }

  #giveUp(wait: Wait): void {
    const topics = wait.awaited.map(({ topic }) => topic)
    this.#send(wait.subscriber, this.#retained.durableOf(topics, wait.since))
    this.#end(wait)
  }

  #end(wait: Wait): void {
    clearTimeout(wait.timer)
    this.#waits.delete(wait)
    if (this.#waits.size === 0) this.#delivery.bar(null)
  }

  /** The first of them at once: nothing that is handed over later is before them. */
  #send(subscriber: RetainedSubscriber, packets: readonly RetainedPacket[]): void {
    if (packets.length === 0) return
    this.#delivery.hold()
    void this.#sendChunks(subscriber, packets)
  }

  async #sendChunks(
    subscriber: RetainedSubscriber,
    packets: readonly RetainedPacket[],
  ): Promise<void> {
    for (let at = 0; at < packets.length && !subscriber.closed; at += this.#chunk) {
      const chunk = packets.slice(at, at + this.#chunk)
      await Promise.all(chunk.map((packet) => deliver(subscriber, packet)))
    }
    this.#delivery.release()
  }
}

async function deliver(subscriber: RetainedSubscriber, packet: RetainedPacket): Promise<void> {
  await new Promise<void>((resolve) => subscriber.deliverQoS(packet, resolve))
}
