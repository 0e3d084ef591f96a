/**
 * The acks that a connection is owed, in the order of its PUBLISHes (I2), each with the ticket that
 * must be durable before it leaves (I1), and, where a stream has `ack: delivered`, delivered as well.
 * A ring of parallel arrays: nothing is allocated per message.
 */

import type { Passage, Ticket } from '../../../ports/appender.ts'
import type { LatencyHistogram } from '../../../shared/latency-histogram.ts'
import { PUBREC } from '../../mqtt/packets.ts'
import { ackFrame } from '../../mqtt/v5/acks.ts'
import type { ReasonCode } from '../../mqtt/v5/reason-codes.ts'
import { NO_TICKET } from '../../sessions/packet-ids.ts'

const FIRST_CAPACITY = 16

/** Of queues that never held anything: two of them took 3 KB of each idle connection. */
const NO_BYTES = new Uint8Array(0)
const NO_IDS = new Uint16Array(0)
const NO_SIZES = new Uint32Array(0)
const NO_TIMES = new Float64Array(0)

export class AckQueue {
  #capacity = 0
  #kinds = NO_BYTES
  #ids = NO_IDS
  #sizes = NO_SIZES
  #tickets = NO_TIMES
  #arrivals = NO_TIMES
  /** What else has to let an ack pass; null: there was none yet. */
  #passages: (Passage | null)[] | null = null
  /** Reason codes of MQTT 5 by position, of those that are not 0; null: there was none yet. */
  #codes: Map<number, ReasonCode> | null = null
  /** Positions only rise; modulo the capacity they are places in the ring. */
  #head = 0
  #tail = 0
  #bytes = 0
  /** Message bytes of the acks that the last {@link take} took. */
  takenBytes = 0
  /** How many of those end the exchange: all but a PUBREC of success. */
  takenFinal = 0

  get length(): number {
    return this.#tail - this.#head
  }

  /** Message bytes of all entries. */
  get bytes(): number {
    return this.#bytes
  }

