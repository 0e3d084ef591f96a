/**
 * The persistence that aedes 1.2 works with: retained messages, subscriptions of persistent
 * sessions and wills in memory for matching, and in the spool's keyed values for the next start.
 * Changes ride in the next commit; SUBACK, UNSUBACK and the CONNACK of a client with a will wait
 * for it, so what a client was told is on disk.
 *
 * Copies for persistent sessions are bounded (I6, I9) and survive a kill: `session-copies.ts` has
 * them. It stands in for aedes-persistence's in-memory class, whose queues have no bound, and
 * differs where that harms a subscriber: overlapping subscriptions queue one copy [MQTT-3.3.5-1],
 * at no more than the subscribed QoS; a copy sent again has DUP set [MQTT-3.3.1-1]; an unknown
 * packet id does not end the connection; a discarded session loses its queue.
 *
 * It does not know the QoS 2 state of inbound messages: the gate owns that. Nothing inbound at QoS
 * 2 enters aedes.
 */
import { Readable } from 'node:stream'
import type { Appender, KeyedStore, Ticket } from '../../ports/appender.ts'
import { errorMessage } from '../../shared/errors.ts'
import { DeliveryOrder } from '../consumers/delivery-order.ts'
import {
  DEFAULT_RETAINED_LIMITS,
  type RetainedLimits,
  RetainedMessages,
} from '../consumers/retained-messages.ts'
import type { EmitBrokerEvent } from '../events.ts'
import { DurableTickets } from '../publish/durable-tickets.ts'
import type { ReplayedConnection } from '../sessions/replay.ts'
import { DEFAULT_QUEUE_LIMITS, SessionCopies } from '../sessions/session-copies.ts'
import type { QueuedPacket, QueueLimits } from '../sessions/session-queues.ts'
import {
  DEFAULT_MAX_SUBSCRIPTIONS,
  type Subscribed,
  type Subscribing,
  SubscriptionTable,
} from '../sessions/stored-subscriptions.ts'
import {
  decodeSubscriptions,
  decodeWill,
  encodeWill,
  type Qos,
  type StoredWill,
} from '../sessions/stored-values.ts'
import type { StoredSubscriptions } from './local-mq.ts'

export interface PersistenceStore {
  readonly retained: KeyedStore
  readonly subscriptions: KeyedStore
  readonly wills: KeyedStore
  /** What waits for persistent sessions; absent: it is in memory alone. */
  readonly copies?: KeyedStore
}

export interface PersistenceOptions {
  /**
   * Bounds of the queues for sessions that are away. Default: 1,000 messages, 1 MiB, 64 MiB in
   * total.
   */
  readonly limits?: QueueLimits
  readonly retained?: RetainedLimits
  /** Filters of one session. */
  readonly maxSubscriptions?: number
  /** Counts retained values, offered messages and subscriptions. */
  readonly order?: DeliveryOrder
  /** Tells when a ticket is durable; without it everything counts as durable at once. */
  readonly durability?: Pick<Appender, 'durableTicket' | 'onDurable'>
  /**
   * May this client have this subscription? aedes stores all filters of a SUBSCRIBE, also those
   * that its
   * `authorizeSubscribe` refused; what is refused here is not stored, so nothing is queued for it.
   */
  readonly mayStore?: (clientId: string, filter: string) => boolean
  readonly emit?: EmitBrokerEvent
}

/** The broker id that wills of an earlier run carry: never the id of a live one. */
const EARLIER_RUN = 'earlier-run'

interface ClientRef {
  readonly id: string
}

interface WillPacket {
  topic: string
  payload?: Uint8Array | string
  qos?: number
  retain?: boolean
  brokerId?: string
  clientId?: string
}

interface BrokerRef {
  readonly id: string
}

/**
 * A will that an earlier run kept and did not publish: its client did not say goodbye before that
 * run ended.
 */
export interface RecoveredWill extends StoredWill {
  readonly clientId: string
}

/**
 * Reads what the store keeps. A value that cannot be read is left there, reported, and not used
 * (I7).
 */
