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
import type { GateShared } from '../gate/context.ts'
import { WAITING_SHARE } from '../limits.ts'
import { PUBACK, PUBCOMP, PUBREC } from '../mqtt/packets.ts'
import { NO_TICKET } from '../sessions/packet-ids.ts'
import { MAX_OPEN_PACKET_IDS, type Session } from '../sessions/session-table.ts'
import { AckQueue } from './ack-queue.ts'
import type { TopicEntry } from './topic-cache.ts'
import { Topics } from './topics.ts'
import { countUnwanted } from './unwanted.ts'
import { type WaitingMessage, WaitingMessages } from './waiting-messages.ts'

/** What became of a frame. */
export const TAKEN = 0
/** Not looked at yet: the connection is at its bounds, and the frame is offered again. */
export const HOLD = 1
/** The connection was closed over it. */
export const CLOSED = 2

export type Verdict = typeof TAKEN | typeof HOLD | typeof CLOSED

/** When a message came, by both clocks. */
type Arrival = Pick<WaitingMessage, 'receivedAtMs' | 'arrivedMs'>

export interface PublishHost {
  readonly clientId: string
  close(reason: CloseReason, detail: string): void
}

/** PUBRELs that wait for a commit; there are no more packet ids than that. */
const MAX_PENDING_COMPLETIONS = 65_535

const EMPTY = new Uint8Array(0)

