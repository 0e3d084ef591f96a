/**
 * One connection, from accept to end: it takes each frame of its client to the part that handles it,
 * and lets acks out when their commit is durable (I1, I2). Frames behind CONNECT wait, bounded.
 * PUBLISH and PUBREL go to the publish path; PINGREQ is answered here, also for
 * what is held back.
 *
 * Not here: states and ends (lifecycle), bytes to frames (frame-reader), the steps to CONNACK
 * (connect-handshake), acks and bounds of messages (publish-path), local consumers (subscriber),
 * time-outs (deadlines), what happens to all connections (gate).
 */

import type { Duplex } from 'node:stream'
import type { StreamIntake } from '../../ports/appender.ts'
import { Subscriber, type SubscriberHost } from '../consumers/subscriber.ts'
import type { CloseReason } from '../events.ts'
import { LEAST_RECEIVE_MAXIMUM, RECEIVE_MAXIMUM_SHARE } from '../limits.ts'
import type { Inbound } from '../listeners/inbound.ts'
import { notMqtt } from '../listeners/wrong-protocol.ts'
import { FAULT, FRAME, FrameReader } from '../mqtt/frame-reader.ts'
import { CLOSED, type FrameOutcome, HOLD, TAKEN } from '../mqtt/outcome.ts'
import {
  bodyOffset,
  DISCONNECT,
  hasValidFlags,
  PINGREQ,
  PINGRESP_FRAME,
  PUBACK,
  PUBCOMP,
  PUBLISH,
  PUBREC,
  PUBREL,
  SUBSCRIBE,
  UNSUBSCRIBE,
  varintLength,
} from '../mqtt/packets.ts'
import { readDisconnect } from '../mqtt/v5/acks.ts'
import { REASON, type ReasonCode } from '../mqtt/v5/reason-codes.ts'
import { PublishPath } from '../publish/publish-path.ts'
import { V5Inbound } from '../publish/v5-inbound.ts'
import type { Holder } from './client-ids.ts'
import { ConnectHandshake, expiryMsOf } from './connect-handshake.ts'
import { type ConnectionLists, place } from './connection-lists.ts'
import type { GateContext } from './context.ts'
import { dueReason } from './deadlines.ts'
import { Lifecycle } from './lifecycle.ts'
import { ReadControl } from './read-control.ts'
import { Transport } from './transport.ts'

export class Connection implements Holder, SubscriberHost {
  readonly gone: Promise<void>
  #resolveGone: () => void = () => {}
  readonly #context: GateContext
  readonly #lists: ConnectionLists<Connection>
  readonly #lifecycle: Lifecycle
  readonly #transport: Transport
  readonly #frames: FrameReader
  readonly #reads: ReadControl
  readonly #handshake: ConnectHandshake
  /** From the verdict on CONNECT. */
  #path: PublishPath | null = null
  /** Once the client subscribes, or resumes a session that a subscriber had. */
  #subscriber: Subscriber | null = null
  /** Until the connection that it took over from is gone. */
  #former: Promise<void> | null = null
  #isProcessing = false
  /** The frame at the head waits for room. */
  #isBlocked = false
  #inputEnded = false
  #socketGone = false
  #pings = 0

