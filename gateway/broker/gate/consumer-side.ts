/**
 * A connection's side towards aedes, for its part as a local consumer: SUBSCRIBE and the acks of
 * copies go in, frames of aedes come out through a bounded queue (I6); and the end of aedes'
 * client, which comes after the connection's.
 *
 * Messages and acks of the device do not pass here. Not here: which subscriptions and copies there
 * are (aedes and its persistence), when copies are handed over (local-delivery).
 */
import { isDollarTopic, isSysTopic, PROTOCOL_TOPIC_LIMITS } from '../../shared/topics/topics.ts'
import { type CopyAck, type OutboundHost, OutboundQueue } from '../consumers/outbound-queue.ts'
import { SubscribeHandler } from '../consumers/subscribe-handler.ts'
import type { CloseReason, RefuseReason } from '../events.ts'
import type { ConnectionState } from './deadlines.ts'
import type { Gate } from './gate.ts'
import { AEDES_END_GRACE_MS, MAX_UNREAD_BYTES } from '../limits.ts'
import { CONNACK, PUBCOMP, PUBREC, pubrel, SUBACK, SUBSCRIBE, UNSUBACK } from '../mqtt/packets.ts'
import { readSubscribe } from '../mqtt/subscribe.ts'
import { HOLD, type PublishPath, TAKEN, type Verdict } from '../publish/publish-path.ts'
import { MAX_AEDES_LEVELS } from '../aedes/aedes-server.ts'
import { type DuplexHost, GateDuplex } from '../aedes/gate-duplex.ts'

export interface AedesSideHost {
  readonly state: ConnectionState
  readonly clientId: string
  /** Bytes that the socket has not taken yet. */
  readonly backlog: number
  /** The client is gone: no copy reaches it any more. */
  readonly isGone: boolean
  send(bytes: Uint8Array): void
  /** There may be room: the frame at the head is tried again. */
  unblock(): void
  connectToAedes(duplex: GateDuplex): void
  onAedesConnack(frame: Buffer): void
  /** aedes has unsubscribed and unregistered the client and published its will. */
  onAedesFinished(): void
  refuse(returnCode: number | null, reason: RefuseReason, detail: string): Verdict
  malformed(detail: string): Verdict
  close(reason: CloseReason, detail: string): void
}

const NO_SUBSCRIPTIONS: Readonly<Record<string, unknown>> = Object.freeze(
  Object.create(null) as Record<string, unknown>,
)

export class AedesSide implements DuplexHost, OutboundHost {
  readonly #gate: Gate
  readonly #host: AedesSideHost
  readonly #outbound: OutboundQueue
  readonly #subscribes: SubscribeHandler
  #duplex: GateDuplex | null = null
  #hasConnack = false
  /**
   * aedes is at a SUBSCRIBE or UNSUBSCRIBE. It works at all that it has at the same time, and the
   * last to end wins.
   */
  #isChanging = false
  /** An UNSUBSCRIBE is held until the client's own messages from before it are delivered. */
  #awaitsCopies = false

  constructor(gate: Gate, host: AedesSideHost) {
    const { config, stats, monotonicMs } = gate.shared
    this.#gate = gate
    this.#host = host
    this.#subscribes = new SubscribeHandler(config.maxSubscriptions)
    this.#outbound = new OutboundQueue(config, stats, this, monotonicMs)
  }

  /** For how long QoS 1 or 2 copies have made no progress, ms. */
  stalledMs(now: number): number {
    return this.#outbound.stalledMs(now)
  }

