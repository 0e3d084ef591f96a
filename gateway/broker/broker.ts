/**
 * The broker: a publish gate in front of aedes. This file puts the stage together, starts it and
 * stops it.
 *
 *   socket -> listeners -> Connection (frames, CONNECT, hold-back) -> PublishPath -> Appender -> commit -> acks
 *                               |                                         |
 *                               +-- SUBSCRIBE, acks of copies -> aedes    +-- LocalDelivery, after the commit -> aedes
 *
 * It gives I1 (ack after fsync), I2 (order of acks and of appends), I3 (QoS 2 exactly once,
 * together with the spool's journal), I6 (bounds, with `whenFull: block` as held acks) and I9
 * (nothing that is refused goes uncounted). It knows of the spool only the Appender. The
 * architecture's "The broker" is the design; aedes-server.ts says what is changed of aedes.
 */
import { randomBytes } from 'node:crypto'
import type { Appender, Message, Ticket } from '../ports/appender.ts'
import { listenerUrl } from '../shared/hosts.ts'
import { within } from '../shared/time/within.ts'
import { AedesServer } from './aedes/aedes-server.ts'
import { LocalMq } from './aedes/local-mq.ts'
import { type Authenticate, Authenticator } from './auth/authenticator.ts'
import type { MqttConfig } from './config.ts'
import { ConsumerState } from './consumers/consumer-state.ts'
import { DeliveryOrder } from './consumers/delivery-order.ts'
import { LocalDelivery } from './consumers/local-delivery.ts'
import { RetainedDelivery } from './consumers/retained-delivery.ts'
import { SysTree } from './consumers/sys-tree.ts'
import { DurableTickets } from './durable-tickets.ts'
import { EventDamper } from './event-damper.ts'
import type { EmitBrokerEvent } from './events.ts'
import { ClientIds } from './gate/client-ids.ts'
import { ConnectAdmission } from './gate/connect-admission.ts'
import type { GateContext } from './gate/context.ts'
import { Gate } from './gate/gate.ts'
import type { Inbound } from './listeners/inbound.ts'
import { type Listeners, startListeners } from './listeners/listeners.ts'
import { PublishView } from './mqtt/publish.ts'
import type { PublishContext } from './publish/context.ts'
import { Router } from './publish/router.ts'
import { Wills } from './publish/wills.ts'
import { Reports } from './reports.ts'
import { MessageHash } from './sessions/message-hash.ts'
import { SessionTable } from './sessions/session-table.ts'
import type { SubscriptionTable } from './sessions/stored-subscriptions.ts'
import {
  type BrokerCounts,
  type BrokerStats,
  createBrokerStats,
  createListenerStats,
} from './stats.ts'

/**
 * Of a stop's time, how much the acks may take: the rest is for wills, their commit and the
 * sockets.
 */
const ACKS_SHARE_OF_STOP = 0.7

export interface BrokerOptions {
  readonly config: MqttConfig
  readonly appender: Appender
  readonly emit: EmitBrokerEvent
  /** Wall clock for `receivedAt`, ms since the epoch. Default: `Date.now`. */
  readonly nowMs?: () => number
  /** Clock of keepalive and time-outs, monotonic ms. Default: `performance.now`. */
  readonly monotonicMs?: () => number
  /**
   * Names a client that connects with an empty client id. Default: 16 random hex digits behind
   * `sluice-`.
   */
  readonly mintClientId?: () => string
  /** Shown under `$SYS`. @default unknown */
  readonly version?: string
  /** Where right credentials are kept over a restart; null: nowhere. @default null */
  readonly loginsFile?: string | null
  /** Judges CONNECTs instead of the configured password and access files. */
  readonly authenticate?: Authenticate
}

/** All that is made before anything listens. */
interface BrokerParts {
  readonly context: GateContext
  readonly gate: Gate
  readonly aedes: AedesServer
  readonly state: ConsumerState
  readonly sys: SysTree
  readonly authenticator: Authenticator
}

export class Broker {
  readonly #options: BrokerOptions
  readonly #parts: BrokerParts
  #listeners: Listeners | null = null
  #stopping: Promise<void> | null = null

  private constructor(options: BrokerOptions, parts: BrokerParts) {
    this.#options = options
    this.#parts = parts
  }

