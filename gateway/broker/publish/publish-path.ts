/**
 * The publish path of one connection: PUBLISH to append to ack, PUBREL to PUBCOMP. The heart of I1,
 * I2 and I3, and the hot path: per message it makes no object that outlives the call and no string,
 * schedules nothing and writes nothing.
 *
 * Acks are entered here and leave in {@link PublishPath.takeAcks} when their commit is durable, all
 * of a connection in one write. It owns the connection's ack queue, its waiting messages and what
 * is charged to the bounds for them (I6). It reads whole frames only; cutting them, holding them
 * back and writing bytes is the connection's work.
 */

import { MUST_WAIT, type StreamIntake, type Ticket } from '../../ports/appender.ts'
import { nearestFilter } from '../../shared/text/nearest.ts'
import type { Principal } from '../auth/authenticator.ts'
import type { CloseReason } from '../events.ts'
import { CLOSED, type FrameOutcome, HOLD, TAKEN } from '../mqtt/outcome.ts'
import { PUBACK, PUBREC } from '../mqtt/packets.ts'
import type { Publication } from '../mqtt/publish.ts'
import { NO_TICKET } from '../sessions/packet-ids.ts'
import { MAX_OPEN_PACKET_IDS, type Session } from '../sessions/session-table.ts'
import { AckQueue } from './ack-queue.ts'
import type { PublishContext } from './context.ts'
import { type Arrival, append, publishLocally } from './hand-over.ts'
import { Releases } from './releases.ts'
import type { TopicEntry } from './topic-cache.ts'
import { Topics } from './topics.ts'
import { hasRoomToWait, type WaitingMessage, WaitingMessages } from './waiting-messages.ts'

interface Publisher {
  readonly clientId: string
  close(reason: CloseReason, detail: string): typeof CLOSED
}

const NO_BYTES = new Uint8Array(0)

export class PublishPath {
  readonly session: Session
  readonly principal: Principal
  readonly #context: PublishContext
  readonly #publisher: Publisher
  readonly #topics: Topics
  readonly #acks = new AckQueue()
  readonly #releases = new Releases()
  readonly #waiting: WaitingMessages
  #lastOffered = 0
  /** Of the read that is being processed; reused. */
  readonly #arrival = { receivedAtMs: 0, arrivedMs: 0 }

  constructor(
    context: PublishContext,
    publisher: Publisher,
    principal: Principal,
    session: Session,
  ) {
    this.#context = context
    this.#publisher = publisher
    this.principal = principal
    this.session = session
    this.#topics = new Topics(context, principal, publisher.clientId)
    this.#waiting = new WaitingMessages(context.stats)
  }

  /** Number (DeliveryOrder) of its last message for local subscribers. */
  get lastOffered(): number {
    return this.#lastOffered
  }

  get owesAcks(): boolean {
    return this.#acks.length > 0 || !this.#releases.isEmpty
  }

  /** A commit will release an ack; false if the oldest message waits for room. */
  get awaitsCommit(): boolean {
    return this.#acks.awaitsCommit || this.#releases.awaitsCommit
  }

  get hasWaiting(): boolean {
    return this.#waiting.size > 0
  }

  /** Call before the frames of one read: they arrived now. */
  beginRead(): void {
    this.#arrival.arrivedMs = this.#context.monotonicMs()
    this.#arrival.receivedAtMs = this.#context.nowMs()
  }

  /** Call behind the frames of one read: nothing of the broker pins the read buffer. */
  endRead(): void {
    this.#context.message.payload = NO_BYTES
    this.#context.view.release()
  }