  constructor(context: GateContext, lists: ConnectionLists<Connection>, inbound: Inbound) {
    this.#context = context
    this.#lists = lists
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve
    })
    this.#lifecycle = new Lifecycle(context, inbound.remoteAddress, (lastWords, isOurs) => {
      this.#teardown(lastWords, isOurs)
    })
    this.#transport = new Transport(inbound.stream)
    this.#frames = new FrameReader(context.config, context.stats, notMqtt)
    this.#reads = new ReadControl(context, this.#frames, this.#transport, () =>
      lists.mayFinish(this, context.monotonicMs()),
    )
    this.#handshake = new ConnectHandshake(context, inbound, this.#lifecycle)
    this.#listen(inbound.stream)
  }

  get clientId(): string {
    return this.#lifecycle.clientId
  }

  get remoteAddress(): string {
    return this.#lifecycle.remoteAddress
  }

  /** Acks are owed that a commit will release. */
  get awaitsCommit(): boolean {
    return this.#lifecycle.state === 'open' && (this.#path?.awaitsCommit ?? false)
  }

  get isOpen(): boolean {
    return this.#lifecycle.state === 'open'
  }

  get backlog(): number {
    return this.#transport.backlog
  }

  get isGone(): boolean {
    return this.#transport.isGone
  }

  send(bytes: Uint8Array): void {
    this.#transport.send(bytes)
  }

  close(reason: CloseReason, detail: string, code?: ReasonCode): typeof CLOSED {
    return this.#lifecycle.close(reason, detail, code)
  }

  // Bytes in.

  #listen(stream: Duplex): void {
    stream.on('data', (chunk: Buffer) => this.#onBytes(chunk))
    stream.on('end', () => {
      this.#inputEnded = true
      this.#settleEnd()
    })
    stream.on('drain', () => {
      this.#subscriber?.flush()
      this.#updateReading()
    })
    stream.once('close', () => {
      this.#socketGone = true
      this.#inputEnded = true
      this.#settleEnd()
    })
  }

  #onBytes(chunk: Buffer): void {
    if (this.#lifecycle.isClosed) return
    const now = this.#context.monotonicMs()
    this.#reads.lastByteMs = now
    this.#frames.push(chunk, now)
    this.#process()
  }

  /** There may be room: the frame at the head is tried again. */
  unblock(): void {
    if (!this.#isBlocked) return
    if (this.#isProcessing) {
      this.#lists.blocked.add(this)
      return
    }
    this.#isBlocked = false
    this.#process()
  }

  /** What it may take is taken, until it is at its bounds. Call whenever that may have changed. */
  #process(): void {
    if (this.#isProcessing || this.#lifecycle.isClosed) return
    this.#isProcessing = true
    this.#path?.beginRead()
    try {
      this.#takeFrames()
      this.#frames.keep()
      // Acks that wait for no commit leave at once, and make room.
      while (this.flushAcks() && this.#isBlocked) {
        this.#isBlocked = false
        this.#takeFrames()
      }
      if (!this.#mayProcess) this.#scanPings()
    } catch (error) {
      this.#context.reports.fault('connection', error)
      this.#lifecycle.close('internal-error', 'an error in the gateway')
    }
    this.#isProcessing = false
    this.#path?.endRead()
    if (this.#lifecycle.isClosed) return
    this.#sendPings()
    this.#updateReading()
    this.#settleEnd()
  }

  get #mayProcess(): boolean {
    if (this.#isBlocked || this.#reads.isQuiet) return false
    const { state } = this.#lifecycle
    return state === 'open' || state === 'awaiting-connect'
  }

  #takeFrames(): void {
    const frames = this.#frames
    while (this.#mayProcess) {
      const found = frames.next(this.#lifecycle.state === 'awaiting-connect')
      if (found === FAULT) this.#closeOnFault()
      if (found !== FRAME) return
      const { bytes, at, end } = frames
      const outcome = this.#take(bytes, at, end)
      if (outcome === CLOSED) return
      if (outcome === HOLD) {
        frames.hold()
        this.#isBlocked = true
        this.#lists.blocked.add(this)
        return
      }
      frames.advance()
    }
  }

  #closeOnFault(): void {
    const { fault } = this.#frames
    if (fault !== null) this.#lifecycle.close(fault.reason, fault.detail)
  }

  #take(bytes: Buffer, at: number, end: number): FrameOutcome {
    const lifecycle = this.#lifecycle
    const first = bytes[at]!
    const body = bodyOffset(bytes, at)
    const path = this.#path
    if (path === null) return this.#takeConnect(bytes, at, body, end)
    // [MQTT-1.5.5-1]; 3.1.1 allows more bytes than a length needs.
    if (lifecycle.codec.isV5 && body - at - 1 !== varintLength(end - body))
      return lifecycle.malformed('the remaining length has more bytes than it needs')
    if ((first & 0xf0) === PUBLISH) {
      // The client may have subscribed to it just before.
      return this.#subscriber?.isChanging === true ? HOLD : path.publish(bytes, at, body, end)
    }
    if (!hasValidFlags(first) && !this.#handshake.isLenient) {
      // [MQTT-2.2.2-2], in MQTT 5 [MQTT-2.1.3-1]
      return lifecycle.malformed(`reserved flags of packet 0x${first.toString(16)}`)
    }
    switch (first & 0xf0) {
      case PUBREL:
        return path.release(bytes, body, end)
      case PINGREQ:
        if (body !== end) return lifecycle.malformed('PINGREQ with a body')
        if (!this.#frames.isScanned) this.#pings += 1
        return TAKEN
      case PUBACK:
      case PUBREC:
      case PUBCOMP:
        return this.#asSubscriber(path).takeCopyAck(bytes, at, body, end)
      case SUBSCRIBE:
      case UNSUBSCRIBE:
        return this.#asSubscriber(path).takeSubscribe(bytes, at, body, end, path.lastOffered)
      case DISCONNECT:
        return this.#takeDisconnect(bytes, body, end, path)
      default:
        // A second CONNECT [MQTT-3.1.0-2], AUTH without a method, or what only servers send.
        return lifecycle.malformed(
          `packet 0x${first.toString(16)} from a client`,
          REASON.protocolError,
        )
    }
  }

  #takeDisconnect(bytes: Buffer, body: number, end: number, path: PublishPath): FrameOutcome {
    const lifecycle = this.#lifecycle
    if (!lifecycle.codec.isV5) {
      if (body !== end) return lifecycle.malformed('DISCONNECT with a body')
      return lifecycle.leave('client-disconnect')
    }
    const disconnect = readDisconnect(bytes, body, end)
    if ('detail' in disconnect) return lifecycle.malformed(disconnect.detail, disconnect.code)
    const { code, sessionExpirySeconds } = disconnect
    if (code !== REASON.success) this.#context.reports.received(code)
    if (sessionExpirySeconds !== null) {
      const { session } = path
      if (this.#handshake.options?.sessionExpirySeconds === 0 && sessionExpirySeconds > 0) {
        const detail = 'a Session Expiry Interval with DISCONNECT, and 0 with CONNECT'
        return lifecycle.malformed(detail, REASON.protocolError)
      }
      if (session.number > 0)
        this.#context.sessions.setExpiry(session, expiryMsOf(sessionExpirySeconds))
    }
    // [MQTT-3.14.4-3]: only behind success the will is discarded.
    return lifecycle.leave('client-disconnect', code === REASON.success)
  }

  /** PINGREQs in what is held back are answered, too. */
  #scanPings(): void {
    if (this.#lifecycle.state !== 'open') return
    const pings = this.#frames.scanPings()
    if (pings === null) this.#closeOnFault()
    else this.#pings += pings
  }

  // From CONNECT to CONNACK. It may be closed at each step: nothing goes on then.

  #takeConnect(bytes: Buffer, at: number, body: number, end: number): FrameOutcome {
    if (!this.#handshake.read(bytes, at, body, end)) return CLOSED
    this.#lifecycle.enter('authenticating')
    this.#context.admission.enter(() => this.#beginHandshake())
    return TAKEN
  }

  /** Its turn has come: the wait is over, and `authTimeout` begins anew for the authentication. */
  #beginHandshake(): boolean {
    if (this.#lifecycle.state !== 'authenticating') return false
    this.#lifecycle.enter('authenticating')
    this.#shakeHands().catch((error: unknown) => {
      this.#context.reports.fault('connect', error)
      this.#lifecycle.refuse(null, 'server-unavailable', 'an error in the gateway')
    })
    return true
  }

  async #shakeHands(): Promise<void> {
    const context = this.#context
    const lifecycle = this.#lifecycle
    const handshake = this.#handshake
    const principal = await handshake.authenticate()
    if (principal === null) return
    lifecycle.enter('opening')
    this.#former = context.clientIds.takeOver(this)
    await this.#former
    if (lifecycle.isClosed) return
    const session = handshake.openSession()
    if (session === null) return
    const path = new PublishPath(context, lifecycle, principal, session, this.#grant())
    this.#path = path
    await handshake.store()
    if (!lifecycle.isClosed) this.#open(path)
  }

  #open(path: PublishPath): void {
    const connack = this.#handshake.connack(path.receiveMaximum)
    if (!this.#handshake.takes(connack.length)) {
      const detail = `a CONNACK has ${connack.length} bytes, above the client's Maximum Packet Size`
      this.#lifecycle.close('packet-too-large', detail)
      return
    }
    this.#lifecycle.enter('open')
    this.#context.stats.connectionsOpened += 1
    if (!this.#handshake.isNameless) path.track()
    this.#transport.send(connack)
    if (this.#handshake.isResumed && this.#context.state.keepsFor(this.clientId)) {
      this.#asSubscriber(path).resume()
    }
    this.#reads.lastByteMs = this.#context.monotonicMs()
    this.#process()
  }

  /** What a connection of MQTT 5 may have on its way [MQTT-3.2.2.3.3]; null before it. */
  #grant(): V5Inbound | null {
    const { codec } = this.#lifecycle
    if (!codec.isV5) return null
    const { appender, config, stats } = this.#context
    const ungranted = config.maxUnackedMessagesTotal - stats.grantedReceiveMaximum
    const share = Math.floor(Math.max(0, ungranted) * RECEIVE_MAXIMUM_SHARE)
    const most = appender.isTight ? 0 : Math.min(share, config.maxUnackedMessages)
    const receiveMaximum = Math.max(most, LEAST_RECEIVE_MAXIMUM)
    stats.grantedReceiveMaximum += receiveMaximum
    stats.connectionsV5 += 1
    const { maxTopicBytes, topicAliasMaximum } = config
    const { maxReasonBytes } = codec
    return new V5Inbound({ receiveMaximum, maxReasonBytes, topicAliasMaximum, maxTopicBytes })
  }

  #asSubscriber({ principal, session }: PublishPath): Subscriber {
    if (this.#subscriber === null) {
      const { isBridge, options } = this.#handshake
      const { codec } = this.#lifecycle
      const client = { principal, session, isBridge, codec, options }
      this.#subscriber = new Subscriber(this.#context, this, client)
    }
    return this.#subscriber
  }

  // Out.

  /** I1, I2: sends the acks whose commit is durable, in one write. False: there was none. */
  flushAcks(): boolean {
    const path = this.#path
    if (path === null || this.#lifecycle.isClosed) return false
    const acks = path.takeAcks()
    if (acks !== null) this.#transport.send(acks)
    place(this.#lists.owing, this, path.owesAcks)
    place(this.#lists.waiting, this, path.hasWaiting)
    return acks !== null
  }

  #sendPings(): void {
    if (this.#pings === 0) return
    this.#transport.send(Buffer.concat(Array.from({ length: this.#pings }, () => PINGRESP_FRAME)))
    this.#pings = 0
  }

  /** There may be room in a stream. `full`: those that are known to have none. */
  retryWaiting(full: Set<StreamIntake>): void {
    this.#path?.retryWaiting(full)
    this.flushAcks()
  }

  // Reads on and off.

  #updateReading(): void {
    if (this.#lifecycle.isClosed || this.#socketGone) return
    const isStarved = this.#reads.update(this.#mayProcess, this.#inputEnded)
    place(this.#lists.starved, this, isStarved)
    if (!this.#reads.isFinishing) this.#lists.finishing.delete(this)
  }

  /** Others gave bytes back. */
  recheckReading(): void {
    this.#updateReading()
  }

  /** The gateway stops: nothing more is read or processed; acks still leave. */
  quiesce(): void {
    this.#reads.quiesce()
    this.#updateReading()
  }

  /** Closes it if one of its clocks has run out. `shiftMs`: time in which the gate did not run. */
  sweep(now: number, shiftMs: number): void {
    const lifecycle = this.#lifecycle
    if (lifecycle.isClosed) return
    this.#reads.shift(now, shiftMs)
    lifecycle.shift(shiftMs)
    const reason = dueReason(
      {
        state: lifecycle.state,
        stateSinceMs: lifecycle.sinceMs,
        keepAliveSeconds: this.#handshake.keepAliveSeconds,
        lastByteMs: this.#reads.lastByteMs,
        isReading: this.#transport.isReading,
        frameSinceMs: this.#frames.frameSinceMs,
        unreadSinceMs: this.#transport.unreadSince(now),
        copiesStalledMs: this.#subscriber?.stalledMs(now) ?? 0,
      },
      now,
      this.#context.config,
    )
    if (reason === null) return
    if (reason === 'auth-timeout') lifecycle.refuse(null, 'auth-timeout', 'no verdict in time')
    else lifecycle.close(reason, '')
  }

  // The end.

  /** The peer has sent its last byte: what it sent before still counts, if it can be processed. */
  #settleEnd(): void {
    if (!this.#inputEnded || this.#isProcessing) return
    const { state } = this.#lifecycle
    if (state === 'awaiting-connect') this.#lifecycle.leave('connection-lost')
    if (state !== 'open' || this.#mayGoOn) return
    // A DISCONNECT may stand behind messages that were held back: the client did say goodbye.
    const saidGoodbye = this.#frames.holdsDisconnect(this.#lifecycle.codec.isV5)
    this.#lifecycle.leave(saidGoodbye ? 'client-disconnect' : 'connection-lost')
  }

  /**
   * What is held back will be taken: only a SUBSCRIBE or UNSUBSCRIBE is in front of it, or acks can
   * still make room.
   */
  get #mayGoOn(): boolean {
    return this.#isBlocked && (!this.#socketGone || this.#subscriber?.isBusy === true)
  }

  #teardown(lastWords: Uint8Array | null, isOurs: boolean): void {
    const { sessions, stats } = this.#context
    if (lastWords !== null) this.#transport.send(lastWords)
    const path = this.#path
    let sessionLeftMs = 0
    if (path !== null) {
      path.discard()
      sessionLeftMs = sessions.leave(path.session) ? 0 : sessions.expiryOf(path.session)
      if (path.isV5) {
        stats.connectionsV5 -= 1
        stats.grantedReceiveMaximum -= path.receiveMaximum
      }
    }
    this.#frames.discard()
    this.#lists.remove(this)
    stats.connections -= 1
    this.#transport.close(isOurs)
    this.#subscriber?.end()
    this.#handshake.end(path?.principal ?? null, sessionLeftMs)
    if (sessionLeftMs === 0 && path !== null && path.session.number > 0) this.#discardSession()
    void this.#vanish()
  }

  /** MQTT 5: its Session Expiry Interval is 0, and it was there before, or became so. */
  #discardSession(): void {
    const { reports, state } = this.#context
    state
      .discardSession(this.clientId)
      .catch((error: unknown) => reports.fault('discard session', error))
  }

  /** A later connection of its id waits for those before it, too. */
  async #vanish(): Promise<void> {
    await this.#former
    this.#context.clientIds.release(this)
    this.#resolveGone()
  }
}
