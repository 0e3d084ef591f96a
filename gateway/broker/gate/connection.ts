/**
 * One connection, from accept to end: it decides who handles each frame that its inlet cuts, and
 * writes acks, answers and aedes' frames to the socket. It owns the state that its parts go by:
 *
 * `awaiting-connect`, `authenticating` (the verdict is waited for), `opening` (the old holder of the client id ends,
 * aedes connects, a discarded session becomes durable), `open`, `closed`. Frames behind CONNECT
 * wait, bounded. PUBLISH and PUBREL go to the publish path and never to aedes; PINGREQ is answered
 * here, also out of the hold-back.
 *
 * Not here: frames and hold-back (inlet), CONNECT to CONNACK (opening), acks and bounds of messages
 * (publish-path), local consumers (aedes-side), time-outs (deadlines), what connections share
 * (gate).
 */

import type { StreamIntake } from '../../ports/appender.ts'
import { AedesSide, type AedesSideHost } from './consumer-side.ts'
import type { GateDuplex } from '../aedes/gate-duplex.ts'
import type { Principal } from '../auth/authenticator.ts'
import type { CloseReason, RefuseReason } from '../events.ts'
import type { Inbound } from '../listeners/listeners.ts'
import {
  bodyOffset,
  connack,
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
} from '../mqtt/packets.ts'
import {
  CLOSED,
  HOLD,
  type PublishHost,
  PublishPath,
  TAKEN,
  type Verdict,
} from '../publish/publish-path.ts'
import type { Session } from '../sessions/session-table.ts'
import { type ConnectionState, dueReason } from './deadlines.ts'
import type { Gate } from './gate.ts'
import { Inlet, type InletHost } from '../mqtt/frame-reader.ts'
import { Opening, type OpeningHost } from './connect-handshake.ts'
import { Reading } from './read-control.ts'
import { Wire, type WireHost } from './transport.ts'

export class Connection implements AedesSideHost, InletHost, OpeningHost, PublishHost, WireHost {
  readonly remoteAddress: string
  /**
   * Resolves when nothing of it is left: socket, aedes' client and will, and those of whom it took
   * over.
   */
  readonly gone: Promise<void>
  #resolveGone: () => void = () => {}
  readonly #gate: Gate
  readonly #wire: Wire
  readonly #inlet: Inlet
  readonly #reading: Reading
  readonly #opening: Opening
  readonly #aedes: AedesSide
  #state: ConnectionState = 'awaiting-connect'
  #stateSinceMs: number
  /** From the verdict on CONNECT. */
  #path: PublishPath | null = null
  #inputEnded = false
  #socketGone = false
  #saidGoodbye = false
  #pings = 0

  constructor(gate: Gate, inbound: Inbound) {
    this.#gate = gate
    this.remoteAddress = inbound.remoteAddress
    const { config, stats, monotonicMs } = gate.shared
    this.#stateSinceMs = monotonicMs()
    this.#inlet = new Inlet(config, stats, this)
    this.#opening = new Opening(gate, inbound, this)
    this.#aedes = new AedesSide(gate, this)
    this.gone = new Promise((resolve) => {
      this.#resolveGone = resolve
    })
    this.#wire = new Wire(inbound.stream, this)
    this.#reading = new Reading(gate.shared, this.#inlet, this.#wire, () => gate.mayFinish(this))
  }

  get clientId(): string {
    return this.#opening.clientId
  }

  get state(): ConnectionState {
    return this.#state
  }

  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  get access(): Principal | null {
    return this.#path?.access ?? null
  }

  /** DISCONNECT came: the will is discarded [MQTT-3.14.4-3]. */
  get saidGoodbye(): boolean {
    return this.#saidGoodbye
  }

  /** Acks are owed that a commit will release. */
  get awaitsCommit(): boolean {
    return this.#state === 'open' && (this.#path?.awaitsCommit ?? false)
  }

  // Bytes in.

