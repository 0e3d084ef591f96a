/**
 * A connection from its CONNECT to its CONNACK: the packet is judged, the client authenticated,
 * whoever holds its client id ended, its session opened, aedes connected; then CONNACK waits until
 * what it promises is on disk (a discarded session, a stored will).
 *
 * It moves the connection from `awaiting-connect` over `authenticating` and `opening` to `open`.
 * Everything here is asynchronous, and the connection may be closed at each step: nothing goes on
 * then.
 */

import type { Ticket } from '../../ports/appender.ts'
import { checkTopicName, isDollarTopic, isOverLimit } from '../../shared/topics/topics.ts'
import type { Principal, RefusedLogin } from '../auth/authenticator.ts'
import type { RefuseReason } from '../events.ts'
import type { Inbound } from '../listeners/listeners.ts'
import { type Connect, connectForAedes, readConnect } from '../mqtt/connect.ts'
import { connack } from '../mqtt/packets.ts'
import { TAKEN, type Verdict } from '../publish/publish-path.ts'
import type { Session } from '../sessions/session-table.ts'
import type { ConnectionState } from './deadlines.ts'
import type { Gate } from './gate.ts'

export interface OpeningHost {
  readonly state: ConnectionState
  readonly isClosed: boolean
  enter(state: ConnectionState): void
  /** Makes it the holder of its client id; resolves when the former holder is gone. */
  takeOver(): Promise<void>
  /**
   * The client is known and has its session: publishes can be judged, and aedes gets this CONNECT.
   */
  begin(access: Principal, session: Session, connect: Buffer): void
  /**
   * CONNACK is ready and waits for a commit, or no longer: `openIfDurable` is to be called at each.
   */
  awaitDurable(isWaiting: boolean): void
  /** It is open: this CONNACK leaves, then what waited behind CONNECT. */
  opened(connack: Buffer): void
  /**
   * CONNACK with this code, then the end. null: the end without a CONNACK, where the client may
   * come again: libraries take any return code for final.
   */
  refuse(returnCode: number | null, reason: RefuseReason, detail: string): Verdict
  malformed(detail: string): Verdict
}

/** Why a login was refused, as it is counted, and in words. */
const REFUSALS: Readonly<Record<RefusedLogin, readonly [RefuseReason, string]>> = {
  'bad-credentials': ['bad-credentials', 'unknown user name or wrong password'],
  'no-credentials': ['not-authorized', 'no user name was sent, and the listener wants one'],
  'login-busy': [
    'login-busy',
    'too many logins at once; closed without an answer, it may come again',
  ],
  'login-damped': [
    'login-damped',
    'wrong passwords came from this address; closed without an answer, it may come again in a minute at most',
  ],
}

export class Opening {
  readonly #gate: Gate
  readonly #inbound: Inbound
  readonly #host: OpeningHost
  #connect: Connect | null = null
  #clientId = ''
  #former: Promise<void> | null = null
  /** CONNACK waits for this ticket. */
  #ticket: Ticket = 0
  #sessionPresent = false
  #hasAedesConnack = false

  constructor(gate: Gate, inbound: Inbound, host: OpeningHost) {
    this.#gate = gate
    this.#inbound = inbound
    this.#host = host
  }

  /** Empty before CONNECT. */
  get clientId(): string {
    return this.#clientId
  }

  /** It continues a session that was there: known once that is opened. */
  get isResumed(): boolean {
    return this.#sessionPresent
  }

  /** MQTT 3.1: bits that 3.1.1 reserves may be anything. */
  get isLenient(): boolean {
    return this.#connect?.level === 3
  }

  get keepAliveSeconds(): number {
    return this.#connect?.keepAliveSeconds ?? 0
  }

  /** The client is another broker. */
  get isBridge(): boolean {
    return this.#connect?.isBridge ?? false
  }

  /** Until whom it took over is gone; null: it took over nobody yet. */
  get former(): Promise<void> | null {
    return this.#former
  }

