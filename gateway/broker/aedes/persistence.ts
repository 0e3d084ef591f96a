/**
 * The persistence that aedes 1.2 works with: an adapter to {@link ConsumerState}, with the methods
 * that aedes calls behind the gate and no others. SUBACK, UNSUBACK and the CONNACK of a client with
 * a will wait for the commit, so what a client was told is on disk.
 *
 * What the gate keeps from aedes has no method here: the QoS 2 state of inbound messages, retained
 * messages (`retained-delivery.ts` sends them), copies of live messages (queued by `LocalDelivery`).
 * It differs from aedes-persistence's in-memory class where that harms a subscriber: a copy sent
 * again has DUP set [MQTT-3.3.1-1], an unknown packet id does not end the connection, and a
 * discarded session loses its queue.
 */
import { Readable } from 'node:stream'
import type { ConsumerState } from '../consumers/consumer-state.ts'
import type { ReplayedConnection } from '../sessions/replay.ts'
import type { QueuedPacket } from '../sessions/session-queues.ts'
import type { Subscribing } from '../sessions/stored-subscriptions.ts'

interface ClientRef {
  readonly id: string
}

interface WillPacket {
  readonly topic: string
  readonly payload?: Uint8Array | string
  readonly qos?: number
  readonly retain?: boolean
}

type CopyRef = Pick<QueuedPacket, 'messageId' | 'brokerId' | 'brokerCounter'>

export class AedesPersistence {
  readonly #state: ConsumerState

  constructor(state: ConsumerState) {
    this.#state = state
  }

  /** aedes checks that this is an async function. */
  async setup(): Promise<void> {
    await Promise.resolve()
  }

  async addSubscriptions(client: ClientRef, subscriptions: readonly Subscribing[]): Promise<void> {
    await this.#state.subscriptions.add(client.id, subscriptions)
  }

  async removeSubscriptions(client: ClientRef, filters: readonly string[]): Promise<void> {
    await this.#state.subscriptions.remove(client.id, filters)
  }

  async subscriptionsByClient(client: ClientRef): Promise<Subscribing[]> {
    return Promise.resolve(this.#state.subscriptions.of(client.id))
  }

  async cleanSubscriptions(client: ClientRef): Promise<void> {
    await this.#state.discardSession(client.id)
  }

  /** aedes sends a copy, or a PUBREL in its place. */
  async outgoingUpdate(client: ClientRef, packet: QueuedPacket): Promise<void> {
    await this.#state.copies.sending(client.id, packet)
  }

  async outgoingClearMessageId(
    client: ClientRef,
    packet: CopyRef,
  ): Promise<QueuedPacket | undefined> {
    return Promise.resolve(this.#state.copies.acknowledge(client.id, packet))
  }

  /** What a session that comes back is sent, oldest first. */
  outgoingStream({ id, conn }: ClientRef & { readonly conn: ReplayedConnection }): Readable {
    return Readable.from(this.#state.copies.replay(id, conn))
  }

  async putWill(
    client: ClientRef,
    { topic, payload = '', qos, retain }: WillPacket,
  ): Promise<void> {
    await this.#state.wills.put(client.id, {
      topic,
      payload: Buffer.from(payload as Uint8Array),
      qos: qos === 1 || qos === 2 ? qos : 0,
      retain: retain === true,
    })
  }

  async delWill(client: ClientRef): Promise<void> {
    this.#state.wills.delete(client.id)
    return Promise.resolve()
  }

  /** None for aedes: they are sent when it has answered the SUBSCRIBE. */
  createRetainedStreamCombi(): Readable {
    return Readable.from([])
  }

  /** None: wills of an earlier run are published at the start, and no other broker is on the store. */
  streamWill(): Readable {
    return Readable.from([])
  }
}