  onBytes(chunk: Buffer): void {
    if (this.#state === 'closed') return
    const now = this.#gate.shared.monotonicMs()
    this.#reading.lastByteMs = now
    this.#inlet.push(chunk, now)
  }

  onEnd(): void {
    this.#inputEnded = true
    this.#settleEnd()
  }

  onGone(): void {
    this.#socketGone = true
    this.#inputEnded = true
    this.#settleEnd()
  }

  onDrain(): void {
    this.#aedes.flush()
    this.#updateReading()
  }

  /** There may be room: the frame at the head is tried again. */
  unblock(): void {
    this.#inlet.unblock()
  }

  get accepts(): 'connect' | 'packets' | 'nothing' {
    if (this.#reading.isQuiet) return 'nothing'
    if (this.#state === 'open') return 'packets'
    return this.#state === 'awaiting-connect' ? 'connect' : 'nothing'
  }

  get isOpen(): boolean {
    return this.#state === 'open'
  }

  beforeFrames(): void {
    this.#path?.beginRead()
  }

  afterFrames(): void {
    this.#path?.endRead()
    if (this.isClosed) return
    this.#sendPings()
    this.#updateReading()
    this.#settleEnd()
  }

  onPing(): void {
    this.#pings += 1
  }

  onHeld(): void {
    this.#gate.blocked.add(this)
  }

  onFault(error: unknown): void {
    this.#gate.onFault('connection', error)
    this.close('internal-error', 'an error in the gateway')
  }

  takeFrame(bytes: Buffer, at: number, end: number, isScanned: boolean): Verdict {
    const first = bytes[at]!
    const body = bodyOffset(bytes, at)
    const path = this.#path
    if (path === null) return this.#opening.take(bytes, at, body, end)
    if ((first & 0xf0) === PUBLISH) {
      // The client may have subscribed to it just before.
      return this.#aedes.isChanging ? HOLD : path.publish(bytes, at, body, end)
    }
    if (!hasValidFlags(first) && !this.#opening.isLenient) {
      return this.malformed(`reserved flags of packet 0x${first.toString(16)}`)
    }
    switch (first & 0xf0) {
      case PUBREL:
        return path.release(bytes, body, end)
      case PINGREQ:
        if (body !== end) return this.malformed('PINGREQ with a body')
        if (!isScanned) this.onPing()
        return TAKEN
      case PUBACK:
      case PUBREC:
      case PUBCOMP:
        return this.#aedes.takeCopyAck(bytes, at, body, end)
      case SUBSCRIBE:
      case UNSUBSCRIBE:
        return this.#aedes.takeSubscribe(bytes, at, body, end, path)
      case DISCONNECT:
        if (body !== end) return this.malformed('DISCONNECT with a body')
        this.#saidGoodbye = true
        this.#end('client-disconnect')
        return CLOSED
      default:
        return this.malformed(`packet 0x${first.toString(16)} from a client`)
    }
  }

  // Opening.

  enter(state: ConnectionState): void {
    this.#state = state
    this.#stateSinceMs = this.#gate.shared.monotonicMs()
  }

  async takeOver(): Promise<void> {
    await this.#gate.takeOver(this)
  }

  begin(access: Principal, session: Session, connect: Buffer): void {
    this.#path = new PublishPath(this.#gate.shared, this, access, session)
    this.#aedes.connect(
      connect,
      this.#opening.isBridge,
      this.#opening.isResumed,
      session.number > 0,
    )
  }

  connectToAedes(duplex: GateDuplex): void {
    this.#gate.connectToAedes(duplex, this)
  }

  onAedesConnack(frame: Buffer): void {
    this.#opening.onAedesConnack(frame)
  }

  awaitDurable(isWaiting: boolean): void {
    if (isWaiting) this.#gate.opening.add(this)
    else this.#gate.opening.delete(this)
  }

  /** Called at each commit while CONNACK waits for one. */
  openIfDurable(): void {
    this.#opening.openIfDurable()
  }

  opened(frame: Buffer): void {
    this.#gate.shared.stats.connectionsOpened += 1
    this.#wire.send(frame)
    this.#aedes.open()
    this.#reading.lastByteMs = this.#gate.shared.monotonicMs()
    this.#inlet.process()
  }

  // Out.

  /** Bytes that the socket has not taken yet. */
  get backlog(): number {
    return this.#wire.backlog
  }

  get isGone(): boolean {
    return this.#socketGone
  }

  send(bytes: Uint8Array): void {
    this.#wire.send(bytes)
  }

  /** I1, I2: sends the acks whose commit is durable, in one write. False: there was none. */
  flushAcks(): boolean {
    const path = this.#path
    if (path === null || this.isClosed) return false
    const acks = path.takeAcks()
    if (acks !== null) this.#wire.send(acks)
    if (path.owesAcks) this.#gate.owing.add(this)
    else this.#gate.owing.delete(this)
    if (path.hasWaiting) this.#gate.waiting.add(this)
    else this.#gate.waiting.delete(this)
    return acks !== null
  }

  #sendPings(): void {
    if (this.#pings === 0) return
    this.#wire.send(Buffer.concat(Array.from({ length: this.#pings }, () => PINGRESP_FRAME)))
    this.#pings = 0
  }

  retryWaiting(full: Set<StreamIntake>): void {
    this.#path?.retryWaiting(full)
    this.flushAcks()
  }

  // Reading on and off.

  #updateReading(): void {
    if (this.#state === 'closed' || this.#socketGone) return
    if (this.#reading.update(this.#inputEnded)) this.#gate.starved.add(this)
    else this.#gate.starved.delete(this)
    if (!this.#reading.isFinishing) this.#gate.finishing.delete(this)
  }

  /** Others gave bytes back. */
  recheckReading(): void {
    this.#updateReading()
  }

  /** The gateway stops: nothing more is read or processed; acks still leave. */
  quiesce(): void {
    this.#reading.quiesce()
    this.#updateReading()
  }

  // Time.

  /** Closes it if one of its clocks has run out. `shiftMs`: time in which the gate did not run. */
  sweep(now: number, shiftMs: number): void {
    if (this.#state === 'closed') return
    this.#reading.shift(now, shiftMs)
    this.#stateSinceMs += shiftMs
    const reason = dueReason(
      {
        state: this.#state,
        stateSinceMs: this.#stateSinceMs,
        keepAliveSeconds: this.#opening.keepAliveSeconds,
        lastByteMs: this.#reading.lastByteMs,
        isReading: this.#wire.isReading,
        frameSinceMs: this.#inlet.frameSinceMs,
        unreadSinceMs: this.#wire.unreadSince(now),
        copiesStalledMs: this.#aedes.stalledMs(now),
      },
      now,
      this.#gate.shared.config,
    )
    if (reason === null) return
    if (reason === 'auth-timeout') this.refuse(null, 'auth-timeout', 'no verdict in time')
    else this.close(reason, '')
  }

  // The end.

  /** The gateway closes it. */
  close(reason: CloseReason, detail: string): void {
    if (this.#state === 'closed') return
    this.#gate.reportClosed(this, reason, detail)
    this.#end(reason)
  }

  malformed(detail: string): Verdict {
    this.close('malformed', detail)
    return CLOSED
  }

  refuse(returnCode: number | null, reason: RefuseReason, detail: string): Verdict {
    if (this.#state === 'closed') return CLOSED
    this.#gate.reportRefused(this, reason, detail)
    if (returnCode !== null) this.#wire.send(connack(returnCode, false))
    this.#teardown(false)
    return CLOSED
  }

  /** The peer has sent its last byte: what it sent before still counts, if it can be processed. */
  #settleEnd(): void {
    if (!this.#inputEnded || this.#inlet.isProcessing) return
    if (this.#state === 'awaiting-connect') this.#lost()
    else if (this.#state === 'open' && !this.#mayGoOn) this.#lost()
  }

  /**
   * What is held back will be taken: only a SUBSCRIBE or UNSUBSCRIBE is in front of it, or acks can
   * still make room.
   */
  get #mayGoOn(): boolean {
    return this.#inlet.isBlocked && (!this.#socketGone || this.#aedes.isBusy)
  }

  #lost(): void {
    if (this.#state === 'closed') return
    // A DISCONNECT may stand behind messages that were held back: the client did say goodbye.
    if (this.#state === 'open' && this.#inlet.holdsDisconnect()) this.#saidGoodbye = true
    const reason = this.#saidGoodbye ? 'client-disconnect' : 'connection-lost'
    this.#end(reason)
  }

  #end(reason: CloseReason): void {
    if (this.#state === 'closed') return
    this.#gate.shared.stats.connectionsClosed[reason] += 1
    this.#teardown(reason === 'client-disconnect' || reason === 'connection-lost')
  }

  /** `isOrderly`: aedes may read what it was fed before its side ends. */
  #teardown(isOrderly: boolean): void {
    const gate = this.#gate
    this.#state = 'closed'
    const path = this.#path
    if (path !== null) {
      path.discard()
      gate.shared.sessions.leave(path.session)
    }
    this.#inlet.discard()
    gate.forget(this)
    this.#wire.close()
    if (!this.#aedes.end(isOrderly)) void this.#vanish()
  }

  /** aedes never knew it; but whoever comes next has to wait for whom it waited for. */
  async #vanish(): Promise<void> {
    await this.#opening.former
    this.onAedesFinished()
  }

  onAedesFinished(): void {
    this.#gate.release(this)
    this.#resolveGone()
  }
}
