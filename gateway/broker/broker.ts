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
import { within } from '../shared/within.ts'
import { AedesServer } from './aedes/aedes-server.ts'
import { LocalMq } from './aedes/local-mq.ts'
import { type Authenticate, Authenticator } from './auth/authenticator.ts'
import type { MqttConfig } from './config.ts'
import { ConsumerState } from './consumers/consumer-state.ts'
import { DeliveryOrder } from './consumers/delivery-order.ts'
import { LocalDelivery } from './consumers/local-delivery.ts'
import { RetainedDelivery } from './consumers/retained-delivery.ts'
import { SysTree } from './consumers/sys-tree.ts'
import { EventDamper } from './event-damper.ts'
import type { EmitBrokerEvent } from './events.ts'
import { Gate } from './gate/gate.ts'
import type { GateShared } from './gate/context.ts'
import { type Inbound, type Listeners, startListeners } from './listeners/listeners.ts'
import { DurableTickets } from './publish/durable-tickets.ts'
import { Router } from './publish/router.ts'
import { MessageHash } from './sessions/message-hash.ts'
import { SessionTable } from './sessions/session-table.ts'
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

export class Broker {
  readonly #stats: BrokerStats
  readonly #config: MqttConfig
  readonly #appender: Appender
  readonly #emit: EmitBrokerEvent
  readonly #gate: Gate
  readonly #aedes: AedesServer
  readonly #state: ConsumerState
  readonly #authenticator: Authenticator
  readonly #sys: SysTree
  #listeners: Listeners | null = null
  #stopping: Promise<void> | null = null

  private constructor(parts: {
    readonly options: BrokerOptions
    readonly gate: Gate
    readonly aedes: AedesServer
    readonly state: ConsumerState
    readonly authenticator: Authenticator
    readonly sys: SysTree
  }) {
    const { config, appender, emit } = parts.options
    this.#config = config
    this.#appender = appender
    this.#emit = emit
    this.#gate = parts.gate
    this.#stats = parts.gate.shared.stats
    this.#aedes = parts.aedes
    this.#state = parts.state
    this.#authenticator = parts.authenticator
    this.#sys = parts.sys
  }

