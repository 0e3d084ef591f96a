/**
 * The broker: a publish gate in front of aedes. This file starts and stops it; `assembly.ts` puts
 * it together.
 *
 *   socket -> Listener -> Connection -> PublishPath -> Appender -> commit -> acks
 *                             |              |
 *                             |              +-- LocalDelivery, after the commit -> desk, aedes
 *                             +-- Subscriber: SUBSCRIBE, copies and their acks
 *
 * It gives I1 (ack after fsync), I2 (order of acks and of appends), I3 (QoS 2 exactly once,
 * together with the spool's journal), I6 (bounds, with `whenFull: block` as held acks) and I9
 * (nothing that is refused goes uncounted). It knows of the spool only the Appender.
 * aedes/engine.ts says what of aedes is in use.
 */
import type { Ticket } from '../ports/appender.ts'
import { DurableTickets } from '../ports/durable-tickets.ts'
import { listenerUrl } from '../shared/hosts.ts'
import { within } from '../shared/time/within.ts'
import { assemble, type BrokerOptions, type BrokerParts, recoverSessions } from './assembly.ts'
import { Authenticator } from './auth/authenticator.ts'
import type { Realm } from './auth/realm.ts'
import type { MqttConfig } from './config.ts'
import type { Inbound } from './listeners/inbound.ts'
import { type ListenerChange, Listeners } from './listeners/listeners.ts'
import { type TestPublication, TestPublisher } from './publish/test-publisher.ts'
import { type BrokerCounts, type BrokerStats, createListenerStats } from './stats.ts'

/**
 * Of a stop's time, how much the acks may take: the rest is for wills, their commit and the
 * sockets.
 */
const ACKS_SHARE_OF_STOP = 0.7

/** What {@link Broker.prepare} made ready. */
interface BrokerChange {
  readonly next: MqttConfig
  readonly listeners: ListenerChange
  readonly realms: ReadonlyMap<string, Realm>
}

export class Broker {
  readonly #options: BrokerOptions
  /** What all parts read, whenever they need it: the one object that a reload writes into. */
  readonly #config: MqttConfig
  readonly #parts: BrokerParts
  #listeners: Listeners | null = null
  #stopping: Promise<void> | null = null
  #tests: TestPublisher | null = null

  private constructor(options: BrokerOptions, parts: BrokerParts) {
    this.#options = options
    this.#config = options.config
    this.#parts = parts
  }

  /**
   * Takes up the stored sessions, publishes wills that an earlier run left behind, then listens.
   * Attaches its journal: call before anything else appends. Rejects if a listener cannot start or
   * a password file cannot be read; nothing listens then.
   */
  static async start(configured: BrokerOptions): Promise<Broker> {
    const options = { ...configured, config: { ...configured.config } }
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
    return stats
  }

