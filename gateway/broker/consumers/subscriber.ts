/**
 * A connection's part as a local consumer: its SUBSCRIBEs, the copies that go to it through a
 * bounded queue (I6), and the acks of those. Made when a client first subscribes, or resumes a
 * session that has subscriptions or copies: a device that only publishes costs nothing here.
 *
 * Messages and acks of the device do not pass here. Not here: who takes a message (desk), which
 * subscriptions and copies are stored (consumer-state), when copies are handed over
 * (local-delivery).
 */
import { Fifo } from '../../shared/fifo.ts'
import { isSysTopic, PROTOCOL_TOPIC_LIMITS } from '../../shared/topics/topics.ts'
import { MAX_AEDES_LEVELS } from '../aedes/engine.ts'
import type { Principal } from '../auth/principal.ts'
import type { MqttConfig } from '../config.ts'
import type { CloseReason } from '../events.ts'
import { MAX_UNREAD_BYTES } from '../limits.ts'
import type { Codec } from '../mqtt/codec.ts'
import { type CLOSED, type FrameOutcome, HOLD, TAKEN } from '../mqtt/outcome.ts'
import { PUBCOMP, PUBREC, PUBREL, pubrel, SUBSCRIBE } from '../mqtt/packets.ts'
import type { Qos } from '../mqtt/publish.ts'
import { readSubscribe, type Subscribe } from '../mqtt/subscribe.ts'
import { ackFrame } from '../mqtt/v5/acks.ts'
import type { ConnectOptions } from '../mqtt/v5/connect.ts'
import { isRefusal, type PacketFault, REASON, type ReasonCode } from '../mqtt/v5/reason-codes.ts'
import type { Reports } from '../reports.ts'
import type { KeptCopy } from '../sessions/session-queues.ts'
import type { Session, SessionTable } from '../sessions/session-table.ts'
import type { Subscribing } from '../sessions/stored-subscriptions.ts'
import type { BrokerStats } from '../stats.ts'
import { ClientFilters } from './client-filters.ts'
import type { ConsumerState } from './consumer-state.ts'
import { type CopyFrame, type CopyFrames, type CopyWay, copyFrame } from './copy-frames.ts'
import type { DeliveryOrder } from './delivery-order.ts'
import type { SubscriberDesk } from './desk.ts'
import type { LocalDelivery, PressedSubscriber, Published } from './local-delivery.ts'
import { type CopyAck, type OutboundHost, OutboundQueue, type Share } from './outbound-queue.ts'
import { ReceiveRights } from './receive-rights.ts'
import type { RetainedDelivery, RetainedSubscriber } from './retained/retained-delivery.ts'
import type { RetainedMessage } from './retained/retained-messages.ts'
import type { Taker, Wanted } from './subscription.ts'

/** What all subscribers have in common. */
export interface SubscriberContext {
  readonly config: MqttConfig
  readonly stats: BrokerStats
  readonly reports: Reports
  readonly monotonicMs: () => number
  /** Wall clock, ms since the epoch. */
  readonly nowMs: () => number
  readonly order: Pick<DeliveryOrder, 'last'>
  readonly desk: SubscriberDesk
  readonly delivery: LocalDelivery
  readonly retainedDelivery: RetainedDelivery
  readonly state: Pick<ConsumerState, 'copies' | 'subscriptions'>
  readonly sessions: Pick<SessionTable, 'markSubscribed'>
  /** A client subscribes to something under `$SYS`. */
  readonly onSysSubscribe: () => void
}

/** The connection. */
export interface SubscriberHost {
  readonly clientId: string
  /** CONNACK is out, and the end has not come. */
  readonly isOpen: boolean
  /** Bytes that the peer has not taken. */
  readonly backlog: number
  /** Nothing reaches the peer any more. */
  readonly isGone: boolean
  send(bytes: Uint8Array): void
  close(reason: CloseReason, detail: string, code?: ReasonCode): typeof CLOSED
  /** There may be room: the frame at the head is tried again. */
  unblock(): void
}

interface Client {
  readonly principal: Principal
  readonly session: Session
  /** It is another broker: it gets nothing back of what it published, and RETAIN as published. */
  readonly isBridge: boolean
  readonly codec: Codec
  /** null before MQTT 5. */
  readonly options: ConnectOptions | null
}

const MAX_PACKET_IDS = 65_535
const NO_IDENTIFIERS: readonly number[] = []

