/**
 * What has to be judged and made between a connection's CONNECT and its CONNACK: the packet, the
 * client, its will, its session; and whether what CONNACK promises is on disk (a discarded session,
 * a stored will). Each step answers null or false where it refused the client; the connection takes
 * them one after the other.
 */

import type { Ticket } from '../../ports/appender.ts'
import { checkTopicName, isDollarTopic, isOverLimit } from '../../shared/topics/topics.ts'
import type { RefusedLogin } from '../auth/authenticator.ts'
import type { Principal } from '../auth/principal.ts'
import type { RefuseReason } from '../events.ts'
import type { Inbound } from '../listeners/inbound.ts'
import { CODEC_5, CODEC_31, CODEC_311, type Codec, codecOf5 } from '../mqtt/codec.ts'
import { type Connect, readConnect } from '../mqtt/connect.ts'
import { type ConnectOptions, NO_EXPIRY_SECONDS } from '../mqtt/v5/connect.ts'
import { REASON } from '../mqtt/v5/reason-codes.ts'
import type { Session } from '../sessions/session-table.ts'
import type { WillToken } from '../wills/stored-wills.ts'
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

const UNSUPPORTED = REASON.unsupportedProtocolVersion

export class ConnectHandshake {
  readonly #context: GateContext
  readonly #inbound: Inbound
  readonly #lifecycle: Lifecycle
  #connect: Connect | null = null
  /** Its session outlives the connection. */
  #isStored = false
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

  /** Its id was made here, for this connection. */
  get isNameless(): boolean {
    return this.#connect?.clientId === ''
  }

  /** The client is another broker. */
  get isBridge(): boolean {
    return this.#connect?.isBridge ?? false
  }

  /** What MQTT 5 asks of a server; null before it. */
  get options(): ConnectOptions | null {
    return this.#connect?.options ?? null
  }

  /** One complete CONNECT, its body from `body`. False: it was refused. */
  read(bytes: Buffer, at: number, body: number, end: number): boolean {
    const lifecycle = this.#lifecycle
    const { config, mintClientId } = this.#context
    const result = readConnect(bytes, body, end, bytes[at])
    if (result.kind === 'malformed') {
      if (result.fault !== null) lifecycle.codec = CODEC_5
      lifecycle.close('malformed', result.detail, result.fault?.code)
      return false
    }
    if (result.kind === 'refuse') {
      lifecycle.clientId = result.clientId
      const isVersion = result.returnCode === 1 || result.returnCode === UNSUPPORTED
      const reason = isVersion ? 'protocol-version' : 'identifier-rejected'
      if (result.returnCode >= UNSUPPORTED) lifecycle.codec = CODEC_5
      lifecycle.refuse(result.returnCode, reason, result.detail)
      return false
    }
    const { connect } = result
    this.#connect = connect
    lifecycle.codec = codecOf(connect)
    lifecycle.clientId = connect.clientId === '' ? mintClientId() : connect.clientId
    const fault = connect.will === null ? null : checkTopicName(connect.will.topic, config)
    if (fault === null || isOverLimit(fault)) return true
    lifecycle.close('malformed', `will: ${fault}`)
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
    const { appender, delayedWills, endSession, sessions } = this.#context
    const { clientId } = this.#lifecycle
    const { clean, expiryMs } = this.#sessionWanted()
    const overdue = sessions.endOverdue(clientId)
    if (overdue !== null) {
      endSession(overdue)
      this.#dropped = appender.touch()
    }
    const stored = sessions.find(clientId)
    if (clean && stored !== undefined) {
      sessions.drop(stored)
      this.#dropped = appender.touch()
    }
    const goesOn = stored !== undefined && !clean
    if (goesOn) delayedWills.sessionResumed(clientId)
    else delayedWills.sessionEnded(clientId)
    if (expiryMs === 0 && !goesOn) return sessions.transient(clientId)
    const opened = sessions.open(clientId, endSession, expiryMs)
    if (opened === null) {
      this.#lifecycle.refuse(null, 'sessions-full', 'the table of sessions is full')
      return null
    }
    this.#isStored = true
    this.#isResumed = opened.present
    return opened.session
  }

  /** `expiryMs`: how long the session outlives the connection; null: as configured. */
  #sessionWanted(): { readonly clean: boolean; readonly expiryMs: number | null } {
    const { clean = true, options = null } = this.#connect ?? {}
    if (options === null) return { clean, expiryMs: clean ? 0 : null }
    return { clean, expiryMs: expiryMsOf(options.sessionExpirySeconds) }
  }

  /** Resolves when what CONNACK promises is on disk: a discarded session, and a will. */
  async store(): Promise<void> {
    const { neighbors, state } = this.#context
    const { clientId } = this.#lifecycle
    const { clean = true, will = null } = this.#connect ?? {}
    // Whose id was made here has no connection anywhere else.
    if (!this.isNameless) neighbors?.connected(clientId, !clean)
    const waits = [state.durable(this.#dropped)]
    if (!this.#isResumed) waits.push(state.discardSession(clientId))
    if (this.#isStored && !this.#isResumed) state.copies.restartIds(clientId)
    if (will !== null) {
      const { token, durable } = state.wills.put(clientId, will)
      this.#storedWill = token
      waits.push(durable)
    }
    await Promise.all(waits)
    this.#isAccepted = true
  }

  /**
   * CONNACK, when {@link store} has resolved. `receiveMaximum`: what is granted, where that is told.
   */
  connack(receiveMaximum: number): Buffer {
    const { config } = this.#context
    const { clientId = '', options = null } = this.#connect ?? {}
    const maxSeconds = Math.floor(config.sessionExpiry / 1000)
    const asked = options?.sessionExpirySeconds ?? 0
    return this.#lifecycle.codec.accepted({
      isSessionPresent: this.#isResumed,
      receiveMaximum,
      sessionExpirySeconds: asked > maxSeconds ? maxSeconds : null,
      maximumPacketBytes: config.maxPacketBytes,
      topicAliasMaximum: config.topicAliasMaximum,
      assignedClientId: clientId === '' ? this.#lifecycle.clientId : null,
    })
  }

  /** The client takes packets of this size [MQTT-3.1.2-24]. */
  takes(bytes: number): boolean {
    return bytes <= (this.#connect?.options?.maximumPacketBytes ?? bytes)
  }

  /**
   * The connection is closed: its will is due, now or later, unless the client said goodbye or was
   * never in. `sessionLeftMs`: how long its session outlives it.
   */
  end(principal: Principal | null, sessionLeftMs: number): void {
    const { delayedWills, state, wills } = this.#context
    const token = this.#storedWill
    const will = this.#connect?.will ?? null
    if (token === null || will === null) return
    const { clientId, saidGoodbye } = this.#lifecycle
    const done = (): void => state.wills.delete(token)
    const publish = (): void => wills.publish(clientId, will, principal, done)
    const delayMs = Math.min(will.delaySeconds * 1000, sessionLeftMs)
    if (saidGoodbye || !this.#isAccepted) done()
    else if (delayMs === 0) publish()
    else delayedWills.add(clientId, delayMs, { publish, discard: done })
  }
}

function codecOf({ level, options }: Connect): Codec {
  if (options !== null) return codecOf5(options)
  return level === 4 ? CODEC_311 : CODEC_31
}

/** null: as configured, which is the most there is. */
export function expiryMsOf(seconds: number): number | null {
  return seconds === NO_EXPIRY_SECONDS ? null : seconds * 1000
}