  /** All that is counted, for status and metrics. */
  get counts(): BrokerCounts {
    return {
      traffic: this.stats,
      sockets: this.#listeners?.stats ?? createListenerStats(),
      logins: this.#parts.authenticator.stats,
      kept: this.#parts.state.stats,
      neighbors: this.#parts.context.neighbors?.stats ?? null,
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

  /** Gives a message of the gateway itself to the streams that take its topic. */
  publishTest(message: { clientId: string; topic: string; payload: Uint8Array }): TestPublication {
    this.#tests ??= new TestPublisher(this.#parts.context)
    return this.#tests.publish(message)
  }

  /**
   * Makes everything ready that another configuration asks for (addresses are bound, files read) and
   * changes nothing yet. @throws ListenerError or AuthFileError: what runs goes on
   */
  async prepare(next: MqttConfig): Promise<BrokerChange> {
    const listeners = await this.#whileListening().prepare(next)
    try {
      const realms = await this.#parts.authenticator.prepare(next)
      return { next, listeners, realms }
    } catch (error) {
      await this.#whileListening().discard(listeners)
      throw error
    }
  }

  /** A change that was prepared and will not be made. */
  async discard({ listeners, realms }: BrokerChange): Promise<void> {
    for (const realm of realms.values()) realm.close()
    await this.#whileListening().discard(listeners)
  }

  /**
   * What was prepared holds from now on, and messages go to the streams that the appender has by now.
   * Synchronous. Connections stay, and so do their logins; limits that a connection was granted are
   * its own until it ends. Those of a listener that was removed are sent away.
   */
  reconfigure({ next, listeners, realms }: BrokerChange): void {
    const { appender } = this.#options
    const { authenticator, context, gate, sys } = this.#parts
    const { sysInterval } = this.#config
    Object.assign(this.#config, next)
    this.#whileListening().apply(listeners)
    authenticator.adopt(realms)
    context.router.replace(appender.streams)
    if (next.sysInterval !== sysInterval) sys.start(next.sysInterval)
    gate.rerouted()
    const removed = new Set(listeners.removed.map(({ config }) => config))
    if (removed.size === 0) return
    gate.closeBy(removed).catch((error: unknown) => context.reports.fault('listener', error))
  }

  #whileListening(): Listeners {
    if (this.#listeners === null) throw new Error('the broker does not listen')
    return this.#listeners
  }

  /** Connections open now, those before CONNACK included. */
  connections(): number {
    return this.#parts.gate.connections
  }

  /**
   * Refuses new connections and sends those away that are open, a few at a time, each with the acks
   * of what was taken from it. Only a new start takes connections again. Does not wait; a second
   * call changes nothing.
   */
  leave(): void {
    if (this.#parts.context.stats.leaving || this.#stopping !== null) return
    void this.#leave()
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
    this.#listeners = await Listeners.start(config, (inbound) => gate.accept(inbound), emit)
    context.stats.accepting = true
    emit({ type: 'broker.started', listeners: this.#listeners.addresses.map(listenerUrl) })
  }

  async #leave(): Promise<void> {
    const { config, emit } = this.#options
    const { context, gate } = this.#parts
    const { reports, stats, wills } = context
    stats.accepting = false
    stats.leaving = true
    emit({ type: 'broker.leaving', connections: gate.connections })
    this.#listeners?.pause()
    // Of a device that goes on at a neighbor it would say that it is gone.
    if (config.willsOnStop === 'suppress') wills.suppress()
    try {
      await gate.leave()
      emit({ type: 'broker.left' })
    } catch (error) {
      reports.fault('leave', error)
    }
  }

  async #stop(durationMs: number): Promise<void> {
    const { appender, config, emit } = this.#options
    const { authenticator, context, engine, gate, state, sys } = this.#parts
    const { delayedWills, delivery, neighbors, reports, stats, wills } = context
    const beganMs = context.monotonicMs()
    stats.accepting = false
    const { connections } = gate
    try {
      this.#listeners?.pause()
      await gate.drain(beganMs + durationMs * ACKS_SHARE_OF_STOP)
      const unacked = stats.unackedMessages
      if (config.willsOnStop === 'suppress') wills.suppress()
      await gate.closeAll(beganMs + durationMs)
      delayedWills.stop()
      neighbors?.stop()
      sys.stop()
      delivery.stop()
      await this.#untilDurable(appender.touch(), beganMs + durationMs)
      await this.#listeners?.close()
      await engine.close()
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
    for (const { token, ...will } of state.wills.recovered) {
      const { clientId } = token
      const discard = (): void => state.wills.delete(token)
      const publish = (): void => context.wills.publish(clientId, will, null, discard)
      const session = context.sessions.find(clientId)
      const sessionLeftMs = session === undefined ? 0 : context.sessions.expiryOf(session)
      const delayMs = Math.min(will.delaySeconds * 1000, sessionLeftMs)
      if (delayMs > 0) context.delayedWills.add(clientId, delayMs, { publish, discard })
      else publish()
    }
  }
}
