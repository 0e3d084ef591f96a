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

import { isUtf8 } from 'node:buffer'
import { MUST_WAIT, type StreamIntake, type Ticket } from '../../ports/appender.ts'
import type { DeviceTrack } from '../../ports/devices.ts'
import { nearestFilter } from '../../shared/text/nearest.ts'
import type { Principal } from '../auth/principal.ts'
import type { CloseReason } from '../events.ts'
import { CLOSED, type FrameOutcome, HOLD, TAKEN } from '../mqtt/outcome.ts'
import { PUBACK, PUBREC } from '../mqtt/packets.ts'
import type { Publication } from '../mqtt/publish.ts'
import type { MessageOptions } from '../mqtt/v5/message-options.ts'
import { messageProperties } from '../mqtt/v5/message-properties.ts'
import { isRefusal, REASON, type ReasonCode } from '../mqtt/v5/reason-codes.ts'
import { NO_TICKET } from '../sessions/packet-ids.ts'
import { MAX_OPEN_PACKET_IDS, type Session } from '../sessions/session-table.ts'
import { AckQueue } from './acks/ack-queue.ts'
import { Releases } from './acks/releases.ts'
import type { PublishContext } from './context.ts'
import { type Arrival, append, publishLocally } from './hand-over.ts'
import { type Publisher, PublishReader } from './publish-reader.ts'
import type { TopicEntry } from './topic-cache.ts'
import { Topics } from './topics.ts'
import type { V5Inbound } from './v5-inbound.ts'
import { hasRoomToWait, type WaitingMessage, WaitingMessages } from './waiting-messages.ts'

const NO_BYTES = new Uint8Array(0)
const UNKNOWN_ID = REASON.packetIdentifierNotFound

