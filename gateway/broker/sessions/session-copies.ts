/**
 * What is kept for persistent sessions at QoS 1 and 2, from the append of a message to the
 * subscriber's ack: staged with the message and stored in its commit, queued when the message is
 * handed over, replayed to a connection that resumes the session, removed with its ack. One place
 * puts together the bounds (session-queues), the store (stored-copies) and the order (replay).
 */
import type { KeyedStore, Ticket } from '../../ports/appender.ts'
import type { DurableTickets } from '../durable-tickets.ts'
import { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent } from '../events.ts'
import type { Qos } from '../mqtt/publish.ts'
import { Replay, type ReplayedConnection } from './replay.ts'
import {
  type CopyDropReason,
  copyBytes,
  type QueuedPacket,
  type QueueLimits,
  SessionQueues,
} from './session-queues.ts'
import { StoredCopies } from './stored-copies.ts'
import type { SubscriptionTable } from './stored-subscriptions.ts'

/** A message on its way to local subscribers. */
export interface LocalPublication {
  readonly topic: string
  /** Copied where it is kept. */
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  /** Client id of who published it. */
  readonly from: string
}

/** Copies of one message for persistent sessions, from its append to its hand-over. */
export interface StagedCopies {
  /** The commit that has them; 0: none is stored. */
  readonly ticket: Ticket
  readonly payload: Buffer
  readonly byClient: ReadonlyMap<string, QueuedPacket>
  /** Of the subscriptions by which they were made. */
  readonly version: number
}

/** The broker id of copies of an earlier run: never the id of a live one. */
const EARLIER_RUN = 'earlier-run'

export class SessionCopies {
  readonly #subscriptions: Pick<SubscriptionTable, 'taking' | 'version'>
  readonly #durable: DurableTickets
  readonly #emit: EmitBrokerEvent
  readonly #damper = new EventDamper()
  readonly #queues: SessionQueues
  readonly #stored: StoredCopies
  readonly #limits: QueueLimits
  /** Copies whose message is not handed over yet, by session. */
  readonly #staged = new Map<string, Set<QueuedPacket>>()
  #stagedBytes = 0
  /** Of copies that are stored behind their message, in commits up to this one. */
  #lateBytes = 0
  #lateTicket: Ticket = 0
  /** Of sessions that are connected. */
  readonly #replays = new Map<string, Replay>()

