/**
 * The open QoS 2 packet ids of one session: from PUBLISH to PUBREL, each with the hash of its
 * message and the ticket of the commit that holds it (I3). Parallel arrays instead of an object per
 * id.
 */
import { isAmong, type Ticket, type TicketRange } from '../../ports/appender.ts'

/** A message that waits for room in a stream has no ticket yet: no commit covers it. */
export const NO_TICKET = Number.POSITIVE_INFINITY

export class PacketIds {
  readonly #slots = new Map<number, number>()
  readonly #free: number[] = []
  readonly #high: number[] = []
  readonly #low: number[] = []
  readonly #tickets: Ticket[] = []

  get size(): number {
    return this.#slots.size
  }

  has(id: number): boolean {
    return this.#slots.has(id)
  }

  /** Is the id open, and with this very message? */
  isSame(id: number, high: number, low: number): boolean {
    const slot = this.#slots.get(id)
    return slot !== undefined && this.#high[slot] === high && this.#low[slot] === low
  }

  /** {@link NO_TICKET} while it waits; 0 for ids that a start found on disk. */
  ticketOf(id: number): Ticket {
    const slot = this.#slots.get(id)
    return slot === undefined ? 0 : this.#tickets[slot]!
  }

  /** Ids of messages that came in these commits. */
  under(commits: readonly TicketRange[]): number[] {
    return [...this.#slots].flatMap(([id, slot]) =>
      isAmong(this.#tickets[slot]!, commits) ? [id] : [],
    )
  }

  /** Returns false if the id was open before: its message is replaced. */
  set(id: number, high: number, low: number, ticket: Ticket): boolean {
    const known = this.#slots.get(id)
    const slot = known ?? this.#free.pop() ?? this.#high.length
    this.#high[slot] = high
    this.#low[slot] = low
    this.#tickets[slot] = ticket
    if (known === undefined) this.#slots.set(id, slot)
    return known === undefined
  }

  delete(id: number): boolean {
    const slot = this.#slots.get(id)
    if (slot === undefined) return false
    this.#slots.delete(id)
    this.#free.push(slot)
    return true
  }

  /** Ids with their hashes, in order of opening; those without a ticket are left out. */
  *entries(): Generator<readonly [id: number, high: number, low: number]> {
    for (const [id, slot] of this.#slots) {
      if (this.#tickets[slot] !== NO_TICKET) yield [id, this.#high[slot]!, this.#low[slot]!]
    }
  }
}
