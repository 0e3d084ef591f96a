/**
 * Retained messages: one per topic, in memory for matching and in the store for the next start. A
 * value is staged when its record is appended, so it rides in the same commit, and becomes visible
 * to new subscribers when that commit is durable: no subscriber sees a retained value that a power cut
 * could take back.
 *
 * Bounded (I6): number, bytes of one, bytes of all. A message over a limit is delivered like any
 * other and not kept; a topic whose new value does not fit loses the old one, because a stale
 * reading that looks current is worse than none. Counted, with a damped event (I9).
 */

import type { KeyedStore, Ticket } from '../../../ports/appender.ts'
import { filterMatches } from '../../../shared/topics/topics.ts'
import { EventDamper } from '../../event-damper.ts'
import type { EmitBrokerEvent } from '../../events.ts'
import type { Qos } from '../../mqtt/publish.ts'
import { type MessageOptions, optionsBytes } from '../../mqtt/v5/message-options.ts'
import {
  decodeRetained,
  encodeRetained,
  type StoredRetained,
} from '../../sessions/stored-values.ts'
import type { DeliveryOrder } from '../delivery-order.ts'

export interface RetainedLimits {
  /** Topics with a retained message. */
  readonly maxRetainedMessages: number
  /** Payload and topic of one, bytes. */
  readonly maxRetainedMessageBytes: number
  /** Payloads and topics of all, bytes; they are in memory. */
  readonly maxRetainedBytes: number
}

export interface RetainedMessage extends StoredRetained {
  readonly topic: string
}

/** A value that rides in a commit. */
export interface Staged {
  readonly topic: string
  readonly ticket: Ticket
  /** null: the topic's value is removed. */
  message: RetainedMessage | null
  /** When it was staged (DeliveryOrder). */
  order: number
  /** A subscriber waits for this very value: a later one of the same commit does not take its place. */
  isAwaited: boolean
}

interface Visible {
  readonly message: RetainedMessage
  readonly order: number
}

export class RetainedMessages {
  readonly #store: KeyedStore
  readonly #limits: RetainedLimits
  readonly #order: DeliveryOrder
  readonly #emit: EmitBrokerEvent
  readonly #damper = new EventDamper()
  /** What subscribers see. */
  readonly #visible = new Map<string, Visible>()
  /** Staged and not durable yet, in ticket order; the map has each topic's last one. */
  readonly #staged: Staged[] = []
  readonly #lastStaged = new Map<string, Staged>()
  #count = 0
  #bytes = 0
  #refused = 0

  constructor(
    store: KeyedStore,
    limits: RetainedLimits,
    order: DeliveryOrder,
    emit: EmitBrokerEvent,
  ) {
    this.#store = store
    this.#limits = limits
    this.#order = order
    this.#emit = emit
  }