export class PublishPath {
  readonly session: Session
  readonly principal: Principal
  readonly #context: PublishContext
  readonly #publisher: Publisher
  readonly #topics: Topics
  readonly #reader: PublishReader
  readonly #acks = new AckQueue()
  readonly #releases = new Releases()
  readonly #waiting: WaitingMessages
  /** null before MQTT 5. */
  readonly #inbound: V5Inbound | null
  #lastOffered = 0
  /** null: nobody wants to know of its device. */
  #track: DeviceTrack | null = null
  /** Of the routes by which messages wait. */
  #routeVersion = 1
  /** Of the read that is being processed; reused. */
  readonly #arrival: { -readonly [K in keyof Arrival]: Arrival[K] } = {
    receivedAtMs: 0,
    arrivedMs: 0,
    properties: null,
  }

  constructor(
    context: PublishContext,
    publisher: Publisher,
    principal: Principal,
    session: Session,
    inbound: V5Inbound | null,
  ) {
    this.#context = context
    this.#inbound = inbound
    this.#publisher = publisher
    this.principal = principal
    this.session = session
    this.#topics = new Topics(context, principal, publisher.clientId)
    this.#reader = new PublishReader(context, publisher, this.#topics, inbound)
    this.#waiting = new WaitingMessages(context.stats)
  }

  /** Number (DeliveryOrder) of its last message for local subscribers. */
  get lastOffered(): number {
    return this.#lastOffered
  }

  get isV5(): boolean {
    return this.#inbound !== null
  }

  /** Granted with CONNACK; 0 before MQTT 5. */
  get receiveMaximum(): number {
    return this.#inbound?.receiveMaximum ?? 0
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

  /** Its client was let in, under an id that is its device's. */
  track(): void {
    this.#track = this.#context.devices?.connected(this.#publisher.clientId) ?? null
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
    const entry = this.#reader.publish(bytes, at, body, end)
    if (entry === null) return CLOSED
    const { qos, size } = view
    if (qos !== 0 && !this.#hasRoom(view.heldBytes)) return HOLD
    const refused = this.#refuse(entry)
    if (refused !== null) return refused
    this.#arrival.properties = entry.wantsProperties
      ? messageProperties(this.#optionsOf(view))
      : null

    let outcome: FrameOutcome
    if (qos === 0) outcome = this.#takeAtMostOnce(entry)
    else if (qos === 1) outcome = this.#take(entry)
    else outcome = this.#takeOnce(entry)
    if (outcome === TAKEN) this.#count(entry, qos, size)
    return outcome
  }

  /** One whole PUBREL. A known id is removed durably before PUBCOMP leaves (I3). */
  release(bytes: Buffer, body: number, end: number): FrameOutcome {
    const packetId = this.#reader.release(bytes, body, end)
    if (packetId === null) return CLOSED
    if (this.#releases.isFull) return HOLD
    const { appender, sessions } = this.#context
    const { session } = this
    const published = session.ids.ticketOf(packetId)
    if (published === NO_TICKET) {
      const detail = 'PUBREL before PUBREC'
      return this.#publisher.close('malformed', detail, REASON.protocolError)
    }
    // PUBREC of an id that is not durable yet has not left, and one may stand behind a message that
    // waits for room.
    const isEarly =
      published > appender.durableTicket || this.#waiting.size > 0 || this.#acks.hasPassages
    const code = this.#inbound !== null && !session.ids.has(packetId) ? UNKNOWN_ID : REASON.success
    if (code !== REASON.success) this.#context.reports.sent(code)
    if (sessions.removeId(session, packetId)) session.lastRemoval = appender.touch()
    // An unknown id gets PUBCOMP at once, unless its removal is among those that are not durable
    // yet.
    const isDurable = session.lastRemoval <= appender.durableTicket
    const ticket = isDurable ? 0 : session.lastRemoval
    const pubrecs = isEarly ? this.#acks : null
    this.#releases.add(packetId, ticket, this.#arrival.arrivedMs, pubrecs, code)
    return TAKEN
  }

  /** The acks that may leave now, as bytes for one write (I1, I2); null: none. */
  takeAcks(): Uint8Array | null {
    const { appender, stats } = this.#context
    const durable = appender.durableTicket
    if (!this.#acks.isDue(durable) && !this.#releases.isDue(durable)) {
      // I9: those before it have left; the device sends this one again.
      if (this.#acks.isLost)
        this.#close('lost-before-delivery', 'a record was lost before its sink had it')
      return null
    }
    const before = this.#acks.length
    const nowMs = this.#context.monotonicMs()
    const inbound = this.#inbound
    const acks = this.#acks.take(durable, stats.ackSeconds, nowMs, undefined, inbound?.describe)
    stats.unackedMessages -= before - this.#acks.length
    stats.unackedBytes -= this.#acks.takenBytes
    const completions = this.#releases.take(durable, this.#acks)
    inbound?.ended(this.#acks.takenFinal + this.#releases.taken)
    if (acks === null || completions === null) return acks ?? completions
    return Buffer.concat([acks, completions])
  }

  /**
   * There may be room in a stream. `full`: streams that have none, shared by all connections of one
   * round.
   */
  retryWaiting(full: Set<StreamIntake>): void {
    const { version } = this.#context.router
    if (this.#routeVersion !== version) this.#rerouteWaiting(version)
    this.#waiting.retry(full, (waiting) => this.#takeWaiting(waiting))
    this.endRead()
  }

  /** The streams are others: what waits goes where its topic goes now, or stays the device's. */
  #rerouteWaiting(routeVersion: number): void {
    this.#routeVersion = routeVersion
    this.#waiting.reroute((entry) => this.#topics.renewed(entry))
    if (this.#context.config.unrouted === 'accept') return
    const refused = this.#waiting.find(({ entry, retain }) => isUnrouted(entry, retain))
    if (refused) this.#close('unrouted', `nothing takes ${refused.entry.topic} any more`)
  }

  /** The connection ended: what was not acknowledged is the device's to send again. */
  discard(): void {
    const { stats, sessions } = this.#context
    const { session } = this
    this.#track?.ended()
    this.#track = null
    this.#waiting.discard(({ qos, packetId, hashHigh, hashLow }) => {
      const isOpen = qos === 2 && session.ids.isSame(packetId, hashHigh, hashLow)
      if (isOpen && session.ids.ticketOf(packetId) === NO_TICKET) {
        sessions.removeId(session, packetId)
      }
    })
    stats.unackedMessages -= this.#acks.length
    stats.unackedBytes -= this.#acks.bytes
  }

  // What is not taken.

  /** null: the message in the view is taken; else what became of it, or of its connection. */
  #refuse(entry: TopicEntry): FrameOutcome | null {
    const { view } = this.#context
    if (!entry.isAllowed) {
      const detail = `may not publish to ${entry.topic}`
      return this.#refuseWith(entry, 'forbidden-topic', REASON.notAuthorized, detail)
    }
    if (isUnrouted(entry, view.retain)) {
      const detail = `nothing takes ${entry.topic}`
      if (!this.#admitsUnrouted(entry))
        return this.#refuseWith(entry, 'unrouted', REASON.topicNameInvalid, detail)
    }
    if (this.#inbound === null || !view.saysUtf8 || view.qos === 0) return null
    if (isUtf8(view.bytes.subarray(view.start, view.end))) return null
    return this.#answer(REASON.payloadFormatInvalid)
  }

  /** Closing makes the device send it again, a code does not: the operator says which it is. */
  #refuseWith(
    entry: TopicEntry,
    reason: 'forbidden-topic' | 'unrouted',
    code: ReasonCode,
    detail: string,
  ): FrameOutcome {
    const { config, reports, view } = this.#context
    if (this.#inbound === null || config.refusals === 'close') return this.#close(reason, detail)
    reports.messageRefused(this.#publisher.clientId, entry.topic, reason)
    return view.qos === 0 ? TAKEN : this.#answer(code)
  }

  /** The message in the view is acknowledged with a code, and is nothing more. */
  #answer(code: ReasonCode): FrameOutcome {
    const { appender, reports, sessions, view } = this.#context
    const { packetId } = view
    if (view.qos === 2) sessions.removeId(this.session, packetId)
    const qos = view.qos as 1 | 2
    this.#acks.setCode(this.#owe(qos, packetId, appender.durableTicket, view.heldBytes), code)
    reports.sent(code)
    return TAKEN
  }

  /** What the ack of a message says that was taken (MQTT 5). */
  #codeOf(entry: TopicEntry): ReasonCode {
    if (this.#inbound === null) return REASON.success
    const { fate } = this.#context.message
    if (entry.lanes.length === 0)
      return entry.isLocal ? REASON.success : REASON.noMatchingSubscribers
    if (fate === 'kept') return REASON.success
    return fate === 'cut' ? REASON.implementationSpecificError : REASON.quotaExceeded
  }

  #setCode(position: number, code: ReasonCode): void {
    if (code === REASON.success) return
    this.#acks.setCode(position, code)
    this.#context.reports.sent(code)
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
    this.#inbound?.began()
    const ack = qos === 1 ? PUBACK : PUBREC
    return this.#acks.push(ack, packetId, ticket, size, this.#arrival.arrivedMs)
  }

  #count(entry: TopicEntry, qos: 0 | 1 | 2, size: number): void {
    const { reports, stats } = this.#context
    if (qos === 0) stats.messages.qos0 += 1
    else if (qos === 1) stats.messages.qos1 += 1
    else stats.messages.qos2 += 1
    stats.messageBytes += size
    this.#track?.took(entry)
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
    hash.compute(entry.bytes, view.bytes, view.start, view.end)
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
    this.#acks.setPassage(position, entry.passage)
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
    const code = this.#codeOf(entry)
    if (qos === 2) ticket = this.#noteId(entry, ticket, view.packetId, code)
    if (view.retain || entry.isLocal) ticket = this.#publishLocally(entry, view, ticket)
    const position = this.#owe(qos, view.packetId, ticket, view.heldBytes)
    this.#acks.setPassage(position, entry.passage)
    this.#setCode(position, code)
    return TAKEN
  }

  /** I3: the packet id goes into the commit of the record, in the same synchronous run. */
  #noteId(entry: TopicEntry, ticket: Ticket, packetId: number, code: ReasonCode): Ticket {
    const { appender, sessions, hash } = this.#context
    // A PUBREC that refuses ends the exchange [MQTT-4.3.3-9]: the id is free again.
    if (isRefusal(code)) {
      sessions.removeId(this.session, packetId)
      return ticket
    }
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
    const from = this.#publisher.clientId
    const message = {
      topic: entry.topic,
      payload,
      qos,
      retain,
      from,
      options: this.#optionsOf(publication),
    }
    const { isLocal, isQueued } = entry
    const covering = publishLocally(this.#context, message, ticket, isLocal, isQueued)
    if (isLocal) this.#lastOffered = this.#context.delivery.lastOrder
    return covering
  }

  #optionsOf(publication: Publication): MessageOptions | null {
    if (this.#inbound === null) return null
    const { view } = this.#context
    if (publication !== view) return (publication as WaitingMessage).options
    return view.options(this.#arrival.receivedAtMs)
  }

  // Waiting for room.

  #wait(entry: TopicEntry): FrameOutcome {
    const { hash, sessions, view } = this.#context
    const { dup, heldBytes, packetId, retain, size } = view
    if (!hasRoomToWait(this.#context, heldBytes)) return HOLD
    const qos = view.qos as 1 | 2
    if (qos === 2) sessions.addId(this.session, packetId, hash.high, hash.low, NO_TICKET)
    const position = this.#owe(qos, packetId, NO_TICKET, heldBytes)
    this.#acks.setPassage(position, entry.passage)
    this.#waiting.add({
      entry,
      bytes: Buffer.from(view.payload()),
      start: 0,
      end: size,
      qos,
      dup,
      retain,
      options: entry.isShared ? this.#optionsOf(view) : null,
      heldBytes,
      ...this.#arrival,
      position,
      packetId,
      hashHigh: hash.high,
      hashLow: hash.low,
      repeats: [],
    })
    return TAKEN
  }

  #takeWaiting(waiting: WaitingMessage): boolean {
    const { entry, qos, packetId, hashHigh, hashLow } = waiting
    if (isUnrouted(entry, waiting.retain)) this.#admitsUnrouted(entry)
    const appended = this.#append(entry, waiting, waiting)
    if (appended === MUST_WAIT) return false
    const code = this.#codeOf(entry)
    // The id may stand for a later message by now; then that one carries it.
    if (qos === 2 && this.session.ids.isSame(packetId, hashHigh, hashLow)) {
      const { sessions } = this.#context
      if (isRefusal(code)) sessions.removeId(this.session, packetId)
      else sessions.addId(this.session, packetId, hashHigh, hashLow, appended)
    }
    this.#topics.refresh(entry)
    const ticket = this.#publishLocally(entry, waiting, appended)
    for (const position of [waiting.position, ...waiting.repeats]) {
      this.#acks.setPassage(position, entry.passage)
      this.#acks.setTicket(position, ticket)
      this.#setCode(position, code)
    }
    return true
  }

  /** I9: neither a stream nor a subscriber takes it. */
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
    return policy === 'accept'
  }

  #close(reason: CloseReason, detail: string): FrameOutcome {
    return this.#publisher.close(reason, detail)
  }
}

/** Neither a stream nor anything else takes it. What is under `$` is counted by itself. */
function isUnrouted({ isLocal, isShared, lanes, unwanted }: TopicEntry, retain: boolean): boolean {
  if (lanes.length > 0) return false
  return unwanted !== 'dollar-topic' && !isLocal && !(retain && isShared)
}