export class Subscriber implements Taker, OutboundHost, PressedSubscriber, RetainedSubscriber {
  readonly #context: SubscriberContext
  readonly #host: SubscriberHost
  readonly #client: Client
  readonly #outbound: OutboundQueue
  readonly #rights: ReceiveRights
  readonly #filters: ClientFilters
  /** Kept copies of the session that its queue has no room for yet, in order. */
  readonly #backlog = new Fifo<KeptCopy>()
  /** The PUBREL at its head for whose commit it waits. */
  #awaited: KeptCopy | null = null
  #nextPacketId = 1
  /** A SUBSCRIBE or UNSUBSCRIBE waits for its commit. */
  #isChanging = false
  /** An UNSUBSCRIBE is held until the client's own messages from before it are delivered. */
  #awaitsCopies = false
  #isEnded = false
  /** Wait for room in the queue. */
  #onRoom: (() => void)[] = []

  constructor(context: SubscriberContext, host: SubscriberHost, client: Client) {
    const { config, desk, monotonicMs, stats } = context
    this.#context = context
    this.#host = host
    this.#client = client
    const { receiveMaximum = MAX_PACKET_IDS } = client.options ?? {}
    this.#outbound = new OutboundQueue(config, stats, this, monotonicMs, receiveMaximum)
    this.#rights = new ReceiveRights(client.principal)
    this.#filters = new ClientFilters(context, this, this.#rights, client)
    if (this.#isStored) desk.attach(this)
  }

  get clientId(): string {
    return this.#host.clientId
  }

  get #isStored(): boolean {
    return this.#client.session.number > 0
  }

  /** For how long QoS 1 or 2 copies have made no progress, ms. */
  stalledMs(now: number): number {
    return this.#outbound.stalledMs(now)
  }

  /** The session goes on: its subscriptions hold, and what was kept for it is sent first. */
  resume(): void {
    const { copies, subscriptions } = this.#context.state
    // What was published before, and is on its way, is for it too.
    for (const options of subscriptions.of(this.clientId)) this.#filters.restore(options)
    for (const copy of copies.of(this.clientId)) this.#backlog.push(copy)
    this.#fill()
  }

  /** The socket has taken what it was given. */
  flush(): void {
    this.#outbound.flush()
    this.#fill()
  }