  get count(): number {
    return this.#count
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Messages that a limit kept out since the start. */
  get refused(): number {
    return this.#refused
  }

  /** At the start. What lowered limits have no room for is removed from the store, counted. */
  async load(onUnreadable: (topic: string, error: unknown) => void): Promise<void> {
    for (const [topic, bytes] of await this.#store.entries()) {
      let value: StoredRetained
      try {
        value = decodeRetained(bytes)
      } catch (error) {
        onUnreadable(topic, error)
        continue
      }
      const size = sizeOf(topic, value)
      if (this.#fault(true, size, 0) === null) {
        this.#count += 1
        this.#bytes += size
        this.#visible.set(topic, { message: { topic, ...value }, order: 0 })
      } else {
        this.#store.delete(topic)
        this.#refused += 1
      }
    }
  }

  /**
   * Puts a retained message into the commit that is open now. Empty payload: removes the topic's
   * value [MQTT-3.3.1-10], [MQTT-3.3.1-11]. Returns the ticket; null when there was nothing to do.
   */
  stage(
    topic: string,
    payload: Uint8Array,
    qos: Qos,
    options: MessageOptions | null = null,
  ): Ticket | null {
    const order = this.#order.next()
    const former = this.#latest(topic)
    const formerSize = former === null ? 0 : sizeOf(topic, former)
    const size = sizeOf(topic, { payload, options })
    const fault = payload.length === 0 ? null : this.#fault(former === null, size, formerSize)
    if (fault !== null) this.#refuse(fault, topic)
    if (payload.length === 0 || fault !== null) {
      if (former === null) return null
      this.#count -= 1
      this.#bytes -= formerSize
      return this.#note(null, topic, this.#store.delete(topic), order)
    }
    if (former !== null && isSame(former, { qos, payload, options })) return null
    if (former === null) this.#count += 1
    this.#bytes += size - formerSize
    // A copy: the caller's bytes may be a view of a read buffer.
    const value = { qos, payload: Buffer.from(payload), options }
    const ticket = this.#store.put(topic, encodeRetained(value))
    return this.#note({ topic, ...value }, topic, ticket, order)
  }

  /**
   * Everything staged under this ticket or an earlier one is fsynced: new subscribers get it from
   * now on.
   */
  durable(ticket: Ticket): void {
    let done = 0
    for (const staged of this.#staged) {
      if (staged.ticket > ticket) break
      done += 1
      const { topic, message, order } = staged
      if (message === null) this.#visible.delete(topic)
      else this.#visible.set(topic, { message, order })
      if (this.#lastStaged.get(topic) === staged) this.#lastStaged.delete(topic)
    }
    if (done > 0) this.#staged.splice(0, done)
  }

  /**
   * A value of the server's own: subscribers see it like any other, no limit counts it, and the
   * store never has it.
   */
  show(topic: string, payload: Buffer): void {
    this.#visible.set(topic, { message: { topic, qos: 0, payload, options: null }, order: 0 })
  }

  /**
   * What a subscription that began at `since` is to get as retained messages: `ready`: durable;
   * `awaited`: staged, to be sent when their tickets are durable. What was staged later reaches it
   * as a live copy.
   */
  asOf(filters: readonly string[], since: number): { ready: RetainedMessage[]; awaited: Staged[] } {
    const ready: RetainedMessage[] = []
    const awaited: Staged[] = []
    for (const topic of this.#topics(filters, [this.#visible, this.#lastStaged])) {
      const staged = this.#stagedAsOf(topic, since)
      if (staged !== null) {
        staged.isAwaited = true
        awaited.push(staged)
        continue
      }
      const visible = this.#visible.get(topic)
      if (visible !== undefined && visible.order <= since) ready.push(visible.message)
    }
    return { ready, awaited }
  }

  /** The durable messages of these topics, if they are not from after `since`. */
  durableOf(topics: readonly string[], since: number): RetainedMessage[] {
    return topics
      .map((topic) => this.#visible.get(topic))
      .filter((visible) => visible !== undefined && visible.order <= since)
      .map((visible) => visible!.message)
  }

  #stagedAsOf(topic: string, since: number): Staged | null {
    const last = this.#lastStaged.get(topic)
    if (last === undefined || last.order <= since) return last ?? null
    return (
      this.#staged.findLast((staged) => staged.topic === topic && staged.order <= since) ?? null
    )
  }

  /** Topics of the maps that any of the filters takes, each once. */
  *#topics(
    filters: readonly string[],
    maps: readonly ReadonlyMap<string, unknown>[],
  ): Generator<string> {
    const given = new Set<string>()
    const wild: string[] = []
    for (const filter of filters) {
      if (filter.includes('+') || filter.includes('#')) wild.push(filter)
      else if (!given.has(filter) && maps.some((map) => map.has(filter))) {
        given.add(filter)
        yield filter
      }
    }
    if (wild.length === 0) return
    for (const [index, map] of maps.entries()) {
      for (const topic of map.keys()) {
        if (given.has(topic) || maps.slice(0, index).some((earlier) => earlier.has(topic))) continue
        if (wild.some((filter) => filterMatches(filter, topic))) yield topic
      }
    }
  }

  #latest(topic: string): StoredRetained | null {
    const staged = this.#lastStaged.get(topic)
    return staged === undefined ? (this.#visible.get(topic)?.message ?? null) : staged.message
  }

  #note(message: RetainedMessage | null, topic: string, ticket: Ticket, order: number): Ticket {
    const last = this.#lastStaged.get(topic)
    if (last !== undefined && last.ticket === ticket && !last.isAwaited) {
      last.message = message
      last.order = order
      return ticket
    }
    const staged = { topic, ticket, message, order, isAwaited: false }
    this.#staged.push(staged)
    this.#lastStaged.set(topic, staged)
    return ticket
  }

  #fault(isNew: boolean, size: number, formerSize: number): RefusalReason | null {
    if (size > this.#limits.maxRetainedMessageBytes) return 'too-large'
    if (isNew && this.#count >= this.#limits.maxRetainedMessages) return 'too-many'
    return this.#bytes - formerSize + size > this.#limits.maxRetainedBytes ? 'store-full' : null
  }

  #refuse(reason: RefusalReason, topic: string): void {
    this.#refused += 1
    const suppressed = this.#damper.pass(reason)
    if (suppressed !== null)
      this.#emit({ type: 'broker.retained-refused', reason, topic, suppressed })
  }
}

type RefusalReason = 'too-many' | 'too-large' | 'store-full'

/** Properties make a value another one: its expiry counts from when it came. */
function isSame(
  former: StoredRetained,
  { qos, payload, options }: Omit<StoredRetained, 'payload'> & { readonly payload: Uint8Array },
): boolean {
  const isBare = former.options === null && options === null
  return isBare && former.qos === qos && former.payload.equals(payload)
}

function sizeOf(
  topic: string,
  { payload, options }: { readonly payload: Uint8Array; readonly options: MessageOptions | null },
): number {
  return Buffer.byteLength(topic) + payload.length + optionsBytes(options)
}
