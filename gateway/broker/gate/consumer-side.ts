/**
 * A connection's part as a local consumer: SUBSCRIBE and the acks of copies go to aedes, frames of
 * aedes come out through a bounded queue (I6), and aedes asks here what its client may. It ends
 * with aedes' client, which is after the connection's end.
 *
 * Messages and acks of the device do not pass here. Not here: which subscriptions and copies there
 * are (consumer-state), when copies are handed over (local-delivery).
 */
import { isDollarTopic, isSysTopic, PROTOCOL_TOPIC_LIMITS } from '../../shared/topics/topics.ts'
import { MAX_AEDES_LEVELS } from '../aedes/aedes-server.ts'
import { type DuplexOwner, GateDuplex } from '../aedes/gate-duplex.ts'
import type { Principal } from '../auth/authenticator.ts'
import type { PressedSubscriber } from '../consumers/local-delivery.ts'
import { type CopyAck, type OutboundHost, OutboundQueue } from '../consumers/outbound-queue.ts'
import type { RetainedSubscriber } from '../consumers/retained-delivery.ts'
import { SubscribeHandler } from '../consumers/subscribe-handler.ts'
import { AEDES_END_GRACE_MS, MAX_UNREAD_BYTES } from '../limits.ts'
import type { Will } from '../mqtt/connect.ts'
import { type FrameOutcome, HOLD, TAKEN } from '../mqtt/outcome.ts'
import { CONNACK, PUBCOMP, PUBREC, pubrel, SUBACK, SUBSCRIBE, UNSUBACK } from '../mqtt/packets.ts'
import { readSubscribe } from '../mqtt/subscribe.ts'
import type { PublishPath } from '../publish/publish-path.ts'
import type { GateContext } from './context.ts'
import type { Lifecycle } from './lifecycle.ts'
import type { Transport } from './transport.ts'

export interface ConsumerHost {
  /** There may be room: the frame at the head is tried again. */
  unblock(): void
  /** CONNACK of aedes. */
  onConnack(frame: Buffer): void
  /** aedes has unsubscribed and unregistered the client and published its will. */
  onFinished(): void
}

interface ConsumerStart {
  /** The CONNECT that aedes reads. */
  readonly connect: Buffer
  readonly principal: Principal
  /** The client is another broker. */
  readonly isBridge: boolean
  /** It continues a session that was there. */
  readonly isResumed: boolean
  /** The session outlives the connection. */
  readonly isStored: boolean
}

const NO_SUBSCRIPTIONS: Readonly<Record<string, unknown>> = Object.freeze(
  Object.create(null) as Record<string, unknown>,
)

export class ConsumerSide implements DuplexOwner, OutboundHost, PressedSubscriber {
  readonly #context: GateContext
  readonly #lifecycle: Lifecycle
  readonly #transport: Transport
  readonly #host: ConsumerHost
  readonly #outbound: OutboundQueue
  readonly #subscribes: SubscribeHandler
  #duplex: GateDuplex | null = null
  #principal: Principal | null = null
  #hasConnack = false
  /**
   * aedes is at a SUBSCRIBE or UNSUBSCRIBE. It works at all that it has at the same time, and the
   * last to end wins.
   */
  #isChanging = false
  /** An UNSUBSCRIBE is held until the client's own messages from before it are delivered. */
  #awaitsCopies = false
  /** Of the rules by which filters were granted; a filter of other rules was not judged by these. */
  #accessVersion: number | null = null
  /** Some topics of a granted filter may not be received. */
  #isPartial = false

  constructor(
    context: GateContext,
    lifecycle: Lifecycle,
    transport: Transport,
    host: ConsumerHost,
  ) {
    const { config, stats, monotonicMs } = context
    this.#context = context
    this.#lifecycle = lifecycle
    this.#transport = transport
    this.#host = host
    this.#subscribes = new SubscribeHandler(config.maxSubscriptions)
    this.#outbound = new OutboundQueue(config, stats, this, monotonicMs)
  }

  /** For how long QoS 1 or 2 copies have made no progress, ms. */
  stalledMs(now: number): number {
    return this.#outbound.stalledMs(now)
  }

