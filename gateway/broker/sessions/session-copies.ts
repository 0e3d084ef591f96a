/**
 * What is kept for persistent sessions at QoS 1 and 2, from the append of a message to the
 * subscriber's ack: staged with the message and stored in its commit, queued when the message is
 * handed over, replayed to a connection that resumes the session, removed with its ack. One place
 * puts together the bounds (session-queues), the store (stored-copies) and the order (replay).
 */
import type { KeyedStore, Ticket } from '../../ports/appender.ts'
import type { DurableTickets } from '../../ports/durable-tickets.ts'
import { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent } from '../events.ts'
import type { Qos } from '../mqtt/publish.ts'
import type { MessageOptions } from '../mqtt/v5/message-options.ts'
import {
  type CopyDropReason,
  copyBytes,
  type KeptCopy,
  newCopy,
  type QueueLimits,
  SessionQueues,
} from './session-queues.ts'
import { StoredCopies } from './stored-copies.ts'
import type { Subscribed, SubscriptionTable } from './stored-subscriptions.ts'

/** A message on its way to local subscribers. */
export interface LocalPublication {
  readonly topic: string
  /** Copied where it is kept. */
  readonly payload: Uint8Array
  readonly qos: Qos
  readonly retain: boolean
  /** Client id of who published it. */
  readonly from: string
  /** What it carries beside (MQTT 5); null: nothing. */
  readonly options: MessageOptions | null
}

/** Copies of one message for persistent sessions, from its append to its hand-over. */
export interface StagedCopies {
  /** The commit that has them; 0: none is stored. */
  readonly ticket: Ticket
  readonly payload: Buffer
  readonly byClient: ReadonlyMap<string, KeptCopy>
  /** Of the subscriptions by which they were made. */
  readonly version: number
}

type Subscriptions = Pick<SubscriptionTable, 'besides' | 'taking' | 'version'>

/** How a session gets a message, by all of its filters that take it. */
interface CopyForm {
  readonly qos: Qos
  readonly retain: boolean
  readonly identifiers: readonly number[]
}

export class SessionCopies {
  readonly #subscriptions: Subscriptions
  readonly #durable: DurableTickets
  readonly #emit: EmitBrokerEvent
  readonly #damper = new EventDamper()
  readonly #queues: SessionQueues
  readonly #stored: StoredCopies
  readonly #limits: QueueLimits
  /** Copies whose message is not handed over yet, by session. */
  readonly #staged = new Map<string, Set<KeptCopy>>()
  #stagedBytes = 0
  /** Of copies that are stored behind their message, in commits up to this one. */
  #lateBytes = 0
  #lateTicket: Ticket = 0

