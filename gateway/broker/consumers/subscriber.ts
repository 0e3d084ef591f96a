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
import { isDollarTopic, isSysTopic, PROTOCOL_TOPIC_LIMITS } from '../../shared/topics/topics.ts'
import { MAX_AEDES_LEVELS } from '../aedes/engine.ts'
import type { Principal } from '../auth/authenticator.ts'
import type { MqttConfig } from '../config.ts'
import type { CloseReason } from '../events.ts'
import { MAX_UNREAD_BYTES } from '../limits.ts'
import { type CLOSED, type FrameOutcome, HOLD, TAKEN } from '../mqtt/outcome.ts'
import { PUBCOMP, PUBREC, pubrel, SUBSCRIBE, suback, unsuback } from '../mqtt/packets.ts'
import type { Qos } from '../mqtt/publish.ts'
import { readSubscribe, type Subscribe } from '../mqtt/subscribe.ts'
import type { Reports } from '../reports.ts'
import type { KeptCopy } from '../sessions/session-queues.ts'
import type { Session, SessionTable } from '../sessions/session-table.ts'
import type { Subscribing } from '../sessions/stored-subscriptions.ts'
import type { BrokerStats } from '../stats.ts'
import type { ConsumerState } from './consumer-state.ts'
import { type CopyFrame, type CopyFrames, copyFrame } from './copy-frames.ts'
import type { DeliveryOrder } from './delivery-order.ts'
import type { SubscriberDesk, Subscription, Taker } from './desk.ts'
import type { LocalDelivery, PressedSubscriber } from './local-delivery.ts'
import { type CopyAck, type OutboundHost, OutboundQueue } from './outbound-queue.ts'
import type { RetainedDelivery, RetainedSubscriber } from './retained-delivery.ts'
import type { RetainedMessage } from './retained-messages.ts'

/** What all subscribers have in common. */
export interface SubscriberContext {
  readonly config: MqttConfig
  readonly stats: BrokerStats
  readonly reports: Reports
  readonly monotonicMs: () => number
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
  close(reason: CloseReason, detail: string): typeof CLOSED
  /** There may be room: the frame at the head is tried again. */
  unblock(): void
}

interface Client {
  readonly principal: Principal
  readonly session: Session
  /** It is another broker: it gets nothing back of what it published, and RETAIN as published. */
  readonly isBridge: boolean
}

const REFUSED = 0x80

export class Subscriber implements Taker, OutboundHost, PressedSubscriber, RetainedSubscriber {
  readonly #context: SubscriberContext
  readonly #host: SubscriberHost
  readonly #client: Client
  readonly #outbound: OutboundQueue
  readonly #subscriptions = new Map<string, Subscription>()
  /** Kept copies of the session that its queue has no room for yet, in order. */
  readonly #backlog = new Fifo<KeptCopy>()
  #nextPacketId = 1
  /** A SUBSCRIBE or UNSUBSCRIBE waits for its commit. */
  #isChanging = false
  /** An UNSUBSCRIBE is held until the client's own messages from before it are delivered. */
  #awaitsCopies = false
  /** Of the rules by which filters were granted; a filter of other rules was not judged by these. */
  #accessVersion: number | null = null
  /** Some topics of a granted filter may not be received. */
  #isPartial = false
  #isEnded = false
  /** Wait for room in the queue. */
  #onRoom: (() => void)[] = []