  /** The connection is closed. */
  end(): void {
    this.#isEnded = true
    this.#filters.clear()
    this.#context.desk.detach(this)
    this.#backlog.clear()
    for (const share of this.#outbound.discard()) share.pass()
    this.#hasRoom()
  }

  // In.

  /** A SUBSCRIBE or UNSUBSCRIBE waits, or has not taken effect yet. */
  get isBusy(): boolean {
    return this.#isChanging || this.#awaitsCopies
  }

  /**
   * A SUBSCRIBE or UNSUBSCRIBE has not taken effect yet: what the client sent behind it has to
   * wait.
   */
  get isChanging(): boolean {
    return this.#isChanging
  }

  /** PUBACK, PUBREC or PUBCOMP of a copy. */
  takeCopyAck(bytes: Buffer, at: number, body: number, end: number): FrameOutcome {
    const read = this.#client.codec.readAck(bytes, body, end, 'an acknowledgement')
    if ('detail' in read) return this.#fault(read)
    const { code, packetId } = read
    if (code !== REASON.success) this.#context.reports.received(code)
    const ack = (bytes[at]! & 0xf0) as CopyAck
    const due = this.#outbound.dueAck(packetId)
    if (due === undefined) {
      // Nothing is known of it; a client that waits for PUBREL gets it. What is kept comes in its
      // turn: behind a PUBREL now, the client would take it for a new message.
      const isAwaited = ack === PUBREC && !isRefusal(code) && !this.#keeps(packetId)
      if (isAwaited) this.#host.send(this.#releaseOfNothing(packetId))
      return TAKEN
    }
    // [MQTT-4.8.0-1]: taken for an ack it would end a copy that the client may not have got. PUBREC
    // may come again, from clients of MQTT 3.1 that repeat what was not answered in time.
    if (ack !== due && !(ack === PUBREC && due === PUBCOMP)) {
      return this.#host.close('malformed', wrongAck(ack, packetId), REASON.protocolError)
    }
    const { copies } = this.#context.state
    const isEnd = ack !== PUBREC || isRefusal(code)
    if (isEnd && this.#isStored) copies.acknowledge(this.clientId, packetId)
    if (!isEnd) this.#received(packetId)
    // A PUBREC that refuses ends the exchange [MQTT-4.3.3-4].
    if (isEnd && ack === PUBREC) this.#outbound.refused(packetId)
    else this.#outbound.acknowledged(ack, packetId)
    this.#fill()
    return TAKEN
  }

  #keeps(packetId: number): boolean {
    return this.#isStored && this.#context.state.copies.keeps(this.clientId, packetId)
  }

  #releaseOfNothing(packetId: number): Buffer {
    if (!this.#client.codec.isV5) return pubrel(packetId)
    this.#context.reports.sent(REASON.packetIdentifierNotFound)
    return ackFrame(PUBREL | 2, packetId, REASON.packetIdentifierNotFound, null)
  }

  /** SUBSCRIBE or UNSUBSCRIBE. `lastOffered`: number of the client's last message. */
  takeSubscribe(
    bytes: Buffer,
    at: number,
    body: number,
    end: number,
    lastOffered: number,
  ): FrameOutcome {
    const { config, delivery } = this.#context
    const isSubscribe = (bytes[at]! & 0xf0) === SUBSCRIBE
    // What was subscribed under higher limits can still be unsubscribed.
    const limits = isSubscribe
      ? config
      : { ...PROTOCOL_TOPIC_LIMITS, maxTopicLevels: MAX_AEDES_LEVELS }
    const { isV5 } = this.#client.codec
    const packet = readSubscribe(bytes, body, end, { isSubscribe, isV5 }, limits)
    if ('detail' in packet) return this.#fault(packet)
    if (this.#isChanging) return HOLD
    // What the client published before is still delivered to it; once it is gone that is no reason
    // to stay, for as long as slow subscribers hold the copies up.
    this.#awaitsCopies = !isSubscribe && !this.#host.isGone && delivery.isPending(lastOffered)
    if (this.#awaitsCopies) return HOLD
    if (isSubscribe) this.#subscribe(packet)
    else this.#unsubscribe(packet)
    return TAKEN
  }

  // Out.

  take(message: Published, frames: CopyFrames, wanted: Wanted, share: Share | null): void {
    if (!this.#rights.mayReceive(message.topic)) return
    // A session keeps what it is to get exactly once [MQTT-4.8.2-4].
    if (share !== null && wanted.qos === 2 && this.#isStored) {
      const copy = this.#context.state.copies.keep(this.clientId, message, wanted)
      if (copy !== null) this.takeKept(copy, frames)
      return
    }
    this.#push(frames.at(this.#wayOf(wanted)), null, share)
  }

  takeKept(copy: KeptCopy, frames: CopyFrames): void {
    if (this.#backlog.length > 0) this.#backlog.push(copy)
    else this.#pushKept(copy, frames.at(this.#wayOf(copy)))
  }

  #wayOf({ qos, retain, identifiers }: Omit<CopyWay, 'isV5'>): CopyWay {
    const { isV5 } = this.#client.codec
    return { qos, retain, isV5, identifiers: isV5 ? identifiers : NO_IDENTIFIERS }
  }

  #push(frame: CopyFrame, kept: KeptCopy | null, share: Share | null): void {
    const { maximumPacketBytes = null } = this.#client.options ?? {}
    if (maximumPacketBytes === null || frame.bytes.length <= maximumPacketBytes) {
      this.#outbound.push(frame, kept, share)
      return
    }
    // [MQTT-3.1.2-25]: as if it had been sent.
    this.#dropped(kept)
  }

  #dropped(kept: KeptCopy | null): void {
    this.#context.reports.copiesDropped(this.clientId, 1)
    if (kept !== null) this.#context.state.copies.withdraw(this.clientId, kept)
  }

  nowMs(): number {
    return this.#context.nowMs()
  }

  onExpired(kept: KeptCopy | null): void {
    this.#dropped(kept)
  }

  get closed(): boolean {
    return this.#isEnded
  }

  takeRetained(message: RetainedMessage, granted: readonly Subscribing[]): void {
    if (!this.#rights.mayReceive(message.topic)) return
    const qos = Math.min(message.qos, Math.max(0, ...granted.map((each) => each.qos))) as Qos
    const identifiers = granted.flatMap(({ subscriptionIdentifier: one }) => one ?? [])
    this.#push(copyFrame(message, this.#wayOf({ qos, retain: true, identifiers })), null, null)
  }

  async room(): Promise<void> {
    if (this.#isEnded || !this.#outbound.isPressed) return
    await new Promise<void>((resolve) => {
      this.#onRoom.push(resolve)
    })
  }

  canSend(): boolean {
    return this.#host.isOpen && this.#host.backlog < MAX_UNREAD_BYTES
  }

  send(bytes: Uint8Array): void {
    this.#host.send(bytes)
  }

  takePacketId(): number {
    const isTaken = (packetId: number): boolean => this.#outbound.dueAck(packetId) !== undefined
    if (this.#isStored) return this.#context.state.copies.takeId(this.clientId, isTaken)
    while (isTaken(this.#nextPacketId)) this.#nextPacketId = (this.#nextPacketId % 65_535) + 1
    const packetId = this.#nextPacketId
    this.#nextPacketId = (packetId % 65_535) + 1
    return packetId
  }

  onCopiesDropped(count: number): void {
    this.#context.reports.copiesDropped(this.clientId, count)
  }

  onOverflow(): void {
    this.#host.close('slow-subscriber', 'QoS 1 or 2 copies pile up')
  }

  onPressed(): void {
    this.#context.delivery.press(this)
  }

  onRelieved(): void {
    const { delivery } = this.#context
    delivery.relieve(this)
    this.#hasRoom()
    delivery.resume()
  }

  #hasRoom(): void {
    for (const resolve of this.#onRoom.splice(0)) resolve()
  }

  // Subscriptions.

  #subscribe(packet: Subscribe): void {
    const { config, onSysSubscribe, order, sessions } = this.#context
    if (config.sysInterval !== null && packet.requests.some(({ filter }) => isSysTopic(filter)))
      onSysSubscribe()
    const { added, codes } = this.#filters.grant(packet)
    const answer = this.#client.codec.suback(packet.packetId, codes)
    if (added.length === 0) {
      this.#outbound.answer(answer)
      return
    }
    sessions.markSubscribed(this.#client.session)
    const change = this.#isStored
      ? this.#context.state.subscriptions.add(this.clientId, added)
      : null
    this.#change(change, () => {
      const since = order.last
      const asking = added.filter((options) => this.#filters.wantsRetained(options))
      for (const options of added) this.#filters.install(options, since)
      this.#outbound.answer(answer)
      if (asking.length > 0) this.#context.retainedDelivery.subscribed(this, asking, since)
    })
  }

  #unsubscribe({ packetId, requests }: Subscribe): void {
    const codes = requests.map(({ filter }) =>
      this.#filters.remove(filter) ? REASON.success : REASON.noSubscriptionExisted,
    )
    const filters = requests.map(({ filter }) => filter)
    const change = this.#isStored
      ? this.#context.state.subscriptions.remove(this.clientId, filters)
      : null
    const answer = this.#client.codec.unsuback(packetId, Uint8Array.from(codes))
    this.#change(change, () => this.#outbound.answer(answer))
  }

  /** `then`: at once, or when the change is durable. */
  #change(change: Promise<void> | null, then: () => void): void {
    if (change === null) {
      then()
      return
    }
    this.#isChanging = true
    const done = (): void => {
      this.#isChanging = false
      if (this.#isEnded) return
      then()
      this.#host.unblock()
    }
    change.then(done).catch((error: unknown) => {
      this.#context.reports.fault('subscribe', error)
      this.#host.close('internal-error', 'an error in the gateway')
    })
  }

  // Kept copies.

  #fill(): void {
    const { copies } = this.#context.state
    while (this.#backlog.length > 0 && this.#outbound.hasRoom && !this.#isEnded) {
      const copy = this.#backlog.first!
      if (copies.isUnsettled(copy)) {
        this.#fillLater(copy)
        return
      }
      this.#backlog.shift()
      if (copy.isGone) continue
      if (copy.isRelease) this.#outbound.release(copy.packetId)
      else this.#pushKept(copy, copyFrame(copy, this.#wayOf(copy)))
    }
  }

  /** Its PUBREC came on an earlier connection and is not durable yet; what is behind it waits. */
  #fillLater(copy: KeptCopy): void {
    if (this.#awaited === copy) return
    this.#awaited = copy
    const { reports, state } = this.#context
    state.copies
      .settled(copy)
      .then(() => this.#fill())
      .catch((error: unknown) => reports.fault('pubrel', error))
  }

  #pushKept(copy: KeptCopy, frame: CopyFrame): void {
    if (this.#rights.mayReceive(copy.topic)) this.#push(frame, copy, null)
    else this.#context.state.copies.withdraw(this.clientId, copy)
  }

  /** PUBREL leaves when it is durable that PUBREC came: behind it the subscriber forgets the id. */
  #received(packetId: number): void {
    const { reports, state } = this.#context
    const release = (): void => {
      if (!this.#isEnded) this.#host.send(pubrel(packetId))
    }
    if (this.#isStored)
      state.copies
        .received(this.clientId, packetId)
        .then(release)
        .catch((error: unknown) => reports.fault('pubrec', error))
    else release()
  }

  #fault({ code, detail }: PacketFault): FrameOutcome {
    return this.#host.close('malformed', detail, code)
  }
}

function wrongAck(ack: CopyAck, packetId: number): string {
  const name = ack === PUBREC ? 'PUBREC' : ack === PUBCOMP ? 'PUBCOMP' : 'PUBACK'
  return `${name} is not the acknowledgement that is due for packet identifier ${packetId}`
}