  /** One whole PUBLISH: fixed header at `at`, variable header at `body`. */
  publish(bytes: Buffer, at: number, body: number, end: number): FrameOutcome {
    const { view } = this.#context
    const fault = view.read(bytes, at, body, end)
    if (fault !== null) return this.#malformed(fault)
    const entry = this.#topics.find(bytes, view.topicStart, view.topicEnd)
    if (typeof entry === 'string') return this.#malformed(entry)
    if (!entry.isAllowed) return this.#close('forbidden-topic', `may not publish to ${entry.topic}`)
    const { qos, size } = view
    if (qos !== 0 && !this.#hasRoom(size)) return HOLD
    if (entry.lanes.length === 0 && isUnrouted(entry, view.retain) && !this.#admitsUnrouted(entry))
      return CLOSED

    let outcome: FrameOutcome
    if (qos === 0) outcome = this.#takeAtMostOnce(entry)
    else if (qos === 1) outcome = this.#take(entry)
    else outcome = this.#takeOnce(entry)
    if (outcome === TAKEN) this.#count(entry, qos, size)
    return outcome
  }

  /** One whole PUBREL. A known id is removed durably before PUBCOMP leaves (I3). */
  release(bytes: Buffer, body: number, end: number): FrameOutcome {
    if (end - body !== 2) return this.#malformed('PUBREL of a wrong length')
    const packetId = (bytes[body]! << 8) | bytes[body + 1]!
    if (packetId === 0) return this.#malformed('packet identifier 0')
    if (this.#releases.isFull) return HOLD
    const { appender, sessions } = this.#context
    const { session } = this
    const published = session.ids.ticketOf(packetId)
    if (published === NO_TICKET) return this.#malformed('PUBREL before PUBREC')
    // PUBREC of an id that is not durable yet has not left, and one may stand behind a message that
    // waits for room.
    const isEarly = published > appender.durableTicket || this.#waiting.size > 0
    if (sessions.removeId(session, packetId)) session.lastRemoval = appender.touch()
    // An unknown id gets PUBCOMP at once, unless its removal is among those that are not durable
    // yet.
    const isDurable = session.lastRemoval <= appender.durableTicket
    const ticket = isDurable ? 0 : session.lastRemoval
    this.#releases.add(packetId, ticket, this.#arrival.arrivedMs, isEarly ? this.#acks : null)
    return TAKEN
  }

  /** The acks that may leave now, as bytes for one write (I1, I2); null: none. */
  takeAcks(): Uint8Array | null {
    const { appender, stats } = this.#context
    const durable = appender.durableTicket
    if (!this.#acks.isDue(durable) && !this.#releases.isDue(durable)) return null
    const before = this.#acks.length
    const acks = this.#acks.take(durable, stats.ackSeconds, this.#context.monotonicMs())
    stats.unackedMessages -= before - this.#acks.length
    stats.unackedBytes -= this.#acks.takenBytes
    const completions = this.#releases.take(durable, this.#acks)
    if (acks === null || completions === null) return acks ?? completions
    return Buffer.concat([acks, completions])
  }

  /**
   * There may be room in a stream. `full`: streams that have none, shared by all connections of one
   * round.
   */
  retryWaiting(full: Set<StreamIntake>): void {
    this.#waiting.retry(full, (waiting) => this.#takeWaiting(waiting))
    this.endRead()
  }

  /** The connection ended: what was not acknowledged is the device's to send again. */
  discard(): void {
    const { stats, sessions } = this.#context
    const { session } = this
    this.#waiting.discard(({ qos, packetId, hashHigh, hashLow }) => {
      const isOpen = qos === 2 && session.ids.isSame(packetId, hashHigh, hashLow)
      if (isOpen && session.ids.ticketOf(packetId) === NO_TICKET) {
        sessions.removeId(session, packetId)
      }
    })
    stats.unackedMessages -= this.#acks.length
    stats.unackedBytes -= this.#acks.bytes
  }

  // Bounds.

  /**
   * I6. A connection without anything unacknowledged always has room for one message, whatever the
   * others hold.
   */
  #hasRoom(size: number): boolean {
    const own = this.#acks.length
    if (own === 0) return true
    const { config, stats } = this.#context
    return (
      own < config.maxUnackedMessages &&
      this.#acks.bytes + size <= config.maxUnackedBytes &&
      stats.unackedMessages < config.maxUnackedMessagesTotal &&
      stats.unackedBytes + size <= config.maxUnackedBytesTotal
    )
  }

  #owe(qos: 1 | 2, packetId: number, ticket: Ticket, size: number): number {
    const { stats } = this.#context
    stats.unackedMessages += 1
    stats.unackedBytes += size
    const ack = qos === 1 ? PUBACK : PUBREC
    return this.#acks.push(ack, packetId, ticket, size, this.#arrival.arrivedMs)
  }

  #count(entry: TopicEntry, qos: 0 | 1 | 2, size: number): void {
    const { reports, stats } = this.#context
    if (qos === 0) stats.messages.qos0 += 1
    else if (qos === 1) stats.messages.qos1 += 1
    else stats.messages.qos2 += 1
    stats.messageBytes += size
    if (entry.unwanted === null) return
    reports.unwanted(this.#publisher.clientId, entry.topic, entry.unwanted, entry.lanes)
  }

  // The three qualities of service, for the message in the view.