  /**
   * Takes up the stored sessions, publishes wills that an earlier run left behind, then listens.
   * Attaches its journal: call before anything else appends. Rejects if a listener cannot start or
   * a password file cannot be read; nothing listens then.
   */
  static async start(options: BrokerOptions): Promise<Broker> {
    const { config, appender, emit } = options
    const monotonicMs = options.monotonicMs ?? (() => performance.now())
    const stats = createBrokerStats()
    const damper = new EventDamper(monotonicMs)
    const sessions = recoverSessions(options, monotonicMs)
    const authenticator = await Authenticator.open(config, emit, {
      loginsFile: options.loginsFile ?? null,
    })
    try {
      const order = new DeliveryOrder()
      const state = await ConsumerState.load(appender, config, order, emit)
      const local = new LocalMq(state.subscriptions, order, emit)
      let gate: Gate | null = null
      const delivery = new LocalDelivery(
        config,
        stats,
        {
          deliver: (message) => aedes.deliver(message),
          onDropped: (copies) => state.copies.unstage(copies),
          isPressed: () => retained.isSending || (gate?.isPressed ?? false),
          isHeldBack: () => retained.isSending,
          onHandedOver: () => gate?.onHandedOver(),
          onOverflow: () => gate?.disconnectPressed(),
          onCopiesDropped: () => gate?.onCopiesDropped(null),
          onFault: (where, error) => gate?.onFault(where, error),
        },
        order,
        appender.durableTicket,
      )
      const retained = new RetainedDelivery(state.retained, config, {
        bar: (ticket) => delivery.bar(ticket),
        resume: () => delivery.resume(),
      })
      // Behind the state, which makes the values of a commit visible, and before the gate,
      // which releases live copies.
      appender.onDurable((ticket) => retained.durable(ticket))
      const shared: GateShared = {
        config,
        appender,
        router: new Router(appender.streams),
        local,
        stageRetained: (topic, payload, qos) => state.retained.stage(topic, payload, qos),
        stageCopies: (topic, payload, qos, retain, from) =>
          state.copies.stage(topic, payload, qos, retain, from),
        delivery,
        sessions,
        stats,
        emit,
        damper,
        nowMs: options.nowMs ?? Date.now,
        monotonicMs,
        message: emptyMessage(),
        hash: new MessageHash(),
      }
      const started = new Gate(shared, {
        authenticate: options.authenticate ?? ((request) => authenticator.authenticate(request)),
        mintClientId: options.mintClientId ?? (() => `sluice-${randomBytes(8).toString('hex')}`),
        forgetSession: (clientId) => {
          state.discardSession(clientId).catch((error) => {
            started.onFault('forget session', error)
          })
        },
        onSysSubscribe: () => sys.refresh(),
      })
      const sys = new SysTree({
        stats,
        version: `sluice version ${options.version ?? 'unknown'}`,
        monotonicMs,
        hasSubscriber: (topic) => local.hasListener(topic),
        retain: (topic, payload) => state.retained.show(topic, payload),
        send: (topic, payload) => {
          delivery.offer(topic, payload, 0, false, '', appender.durableTicket, null)
        },
        onFault: (error) => started.onFault('$SYS', error),
      })
      gate = started
      const aedes = await AedesServer.create(local, state, order, {
        onSubscribed: (subscriber, filters, since) =>
          retained.subscribed(subscriber, filters, since),
        maySubscribe: (duplex, filter) => started.maySubscribe(duplex, filter),
        mayReceive: (duplex, topic) => started.mayReceive(duplex, topic),
        onWill: (duplex, will, done) => started.onWill(duplex, will, done),
        onFault: (where, error) => started.onFault(where, error),
      })
      started.start(aedes)
      if (config.sysInterval !== null) sys.start(config.sysInterval)
      adoptSubscribers(sessions, state)
      state.copies.discardExcept((clientId) => sessions.find(clientId) !== undefined)
      const broker = new Broker({ options, gate: started, aedes, state, authenticator, sys })
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
    this.#gate.updateGauges()
    this.#stats.connectionsRefused['too-many-connections'] =
      this.#listeners?.stats.refusedAtLimit ?? 0
    this.#stats.retainedMessages = this.#state.stats.retainedMessages
    return this.#stats
  }

  /** All that is counted, for status and metrics. */
  get counts(): BrokerCounts {
    return {
      traffic: this.stats,
      sockets: this.#listeners?.stats ?? createListenerStats(),
      logins: this.#authenticator.stats,
      kept: this.#state.stats,
    }
  }

  /** Where it listens, in the order of the configuration; ports are the real ones. */
  get addresses(): Listeners['addresses'] {
    return this.#listeners?.addresses ?? []
  }

  /**
   * Takes a connection that came through another door than the listeners; `maxConnections` is the
   * door's to keep.
   */
  accept(inbound: Inbound): void {
    this.#gate.accept(inbound)
  }

  /**
   * Password files, access rules and certificates, whether they changed or not; what cannot be used
   * changes nothing.
   */
  async reread(): Promise<void> {
    await this.#authenticator.reread()
    await this.#listeners?.reread()
  }

  /** Connections open now, those before CONNACK included. */
  connections(): number {
    return this.#gate.connections
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
    this.#listeners = await startListeners(
      this.#config,
      (inbound) => this.#gate.accept(inbound),
      this.#emit,
    )
    this.#stats.accepting = true
    const listeners = this.#listeners.addresses.map(listenerUrl)
    this.#emit({ type: 'broker.started', listeners })
  }

  async #stop(durationMs: number): Promise<void> {
    const { monotonicMs, delivery } = this.#gate.shared
    const beganMs = monotonicMs()
    this.#stats.accepting = false
    const connections = this.#gate.connections
    try {
      this.#listeners?.pause()
      await this.#gate.drain(beganMs + durationMs * ACKS_SHARE_OF_STOP)
      const unacked = this.#stats.unackedMessages
      await this.#gate.closeAll(this.#config.willsOnStop === 'publish', beganMs + durationMs)
      this.#sys.stop()
      delivery.stop()
      await this.#untilDurable(this.#appender.touch(), beganMs + durationMs)
      await this.#listeners?.close()
      await this.#aedes.close()
      this.#state.release()
      this.#emit({ type: 'broker.stopped', connections, unacked })
    } catch (error) {
      this.#gate.onFault('stop', error)
    }
    await this.#authenticator.close()
  }

  async #untilDurable(ticket: Ticket, deadlineMs: number): Promise<void> {
    const left = deadlineMs - this.#gate.shared.monotonicMs()
    if (left <= 0 || ticket <= this.#appender.durableTicket) return
    await within(new DurableTickets(this.#appender).until(ticket), left)
  }

  /** Their clients did not say goodbye before the earlier run ended, so the wills are due. */
  #publishRecoveredWills(): void {
    for (const { clientId, topic, payload, qos, retain } of this.#state.wills.recovered) {
      this.#gate.wills.publish(clientId, { topic, payload, qos, retain }, null, () => {
        this.#state.wills.delete(clientId)
      })
    }
  }
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
function adoptSubscribers(sessions: SessionTable, { subscriptions }: ConsumerState): void {
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