  constructor(
    store: KeyedStore,
    limits: QueueLimits,
    subscriptions: Pick<SubscriptionTable, 'taking' | 'version'>,
    durable: DurableTickets,
    emit: EmitBrokerEvent,
  ) {
    this.#subscriptions = subscriptions
    this.#durable = durable
    this.#emit = emit
    this.#limits = limits
    this.#stored = new StoredCopies(store)
    this.#queues = new SessionQueues(
      limits,
      (clientId, reason) => this.#reportDrop(clientId, reason),
      (clientId, packet) => this.#stored.remove(clientId, packet),
    )
  }

  get messages(): number {
    return this.#queues.messages
  }

  get bytes(): number {
    return this.#queues.bytes
  }

  /** Dropped by a bound since the start. */
  get dropped(): number {
    return this.#queues.dropped
  }

  /** What the earlier run left for sessions; what is over the bounds by now is dropped, counted. */
  async load(onUnreadable: (key: string, error: unknown) => void): Promise<void> {
    const recovered = await this.#stored.load(onUnreadable)
    for (const [index, { clientId, packet }] of recovered.entries()) {
      packet.brokerId = EARLIER_RUN
      packet.brokerCounter = index + 1
      this.#queues.enqueue(clientId, packet, true)
    }
  }

  /** After the start: copies of a session that is gone are owed no longer. */
  discardExcept(isSession: (clientId: string) => boolean): void {
    for (const clientId of this.#queues.clientIds) {
      if (!isSession(clientId)) this.discard(clientId)
    }
  }

  /**
   * A message at QoS 1 or 2, at append: the copies for persistent sessions ride in the commit that
   * is open now. null: no session takes it. Call {@link release} when the message is handed over,
   * or {@link unstage}.
   */
  stage({ topic, payload: bytes, qos, retain, from }: LocalPublication): StagedCopies | null {
    const subscribed = this.#subscriptions.taking(topic)
    if (subscribed.length === 0) return null
    const payload = Buffer.from(bytes)
    const byClient = new Map<string, QueuedPacket>()
    for (const { clientId, qos: granted, nl, rap } of subscribed) {
      if (nl === true && clientId === from) continue
      const packet = byClient.get(clientId) ?? {
        cmd: 'publish',
        topic,
        payload,
        qos: 0,
        retain: false,
        dup: false,
      }
      packet.qos = Math.max(packet.qos ?? 0, Math.min(qos, granted))
      packet.retain ||= retain && rap === true
      byClient.set(clientId, packet)
    }
    let ticket: Ticket = 0
    for (const [clientId, packet] of byClient) ticket = this.#stageOne(clientId, packet) ?? ticket
    return { ticket, payload, byClient, version: this.#subscriptions.version }
  }

  #stageOne(clientId: string, packet: QueuedPacket): Ticket | null {
    const staged = this.#staged.get(clientId)
    if (staged === undefined) this.#staged.set(clientId, new Set([packet]))
    else staged.add(packet)
    const size = copyBytes(packet)
    this.#stagedBytes += size
    // One that is over the bounds already is looked at again when it is queued.
    const { maxSubscriberBytes, maxSubscriberBytesTotal } = this.#limits
    if (size > maxSubscriberBytes || this.#stagedBytes > maxSubscriberBytesTotal) return null
    return this.#stored.add(clientId, packet)
  }

  /**
   * The message is handed over under these numbers of aedes: its copies wait in the queues of their
   * sessions.
   */
  release(staged: StagedCopies, brokerId: string, brokerCounter: number): void {
    const { byClient, version } = staged
    let takers: Set<string> | null = null
    for (const [clientId, packet] of byClient) {
      if (!this.#unstageOne(clientId, packet)) continue
      packet.brokerId = brokerId
      packet.brokerCounter = brokerCounter
      if (version !== this.#subscriptions.version) {
        takers ??= new Set(
          this.#subscriptions.taking(packet.topic ?? '').map((taker) => taker.clientId),
        )
        if (!takers.has(clientId)) {
          this.#stored.remove(clientId, packet)
          continue
        }
      }
      if (this.#queues.enqueue(clientId, packet) && packet.storedAs === undefined) {
        this.#storeLate(clientId, packet)
      }
    }
  }

  /**
   * Copies of messages at once that were over the bound when they were staged: as many of them as
   * the bound has, a commit. The others are in memory alone (I6).
   */
  #storeLate(clientId: string, packet: QueuedPacket): void {
    if (this.#durable.has(this.#lateTicket)) this.#lateBytes = 0
    const size = copyBytes(packet)
    if (this.#lateBytes + size > this.#limits.maxSubscriberBytesTotal) return
    this.#lateBytes += size
    this.#lateTicket = this.#stored.add(clientId, packet) ?? this.#lateTicket
  }

  /** The message will not be handed over. */
  unstage({ byClient }: StagedCopies): void {
    for (const [clientId, packet] of byClient) {
      if (this.#unstageOne(clientId, packet)) this.#stored.remove(clientId, packet)
    }
  }

  /** False: its session ended. */
  #unstageOne(clientId: string, packet: QueuedPacket): boolean {
    const staged = this.#staged.get(clientId)
    if (staged?.delete(packet) !== true) return false
    if (staged.size === 0) this.#staged.delete(clientId)
    this.#stagedBytes -= copyBytes(packet)
    return true
  }

  /** The session ended, and with it all that was kept for it. */
  discard(clientId: string): void {
    for (const packet of this.#staged.get(clientId) ?? []) {
      this.#unstageOne(clientId, packet)
      this.#stored.remove(clientId, packet)
    }
    this.#queues.discard(clientId)
    this.#replays.delete(clientId)
    this.#stored.forget(clientId)
  }

  /** The packet id that the next copy for the session gets. */
  nextId(clientId: string): number {
    return this.#stored.nextId(clientId)
  }

  setNextId(clientId: string, next: number): void {
    this.#stored.setNextId(clientId, next)
  }

  /** aedes sends a packet; a PUBREL when it is durable that PUBREC came. */
  async sending(clientId: string, packet: QueuedPacket): Promise<void> {
    const former = this.#queues.update(clientId, packet)
    if (packet.cmd === 'pubrel')
      await this.#durable.until(this.#stored.release(clientId, packet, former))
    this.#replays.get(clientId)?.sent(packet)
  }

  acknowledge(
    clientId: string,
    packet: Pick<QueuedPacket, 'messageId' | 'brokerId' | 'brokerCounter'>,
  ): QueuedPacket | undefined {
    return this.#queues.acknowledge(clientId, packet)
  }

  /** What is kept for the session, oldest first, on its way to a connection that resumes it. */
  replay(clientId: string, connection: ReplayedConnection): AsyncGenerator<QueuedPacket> {
    const replay = new Replay(this.#queues, clientId, connection)
    this.#replays.set(clientId, replay)
    return replay.packets()
  }

  /** The connection is over. */
  endReplay(clientId: string, connection: ReplayedConnection): void {
    const replay = this.#replays.get(clientId)
    if (replay?.isOf(connection) !== true) return
    replay.end()
    this.#replays.delete(clientId)
  }

  #reportDrop(clientId: string, reason: CopyDropReason): void {
    const suppressed = this.#damper.pass(`${reason} ${clientId}`)
    if (suppressed === null) return
    this.#emit({ type: 'broker.queued-copies-dropped', clientId, reason, suppressed })
  }
}
