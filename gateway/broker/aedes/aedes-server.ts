/**
 * aedes 1.2 behind the gate: subscriptions, retained messages, wills, local delivery. The only file
 * that creates it.
 *
 * What is changed of it, and why (all read in its source):
 * - `publish` is replaced: aedes calls it for wills, which go the way of every message (appended,
 *   not acknowledged, delivered locally after the commit), and for notices to itself and to
 *   other brokers under `$SYS`, which are dropped. Published copies never pass it: {@link
 *   AedesServer.deliver} does what it would do, in order. (aedes publishes QoS 0 at once and QoS 1
 *   after a promise, and its duplicate filter then drops the overtaken copy.)
 * - Retained messages of a SUBSCRIBE are sent by {@link RetainedDelivery}: aedes finds none.
 * - `unregisterClient` is guarded: a client that ends late would unregister the client that
 *   holds its id by then.
 * - The subscriptions of a client are kept by {@link GrantedFilters}: aedes gives copies of
 *   overlapping filters a wrong QoS.
 * - The heartbeat is slowed to days: it is for other brokers on one store, and there are none.
 * - Every hook is wrapped: one that throws would end the process.
 */
import { Aedes } from 'aedes'
import type { ConsumerState } from '../consumers/consumer-state.ts'
import type { DeliveryOrder } from '../consumers/delivery-order.ts'
import type { Published } from '../consumers/local-delivery.ts'
import type { RetainedSubscriber } from '../consumers/retained-delivery.ts'
import type { Will } from '../mqtt/connect.ts'
import type { Reports } from '../reports.ts'
import type { SessionCopies } from '../sessions/session-copies.ts'
import { Forwarding, type Receiver } from './forwarding.ts'
import type { DuplexOwner, GateDuplex } from './gate-duplex.ts'
import { GrantedFilters, type GrantHost, type ServedClient } from './granted-filters.ts'
import type { LocalListener, LocalMq } from './local-mq.ts'
import { AedesPersistence } from './persistence.ts'

/** Of aedes, what is used here beyond its published types. */
interface AedesInside extends Omit<Aedes, 'publish'> {
  counter: number
  readonly clients: Record<string, AedesClient | undefined>
  publish(packet: InsidePacket, client: AedesClient | null | Done, done?: Done): void
  unregisterClient(client: AedesClient): void
}

type AedesClient = ServedClient & Receiver & RetainedSubscriber

interface InsidePacket {
  readonly topic: string
  readonly payload?: Buffer | string
  readonly qos?: number
  readonly retain?: boolean
}

type Done = (error?: Error | null) => void

/** As aedes tells of a SUBSCRIBE that it has answered. */
interface Granted {
  readonly topic: string
  readonly qos: number
}

const REFUSED = 128

/** 5.8 days. aedes multiplies it by 4 for a timer, which must stay below 2^31 ms. */
const HEARTBEAT_INTERVAL_MS = 500_000_000
const NEVER_MS = 2_147_483_647

/** Levels of a filter: aedes knows no more, and closes the connection over a deeper one. */
export const MAX_AEDES_LEVELS = 100

export class AedesServer {
  readonly #aedes: AedesInside
  readonly #mq: LocalMq
  readonly #copies: SessionCopies
  readonly #forwarding: Forwarding
  readonly #granted: WeakMap<AedesClient, GrantedFilters>
  readonly #grantHost: GrantHost

