/**
 * Retained messages: one per topic, in memory for matching and in the store for the next start. A value is staged
 * when its record is appended, so it rides in the same commit, and becomes visible to new subscribers when that
 * commit is durable: nobody sees a retained value that a power cut could take back.
 *
 * Bounded (I6): number, bytes of one, bytes of all. A message over a limit is delivered like any other and not kept;
 * a topic whose new value does not fit loses the old one, because a stale reading that looks current is worse than
 * none. Counted, with a damped event (I9).
 */
import { errorMessage } from '../shared/errors.ts'
import { filterMatches } from '../shared/topics.ts'
import type { KeyedStore, Ticket } from './appender.ts'
import type { EmitDoorEvent } from './door-events.ts'
import { EventDamper } from './event-damper.ts'
import { decodeRetained, encodeRetained, type Qos, type StoredRetained } from './stored-values.ts'

export interface RetainedLimits {
  /** Topics with a retained message. */
  readonly maxRetainedMessages: number
  /** Payload and topic of one, bytes. */
  readonly maxRetainedMessageBytes: number
  /** Payloads and topics of all, bytes; they are in memory. */
  readonly maxRetainedBytes: number
}

/** 10,000 tags of a plant; 16 MiB is what a small box can spare, at 64 KiB for one message. */
export const DEFAULT_RETAINED_LIMITS: RetainedLimits = {
  maxRetainedMessages: 10_000,
  maxRetainedMessageBytes: 64 * 1024,
  maxRetainedBytes: 16 * 1024 * 1024,
}

/** The shape in which aedes reads retained messages. */
export interface RetainedPacket {
  readonly cmd: string
  readonly topic: string
  readonly payload: Buffer
  readonly qos: number
  readonly retain: boolean
}

interface Staged {
  readonly topic: string
  readonly ticket: Ticket
  /** null: the topic's value is removed. */
  value: StoredRetained | null
}

export class RetainedMessages {
  readonly #store: KeyedStore
  readonly #limits: RetainedLimits
  readonly #emit: EmitDoorEvent
  readonly #damper = new EventDamper()
  /** What subscribers see. */
  readonly #visible = new Map<string, RetainedPacket>()
  /** Staged and not durable yet, in ticket order; the map has each topic's last one. */
  readonly #staged: Staged[] = []
  readonly #lastStaged = new Map<string, Staged>()
  #count = 0
  #bytes = 0
  #refused = 0

  constructor(store: KeyedStore, limits: RetainedLimits, emit: EmitDoorEvent) {
    this.#store = store
    this.#limits = limits
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
  async load(): Promise<void> {
    for (const [topic, bytes] of await this.#store.entries()) {
      let value: StoredRetained
      try {
        value = decodeRetained(bytes)
      } catch (error) {
        const message = errorMessage(error)
        this.#emit({ type: 'broker.stored-state-unreadable', space: 'retained', key: topic, message })
        continue
      }
      const size = sizeOf(topic, value.payload)
      if (this.#fault(true, size, 0) === null) {
        this.#count += 1
        this.#bytes += size
        this.#visible.set(topic, packetOf(topic, value))
      } else {
        this.#store.delete(topic)
        this.#refused += 1
      }
    }
  }

  /**
   * Puts a retained message into the commit that is open now. Empty payload: removes the topic's value
   * [MQTT-3.3.1-10], [MQTT-3.3.1-11]. Returns the ticket; null when there was nothing to do.
   */
  stage(topic: string, payload: Uint8Array, qos: Qos): Ticket | null {
    const former = this.#latest(topic)
    const formerSize = former === null ? 0 : sizeOf(topic, former.payload)
    const size = sizeOf(topic, payload)
    const fault = payload.length === 0 ? null : this.#fault(former === null, size, formerSize)
    if (fault !== null) this.#refuse(fault, topic)
    if (payload.length === 0 || fault !== null) {
      if (former === null) return null
      this.#count -= 1
      this.#bytes -= formerSize
      return this.#note(topic, null, this.#store.delete(topic))
    }
    if (former !== null && former.qos === qos && former.payload.equals(payload)) return null
    if (former === null) this.#count += 1
    this.#bytes += size - formerSize
    // A copy: the caller's bytes may be a view of a read buffer.
    const value = { qos, payload: Buffer.from(payload) }
    return this.#note(topic, value, this.#store.put(topic, encodeRetained(value)))
  }

  /** Everything staged under this ticket or an earlier one is fsynced: new subscribers get it from now on. */
  durable(ticket: Ticket): void {
    let done = 0
    for (const staged of this.#staged) {
      if (staged.ticket > ticket) break
      done += 1
      const { topic, value } = staged
      if (value === null) this.#visible.delete(topic)
      else this.#visible.set(topic, packetOf(topic, value))
      if (this.#lastStaged.get(topic) === staged) this.#lastStaged.delete(topic)
    }
    if (done > 0) this.#staged.splice(0, done)
  }

  /** The messages that any of the filters takes, each once. */
  *matching(filters: readonly string[]): Generator<RetainedPacket> {
    const exact = filters.filter((filter) => !filter.includes('+') && !filter.includes('#'))
    const given = new Set<string>()
    for (const topic of exact) {
      const packet = this.#visible.get(topic)
      if (packet === undefined || given.has(topic)) continue
      given.add(topic)
      yield packet
    }
    const wild = filters.filter((filter) => filter.includes('+') || filter.includes('#'))
    if (wild.length === 0) return
    for (const [topic, packet] of this.#visible) {
      if (!given.has(topic) && wild.some((filter) => filterMatches(filter, topic))) yield packet
    }
  }

  #latest(topic: string): { readonly qos: number; readonly payload: Buffer } | null {
    const staged = this.#lastStaged.get(topic)
    return staged === undefined ? (this.#visible.get(topic) ?? null) : staged.value
  }

  #note(topic: string, value: StoredRetained | null, ticket: Ticket): Ticket {
    const last = this.#lastStaged.get(topic)
    if (last !== undefined && last.ticket === ticket) {
      last.value = value
      return ticket
    }
    const staged = { topic, ticket, value }
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
    if (suppressed !== null) this.#emit({ type: 'broker.retained-refused', reason, topic, suppressed })
  }
}

type RefusalReason = 'too-many' | 'too-large' | 'store-full'

function sizeOf(topic: string, payload: Uint8Array): number {
  return Buffer.byteLength(topic) + payload.length
}

function packetOf(topic: string, value: StoredRetained): RetainedPacket {
  return { cmd: 'publish', topic, payload: value.payload, qos: value.qos, retain: true }
}