export async function createPersistence(
  store: PersistenceStore,
  options: PersistenceOptions = {},
): Promise<AedesPersistence> {
  const persistence = new AedesPersistence(store, options)
  await persistence.load()
  return persistence
}

export class AedesPersistence implements StoredSubscriptions {
  readonly #store: PersistenceStore
  readonly #options: PersistenceOptions
  readonly #emit: EmitBrokerEvent
  readonly #retained: RetainedMessages
  readonly #order: DeliveryOrder
  /** False: aedes finds none; whoever embeds it sends them. */
  sendsRetained = true
  readonly #subscriptions: SubscriptionTable
  readonly #durable: DurableTickets
  readonly #wills = new Map<string, WillPacket>()
  readonly #recoveredWills: RecoveredWill[] = []
  readonly #inbound = new Map<string, Map<number, unknown>>()
  #broker: BrokerRef | null = null
  /** What is kept for persistent sessions. */
  readonly copies: SessionCopies

  /** Use {@link createPersistence}. */
  constructor(store: PersistenceStore, options: PersistenceOptions) {
    this.#store = store
    this.#options = options
    this.#emit = options.emit ?? (() => {})
    this.#order = options.order ?? new DeliveryOrder()
    this.#retained = new RetainedMessages(
      store.retained,
      options.retained ?? DEFAULT_RETAINED_LIMITS,
      this.#emit,
    )
    options.durability?.onDurable((ticket) => this.#retained.durable(ticket))
    this.#durable = new DurableTickets(options.durability ?? null)
    this.#subscriptions = new SubscriptionTable(
      store.subscriptions,
      this.#durable,
      options.maxSubscriptions ?? DEFAULT_MAX_SUBSCRIPTIONS,
    )
    this.copies = new SessionCopies(
      store.copies ?? null,
      options.limits ?? DEFAULT_QUEUE_LIMITS,
      this.#subscriptions,
      this.#durable,
      this.#emit,
    )
  }

  async load(): Promise<void> {
    await this.#retained.load()
    for (const [clientId, bytes] of await this.#store.subscriptions.entries()) {
      const subscriptions = this.#decode('subscriptions', clientId, () =>
        decodeSubscriptions(bytes),
      )
      if (subscriptions !== null) this.#subscriptions.restore(clientId, subscriptions)
    }
    for (const [clientId, bytes] of await this.#store.wills.entries()) {
      const will = this.#decode('wills', clientId, () => decodeWill(bytes))
      if (will === null) continue
      this.#recoveredWills.push({ clientId, ...will })
      this.#wills.set(clientId, { ...will, brokerId: EARLIER_RUN, clientId })
    }
    await this.copies.load((key, error) => this.#reportUnreadable('copies', key, error))
  }

  // What the gate and the local mq ask.

  /** Rises with each change of a stored subscription. */
  get version(): number {
    return this.#subscriptions.version
  }

  /**
   * Is there a persistent session, connected or away, with a subscription at QoS 1 or 2 that takes
   * the topic?
   */
  takes(topic: string): boolean {
    return this.#subscriptions.takes(topic)
  }

  /**
   * A retained message, at append: its value rides in the commit that is open now and shows once
   * that is durable. Publish the message through aedes with `retain: false` then (subscribers that
   * are connected get it so anyway [MQTT-3.3.1-9]); with `retain: true` aedes would store it once
   * more, in a later commit.
   */
  stageRetained(topic: string, payload: Uint8Array, qos: Qos): Ticket | null {
    const ticket = this.#retained.stage(topic, payload, qos, this.#order.next())
    if (ticket !== null && this.#durable.has(ticket)) this.#retained.durable(ticket)
    return ticket
  }

  get retained(): RetainedMessages {
    return this.#retained
  }

  /**
   * Wills of an earlier run. Append and publish each, then `delWill`; aedes would do it after four
   * heartbeats.
   */
  get recoveredWills(): readonly RecoveredWill[] {
    return this.#recoveredWills
  }

  /** Client ids with stored subscriptions: what a session table is compared with at the start. */
  get subscribedClientIds(): readonly string[] {
    return this.#subscriptions.clientIds
  }

  get stats(): PersistenceStats {
    return {
      retainedMessages: this.#retained.count,
      retainedBytes: this.#retained.bytes,
      retainedRefused: this.#retained.refused,
      queuedMessages: this.copies.messages,
      queuedBytes: this.copies.bytes,
      queuedDropped: this.copies.dropped,
      storedSubscriptions: this.#subscriptions.size,
    }
  }

  // What aedes asks.

  get broker(): BrokerRef | null {
    return this.#broker
  }

  /** aedes checks that this is an async function. */
  async setup(broker: BrokerRef): Promise<void> {
    await Promise.resolve()
    this.#broker = broker
  }

  async storeRetained(packet: {
    topic: string
    payload: Uint8Array | string
    qos?: number
  }): Promise<void> {
    const ticket = this.stageRetained(packet.topic, bytesOf(packet.payload), qosOf(packet.qos))
    await this.#durable.until(ticket)
  }

  createRetainedStream(filter: string): Readable {
    return this.createRetainedStreamCombi([filter])
  }

  createRetainedStreamCombi(filters: readonly string[]): Readable {
    return Readable.from(this.sendsRetained ? this.#retained.matching(filters) : [])
  }

  async addSubscriptions(client: ClientRef, subscriptions: readonly Subscribing[]): Promise<void> {
    const { mayStore } = this.#options
    const added = subscriptions.filter(({ topic }) => mayStore?.(client.id, topic) ?? true)
    await this.#subscriptions.add(client.id, added)
  }

  async removeSubscriptions(client: ClientRef, filters: readonly string[]): Promise<void> {
    await this.#subscriptions.remove(client.id, filters)
  }

  async subscriptionsByClient(client: ClientRef): Promise<Subscribing[]> {
    return Promise.resolve(this.#subscriptions.of(client.id))
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    const { size, clientIds } = this.#subscriptions
    return Promise.resolve({ subsCount: size, clientsCount: clientIds.length })
  }

  async subscriptionsByTopic(topic: string): Promise<Subscribed[]> {
    return Promise.resolve(this.#subscriptions.taking(topic))
  }

  /** The session is discarded [MQTT-3.1.2-6]: its subscriptions and what waits for it. */
  async cleanSubscriptions(client: ClientRef): Promise<void> {
    this.copies.discard(client.id)
    await this.#subscriptions.clear(client.id)
  }

  async outgoingEnqueue(subscriber: { clientId: string }, packet: QueuedPacket): Promise<void> {
    return this.outgoingEnqueueCombi([subscriber], packet)
  }

  async outgoingEnqueueCombi(
    subscribers: readonly { clientId: string; qos?: number }[],
    packet: QueuedPacket,
  ): Promise<void> {
    const granted = new Map<string, number>()
    for (const { clientId, qos = 2 } of subscribers) {
      granted.set(clientId, Math.max(granted.get(clientId) ?? 0, qos))
    }
    for (const [clientId, qos] of granted) this.copies.enqueue(clientId, copyOf(packet, qos))
    return Promise.resolve()
  }

  async outgoingUpdate(client: ClientRef, packet: QueuedPacket): Promise<void> {
    await this.copies.sending(client.id, packet)
  }

  async outgoingClearMessageId(
    client: ClientRef,
    packet: Pick<QueuedPacket, 'messageId' | 'brokerId' | 'brokerCounter'>,
  ): Promise<QueuedPacket | undefined> {
    return Promise.resolve(this.copies.acknowledge(client.id, packet))
  }

  /**
   * What a session that comes back is sent, oldest first; what it was sent before goes out as a
   * duplicate.
   */
  outgoingStream(client: ClientRef & { conn?: ReplayedConnection }): Readable {
    return this.copies.stream(client.id, client.conn ?? null)
  }

  async incomingStorePacket(
    client: ClientRef,
    packet: QueuedPacket & { messageId: number },
  ): Promise<void> {
    let packets = this.#inbound.get(client.id)
    if (packets === undefined) {
      packets = new Map()
      this.#inbound.set(client.id, packets)
    }
    packets.set(packet.messageId, { ...copyOf(packet, 2), messageId: packet.messageId })
    return Promise.resolve()
  }

  async incomingGetPacket(client: ClientRef, packet: { messageId: number }): Promise<unknown> {
    const found = this.#inbound.get(client.id)?.get(packet.messageId)
    return found === undefined
      ? Promise.reject(new Error('no such packet'))
      : Promise.resolve(found)
  }

  async incomingDelPacket(client: ClientRef, packet: { messageId: number }): Promise<void> {
    const packets = this.#inbound.get(client.id)
    const deleted = packets?.delete(packet.messageId) ?? false
    if (packets?.size === 0) this.#inbound.delete(client.id)
    return deleted ? Promise.resolve() : Promise.reject(new Error('no such packet'))
  }

  async cleanIncoming(client: ClientRef): Promise<void> {
    this.#inbound.delete(client.id)
    return Promise.resolve()
  }

  async putWill(client: ClientRef, packet: WillPacket): Promise<void> {
    packet.brokerId = this.#broker?.id ?? ''
    packet.clientId = client.id
    this.#wills.set(client.id, packet)
    const will = {
      topic: packet.topic,
      payload: bytesOf(packet.payload ?? ''),
      qos: qosOf(packet.qos),
      retain: packet.retain === true,
    }
    await this.#durable.until(this.#store.wills.put(client.id, encodeWill(will)))
  }

  async getWill(client: ClientRef): Promise<WillPacket | undefined> {
    return Promise.resolve(this.#wills.get(client.id))
  }

  async delWill(client: ClientRef): Promise<WillPacket | undefined> {
    const will = this.#wills.get(client.id)
    if (this.#wills.delete(client.id)) this.#store.wills.delete(client.id)
    return Promise.resolve(will)
  }

  streamWill(brokers: Readonly<Record<string, unknown>> = {}): Readable {
    const wills = [...this.#wills.values()]
    return Readable.from(
      wills.filter(({ brokerId }) => brokerId !== undefined && !brokers[brokerId]),
    )
  }

  getClientList(topic: string): Readable {
    return Readable.from(this.#subscriptions.withFilter(topic))
  }

  async destroy(): Promise<void> {
    this.#durable.release()
    return Promise.resolve()
  }

  // Inside.

  #decode<T>(space: 'subscriptions' | 'wills', key: string, decode: () => T): T | null {
    try {
      return decode()
    } catch (error) {
      this.#reportUnreadable(space, key, error)
      return null
    }
  }

  #reportUnreadable(
    space: 'subscriptions' | 'wills' | 'copies',
    key: string,
    error: unknown,
  ): void {
    this.#emit({ type: 'broker.stored-state-unreadable', space, key, message: errorMessage(error) })
  }
}

/** Plain numbers for metrics and status. */
export interface PersistenceStats {
  readonly retainedMessages: number
  readonly retainedBytes: number
  /** Messages that a limit kept from being retained. */
  readonly retainedRefused: number
  readonly queuedMessages: number
  readonly queuedBytes: number
  /** Copies for sessions that a bound dropped. */
  readonly queuedDropped: number
  readonly storedSubscriptions: number
}

/** A queue entry of its own: aedes writes packet ids into the packets it queues. */
function copyOf(packet: QueuedPacket, maxQos: number): QueuedPacket {
  const { brokerId, brokerCounter, topic, payload } = packet
  const qos = Math.min(packet.qos ?? 0, maxQos)
  const copy = {
    cmd: packet.cmd ?? 'publish',
    brokerId,
    brokerCounter,
    topic,
    payload: payload ?? Buffer.alloc(0),
    qos,
    retain: packet.retain ?? false,
    // The publisher's DUP is about another hop [MQTT-3.3.1-3].
    dup: false,
  }
  return qos > 0 ? { ...copy, messageId: undefined } : copy
}

function bytesOf(payload: Uint8Array | string): Buffer {
  return Buffer.from(payload as Uint8Array)
}

function qosOf(qos: number | undefined): Qos {
  return qos === 1 || qos === 2 ? qos : 0
}