  private constructor(parts: {
    readonly aedes: AedesInside
    readonly mq: LocalMq
    readonly copies: SessionCopies
    readonly forwarding: Forwarding
    readonly granted: WeakMap<AedesClient, GrantedFilters>
    readonly order: Pick<DeliveryOrder, 'last'>
  }) {
    const { mq, order } = parts
    this.#aedes = parts.aedes
    this.#mq = mq
    this.#copies = parts.copies
    this.#forwarding = parts.forwarding
    this.#granted = parts.granted
    this.#grantHost = {
      now: () => order.last,
      onReplaced: (former, next) => mq.replace(former as LocalListener, next as LocalListener),
      onRestored: (listener) => mq.restore(listener as LocalListener),
    }
  }

  static async create(
    mq: LocalMq,
    state: ConsumerState,
    order: Pick<DeliveryOrder, 'last'>,
    reports: Pick<Reports, 'fault'>,
  ): Promise<AedesServer> {
    const { copies } = state
    const granted = new WeakMap<AedesClient, GrantedFilters>()
    const forwarding = new Forwarding(reports)
    const aedes = (await Aedes.createBroker({
      mq,
      persistence: new AedesPersistence(state),
      heartbeatInterval: HEARTBEAT_INTERVAL_MS,
      // The gate keeps these times.
      connectTimeout: NEVER_MS,
      drainTimeout: NEVER_MS,
      maxClientsIdLength: 65_535,
      // The gate refuses what is over `mqtt.maxTopicLevels`; a stored subscription may be from
      // before it was lowered.
      maxTopicLevels: MAX_AEDES_LEVELS,
      authenticate: (_client, _username, _password, done) => done(null, true),
      authorizePublish: (_client, _packet, done) => done(null),
      authorizeSubscribe: (client, subscription, done) => {
        const { owner, session } = client.conn as GateDuplex
        // Stored with the subscription, for the copies that are queued while the bridge is away.
        if (session.isBridge) Object.assign(subscription, { nl: true, rap: true })
        done(null, allows(reports, owner, subscription.topic) ? subscription : null)
      },
      authorizeForward: (client, packet) => {
        const receiver = client as unknown as AedesClient
        return forwarding.copyFor(receiver, granted.get(receiver), packet)
      },
    })) as unknown as AedesInside
    aedes.on('error' as never, ((error: unknown) => reports.fault('aedes', error)) as never)
    replacePublish(aedes, reports)
    tellSubscribed(aedes, granted)
    guardUnregister(aedes, copies)
    return new AedesServer({ aedes, mq, copies, forwarding, granted, order })
  }

  /** Makes aedes' client for a connection; feed the duplex its CONNECT next. */
  connect(duplex: GateDuplex): void {
    const client = this.#aedes.handle(duplex) as unknown as AedesClient
    const granted = new GrantedFilters(this.#grantHost)
    granted.serve(client)
    const { sessionId, isResumed } = duplex.session
    if (sessionId === null) client._nextId = 1
    else numberWith(this.#copies, sessionId, isResumed, client)
    this.#granted.set(client, granted)
  }

  /**
   * Hands one message to every local subscriber, and queues it for persistent sessions that are
   * away. In order.
   */
  deliver(message: Published): void {
    const { topic, payload, qos, copies } = message
    const { id } = this.#aedes
    this.#aedes.counter += 1
    const brokerCounter = this.#aedes.counter
    // Retain is 0 towards subscriptions that are established [MQTT-3.3.1-9].
    const flags = { qos, retain: false, dup: false }
    const packet = { cmd: 'publish', brokerId: id, brokerCounter, topic, payload, ...flags }
    if (copies !== null) this.#copies.release(copies, id, brokerCounter)
    this.#forwarding.during(message, () => this.#mq.handOver(packet, message.order))
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#aedes.close(() => resolve()))
  }
}

/**
 * Copies of a session have their packet ids before aedes sees them. aedes takes its own (for
 * retained messages) from the same count, which goes on over connections: a client that continues
 * its session may still know the last ids.
 */
function numberWith(
  copies: SessionCopies,
  sessionId: string,
  isResumed: boolean,
  client: AedesClient,
): void {
  if (!isResumed) copies.setNextId(sessionId, 1)
  Object.defineProperty(client, '_nextId', {
    get: () => copies.nextId(sessionId),
    set: (next: number) => copies.setNextId(sessionId, next),
  })
}

function allows(reports: Pick<Reports, 'fault'>, owner: DuplexOwner, filter: string): boolean {
  try {
    return owner.maySubscribe(filter)
  } catch (error) {
    reports.fault('maySubscribe', error)
    return false
  }
}

function replacePublish(aedes: AedesInside, reports: Pick<Reports, 'fault'>): void {
  aedes.publish = (packet, clientOrDone, maybeDone) => {
    const client = typeof clientOrDone === 'function' ? null : clientOrDone
    const done = (typeof clientOrDone === 'function' ? clientOrDone : maybeDone) ?? noop
    if (client === null) {
      done(null)
      return
    }
    try {
      client.conn.owner.onWill(willOf(packet), () => done(null))
    } catch (error) {
      reports.fault('onWill', error)
      done(null)
    }
  }
}

function tellSubscribed(aedes: AedesInside, granted: WeakMap<AedesClient, GrantedFilters>): void {
  const onSubscribe = (subscriptions: readonly Granted[], client: AedesClient): void => {
    const filters = subscriptions.filter(({ qos }) => qos !== REFUSED).map(({ topic }) => topic)
    if (filters.length === 0) return
    const since = granted.get(client)?.sinceOf(filters) ?? 0
    client.conn.owner.onSubscribed(client, filters, since)
  }
  aedes.on('subscribe' as never, onSubscribe as never)
}

function guardUnregister(aedes: AedesInside, copies: SessionCopies): void {
  const unregister = aedes.unregisterClient.bind(aedes)
  aedes.unregisterClient = (client) => {
    copies.endReplay(client.id, client.conn)
    if (aedes.clients[client.id] === client) unregister(client)
  }
}

function willOf(packet: InsidePacket): Will {
  const qos = packet.qos === 1 || packet.qos === 2 ? packet.qos : 0
  const payload = Buffer.from((packet.payload ?? '') as string)
  return { topic: packet.topic, payload, qos, retain: packet.retain === true }
}

function noop(): void {}
