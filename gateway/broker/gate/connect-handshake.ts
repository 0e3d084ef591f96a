/**
 * What has to be judged and made between a connection's CONNECT and its CONNACK: the packet, the
 * client, its will, its session; and whether what CONNACK promises is on disk (a discarded session,
 * a stored will). Each step answers null or false where it refused the client; the connection takes
 * them one after the other.
 */

import type { Ticket } from '../../ports/appender.ts'
import { checkTopicName, isDollarTopic, isOverLimit } from '../../shared/topics/topics.ts'
import type { Principal, RefusedLogin } from '../auth/authenticator.ts'
import type { RefuseReason } from '../events.ts'
import type { Inbound } from '../listeners/inbound.ts'
import { type Connect, readConnect } from '../mqtt/connect.ts'
import { connack } from '../mqtt/packets.ts'
import type { WillToken } from '../publish/stored-wills.ts'
import type { Session } from '../sessions/session-table.ts'
import type { GateContext } from './context.ts'
import type { Lifecycle } from './lifecycle.ts'

/** Why a login was refused, as it is counted, and in words. */
const REFUSAL_REPORTS: Readonly<Record<RefusedLogin, readonly [RefuseReason, string]>> = {
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

export class ConnectHandshake {
  readonly #context: GateContext
  readonly #inbound: Inbound
  readonly #lifecycle: Lifecycle
  #connect: Connect | null = null
  #isResumed = false
  /** The commit in which the session that it discards is gone. */
  #dropped: Ticket = 0
  /** What CONNACK promises is on disk. */
  #isAccepted = false
  /** Its will is stored, or on its way to the disk; null: it has none. */
  #storedWill: WillToken | null = null

  constructor(context: GateContext, inbound: Inbound, lifecycle: Lifecycle) {
    this.#context = context
    this.#inbound = inbound
    this.#lifecycle = lifecycle
  }

  /** It continues a session that was there: known once that is opened. */
  get isResumed(): boolean {
    return this.#isResumed
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

  /** One complete CONNECT, its body from `body`. False: it was refused. */
  read(bytes: Buffer, at: number, body: number, end: number): boolean {
    const lifecycle = this.#lifecycle
    const { config, mintClientId } = this.#context
    const result = readConnect(bytes, body, end, bytes[at])
    if (result.kind === 'malformed') {
      lifecycle.malformed(result.detail)
      return false
    }
    if (result.kind === 'refuse') {
      lifecycle.clientId = result.clientId
      const reason = result.returnCode === 2 ? 'identifier-rejected' : 'protocol-version'
      lifecycle.refuse(result.returnCode, reason, result.detail)
      return false
    }
    const { connect } = result
    this.#connect = connect
    lifecycle.clientId = connect.clientId === '' ? mintClientId() : connect.clientId
    const fault = connect.will === null ? null : checkTopicName(connect.will.topic, config)
    if (fault === null || isOverLimit(fault)) return true
    lifecycle.malformed(`will: ${fault}`)
    return false
  }

  /** null: the client was refused, or is gone. */
  async authenticate(): Promise<Principal | null> {
    const lifecycle = this.#lifecycle
    const { listener, remoteAddress, certificateSubject } = this.#inbound
    const { username = null, password = null, will = null } = this.#connect ?? {}
    const isWanted = (): boolean => lifecycle.state === 'authenticating'
    const answer = await this.#context.authenticate({
      listener,
      clientId: lifecycle.clientId,
      username,
      password,
      remoteAddress,
      certificateSubject,
      isWanted,
    })
    if (!isWanted()) return null
    if (!answer.ok) {
      lifecycle.refuse(answer.returnCode, ...REFUSAL_REPORTS[answer.reason])
      return null
    }
    if (will === null || this.#mayLeave(will.topic, answer.principal)) return answer.principal
    lifecycle.refuse(5, 'will-forbidden', `may not publish to ${will.topic}`)
    return null
  }

  /** A will on a `$` topic that no stream names is dropped when it is due; so it needs no right. */
  #mayLeave(topic: string, principal: Principal): boolean {
    if (isDollarTopic(topic) && this.#context.router.route(topic).length === 0) return true
    return principal.mayPublish(topic)
  }

  /** null: the table of sessions is full. Call {@link store} next. */
  openSession(): Session | null {
    const { appender, endSession, sessions } = this.#context
    const { clientId } = this.#lifecycle
    if (this.#connect?.clean !== false) {
      const stored = sessions.find(clientId)
      if (stored !== undefined) {
        sessions.drop(stored)
        this.#dropped = appender.touch()
      }
      return sessions.transient(clientId)
    }
    const opened = sessions.open(clientId, endSession)
    if (opened === null) {
      this.#lifecycle.refuse(null, 'sessions-full', 'the table of sessions is full')
      return null
    }
    this.#isResumed = opened.present
    return opened.session
  }

  /** Resolves when what CONNACK promises is on disk: a discarded session, and a will. */
  async store(): Promise<void> {
    const { state } = this.#context
    const { clientId } = this.#lifecycle
    const will = this.#connect?.will ?? null
    const waits = [state.durable(this.#dropped)]
    if (!this.#isResumed) waits.push(state.discardSession(clientId))
    if (this.#connect?.clean === false && !this.#isResumed) state.copies.restartIds(clientId)
    if (will !== null) {
      const { token, durable } = state.wills.put(clientId, will)
      this.#storedWill = token
      waits.push(durable)
    }
    await Promise.all(waits)
    this.#isAccepted = true
  }

  /** CONNACK, when {@link store} has resolved. */
  connack(): Buffer {
    // MQTT 3.1 has no Session Present: there the byte is reserved.
    return connack(0, this.#isResumed && this.#connect?.level === 4)
  }

  /** The connection is closed: its will is due, unless the client said goodbye or was never in. */
  end(principal: Principal | null): void {
    const { state, wills } = this.#context
    const token = this.#storedWill
    const will = this.#connect?.will ?? null
    if (token === null || will === null) return
    const { clientId, saidGoodbye } = this.#lifecycle
    const done = (): void => state.wills.delete(token)
    if (saidGoodbye || !this.#isAccepted) done()
    else wills.publish(clientId, will, principal, done)
  }
}
