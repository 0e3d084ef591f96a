/**
 * How far a stream with `ack: delivered` has got, in the tickets of its commits: what of them the
 * sink has acknowledged, or is kept as a dead letter. Acks of its messages wait for that.
 *
 * A ticket and not a seq is what an ack waits for, as for the fsync: seqs change when a commit fails,
 * and there is one ticket a commit and not one number a message. An ack may so wait for records of
 * the same commit that stand behind its own, of the same batch nearly always.
 *
 * A delivered record counts as soon as the sink has said so: if the process dies before that is
 * durable it is sent again, as I4 allows. A dead letter counts when it is durable, for it is the only
 * copy. What left in any other way (damage, a purge) is lost: its acks never leave.
 */
import { isAmong, type Passage, type Ticket, type TicketRange } from '../../ports/appender.ts'
import type { StreamState } from './state.ts'

/** Of a record; those of one identity lie behind those of the ones before it. */
interface Place {
  readonly identity: number
  readonly seq: number
}

/** Records of one commit, or of neighbors, that are still on their way. */
interface Leg {
  readonly first: Ticket
  last: Ticket
  /** Of its newest record. */
  place: Place
  isLost: boolean
}

/**
 * Commits of records at QoS 0, whose publishers wait for nothing, come through an outage of any
 * length: beyond so many legs the newest two become one, and acks of the former wait a little longer.
 */
const MAX_LEGS = 4096
/** What was lost is remembered so long: connections are told at once. */
const MAX_LOST = 1024

/** What a start finds on disk has the ticket of the packet ids that it finds. */
const FOUND: TicketRange = { first: 0, last: 0 }

export class StreamPassage implements Passage {
  readonly #legs: Leg[] = []
  /** The newest. */
  #lost: readonly TicketRange[] = []
  readonly #listeners: ((lost: readonly TicketRange[]) => void)[] = []
  readonly #lossListeners: ((lost: TicketRange) => void)[] = []
  /** Changes of the state that made dead letters and are not durable yet. */
  #undurable = 0

  get through(): Ticket {
    const [first] = this.#legs
    return first === undefined ? Number.POSITIVE_INFINITY : first.first - 1
  }

  isLost(ticket: Ticket): boolean {
    return isAmong(ticket, this.#lost)
  }

  /**
   * `lost`: commits of which something was lost, and which have been passed for the rest. What was
   * lost before is told at once.
   */
  onAdvance(listener: (lost: readonly TicketRange[]) => void): void {
    this.#listeners.push(listener)
    if (this.#lost.length > 0) listener(this.#lost)
  }

  /** `lost`: commits of which something is lost that is not durably so yet; and those before. */
  onLoss(listener: (lost: TicketRange) => void): void {
    this.#lossListeners.push(listener)
    for (const range of this.#lost) listener(range)
  }

  /** The spool was opened with records up to that place; null: with none. */
  found(place: Place | null): void {
    if (place !== null) this.#legs.push({ ...FOUND, place, isLost: false })
  }

  /** Others that were there before are missing. */
  foundShort(): void {
    this.#legs.length = 0
    this.#lose(FOUND)
    this.#tell([FOUND])
  }

  /**
   * A commit with records of the stream, the last of them there, is durable. Some may have come under
   * tickets of commits that failed before it.
   */
  committed(tickets: TicketRange, place: Place): void {
    const newest = this.#legs.at(-1)
    if (newest !== undefined && this.#legs.length >= MAX_LEGS) {
      newest.last = tickets.last
      newest.place = place
    } else this.#legs.push({ ...tickets, place, isLost: false })
  }

  /** Nothing waits for delivery any more: what is durable may be acknowledged. */
  end(): void {
    this.#legs.length = 0
    this.#tell([])
  }

  /** Records of that identity are gone, neither delivered nor kept. */
  lost(identity: number, seq: number): void {
    const leg = this.#legs.find(({ place }) => !isBehind({ identity, seq }, place))
    if (leg === undefined || leg.isLost) return
    leg.isLost = true
    this.#lose(leg)
  }

  /** So are some, and nobody knows which: of those that are on their way none is acknowledged. */
  lostSome(): void {
    const legs = this.#legs.splice(0)
    const [oldest] = legs
    const newest = legs.at(-1)
    if (oldest === undefined || newest === undefined) return
    const lost = { first: oldest.first, last: newest.last }
    this.#lose(lost)
    this.#tell([lost])
  }

  /** The sink acknowledged all that has just left the queue. */
  delivered(state: StreamState): void {
    if (this.#undurable === 0) this.advanced(passedOf(state))
  }

  /** Dead letters were made, and are kept when this resolves. */
  buried(durable: Promise<void>): void {
    this.#undurable += 1
    const done = (): void => {
      this.#undurable -= 1
    }
    durable.then(done, done)
  }

  /** A commit is durable; `passed`: {@link passedOf} when it was closed. */
  advanced(passed: Place): void {
    let count = 0
    while (count < this.#legs.length && !isBehind(this.#legs[count]!.place, passed)) count += 1
    if (count === 0) return
    this.#tell(this.#legs.splice(0, count).filter(({ isLost }) => isLost))
  }

  #lose({ first, last }: TicketRange): void {
    for (const listener of this.#lossListeners) listener({ first, last })
  }

  #tell(lost: readonly TicketRange[]): void {
    // Never fewer than are told now: their acks are looked at next.
    const remembered = Math.max(MAX_LOST, lost.length)
    if (lost.length > 0) this.#lost = [...this.#lost, ...lost].slice(-remembered)
    for (const listener of this.#listeners) listener(lost)
  }
}

/** Everything through there is delivered, or is no record any more. */
export function passedOf({ front, parked, settled }: StreamState): Place {
  let passed: Place = settled
  for (const { identity, seq } of [...parked, ...front])
    if (!isBehind({ identity, seq }, passed)) passed = { identity, seq: seq - 1 }
  return passed
}

function isBehind(a: Place, b: Place): boolean {
  return a.identity > b.identity || (a.identity === b.identity && a.seq > b.seq)
}