  /** Will a commit release the head? Not where it waits for room, or for a sink. */
  get awaitsCommit(): boolean {
    const place = this.#head & (this.#capacity - 1)
    const isWaiting = this.length > 0 && this.#tickets[place] !== NO_TICKET
    return isWaiting && (this.#passages?.[place] ?? null) === null
  }

  /** Some of its acks may wait for a sink. */
  get hasPassages(): boolean {
    return this.#passages !== null && this.length > 0
  }

  /** The head belongs to a record that was lost: it never leaves. */
  get isLost(): boolean {
    const place = this.#head & (this.#capacity - 1)
    const passage = this.length > 0 ? (this.#passages?.[place] ?? null) : null
    return passage?.isLost(this.#tickets[place]!) ?? false
  }

  /**
   * `first`: first byte of the ack, flags included. `ticket`: {@link NO_TICKET} for a message that waits for room.
   * `size`: the message's bytes. `arrivedMs`: monotonic. Returns the entry's position.
   */
  push(first: number, id: number, ticket: Ticket, size: number, arrivedMs: number): number {
    if (this.length === this.#capacity) this.#grow()
    const at = this.#tail & (this.#capacity - 1)
    this.#kinds[at] = first
    this.#ids[at] = id
    this.#tickets[at] = ticket
    this.#sizes[at] = size
    this.#arrivals[at] = arrivedMs
    if (this.#passages !== null) this.#passages[at] = null
    this.#bytes += size
    this.#tail += 1
    return this.#tail - 1
  }

  /** Where the next entry to leave stands. */
  get head(): number {
    return this.#head
  }

  /**
   * Position of the last ack of this kind that is owed for the packet id; -1: none is. Looks at all
   * entries.
   */
  find(first: number, id: number): number {
    const mask = this.#capacity - 1
    for (let position = this.#tail - 1; position >= this.#head; position -= 1) {
      if (this.#ids[position & mask] === id && this.#kinds[position & mask] === first)
        return position
    }
    return -1
  }

  /** The message that waited was appended. */
  setTicket(position: number, ticket: Ticket): void {
    this.#tickets[position & (this.#capacity - 1)] = ticket
  }

  /** The ack waits for that, too; null: for its ticket alone. */
  setPassage(position: number, passage: Passage | null): void {
    if (passage === null && this.#passages === null) return
    this.#passages ??= emptyPassages(this.#capacity)
    this.#passages[position & (this.#capacity - 1)] = passage
  }

  /** The ack says this instead of success. */
  setCode(position: number, code: ReasonCode): void {
    this.#codes ??= new Map()
    this.#codes.set(position, code)
  }

  isDue(durable: Ticket): boolean {
    return this.length > 0 && this.#isFree(this.#head & (this.#capacity - 1), durable)
  }

  #isFree(place: number, durable: Ticket): boolean {
    const ticket = this.#tickets[place]!
    if (ticket > durable) return false
    const passage = this.#passages === null ? null : this.#passages[place]!
    return passage === null || (ticket <= passage.through && !passage.isLost(ticket))
  }

  /**
   * I1, I2: takes the acks from the head as long as their tickets are durable, as bytes for one
   * write; null if there is none. Times from arrival to now go into the histogram. `upTo`: a
   * position that stays, whatever its ticket. `describe`: the reason string of a code, in words, or
   * null.
   */
  take(
    durable: Ticket,
    latency: LatencyHistogram | null,
    nowMs: number,
    upTo = Number.POSITIVE_INFINITY,
    describe: (code: ReasonCode) => string | null = () => null,
  ): Buffer | null {
    const mask = this.#capacity - 1
    const last = Math.min(this.#tail, upTo)
    let end = this.#head
    while (end < last && this.#isFree(end & mask, durable)) end += 1
    const count = end - this.#head
    this.takenBytes = 0
    this.takenFinal = 0
    if (count === 0) return null
    const coded = this.#takeCoded(end, describe)
    const acks = coded ?? Buffer.allocUnsafe(4 * count)
    let at = 0
    let sameSince = this.#head
    for (let position = this.#head; position < end; position += 1) {
      const place = position & mask
      const id = this.#ids[place]!
      const kind = this.#kinds[place]!
      if (coded === null) {
        acks[at] = kind
        acks[at + 1] = 2
        acks[at + 2] = id >> 8
        acks[at + 3] = id & 0xff
        at += 4
        if (kind !== PUBREC) this.takenFinal += 1
      }
      this.takenBytes += this.#sizes[place]!
      // Messages of one read arrived together: one observation for all of them.
      const arrived = this.#arrivals[place]!
      const isLast = position + 1 === end
      if (isLast || this.#arrivals[(position + 1) & mask] !== arrived) {
        latency?.observe((nowMs - arrived) / 1000, position + 1 - sameSince)
        sameSince = position + 1
      }
    }
    this.#head = end
    this.#bytes -= this.takenBytes
    if (this.#head === this.#tail && this.#capacity > SHRINK_CAPACITY) this.#resize(FIRST_CAPACITY)
    return acks
  }

  /** The acks from the head to `end`, if any of them has a code. */
  #takeCoded(end: number, describe: (code: ReasonCode) => string | null): Buffer | null {
    const codes = this.#codes
    if (codes === null || codes.size === 0) return null
    const mask = this.#capacity - 1
    const frames: Buffer[] = []
    let isCoded = false
    let final = 0
    for (let position = this.#head; position < end; position += 1) {
      const kind = this.#kinds[position & mask]!
      const id = this.#ids[position & mask]!
      const code = codes.get(position)
      if (kind !== PUBREC || (code ?? 0) >= 0x80) final += 1
      if (code === undefined) frames.push(Buffer.of(kind, 2, id >> 8, id & 0xff))
      else {
        isCoded = true
        codes.delete(position)
        frames.push(ackFrame(kind, id, code, describe(code)))
      }
    }
    if (!isCoded) return null
    this.takenFinal = final
    return Buffer.concat(frames)
  }

  #grow(): void {
    this.#resize(Math.max(FIRST_CAPACITY, this.#capacity * 2))
  }

  #resize(capacity: number): void {
    const from = this.#capacity - 1
    const to = capacity - 1
    const kinds = new Uint8Array(capacity)
    const ids = new Uint16Array(capacity)
    const sizes = new Uint32Array(capacity)
    const tickets = new Float64Array(capacity)
    const arrivals = new Float64Array(capacity)
    const passages = this.#passages && emptyPassages(capacity)
    for (let position = this.#head; position < this.#tail; position += 1) {
      kinds[position & to] = this.#kinds[position & from]!
      ids[position & to] = this.#ids[position & from]!
      sizes[position & to] = this.#sizes[position & from]!
      tickets[position & to] = this.#tickets[position & from]!
      arrivals[position & to] = this.#arrivals[position & from]!
      if (passages !== null) passages[position & to] = this.#passages![position & from]!
    }
    this.#kinds = kinds
    this.#ids = ids
    this.#sizes = sizes
    this.#tickets = tickets
    this.#arrivals = arrivals
    this.#passages = passages
    this.#capacity = capacity
  }
}

/** 23 bytes an entry: an idle connection that once had a burst gives the room back. */
const SHRINK_CAPACITY = 1024

function emptyPassages(capacity: number): (Passage | null)[] {
  return Array.from({ length: capacity }, () => null)
}