  /**
   * Takes up the stored sessions, publishes wills that an earlier run left behind, then listens.
   * Attaches its journal: call before anything else appends. Rejects if a listener cannot start or
   * a password file cannot be read; nothing listens then.
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    const { config, emit, loginsFile = null } = options
    const monotonicMs = options.monotonicMs ?? (() => performance.now())
    const sessions = recoverSessions(options, monotonicMs)
    const authenticator = await Authenticator.open(config, emit, { loginsFile })
    try {
      const parts = await assemble(options, sessions, authenticator, monotonicMs)
      const broker = new Broker(options, parts)
      broker.#publishRecoveredWills()
      await broker.#listen()
      return broker
    } catch (error) {
      await authenticator.close()
      throw error
    }
  }

  /** Numbers of the hot path, and gauges; read them whenever. */
  get stats(): BrokerStats {
    const { sessions, stats } = this.#parts.context
    stats.sessions = sessions.size
    stats.openPacketIds = sessions.openIds
    stats.connectionsRefused['too-many-connections'] = this.#listeners?.stats.refusedAtLimit ?? 0
    stats.retainedMessages = this.#parts.state.retained.count
    return stats
  }

  /** All that is counted, for status and metrics. */
  get counts(): BrokerCounts {
    return {
      traffic: this.stats,
      sockets: this.#listeners?.stats ?? createListenerStats(),
      logins: this.#parts.authenticator.stats,
      kept: this.#parts.state.stats,
    }
  }

  /** Where it listens, in the order of the configuration; ports are the real ones. */
  get addresses(): Listeners['addresses'] {
    return this.#listeners?.addresses ?? []
  }

  /**
   * Takes a connection that came another way than through the listeners; `maxConnections` is the
   * caller's to keep.
   */
  accept(inbound: Inbound): void {
    this.#parts.gate.accept(inbound)
  }

  /**
   * Password files, access rules and certificates, whether they changed or not; what cannot be used
   * changes nothing.
   */
  async reread(): Promise<void> {
    await this.#parts.authenticator.reread()
    await this.#listeners?.reread()
  }

  /** Connections open now, those before CONNACK included. */
  connections(): number {
    return this.#parts.gate.connections
  }

  /**
   * Refuses new connections, reads no more, lets the acks of what was taken leave after their
   * commits, publishes or suppresses wills (`willsOnStop`) before the last commit, closes. Takes at
   * most `deadlineMs` (a duration) and never rejects; what could not be finished by then is as
   * after a kill: nothing acknowledged is lost.
   */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopping ??= this.#stop(deadlineMs)
    await this.#stopping
  }

  async #listen(): Promise<void> {
    const { config, emit } = this.#options
    const { context, gate } = this.#parts
    this.#listeners = await startListeners(config, (inbound) => gate.accept(inbound), emit)
    context.stats.accepting = true
    emit({ type: 'broker.started', listeners: this.#listeners.addresses.map(listenerUrl) })
  }

  async #stop(durationMs: number): Promise<void> {
    const { appender, config, emit } = this.#options
    const { aedes, authenticator, context, gate, state, sys } = this.#parts
    const { delivery, reports, stats, wills } = context
    const beganMs = context.monotonicMs()
    stats.accepting = false
    const { connections } = gate
    try {
      this.#listeners?.pause()
      await gate.drain(beganMs + durationMs * ACKS_SHARE_OF_STOP)
      const unacked = stats.unackedMessages
      if (config.willsOnStop === 'suppress') wills.suppress()
      await gate.closeAll(beganMs + durationMs)
      sys.stop()
      delivery.stop()
      await this.#untilDurable(appender.touch(), beganMs + durationMs)
      await this.#listeners?.close()
      await aedes.close()
      state.release()
      emit({ type: 'broker.stopped', connections, unacked })
    } catch (error) {
      reports.fault('stop', error)
    }
    await authenticator.close()
  }

  async #untilDurable(ticket: Ticket, deadlineMs: number): Promise<void> {
    const { appender } = this.#options
    const left = deadlineMs - this.#parts.context.monotonicMs()
    if (left <= 0 || ticket <= appender.durableTicket) return
    await within(new DurableTickets(appender).until(ticket), left)
  }

  /** Their clients did not say goodbye before the earlier run ended, so the wills are due. */
  #publishRecoveredWills(): void {
    const { context, state } = this.#parts
    for (const { clientId, ...will } of state.wills.recovered) {
      context.wills.publish(clientId, will, null, () => state.wills.delete(clientId))
    }
  }
}

