/**
 * The last word on each copy that aedes is about to send to a client: whether it goes, with which
 * QoS and which RETAIN flag. aedes asks synchronously while a message is handed over, so what it
 * does not carry along (who published the message, whether it was retained) is kept here for that
 * moment.
 *
 * Access rules hold here, for every copy: a subscription may be granted of which only a part may be
 * received, rules may have changed since, and a session may have been stored under others.
 *
 * A client that is another broker (a bridge) gets nothing back of what it published itself, or
 * every message would go round between the two; and it gets RETAIN as it was published, so that
 * what is retained here is retained there.
 */
import type { Published } from '../consumers/local-delivery.ts'
import type { Reports } from '../reports.ts'
import type { GateDuplex } from './gate-duplex.ts'
import type { GrantedFilters } from './granted-filters.ts'

/** Of a packet of aedes, what is looked at. */
interface Copy {
  readonly topic: string
  readonly qos: number
}

/** Of a client of aedes. */
export interface Receiver {
  readonly id: string
  readonly conn: GateDuplex
  /** Its session ends with the connection. */
  readonly clean: boolean
  _nextId: number
}

export class Forwarding {
  readonly #reports: Pick<Reports, 'fault'>
  #live: Published | null = null

  constructor(reports: Pick<Reports, 'fault'>) {
    this.#reports = reports
  }

  /** Runs `handOver`, in which aedes asks for the copies of this message. */
  during(message: Published, handOver: () => void): void {
    this.#live = message
    try {
      handOver()
    } finally {
      this.#live = null
    }
  }

  /**
   * The copy as it goes to this client; null: it does not. `filters`: what the client subscribed
   * to.
   */
  copyFor<C extends Copy>(
    client: Receiver,
    filters: GrantedFilters | undefined,
    packet: C,
  ): C | null {
    if (!this.#mayReceive(client, packet.topic)) return null
    const copy = atGrantedQos(filters, packet)
    const live = this.#live
    // Otherwise a retained message of a SUBSCRIBE, or a queued copy: they carry their flag.
    if (live === null) return copy
    const { isBridge } = client.conn.session
    if (isBridge && live.from === client.id) return null
    const asRetained = isBridge && live.retain
    if (copy.qos === 0) return asRetained ? { ...copy, retain: true } : copy
    const stored = client.clean ? undefined : live.copies?.byClient.get(client.id)?.messageId
    if (!asRetained) return stored == null ? copy : { ...copy, messageId: stored }
    const messageId = stored ?? takeId(client)
    client.conn.retain(messageId)
    return { ...copy, messageId }
  }

  #mayReceive({ conn }: Receiver, topic: string): boolean {
    try {
      return conn.owner.mayReceive(topic)
    } catch (error) {
      this.#reports.fault('mayReceive', error)
      return false
    }
  }
}

function takeId(client: Receiver): number {
  const messageId = client._nextId
  client._nextId = messageId >= 65_535 ? 1 : messageId + 1
  return messageId
}

/** A copy has at most the QoS that was granted. */
function atGrantedQos<C extends Copy>(filters: GrantedFilters | undefined, packet: C): C {
  if (packet.qos === 0) return packet
  const granted = filters?.qosOf(packet.topic) ?? -1
  return granted < 0 || granted >= packet.qos ? packet : { ...packet, qos: granted }
}
