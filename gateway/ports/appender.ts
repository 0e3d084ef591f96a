/**
 * What the broker needs of the spool, and all that it knows of it.
 *
 * Everything handed over lands in the commit that is open now; its number is the ticket. When the
 * spool says that a ticket is durable, all that was handed over under it or an earlier one is
 * fsynced, and only then may an acknowledgement leave (I1). A commit that fails is the spool's
 * business: the ticket stays open until a later commit covers it.
 */

/**
 * Number of the commit that will carry what was handed over. Rises by one a commit; the spool's
 * opening is commit 1, and durable before the first append.
 */
export type Ticket = number

/**
 * Answer of {@link Appender.append}: nothing was taken, in any stream; offer it again after
 * `onSpace`. No ticket has this number.
 */
export const MUST_WAIT = 0

/**
 * Constant bytes of a record from `"device"` to `"topic"`, made once per connection and topic.
 * Opaque.
 */
export interface Envelope {
  readonly bytes: Uint8Array
}

/** Commits, from the first to the last. */
export interface TicketRange {
  readonly first: Ticket
  readonly last: Ticket
}

/** Is the ticket in one of the ranges? */
export function isAmong(ticket: Ticket, ranges: readonly TicketRange[]): boolean {
  return ranges.some(({ first, last }) => ticket >= first && ticket <= last)
}

/**
 * How far the sink has acknowledged a stream with `ack: delivered`. A message's ack may leave once
 * its ticket is durable, is not above `through`, and is not lost.
 */
export interface Passage {
  /**
   * Every record of a commit up to this ticket was delivered, is kept as a dead letter, or is lost.
   * Infinity: nothing is on its way.
   */
  readonly through: Ticket
  /** A record of this commit left in another way: its acks never leave. */
  isLost(ticket: Ticket): boolean
}

/** A stream as the router sees it. */
export interface StreamIntake {
  readonly name: string
  readonly topics: readonly string[]
  readonly device: 'clientId' | `topic:${number}`
  /** Its records hold properties of MQTT 5, so its messages have to come with theirs. */
  readonly wantsProperties: boolean
  /** null: an ack waits for the fsync alone (`ack: spooled`). */
  readonly passage: Passage | null
  envelope(device: string, topic: string): Envelope
}

/** One stream that a topic goes to, with the envelope of its connection and topic. */
export interface Lane {
  readonly stream: StreamIntake
  readonly envelope: Envelope
}

/**
 * What a message of MQTT 5 says beside topic and payload (section 3.3.2.3). All texts are
 * well-formed.
 */
export interface MessageProperties {
  /** Message Expiry Interval, seconds, from its arrival on; null: it does not expire. */
  readonly expirySeconds: number | null
  /** 1: the payload is UTF-8. */
  readonly payloadFormat: number | null
  readonly contentType: string | null
  readonly responseTopic: string | null
  readonly correlationData: Uint8Array | null
  /** In the order in which they came, repeats of a name included. */
  readonly userProperties: readonly (readonly [name: string, value: string])[]
}

/**
 * One message. The caller owns and reuses the object: the spool copies what it needs before
 * `append` returns.
 * `payload.subarray(start, end)` are the message's bytes.
 */
export interface Message {
  payload: Uint8Array
  start: number
  end: number
  qos: 0 | 1 | 2
  dup: boolean
  retain: boolean
  will: boolean
  /** null: it has none, or none of its lanes wants them. */
  properties: MessageProperties | null
  /**
   * Not null: it becomes a dead letter of every lane, for this reason; no record, and it waits for
   * no room.
   */
  refusal: string | null
  /** Wall clock, ms since the epoch, taken on arrival. */
  receivedAtMs: number
  /**
   * The same instant by `performance.now`: a message may wait for room, and its wall clock be set
   * meanwhile.
   */
  arrivedMs: number
  /** Set by `append` where it takes the message: the best that any lane did with it. */
  fate: Fate
}

/** One to fill for each message: `payload` to `end`, both times, and what differs from these. */
export function reusableMessage(): Message {
  return {
    payload: new Uint8Array(0),
    start: 0,
    end: 0,
    qos: 1,
    dup: false,
    retain: false,
    will: false,
    properties: null,
    refusal: null,
    receivedAtMs: 0,
    arrivedMs: 0,
    fate: 'dropped',
  }
}

/**
 * `kept`: a record, or a whole dead letter. `cut`: a dead letter without all of its payload.
 * `dropped`: nothing (I9: counted).
 */
export type Fate = 'kept' | 'cut' | 'dropped'

/**
 * Named state that rides in commits: a list of changes per commit, bounded by checkpoints that the
 * spool asks for. This is how QoS 2 packet ids are stored in the same commit as their records (I3)
 * without a key each.
 */
export interface Journal {
  readonly name: string
  /**
   * Changes since the last call, or null. Called once at the start of each commit. The spool keeps
   * them until they are durable: those of a failed commit ride in a later one, before newer ones.
   */
  collect(): Uint8Array | null
  /**
   * The whole state, the changes that were just collected included. Called behind `collect` when
   * the commit is a checkpoint.
   */
  checkpoint(): Uint8Array
}

export interface RecoveredJournal {
  /** null: there is none yet. */
  readonly checkpoint: Uint8Array | null
  /** What `collect` gave since, oldest first. */
  readonly changes: readonly Uint8Array[]
}

/**
 * Small keyed values in a name space of their own: retained messages, subscriptions, wills, copies,
 * devices.
 */
export interface KeyedStore {
  entries(): Promise<ReadonlyArray<readonly [key: string, value: Uint8Array]>>
  put(key: string, value: Uint8Array): Ticket
  /** `lazily`: it rides with the next commit, and causes none for some seconds. */
  delete(key: string, lazily?: boolean): Ticket
}

export interface Appender {
  readonly streams: readonly StreamIntake[]
  /**
   * Takes the message into every lane, or into none. Synchronous; seqs are taken here.
   * QoS 0 is never answered with MUST_WAIT: where a stream is full or nothing may be taken, the
   * message is dropped and counted there (`full-qos0`).
   * With no lanes nothing is handed over and no commit comes: the answer is `durableTicket`. What
   * keeps acks in order is the caller's queue, not a ticket.
   */
  append(lanes: readonly Lane[], message: Message): Ticket
  /** The journal has changes: makes sure that a commit comes, returns its ticket. */
  touch(): Ticket
  /** A stream that holds messages back is above nine tenths, or nothing is taken at all. */
  readonly isTight: boolean
  /** Would a small message be kept now? False: it would wait, or be dropped. */
  accepts(stream: StreamIntake): boolean
  /** Highest durable ticket. */
  readonly durableTicket: Ticket
  /**
   * Called after each commit that was fsynced, in ticket order, with the ticket that is now
   * durable.
   */
  onDurable(listener: (ticket: Ticket) => void): void
  /**
   * Called when a passage has moved on. `lost`: commits of which a record was lost.
   */
  onPassed(listener: (lost: readonly TicketRange[]) => void): void
  /**
   * Called when a record of such commits turns out to be lost, before that is durable: what is
   * forgotten over it now rides in the same commit.
   */
  onLost(listener: (lost: TicketRange) => void): void
  /** Called when a stream that answered MUST_WAIT may have room, or when ingest resumes. */
  onSpace(listener: () => void): void
  /**
   * Joins a journal; its recovered content is handed over at once. Each name once, and before the
   * first append.
   */
  attach(journal: Journal): RecoveredJournal
  keyed(space: 'retained' | 'subscriptions' | 'wills' | 'copies' | 'devices'): KeyedStore
}