  /**
   * Makes aedes' client; `connect` is the CONNECT that it reads, `isStored`: the session outlives
   * the connection.
   */
  connect(connect: Buffer, isBridge: boolean, isResumed: boolean, isStored: boolean): void {
    const duplex = new GateDuplex(this, isBridge, isResumed, isStored ? this.#host.clientId : null)
    this.#duplex = duplex
    this.#host.connectToAedes(duplex)
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
  takeCopyAck(bytes: Buffer, at: number, body: number, end: number): Verdict {
    if (end - body !== 2) return this.#host.malformed('an acknowledgement of a wrong length')
    const packetId = bytes.readUInt16BE(body)
    if (packetId === 0) return this.#host.malformed('packet identifier 0')
    const ack = (bytes[at]! & 0xf0) as CopyAck
    const due = this.#outbound.dueAck(packetId)
    if (due === undefined) {
      // Nothing of it is aedes' business; a client that waits for PUBREL gets it.
      if (ack === PUBREC) this.#host.send(pubrel(packetId))
      return TAKEN
    }
    // [MQTT-4.8.0-1]: taken for an ack it would end a copy that the client may not have got. PUBREC
    // may come again, from clients of MQTT 3.1 that repeat what was not answered in time.
    if (ack !== due && !(ack === PUBREC && due === PUBCOMP)) {
      return this.#host.malformed(wrongAck(ack, packetId))
    }
    if (!this.#wantsMore) return HOLD
    const frame = Buffer.from(bytes.subarray(at, end))
    frame[0] = ack
    this.#duplex?.feed(frame)
    this.#outbound.acknowledged(ack, packetId)
    return TAKEN
  }

  /** SUBSCRIBE or UNSUBSCRIBE. */
  takeSubscribe(bytes: Buffer, at: number, body: number, end: number, path: PublishPath): Verdict {
    const { config, delivery, sessions } = this.#gate.shared
    const isSubscribe = (bytes[at]! & 0xf0) === SUBSCRIBE
    // What was subscribed under higher limits can still be unsubscribed.
    const limits = isSubscribe
      ? config
      : { ...PROTOCOL_TOPIC_LIMITS, maxTopicLevels: MAX_AEDES_LEVELS }
    const packet = readSubscribe(bytes, body, end, isSubscribe, limits)
    if (typeof packet === 'string') return this.#host.malformed(packet)
    if (this.#isChanging || !this.#wantsMore) return HOLD
    // What the client published before is still delivered to it; once it is gone that is no reason
    // to stay, for as long as slow subscribers hold the copies up.
    this.#awaitsCopies = !isSubscribe && !this.#host.isGone && delivery.isPending(path.lastOffered)
    if (this.#awaitsCopies) return HOLD
    const whole = bytes.subarray(at, end)
    const held = this.#duplex?.client?.subscriptions ?? NO_SUBSCRIPTIONS
    // Nothing else of `$` topics is delivered here, nor are subscriptions shared: 0x80 says so, a
    // grant would be silence.
    const hasTree = config.sysInterval !== null
    const allows = (filter: string): boolean =>
      (!isDollarTopic(filter) || (hasTree && isSysTopic(filter))) &&
      path.access.maySubscribe(filter)
    if (hasTree && isSubscribe && packet.filters.some(isSysTopic)) this.#gate.onSysSubscribe()
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
    else if (this.#host.state !== 'closed') {
      this.#outbound.push(this.#subscribes.translate(this.#duplex?.withRetainFlag(frame) ?? frame))
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
    if (this.#host.state !== 'closed') this.#host.onAedesConnack(frame)
    // It ended while aedes was connecting; a client that is closed in between would stay registered
    // for ever.
    else this.#endDuplex(true)
  }

  onAedesDemand(): void {
    this.#host.unblock()
  }

  onAedesClosed(): void {
    const { state } = this.#host
    if (state === 'opening')
      this.#host.refuse(null, 'server-unavailable', 'the broker did not connect')
    else if (state === 'open')
      this.#host.close('internal-error', 'the broker closed the connection')
  }

  onAedesFinished(): void {
    this.#host.onAedesFinished()
  }

  takesCopies(): boolean {
    return this.#host.state === 'closed' || !this.#outbound.isPressed
  }

  // Out, to the socket.

  canSend(): boolean {
    return this.#host.state === 'open' && this.#host.backlog < MAX_UNREAD_BYTES
  }

  send(bytes: Uint8Array): void {
    this.#host.send(bytes)
  }

  onCopiesDropped(): void {
    this.#gate.onCopiesDropped(this.#host.clientId)
  }

  onOverflow(): void {
    this.#host.close('slow-subscriber', 'QoS 1 or 2 copies pile up')
  }

  onPressed(): void {
    this.#gate.pressed.add(this)
  }

  onRelieved(): void {
    this.#gate.pressed.delete(this)
    this.#duplex?.emit('drain')
    this.#gate.shared.delivery.resume()
  }

  // The end.

  /**
   * The connection is closed. `isOrderly`: aedes may read what it was fed before its side ends.
   * Returns false if aedes never knew the client; else `onAedesFinished` follows.
   */
  end(isOrderly: boolean): boolean {
    this.#outbound.discard()
    if (this.#duplex === null) return false
    // Without CONNACK aedes is still connecting, and is ended then; or it closed by itself, and
    // finishes by itself.
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