/** Puts the stage together, from what others need to what needs them: nothing is set later. */
async function assemble(
  options: BrokerOptions,
  sessions: SessionTable,
  authenticator: Authenticator,
  monotonicMs: () => number,
): Promise<BrokerParts> {
  const { config, appender, emit } = options
  const stats = createBrokerStats()
  const reports = new Reports(stats, new EventDamper(monotonicMs), emit)
  const order = new DeliveryOrder()
  const state = await ConsumerState.load(appender, config, order, emit)
  const { copies, retained, subscriptions } = state
  const subscribers = new LocalMq(subscriptions, order, emit)
  const aedes = await AedesServer.create(subscribers, state, order, reports)
  const delivery = new LocalDelivery({
    limits: config,
    stats,
    reports,
    order,
    copies,
    deliver: (message) => aedes.deliver(message),
    durable: appender.durableTicket,
  })
  const retainedDelivery = new RetainedDelivery(retained, config, delivery)
  // Behind the state, which makes the values of a commit visible, and before the gate, which
  // releases live copies.
  appender.onDurable((ticket) => retainedDelivery.durable(ticket))
  const sys = new SysTree({
    stats,
    version: `sluice version ${options.version ?? 'unknown'}`,
    monotonicMs,
    hasSubscriber: (topic) => subscribers.hasListener(topic),
    retain: (topic, payload) => retained.show(topic, payload),
    send: (topic, payload) => {
      const message = { topic, payload, qos: 0, retain: false, from: '' } as const
      delivery.offer(message, appender.durableTicket, null)
    },
    onFault: (error) => reports.fault('$SYS', error),
  })
  const publishing: PublishContext = {
    config,
    appender,
    router: new Router(appender.streams),
    subscribers,
    retained,
    copies,
    delivery,
    sessions,
    stats,
    reports,
    nowMs: options.nowMs ?? Date.now,
    monotonicMs,
    view: new PublishView(),
    message: emptyMessage(),
    hash: new MessageHash(),
  }
  const context: GateContext = {
    ...publishing,
    admission: new ConnectAdmission(),
    clientIds: new ClientIds(reports, monotonicMs),
    authenticate: options.authenticate ?? ((request) => authenticator.authenticate(request)),
    mintClientId: options.mintClientId ?? (() => `sluice-${randomBytes(8).toString('hex')}`),
    wills: new Wills(publishing),
    aedes,
    retainedDelivery,
    endSession: (ended) => {
      reports.sessionEnded(ended)
      state
        .discardSession(ended.clientId)
        .catch((error: unknown) => reports.fault('forget session', error))
    },
    onSysSubscribe: () => sys.refresh(),
  }
  const gate = new Gate(context)
  if (config.sysInterval !== null) sys.start(config.sysInterval)
  adoptSubscribers(sessions, subscriptions)
  copies.discardExcept((clientId) => sessions.find(clientId) !== undefined)
  return { context, gate, aedes, state, sys, authenticator }
}

function recoverSessions(options: BrokerOptions, monotonicMs: () => number): SessionTable {
  const sessions = new SessionTable(options.config, monotonicMs)
  const fault = sessions.recover(options.appender.attach(sessions))
  if (fault !== null) options.emit({ type: 'broker.sessions-damaged', detail: fault })
  const packetIds = sessions.openIds
  options.emit({ type: 'broker.sessions-recovered', sessions: sessions.size, packetIds })
  return sessions
}

/**
 * Every stored subscription belongs to a session; one whose session was lost gets it back, so that
 * it can expire.
 */
function adoptSubscribers(sessions: SessionTable, subscriptions: SubscriptionTable): void {
  for (const clientId of subscriptions.clientIds) {
    if (sessions.find(clientId) !== undefined) continue
    const opened = sessions.open(clientId, () => {})
    if (opened === null) continue
    sessions.markSubscribed(opened.session)
    sessions.leave(opened.session)
  }
}

function emptyMessage(): Message {
  return {
    payload: new Uint8Array(0),
    start: 0,
    end: 0,
    qos: 0,
    dup: false,
    retain: false,
    will: false,
    refusal: null,
    receivedAtMs: 0,
    arrivedMs: 0,
  }
}