  constructor(context: SubscriberContext, host: SubscriberHost, client: Client) {
    const { config, desk, monotonicMs, stats } = context
    this.#context = context
    this.#host = host
    this.#client = client
    this.#outbound = new OutboundQueue(config, stats, this, monotonicMs)
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
    for (const options of subscriptions.of(this.clientId)) {
      if (this.#mayHold(options.topic)) this.#install(options, 0)
    }
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
    for (const subscription of this.#subscriptions.values())
      this.#context.desk.unsubscribe(subscription)
    this.#subscriptions.clear()
    this.#context.desk.detach(this)
    this.#backlog.clear()
    this.#outbound.discard()
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
    if (end - body !== 2) return this.#malformed('an acknowledgement of a wrong length')
    const packetId = bytes.readUInt16BE(body)
    if (packetId === 0) return this.#malformed('packet identifier 0')
    const ack = (bytes[at]! & 0xf0) as CopyAck
    const due = this.#outbound.dueAck(packetId)
    if (due === undefined) {
      // Nothing is known of it; a client that waits for PUBREL gets it.
      if (ack === PUBREC) this.#host.send(pubrel(packetId))
      return TAKEN
    }
    // [MQTT-4.8.0-1]: taken for an ack it would end a copy that the client may not have got. PUBREC
    // may come again, from clients of MQTT 3.1 that repeat what was not answered in time.
    if (ack !== due && !(ack === PUBREC && due === PUBCOMP)) {
      return this.#malformed(wrongAck(ack, packetId))
    }
    const { copies } = this.#context.state
    if (ack === PUBREC) this.#received(packetId)
    else if (this.#isStored) copies.acknowledge(this.clientId, packetId)
    this.#outbound.acknowledged(ack, packetId)
    this.#fill()
    return TAKEN
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
    const packet = readSubscribe(bytes, body, end, isSubscribe, limits)
    if (typeof packet === 'string') return this.#malformed(packet)
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

  take(topic: string, frame: CopyFrame): void {
    if (this.#mayReceive(topic)) this.#outbound.push(frame, null)
  }

  takeKept(copy: KeptCopy, frames: CopyFrames): void {
    if (this.#backlog.length > 0) this.#backlog.push(copy)
    else this.#pushKept(copy, frames.at(copy.qos, copy.retain))
  }

  get closed(): boolean {
    return this.#isEnded
  }

  takeRetained(message: RetainedMessage, granted: Qos): void {
    if (!this.#mayReceive(message.topic)) return
    const qos = Math.min(message.qos, granted) as Qos
    this.#outbound.push(copyFrame(message, qos, true), null)
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
    const { config, onSysSubscribe, sessions } = this.#context
    if (config.sysInterval !== null && packet.filters.some(isSysTopic)) onSysSubscribe()
    const granted = this.#grant(packet)
    // As if each filter had come in a SUBSCRIBE of its own [MQTT-3.8.4-4]: the last one of a filter
    // is the one that stays.
    const codes = packet.filters.map((filter, index) =>
      granted.has(filter) ? (packet.qos[index] ?? 0) : REFUSED,
    )
    const answer = suback(packet.packetId, Uint8Array.from(codes))
    const added = [...granted].map(([topic, qos]) => this.#optionsOf(topic, qos as Qos))
    if (added.length === 0) {
      this.#outbound.answer(answer)
      return
    }
    sessions.markSubscribed(this.#client.session)
    const change = this.#isStored
      ? this.#context.state.subscriptions.add(this.clientId, added)
      : null
    this.#change(change, () => {
      const since = this.#context.order.last
      for (const options of added) this.#install(options, since)
      this.#outbound.answer(answer)
      this.#context.retainedDelivery.subscribed(this, added, since)
    })
  }

  /**
   * The filters that are granted, with the QoS of each. Refused is what the rules forbid, what is
   * over a limit of topics (3.1.1 has a code for that) or of subscriptions (I6), and what nothing
   * would ever come for: a grant would be silence.
   */
  #grant({ filters, overLimit, qos }: Subscribe): Map<string, number> {
    const { config } = this.#context
    const granted = new Map<string, number>()
    let count = this.#subscriptions.size
    for (const [index, filter] of filters.entries()) {
      const isSilent = isDollarTopic(filter) && (config.sysInterval === null || !isSysTopic(filter))
      if (overLimit.has(filter) || isSilent || !this.#mayHold(filter)) continue
      const isNew = !this.#subscriptions.has(filter) && !granted.has(filter)
      if (isNew && count >= config.maxSubscriptions) continue
      if (isNew) count += 1
      granted.set(filter, qos[index] ?? 0)
    }
    return granted
  }

  #unsubscribe({ filters, packetId }: Subscribe): void {
    const known = filters.filter((filter) => this.#subscriptions.has(filter))
    for (const filter of known) {
      this.#context.desk.unsubscribe(this.#subscriptions.get(filter)!)
      this.#subscriptions.delete(filter)
    }
    const change = this.#isStored
      ? this.#context.state.subscriptions.remove(this.clientId, filters)
      : null
    this.#change(change, () => this.#outbound.answer(unsuback(packetId)))
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

  /** One that is there already goes on: what is on its way is for it. */
  #install(options: Subscribing, since: number): void {
    const former = this.#subscriptions.get(options.topic)
    if (former !== undefined) this.#context.desk.unsubscribe(former)
    const subscription = this.#context.desk.subscribe(this, options, former?.since ?? since)
    this.#subscriptions.set(options.topic, subscription)
  }

  #optionsOf(topic: string, qos: Qos): Subscribing {
    return this.#client.isBridge ? { topic, qos, nl: true, rap: true } : { topic, qos }
  }

  // Kept copies.

  #fill(): void {
    while (this.#backlog.length > 0 && this.#outbound.hasRoom && !this.#isEnded) {
      const copy = this.#backlog.shift()!
      if (copy.isGone) continue
      if (copy.isRelease) this.#outbound.release(copy.packetId)
      else this.#pushKept(copy, copyFrame(copy, copy.qos, copy.retain))
    }
  }

  #pushKept(copy: KeptCopy, frame: CopyFrame): void {
    if (this.#mayReceive(copy.topic)) this.#outbound.push(frame, copy)
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

  // Access rules: for every copy, since a subscription may be granted of which only a part may be
  // received, rules may have changed since, and a session may have been stored under others.

  #mayHold(filter: string): boolean {
    const { principal } = this.#client
    if (!principal.maySubscribe(filter)) return false
    const { version } = principal
    this.#accessVersion ??= version
    if (version !== this.#accessVersion || !principal.mayReceiveAll(filter)) this.#isPartial = true
    return true
  }

  #mayReceive(topic: string): boolean {
    const { principal } = this.#client
    const isUnchecked = !this.#isPartial && this.#accessVersion === principal.version
    return isUnchecked || principal.mayReceive(topic)
  }

  #malformed(detail: string): FrameOutcome {
    return this.#host.close('malformed', detail)
  }
}

function wrongAck(ack: CopyAck, packetId: number): string {
  const name = ack === PUBREC ? 'PUBREC' : ack === PUBCOMP ? 'PUBCOMP' : 'PUBACK'
  return `${name} is not the acknowledgement that is due for packet identifier ${packetId}`
}