  /** Makes aedes' client; {@link ConsumerHost.onConnack} follows. */
  connect({ connect, principal, isBridge, isResumed, isStored }: ConsumerStart): void {
    const sessionId = isStored ? this.#lifecycle.clientId : null
    const duplex = new GateDuplex(this, { isBridge, isResumed, sessionId })
    this.#principal = principal
    this.#duplex = duplex
    this.#context.aedes.connect(duplex)
    duplex.feed(connect)
  }

  /** CONNACK is out: copies may follow. */
  open(): void {
    this.#outbound.open()
  }

  /** The socket has taken what it was given. */
  flush(): void {
    this.#outbound.flush()
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
    if (end - body !== 2) return this.#lifecycle.malformed('an acknowledgement of a wrong length')
    const packetId = bytes.readUInt16BE(body)
    if (packetId === 0) return this.#lifecycle.malformed('packet identifier 0')
    const ack = (bytes[at]! & 0xf0) as CopyAck
    const due = this.#outbound.dueAck(packetId)
    if (due === undefined) {
      // Nothing of it is aedes' business; a client that waits for PUBREL gets it.
      if (ack === PUBREC) this.#transport.send(pubrel(packetId))
      return TAKEN
    }
    // [MQTT-4.8.0-1]: taken for an ack it would end a copy that the client may not have got. PUBREC
    // may come again, from clients of MQTT 3.1 that repeat what was not answered in time.
    if (ack !== due && !(ack === PUBREC && due === PUBCOMP)) {
      return this.#lifecycle.malformed(wrongAck(ack, packetId))
    }
    if (!this.#wantsMore) return HOLD
    const frame = Buffer.from(bytes.subarray(at, end))
    frame[0] = ack
    this.#duplex?.feed(frame)
    this.#outbound.acknowledged(ack, packetId)
    return TAKEN
  }

  /** SUBSCRIBE or UNSUBSCRIBE. */
  takeSubscribe(
    bytes: Buffer,
    at: number,
    body: number,
    end: number,
    path: PublishPath,
  ): FrameOutcome {
    const { config, delivery, sessions } = this.#context
    const isSubscribe = (bytes[at]! & 0xf0) === SUBSCRIBE
    // What was subscribed under higher limits can still be unsubscribed.
    const limits = isSubscribe
      ? config
      : { ...PROTOCOL_TOPIC_LIMITS, maxTopicLevels: MAX_AEDES_LEVELS }
    const packet = readSubscribe(bytes, body, end, isSubscribe, limits)
    if (typeof packet === 'string') return this.#lifecycle.malformed(packet)
    if (this.#isChanging || !this.#wantsMore) return HOLD
    // What the client published before is still delivered to it; once it is gone that is no reason
    // to stay, for as long as slow subscribers hold the copies up.
    this.#awaitsCopies =
      !isSubscribe && !this.#transport.isGone && delivery.isPending(path.lastOffered)
    if (this.#awaitsCopies) return HOLD
    const whole = bytes.subarray(at, end)
    const held = this.#duplex?.client?.subscriptions ?? NO_SUBSCRIPTIONS
    // Nothing else of `$` topics is delivered here, nor are subscriptions shared: 0x80 says so, a
    // grant would be silence.
    const hasTree = config.sysInterval !== null
    const allows = (filter: string): boolean =>
      (!isDollarTopic(filter) || (hasTree && isSysTopic(filter))) &&
      path.principal.maySubscribe(filter)
    if (hasTree && isSubscribe && packet.filters.some(isSysTopic)) this.#context.onSysSubscribe()
    const { forward, answer } = isSubscribe
      ? this.#subscribes.subscribe(whole, packet, allows, held)
      : this.#subscribes.unsubscribe(whole, packet)
    if (answer !== null) this.#outbound.push(answer)
    if (forward === null) return TAKEN
    if (isSubscribe) sessions.markSubscribed(path.session)
    this.#isChanging = true
    this.#duplex?.feed(forward)
    return TAKEN
  }

  get #wantsMore(): boolean {
    return this.#duplex?.wantsMore ?? true
  }

  // Out, from aedes.

  onAedesFrame(frame: Buffer): void {
    if ((frame[0]! & 0xf0) === CONNACK) this.#onConnack(frame)
    else if (this.#lifecycle.state !== 'closed') {
      this.#outbound.push(this.#subscribes.translate(frame))
      const type = frame[0]! & 0xf0
      if (type === SUBACK || type === UNSUBACK) this.#changed()
    }
  }

  #changed(): void {
    this.#isChanging = false
    this.#host.unblock()
  }

  #onConnack(frame: Buffer): void {
    this.#hasConnack = true
    if (this.#lifecycle.state !== 'closed') this.#host.onConnack(frame)
    // It ended while aedes was connecting: aedes would never unregister a client that is closed in
    // between.
    else this.#endDuplex(true)
  }

  onAedesDemand(): void {
    this.#host.unblock()
  }

  onAedesClosed(): void {
    const { state } = this.#lifecycle
    if (state === 'opening')
      this.#lifecycle.refuse(null, 'server-unavailable', 'the broker did not connect')
    else if (state === 'open')
      this.#lifecycle.close('internal-error', 'the broker closed the connection')
  }

  onAedesFinished(): void {
    this.#host.onFinished()
  }

  takesCopies(): boolean {
    return this.#lifecycle.state === 'closed' || !this.#outbound.isPressed
  }

  // Out, to the socket.

  canSend(): boolean {
    return this.#lifecycle.state === 'open' && this.#transport.backlog < MAX_UNREAD_BYTES
  }

  send(bytes: Uint8Array): void {
    this.#transport.send(bytes)
  }

  onCopiesDropped(count: number): void {
    this.#context.reports.copiesDropped(this.#lifecycle.clientId, count)
  }

  onOverflow(): void {
    this.#lifecycle.close('slow-subscriber', 'QoS 1 or 2 copies pile up')
  }

  onPressed(): void {
    this.#context.delivery.press(this)
  }

  onRelieved(): void {
    const { delivery } = this.#context
    delivery.relieve(this)
    // aedes may write at once, and be pressed again.
    this.#duplex?.emit('drain')
    delivery.resume()
  }

  // What aedes asks.

  maySubscribe(filter: string): boolean {
    const principal = this.#principal
    if (principal === null || !principal.maySubscribe(filter)) return false
    const { version } = principal
    this.#accessVersion ??= version
    if (version !== this.#accessVersion || !principal.mayReceiveAll(filter)) this.#isPartial = true
    return true
  }

  mayReceive(topic: string): boolean {
    const principal = this.#principal
    if (principal === null) return false
    const isUnchecked = !this.#isPartial && this.#accessVersion === principal.version
    return isUnchecked || principal.mayReceive(topic)
  }

  onSubscribed(subscriber: RetainedSubscriber, filters: readonly string[], since: number): void {
    this.#context.retainedDelivery.subscribed(subscriber, filters, since)
  }

  onWill(will: Will, done: () => void): void {
    const { clientId, saidGoodbye } = this.#lifecycle
    if (saidGoodbye) done()
    else this.#context.wills.publish(clientId, will, this.#principal, done)
  }

  // The end.

  /**
   * The connection is closed. `isOrderly`: aedes may read what it was fed before its side ends.
   * Returns false if aedes never knew the client; else `onFinished` follows.
   */
  end(isOrderly: boolean): boolean {
    this.#outbound.discard()
    if (this.#duplex === null) return false
    // Without CONNACK aedes is still connecting: its side ends when that comes. Or it closed by
    // itself, and finishes by itself.
    if (this.#hasConnack) this.#endDuplex(isOrderly)
    return true
  }

  #endDuplex(isOrderly: boolean): void {
    const duplex = this.#duplex
    if (duplex === null) return
    if (!isOrderly || duplex.destroyed) {
      duplex.destroy()
      return
    }
    duplex.endInput()
    setTimeout(() => duplex.destroy(), AEDES_END_GRACE_MS).unref()
  }
}

function wrongAck(ack: CopyAck, packetId: number): string {
  const name = ack === PUBREC ? 'PUBREC' : ack === PUBCOMP ? 'PUBCOMP' : 'PUBACK'
  return `${name} is not the acknowledgement that is due for packet identifier ${packetId}`
}