  #takeAtMostOnce(entry: TopicEntry): FrameOutcome {
    const { appender, view } = this.#context
    let ticket = appender.durableTicket
    if (entry.lanes.length > 0) ticket = this.#append(entry, view, this.#arrival)
    if (view.retain || entry.isLocal) this.#publishLocally(entry, view, ticket)
    return TAKEN
  }

  #takeOnce(entry: TopicEntry): FrameOutcome {
    const { hash, sessions, stats, view } = this.#context
    const { packetId } = view
    const { ids } = this.session
    hash.compute(view.bytes, view.topicStart, view.topicEnd, view.start, view.end)
    if (!ids.isSame(packetId, hash.high, hash.low)) {
      if (sessions.openIds >= MAX_OPEN_PACKET_IDS && !ids.has(packetId)) {
        return this.#close('qos2-window', 'too many QoS 2 messages without PUBREL')
      }
      // Also where the id is in use: the device has given up that message, or lost its state.
      // Taking this one for a repeat would discard it in silence (I9).
      return this.#take(entry)
    }
    // I3: a repeat. Its PUBREC waits for the commit of its original.
    const ticket = ids.ticketOf(packetId)
    const position = this.#owe(2, packetId, ticket, 0)
    if (ticket === NO_TICKET) this.#waiting.findId(packetId)?.repeats.push(position)
    stats.duplicates += 1
    return TAKEN
  }

  #take(entry: TopicEntry): FrameOutcome {
    const { appender, view } = this.#context
    const qos = view.qos as 1 | 2
    let ticket: Ticket = appender.durableTicket
    if (entry.lanes.length > 0) {
      if (this.#waiting.blocks(entry.lanes)) return this.#wait(entry)
      ticket = this.#append(entry, view, this.#arrival)
      if (ticket === MUST_WAIT) return this.#wait(entry)
    }
    if (qos === 2) ticket = this.#noteId(entry, ticket, view.packetId)
    if (view.retain || entry.isLocal) ticket = this.#publishLocally(entry, view, ticket)
    this.#owe(qos, view.packetId, ticket, view.size)
    return TAKEN
  }

  /** I3: the packet id goes into the commit of the record, in the same synchronous run. */
  #noteId(entry: TopicEntry, ticket: Ticket, packetId: number): Ticket {
    const { appender, sessions, hash } = this.#context
    const isStored = this.session.number > 0
    const covering = entry.lanes.length === 0 && isStored ? appender.touch() : ticket
    sessions.addId(this.session, packetId, hash.high, hash.low, covering)
    return covering
  }

  #append(entry: TopicEntry, publication: Publication, arrival: Arrival): Ticket {
    return append(this.#context, entry, publication, arrival, false)
  }

  #publishLocally(entry: TopicEntry, publication: Publication, ticket: Ticket): Ticket {
    if (!entry.isShared) return ticket
    const { bytes, start, end, qos, retain } = publication
    const payload = bytes.subarray(start, end)
    const message = { topic: entry.topic, payload, qos, retain, from: this.#publisher.clientId }
    const { isLocal, isQueued } = entry
    const covering = publishLocally(this.#context, message, ticket, isLocal, isQueued)
    if (isLocal) this.#lastOffered = this.#context.delivery.lastOrder
    return covering
  }

  // Waiting for room.

  #wait(entry: TopicEntry): FrameOutcome {
    const { hash, sessions, view } = this.#context
    const { dup, packetId, retain, size } = view
    if (!hasRoomToWait(this.#context, size)) return HOLD
    const qos = view.qos as 1 | 2
    if (qos === 2) sessions.addId(this.session, packetId, hash.high, hash.low, NO_TICKET)
    this.#waiting.add({
      entry,
      bytes: Buffer.from(view.payload()),
      start: 0,
      end: size,
      qos,
      dup,
      retain,
      receivedAtMs: this.#arrival.receivedAtMs,
      arrivedMs: this.#arrival.arrivedMs,
      position: this.#owe(qos, packetId, NO_TICKET, size),
      packetId,
      hashHigh: hash.high,
      hashLow: hash.low,
      repeats: [],
    })
    return TAKEN
  }

  #takeWaiting(waiting: WaitingMessage): boolean {
    const { entry, qos, packetId, hashHigh, hashLow } = waiting
    const appended = this.#append(entry, waiting, waiting)
    if (appended === MUST_WAIT) return false
    // The id may stand for a later message by now; then that one carries it.
    if (qos === 2 && this.session.ids.isSame(packetId, hashHigh, hashLow)) {
      this.#context.sessions.addId(this.session, packetId, hashHigh, hashLow, appended)
    }
    this.#topics.refresh(entry)
    const ticket = this.#publishLocally(entry, waiting, appended)
    this.#acks.setTicket(waiting.position, ticket)
    for (const position of waiting.repeats) this.#acks.setTicket(position, ticket)
    return true
  }

  /** I9: neither a stream nor a subscriber takes it. False: the connection was closed over it. */
  #admitsUnrouted(entry: TopicEntry): boolean {
    const { appender, config, reports } = this.#context
    // One over the limit may have 64 KiB; its beginning tells which it is, and is compared with
    // every filter.
    const topic = entry.topic.slice(0, config.maxTopicBytes)
    const policy = config.unrouted
    reports.unrouted(this.#publisher.clientId, topic, policy, () =>
      nearestFilter(
        topic,
        appender.streams.flatMap(({ topics }) => topics),
      ),
    )
    if (policy === 'refuse') this.#close('unrouted', `nothing takes ${topic}`)
    return policy === 'accept'
  }

  #malformed(detail: string): FrameOutcome {
    return this.#close('malformed', detail)
  }

  #close(reason: CloseReason, detail: string): FrameOutcome {
    return this.#publisher.close(reason, detail)
  }
}

/** No stream takes it; nor does anything else? What is under `$` is counted by itself. */
function isUnrouted({ unwanted, isLocal, isShared }: TopicEntry, retain: boolean): boolean {
  return unwanted !== 'dollar-topic' && !isLocal && !(retain && isShared)
}