  /** One complete CONNECT, its body from `body`. */
  take(bytes: Buffer, at: number, body: number, end: number): Verdict {
    const host = this.#host
    const result = readConnect(bytes, body, end, bytes[at])
    if (result.kind === 'malformed') return host.malformed(result.detail)
    if (result.kind === 'refuse') {
      this.#clientId = result.clientId
      const reason = result.returnCode === 2 ? 'identifier-rejected' : 'protocol-version'
      return host.refuse(result.returnCode, reason, result.detail)
    }
    const { connect } = result
    this.#connect = connect
    this.#clientId = connect.clientId === '' ? this.#gate.mintClientId() : connect.clientId
    const fault =
      connect.will === null ? null : checkTopicName(connect.will.topic, this.#gate.shared.config)
    if (fault !== null && !isOverLimit(fault)) return host.malformed(`will: ${fault}`)
    host.enter('authenticating')
    this.#gate.admission.enter(() => this.#begin(connect))
    return TAKEN
  }

  /** Its turn has come; from here on `authTimeout` is the authentication's alone. */
  #begin(connect: Connect): boolean {
    const host = this.#host
    if (host.state !== 'authenticating') return false
    host.enter('authenticating')
    void this.#authenticate(connect)
    return true
  }

  async #authenticate(connect: Connect): Promise<void> {
    const host = this.#host
    const { listener, remoteAddress, certificateSubject } = this.#inbound
    const { username, password } = connect
    const clientId = this.#clientId
    const isWanted = (): boolean => host.state === 'authenticating'
    const request = {
      listener,
      clientId,
      username,
      password,
      remoteAddress,
      certificateSubject,
      isWanted,
    }
    try {
      const answer = await this.#gate.authenticate(request)
      if (host.state !== 'authenticating') return
      if (!answer.ok) {
        host.refuse(answer.returnCode, ...REFUSALS[answer.reason])
        return
      }
      if (connect.will !== null && !this.#mayLeave(connect.will.topic, answer.principal)) {
        host.refuse(5, 'will-forbidden', `may not publish to ${connect.will.topic}`)
        return
      }
      host.enter('opening')
      this.#former = host.takeOver()
      await this.#former
      if (!host.isClosed) this.#openSession(connect, answer.principal)
    } catch (error) {
      this.#gate.onFault('connect', error)
      host.refuse(null, 'server-unavailable', 'an error in the gateway')
    }
  }

  /** A will on a `$` topic that no stream names is dropped when it is due; so it needs no right. */
  #mayLeave(topic: string, access: Principal): boolean {
    if (isDollarTopic(topic) && this.#gate.shared.router.route(topic).length === 0) return true
    return access.mayPublish(topic)
  }

  #openSession(connect: Connect, access: Principal): void {
    const gate = this.#gate
    const { sessions, appender } = gate.shared
    let session = sessions.transient(this.#clientId)
    if (connect.clean) {
      const stored = sessions.find(this.#clientId)
      if (stored !== undefined) {
        sessions.drop(stored)
        this.#ticket = appender.touch()
      }
    } else {
      const opened = sessions.open(this.#clientId, (ended) => gate.onSessionEnded(ended))
      if (opened === null) {
        this.#host.refuse(null, 'sessions-full', 'the table of sessions is full')
        return
      }
      session = opened.session
      this.#sessionPresent = opened.present
    }
    this.#host.begin(access, session, connectForAedes(this.#clientId, connect.clean, connect.will))
  }

  /** aedes has connected the client, and stored its will. */
  onAedesConnack(frame: Buffer): void {
    if (frame[3] !== 0) {
      this.#host.refuse(null, 'server-unavailable', `the broker answered ${frame[3]}`)
      return
    }
    this.#hasAedesConnack = true
    if (this.#connect?.clean === false && frame[2] === 1) this.#sessionPresent = true
    this.openIfDurable()
  }

  /** Releases CONNACK when what it promises is on disk. */
  openIfDurable(): void {
    const host = this.#host
    if (host.state !== 'opening' || !this.#hasAedesConnack) return
    const isDurable = this.#ticket <= this.#gate.shared.appender.durableTicket
    host.awaitDurable(!isDurable)
    if (!isDurable) return
    host.enter('open')
    // MQTT 3.1 has no Session Present: there the byte is reserved.
    host.opened(connack(0, this.#sessionPresent && this.#connect?.level === 4))
  }
}