export class PublishPath {
  readonly #shared: GateShared
  readonly #host: PublishHost
  readonly #access: Principal
  readonly #session: Session
  readonly #topics: Topics
  readonly #acks = new AckQueue()
  readonly #completions = new AckQueue()
  /**
   * PUBCOMPs of a client that did not wait for PUBREC, with the places of those: it gets them
   * before.
   */
  readonly #early: { readonly position: number; readonly pubrec: number }[] = []
  #lastOffered = 0
  readonly #waiting: WaitingMessages
  /** Of the read that is being processed; reused. */
  readonly #arrival: { -readonly [K in keyof Arrival]: Arrival[K] } = {
    receivedAtMs: 0,
    arrivedMs: 0,
  }

  constructor(shared: GateShared, host: PublishHost, access: Principal, session: Session) {
    this.#shared = shared
    this.#host = host
    this.#access = access
    this.#session = session
    this.#topics = new Topics(shared, access, host.clientId)
    this.#waiting = new WaitingMessages(shared.stats)
  }

  get session(): Session {
    return this.#session
  }

  get access(): Principal {
    return this.#access
  }

  /** Number (DeliveryOrder) of its last message for local subscribers. */
  get lastOffered(): number {
    return this.#lastOffered
  }

  get owesAcks(): boolean {
    return this.#acks.length > 0 || this.#completions.length > 0
  }

  /** A commit will release an ack; false if the oldest message waits for room. */
  get awaitsCommit(): boolean {
    return this.#acks.awaitsCommit || this.#completions.awaitsCommit
  }

  get hasWaiting(): boolean {
    return this.#waiting.size > 0
  }

  /** Call before the frames of one read: they arrived now. */
  beginRead(): void {
    this.#arrival.arrivedMs = this.#shared.monotonicMs()
    this.#arrival.receivedAtMs = this.#shared.nowMs()
  }

  /** Call behind the frames of one read: nothing of the gate pins the read buffer. */
  endRead(): void {
    this.#shared.message.payload = EMPTY
  }

  /** One whole PUBLISH: fixed header at `at`, variable header at `body`. */
  publish(bytes: Buffer, at: number, body: number, end: number): Verdict {
    const { stats } = this.#shared
    const first = bytes[at]!
    const qos = (first >> 1) & 3
    const dup = (first & 0x08) !== 0
    if (qos === 3) return this.#malformed('QoS 3') // [MQTT-3.3.1-4]
    if (dup && qos === 0) return this.#malformed('DUP at QoS 0') // [MQTT-3.3.1-2]
    if (end - body < 2) return this.#malformed('PUBLISH without a topic')
    const topicStart = body + 2
    const topicEnd = topicStart + ((bytes[body]! << 8) | bytes[body + 1]!)
    const start = qos === 0 ? topicEnd : topicEnd + 2
    if (start > end) return this.#malformed('PUBLISH ends in its header')
    const packetId = qos === 0 ? 0 : (bytes[topicEnd]! << 8) | bytes[topicEnd + 1]!
    if (qos !== 0 && packetId === 0) return this.#malformed('packet identifier 0') // [MQTT-2.3.1-1]

    const entry = this.#topics.find(bytes, topicStart, topicEnd)
    if (typeof entry === 'string') return this.#malformed(entry)
    if (!entry.isAllowed) return this.#close('forbidden-topic', `may not publish to ${entry.topic}`)
    const retain = (first & 0x01) !== 0
    const size = end - start
    if (qos !== 0 && !this.#hasRoom(size)) return HOLD
    if (entry.lanes.length === 0 && this.#isUnrouted(entry, retain) && !this.#admitsUnrouted(entry))
      return CLOSED

    let verdict: Verdict
    if (qos === 0) verdict = this.#takeAtMostOnce(entry, bytes, start, end, retain)
    else if (qos === 1) verdict = this.#take(entry, bytes, start, end, packetId, 1, dup, retain)
    else
      verdict = this.#takeOnce(
        entry,
        bytes,
        topicStart,
        topicEnd,
        start,
        end,
        packetId,
        dup,
        retain,
      )
    if (verdict !== TAKEN) return verdict
    if (qos === 0) stats.messages.qos0 += 1
    else if (qos === 1) stats.messages.qos1 += 1
    else stats.messages.qos2 += 1
    stats.messageBytes += size
    if (entry.unwanted !== null) {
      countUnwanted(this.#shared, entry.unwanted, this.#host.clientId, entry.topic, entry.lanes)
    }
    return TAKEN
  }

  /** One whole PUBREL. A known id is removed durably before PUBCOMP leaves (I3). */
  release(bytes: Buffer, body: number, end: number): Verdict {
    if (end - body !== 2) return this.#malformed('PUBREL of a wrong length')
    const packetId = (bytes[body]! << 8) | bytes[body + 1]!
    if (packetId === 0) return this.#malformed('packet identifier 0')
    if (this.#completions.length >= MAX_PENDING_COMPLETIONS) return HOLD
    const { appender, sessions } = this.#shared
    const session = this.#session
    if (session.ids.ticketOf(packetId) === NO_TICKET) {
      return this.#malformed('PUBREL before PUBREC')
    }
    // PUBREC of an id that is not durable yet has not left, and one may stand behind a message that
    // waits for room.
    const isEarly =
      session.ids.ticketOf(packetId) > appender.durableTicket || this.#waiting.size > 0
    if (sessions.removeId(session, packetId)) session.lastRemoval = appender.touch()
    // An unknown id gets PUBCOMP at once, unless its removal is among those that are not durable
    // yet.
    const isDurable = session.lastRemoval <= appender.durableTicket
    const ticket = isDurable ? 0 : session.lastRemoval
    const position = this.#completions.push(PUBCOMP, packetId, ticket, 0, this.#arrival.arrivedMs)
    const pubrec = isEarly ? this.#acks.find(PUBREC, packetId) : -1
    if (pubrec >= 0) this.#early.push({ position, pubrec })
    return TAKEN
  }

  /** The acks that may leave now, as bytes for one write (I1, I2); null: none. */
  takeAcks(): Uint8Array | null {
    const { appender, stats } = this.#shared
    const durable = appender.durableTicket
    if (!this.#acks.isDue(durable) && !this.#completions.isDue(durable)) return null
    const before = this.#acks.length
    const acks = this.#acks.take(durable, stats.ackSeconds, this.#shared.monotonicMs())
    stats.unackedMessages -= before - this.#acks.length
    stats.unackedBytes -= this.#acks.takenBytes
    const completions = this.#completions.take(durable, null, 0, this.#firstEarly())
    if (acks === null || completions === null) return acks ?? completions
    return Buffer.concat([acks, completions])
  }

  /** The first PUBCOMP whose PUBREC has not left. */
  #firstEarly(): number {
    while (this.#early.length > 0 && this.#early[0]!.pubrec < this.#acks.head) this.#early.shift()
    return this.#early[0]?.position ?? Number.POSITIVE_INFINITY
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
    const { stats, sessions } = this.#shared
    this.#waiting.discard(({ qos, packetId, hashHigh, hashLow }) => {
      const isOpen = qos === 2 && this.#session.ids.isSame(packetId, hashHigh, hashLow)
      if (isOpen && this.#session.ids.ticketOf(packetId) === NO_TICKET) {
        sessions.removeId(this.#session, packetId)
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
    const { config, stats } = this.#shared
    return (
      own < config.maxUnackedMessages &&
      this.#acks.bytes + size <= config.maxUnackedBytes &&
      stats.unackedMessages < config.maxUnackedMessagesTotal &&
      stats.unackedBytes + size <= config.maxUnackedBytesTotal
    )
  }

  /**
   * Waiting messages take a share of the totals, or one full stream would shut out everybody else's
   * messages.
   */
  #hasRoomToWait(size: number): boolean {
    const { config, stats } = this.#shared
    return (
      stats.waitingMessages < config.maxUnackedMessagesTotal * WAITING_SHARE &&
      stats.waitingBytes + size <= config.maxUnackedBytesTotal * WAITING_SHARE
    )
  }

  #owe(first: number, packetId: number, ticket: Ticket, size: number): number {
    this.#shared.stats.unackedMessages += 1
    this.#shared.stats.unackedBytes += size
    return this.#acks.push(first, packetId, ticket, size, this.#arrival.arrivedMs)
  }

  // The three qualities of service.

  #takeAtMostOnce(
    entry: TopicEntry,
    bytes: Buffer,
    start: number,
    end: number,
    retain: boolean,
  ): Verdict {
    const { appender, stats } = this.#shared
    let ticket = appender.durableTicket
    if (entry.lanes.length > 0) {
      const appended = this.#append(entry, bytes, start, end, 0, false, retain, this.#arrival)
      if (appended === MUST_WAIT) stats.qos0Refused += 1
      else ticket = appended
    }
    if (retain || entry.isLocal) this.#share(entry, bytes.subarray(start, end), 0, retain, ticket)
    return TAKEN
  }

  #takeOnce(
    entry: TopicEntry,
    bytes: Buffer,
    topicStart: number,
    topicEnd: number,
    start: number,
    end: number,
    packetId: number,
    dup: boolean,
    retain: boolean,
  ): Verdict {
    const { hash, sessions, stats } = this.#shared
    const { ids } = this.#session
    hash.compute(bytes, topicStart, topicEnd, start, end)
    if (!ids.isSame(packetId, hash.high, hash.low)) {
      if (sessions.openIds >= MAX_OPEN_PACKET_IDS && !ids.has(packetId)) {
        return this.#close('qos2-window', 'too many QoS 2 messages without PUBREL')
      }
      // Also where the id is in use: the device has given up that message, or lost its state.
      // Taking this one for a repeat would discard it in silence (I9).
      return this.#take(entry, bytes, start, end, packetId, 2, dup, retain)
    }
    // I3: a repeat. Its PUBREC waits for the commit of its original.
    const ticket = ids.ticketOf(packetId)
    const position = this.#owe(PUBREC, packetId, ticket, 0)
    if (ticket === NO_TICKET) this.#waiting.findId(packetId)?.repeats.push(position)
    stats.duplicates += 1
    return TAKEN
  }

  #take(
    entry: TopicEntry,
    bytes: Buffer,
    start: number,
    end: number,
    packetId: number,
    qos: 1 | 2,
    dup: boolean,
    retain: boolean,
  ): Verdict {
    const { appender } = this.#shared
    const ack = qos === 1 ? PUBACK : PUBREC
    let ticket: Ticket = appender.durableTicket
    if (entry.lanes.length > 0) {
      const mustWait =
        this.#waiting.blocks(entry.lanes) ||
        (ticket = this.#append(entry, bytes, start, end, qos, dup, retain, this.#arrival)) ===
          MUST_WAIT
      if (mustWait) return this.#wait(entry, bytes, start, end, packetId, qos, dup, retain)
    }
    ticket = this.#settleOn(ticket, entry, packetId, qos)
    if (retain || entry.isLocal) {
      ticket = this.#share(entry, bytes.subarray(start, end), qos, retain, ticket)
    }
    this.#owe(ack, packetId, ticket, end - start)
    return TAKEN
  }

  /** I3: the packet id goes into the commit of the record, in the same synchronous run. */
  #settleOn(ticket: Ticket, entry: TopicEntry, packetId: number, qos: 1 | 2): Ticket {
    if (qos !== 2) return ticket
    const { appender, sessions, hash } = this.#shared
    const isStored = this.#session.number > 0
    const covering = entry.lanes.length === 0 && isStored ? appender.touch() : ticket
    sessions.addId(this.#session, packetId, hash.high, hash.low, covering)
    return covering
  }

  /** As the appender's `append`: a ticket or MUST_WAIT. */
  #append(
    entry: TopicEntry,
    payload: Uint8Array,
    start: number,
    end: number,
    qos: 0 | 1 | 2,
    dup: boolean,
    retain: boolean,
    { receivedAtMs, arrivedMs }: Arrival,
  ): Ticket {
    const { message, appender } = this.#shared
    message.payload = payload
    message.start = start
    message.end = end
    message.qos = qos
    message.dup = dup
    message.retain = retain
    message.will = false
    message.refusal = entry.refusal
    message.receivedAtMs = receivedAtMs
    message.arrivedMs = arrivedMs
    return appender.append(entry.lanes, message)
  }

  /**
   * Retained value and local copies; returns the ticket that covers both, and what is stored for
   * persistent sessions.
   */
  #share(
    entry: TopicEntry,
    payload: Uint8Array,
    qos: 0 | 1 | 2,
    retain: boolean,
    appended: Ticket,
  ): Ticket {
    let ticket = appended
    if (retain && entry.isShared)
      ticket = Math.max(ticket, this.#shared.stageRetained(entry.topic, payload, qos) ?? 0)
    if (entry.isLocal) {
      const { delivery, stageCopies } = this.#shared
      const { clientId } = this.#host
      const copies =
        qos > 0 && entry.isQueued
          ? stageCopies(entry.topic, payload, qos as 1 | 2, retain, clientId)
          : null
      if (copies !== null) ticket = Math.max(ticket, copies.ticket)
      this.#lastOffered = delivery.offer(
        entry.topic,
        payload,
        qos,
        retain,
        clientId,
        ticket,
        copies,
      )
    }
    return ticket
  }

  // Waiting for room.

  #wait(
    entry: TopicEntry,
    bytes: Buffer,
    start: number,
    end: number,
    packetId: number,
    qos: 1 | 2,
    dup: boolean,
    retain: boolean,
  ): Verdict {
    const size = end - start
    if (!this.#hasRoomToWait(size)) return HOLD
    const { hash, sessions } = this.#shared
    if (qos === 2) sessions.addId(this.#session, packetId, hash.high, hash.low, NO_TICKET)
    this.#waiting.add({
      entry,
      payload: Buffer.from(bytes.subarray(start, end)),
      qos,
      dup,
      retain,
      receivedAtMs: this.#arrival.receivedAtMs,
      arrivedMs: this.#arrival.arrivedMs,
      position: this.#owe(qos === 1 ? PUBACK : PUBREC, packetId, NO_TICKET, size),
      packetId,
      hashHigh: hash.high,
      hashLow: hash.low,
      repeats: [],
    })
    return TAKEN
  }

  #takeWaiting(waiting: WaitingMessage): boolean {
    const { entry, payload, qos, packetId, hashHigh, hashLow, retain } = waiting
    const end = payload.length
    const appended = this.#append(entry, payload, 0, end, qos, waiting.dup, retain, waiting)
    if (appended === MUST_WAIT) return false
    // The id may stand for a later message by now; then that one carries it.
    if (qos === 2 && this.#session.ids.isSame(packetId, hashHigh, hashLow)) {
      this.#shared.sessions.addId(this.#session, packetId, hashHigh, hashLow, appended)
    }
    this.#topics.refresh(entry)
    const ticket = this.#share(entry, payload, qos, retain, appended)
    this.#acks.setTicket(waiting.position, ticket)
    for (const position of waiting.repeats) this.#acks.setTicket(position, ticket)
    return true
  }

  /** No stream takes it: does nobody else? What is under `$` is counted by itself. */
  #isUnrouted({ unwanted, isLocal, isShared }: TopicEntry, retain: boolean): boolean {
    return unwanted !== 'dollar-topic' && !isLocal && !(retain && isShared)
  }

  /** I9: nobody takes it. False: the connection was closed over it. */
  #admitsUnrouted(entry: TopicEntry): boolean {
    const { config, stats, damper, emit } = this.#shared
    // One over the limit may have 64 KiB; its beginning tells which it is, and is compared with
    // every filter.
    const topic = entry.topic.slice(0, config.maxTopicBytes)
    const policy = config.unrouted
    if (policy === 'accept') stats.unrouted.accepted += 1
    else stats.unrouted.refused += 1
    const { clientId } = this.#host
    stats.lastUnrouted.topic = topic
    stats.lastUnrouted.clientId = clientId
    const suppressed = damper.pass(`unrouted ${clientId}`)
    if (suppressed !== null) {
      const filters = this.#shared.appender.streams.flatMap(({ topics }) => topics)
      const nearest = nearestFilter(topic, filters)
      emit({ type: 'broker.message-unrouted', clientId, topic, policy, nearest, suppressed })
    }
    if (policy === 'refuse') this.#close('unrouted', `nothing takes ${topic}`)
    return policy === 'accept'
  }

  #malformed(detail: string): Verdict {
    return this.#close('malformed', detail)
  }

  #close(reason: CloseReason, detail: string): Verdict {
    this.#host.close(reason, detail)
    return CLOSED
  }
}