  constructor(
    store: KeyedStore,
    limits: QueueLimits,
    subscriptions: Subscriptions,
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
      (clientId, copy) => this.#stored.remove(clientId, copy),
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
    for (const { clientId, copy } of recovered) this.#queues.enqueue(clientId, copy)
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
  stage({
    topic,
    payload: bytes,
    qos,
    retain,
    from,
    options,
  }: LocalPublication): StagedCopies | null {
    const subscribed = this.#subscriptions.taking(topic)
    if (subscribed.length === 0) return null
    const payload = Buffer.from(bytes)
    const byClient = new Map<string, KeptCopy>()
    for (const subscription of subscribed) {
      const { clientId, nl, qos: granted } = subscription
      if (nl === true && clientId === from) continue
      const copy =
        byClient.get(clientId) ?? newCopy({ topic, payload, qos: 0, retain: false, options })
      copy.qos = Math.max(copy.qos, Math.min(qos, granted)) as Qos
      form(copy, subscription, retain)
      byClient.set(clientId, copy)
    }
    // [MQTT-3.3.4-3]: a copy names all filters that take it, those at QoS 0, too.
    for (const subscription of this.#subscriptions.besides(topic)) {
      const copy = byClient.get(subscription.clientId)
      const isOwn = subscription.nl === true && subscription.clientId === from
      if (copy !== undefined && !isOwn) form(copy, subscription, retain)
    }
    let ticket: Ticket = 0
    for (const [clientId, copy] of byClient) ticket = this.#stageOne(clientId, copy) ?? ticket
    return { ticket, payload, byClient, version: this.#subscriptions.version }
  }

  #stageOne(clientId: string, copy: KeptCopy): Ticket | null {
    const staged = this.#staged.get(clientId)
    if (staged === undefined) this.#staged.set(clientId, new Set([copy]))
    else staged.add(copy)
    const size = copyBytes(copy)
    this.#stagedBytes += size
    // One that is over the bounds already is looked at again when it is queued.
    const { maxSubscriberBytes, maxSubscriberBytesTotal } = this.#limits
    if (size > maxSubscriberBytes || this.#stagedBytes > maxSubscriberBytesTotal) return null
    return this.#stored.add(clientId, copy)
  }

  /**
   * The message is handed over: its copies wait in the queues of their sessions, and `onQueued`
   * hears of each.
   */
  release(staged: StagedCopies, onQueued: (clientId: string, copy: KeptCopy) => void): void {
    const { byClient, version } = staged
    let takers: Set<string> | null = null
    for (const [clientId, copy] of byClient) {
      if (!this.#unstageOne(clientId, copy)) continue
      if (version !== this.#subscriptions.version) {
        takers ??= new Set(this.#subscriptions.taking(copy.topic).map((taker) => taker.clientId))
        if (!takers.has(clientId)) {
          this.#stored.remove(clientId, copy)
          continue
        }
      }
      if (!this.#queues.enqueue(clientId, copy)) continue
      if (copy.storedAs === null) this.#storeLate(clientId, copy)
      onQueued(clientId, copy)
    }
  }

  /**
   * Copies of messages at once that were over the bound when they were staged: as many of them as
   * the bound has, a commit. The others are in memory alone (I6).
   */
  #storeLate(clientId: string, copy: KeptCopy): void {
    if (this.#durable.has(this.#lateTicket)) this.#lateBytes = 0
    const size = copyBytes(copy)
    if (this.#lateBytes + size > this.#limits.maxSubscriberBytesTotal) return
    this.#lateBytes += size
    this.#lateTicket = this.#stored.add(clientId, copy) ?? this.#lateTicket
  }

  /** The message will not be handed over. */
  unstage({ byClient }: StagedCopies): void {
    for (const [clientId, copy] of byClient) {
      if (this.#unstageOne(clientId, copy)) this.#stored.remove(clientId, copy)
    }
  }

  /** False: its session ended. */
  #unstageOne(clientId: string, copy: KeptCopy): boolean {
    const staged = this.#staged.get(clientId)
    if (staged?.delete(copy) !== true) return false
    if (staged.size === 0) this.#staged.delete(clientId)
    this.#stagedBytes -= copyBytes(copy)
    return true
  }

  /**
   * A copy that was not staged, for a session that is to keep it: one at QoS 2 of a shared
   * subscription [MQTT-4.8.2-4]. null: the bounds have no room.
   */
  keep(clientId: string, message: LocalPublication, wanted: CopyForm): KeptCopy | null {
    const { topic, options } = message
    const { identifiers, qos, retain } = wanted
    const payload = Buffer.from(message.payload)
    const copy = newCopy({ topic, payload, qos, retain, options }, identifiers)
    if (!this.#queues.enqueue(clientId, copy)) return null
    this.#storeLate(clientId, copy)
    return copy
  }

  /** The session ended, and with it all that was kept for it. */
  discard(clientId: string): void {
    for (const copy of this.#staged.get(clientId) ?? []) {
      this.#unstageOne(clientId, copy)
      this.#stored.remove(clientId, copy)
    }
    this.#queues.discard(clientId)
    this.#stored.forget(clientId)
  }

  /** The packet id of a copy that is sent and not kept. `isTaken`: by one that is in flight. */
  takeId(clientId: string, isTaken: (packetId: number) => boolean): number {
    const first = this.#stored.nextId(clientId)
    for (let packetId = first; ; ) {
      this.#stored.setNextId(clientId, packetId + 1)
      if (!isTaken(packetId)) return packetId
      packetId = this.#stored.nextId(clientId)
      if (packetId === first) return packetId
    }
  }

  /** Session Present is 0: packet ids begin anew. */
  restartIds(clientId: string): void {
    this.#stored.setNextId(clientId, 1)
  }

  /** What is kept for the session, oldest first. */
  of(clientId: string): readonly KeptCopy[] {
    return this.#queues.of(clientId)
  }

  /** Is a copy with this packet id, or its PUBREL, owed to the session? */
  keeps(clientId: string, packetId: number): boolean {
    return this.#queues.has(clientId, packetId)
  }

  /** PUBREC came. Resolves when that is durable: PUBREL may leave then. */
  async received(clientId: string, packetId: number): Promise<void> {
    const release = this.#queues.release(clientId, packetId)
    await this.#durable.until(this.#stored.release(clientId, release))
  }

  /** A PUBREL that may not leave yet: a kill now would send its copy again. */
  isUnsettled({ isRelease, isGone, notedBy }: KeptCopy): boolean {
    return isRelease && !isGone && notedBy !== null && !this.#durable.has(notedBy)
  }

  /** Resolves when the PUBREL may leave. */
  async settled({ notedBy }: KeptCopy): Promise<void> {
    await this.#durable.until(notedBy)
  }

  /** The subscriber has the copy with this packet id. */
  acknowledge(clientId: string, packetId: number): void {
    this.#queues.acknowledge(clientId, packetId)
  }

  /** The session may not receive it. */
  withdraw(clientId: string, copy: KeptCopy): void {
    this.#queues.withdraw(clientId, copy)
  }

  #reportDrop(clientId: string, reason: CopyDropReason): void {
    const suppressed = this.#damper.pass(`${reason} ${clientId}`)
    if (suppressed === null) return
    this.#emit({ type: 'broker.queued-copies-dropped', clientId, reason, suppressed })
  }
}

/** What one filter says of the copy beside its QoS. `retain`: of the message. */
function form(copy: KeptCopy, { rap, subscriptionIdentifier }: Subscribed, retain: boolean): void {
  copy.retain ||= retain && rap === true
  if (subscriptionIdentifier !== undefined)
    copy.identifiers = [...copy.identifiers, subscriptionIdentifier]
}
