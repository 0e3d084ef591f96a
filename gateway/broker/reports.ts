/**
 * What the broker counts and tells of connections, messages and faults, in one place each: the
 * counter first, then an event, damped by a key (I9: nothing that is refused goes uncounted).
 */
import type { Lane } from '../ports/appender.ts'
import type { DeviceLog } from '../ports/devices.ts'
import type { EventDamper } from './event-damper.ts'
import type { CloseReason, EmitBrokerEvent, RefuseReason, UnwantedReason } from './events.ts'
import { isReasonCode, REASON, type ReasonCode } from './mqtt/v5/reason-codes.ts'
import type { EndedSession } from './sessions/session-table.ts'
import type { BrokerStats } from './stats.ts'

/** Of a topic, which may have 64 KiB, the beginning tells which one it is. */
const SHOWN_TOPIC_LENGTH = 256

/** What a device did that is not taken: the table of devices shows it. */
const DEVICE_FAULTS: ReadonlySet<CloseReason> = new Set([
  'malformed',
  'packet-too-large',
  'forbidden-topic',
  'unrouted',
  'qos2-window',
  'receive-maximum',
])

interface Peer {
  /** Empty: not known yet. */
  readonly clientId: string
  readonly remoteAddress: string
}

export class Reports {
  readonly #stats: BrokerStats
  readonly #damper: EventDamper
  readonly #emit: EmitBrokerEvent
  readonly #devices: DeviceLog | null

  constructor(
    stats: BrokerStats,
    damper: EventDamper,
    emit: EmitBrokerEvent,
    devices: DeviceLog | null = null,
  ) {
    this.#devices = devices
    this.#stats = stats
    this.#damper = damper
    this.#emit = emit
  }

  /** A reason code of MQTT 5 other than success went out. */
  sent(code: ReasonCode, count = 1): void {
    this.#stats.reasonCodes.sent[code] = (this.#stats.reasonCodes.sent[code] ?? 0) + count
  }

  /** A client of MQTT 5 sent a reason code other than success. */
  received(code: number): void {
    const known = isReasonCode(code) ? code : REASON.unspecifiedError
    this.#stats.reasonCodes.received[known] = (this.#stats.reasonCodes.received[known] ?? 0) + 1
  }

  /** The gateway closed a connection. What closes all of them is told once. */
  closed(peer: Peer, reason: CloseReason, detail: string): void {
    if (reason === 'stopping' || reason === 'leaving' || reason === 'listener-removed') return
    const { remoteAddress } = peer
    const clientId = peer.clientId === '' ? null : peer.clientId
    if (clientId !== null && DEVICE_FAULTS.has(reason))
      this.#devices?.refused(clientId, reason, detail)
    const suppressed = this.#damper.pass(`${reason} ${clientId ?? remoteAddress}`)
    if (suppressed === null) return
    const type = 'broker.connection-closed'
    this.#emit({ type, reason, clientId, remoteAddress, detail, suppressed })
  }

  refused(peer: Peer, reason: RefuseReason, detail: string): void {
    this.#stats.connectionsRefused[reason] += 1
    const { remoteAddress } = peer
    const clientId = peer.clientId === '' ? null : peer.clientId
    if (clientId !== null && reason !== 'stopping') this.#devices?.refused(clientId, reason, detail)
    const suppressed = this.#damper.pass(`${reason} ${clientId ?? remoteAddress}`)
    if (suppressed === null) return
    const type = 'broker.client-refused'
    this.#emit({ type, reason, clientId, remoteAddress, detail, suppressed })
  }

  /** Two clients take over each other's connection. */
  clientIdShared(clientId: string, addresses: readonly string[], takeovers: number): void {
    Object.assign(this.#stats.lastSharedClientId, { clientId, addresses, atMs: Date.now() })
    const suppressed = this.#damper.pass(`shared ${clientId}`)
    if (suppressed === null) return
    this.#emit({ type: 'broker.client-id-shared', clientId, addresses, takeovers, suppressed })
  }

  /** Another gateway tells of clients under this one's id. */
  gatewayIdShared(gateway: string): void {
    const suppressed = this.#damper.pass(`gateway ${gateway}`)
    if (suppressed === null) return
    this.#emit({ type: 'broker.gateway-id-shared', gateway, suppressed })
  }

  sessionEnded(ended: EndedSession): void {
    this.#stats.sessionsEnded[ended.why] += 1
    this.#emit({ type: 'broker.session-ended', ...ended })
  }

  /** I9: neither a stream nor a local subscriber takes the message. */
  unrouted(
    clientId: string,
    topic: string,
    policy: 'accept' | 'refuse',
    nearest: () => string | null,
  ): void {
    const { lastUnrouted, unrouted } = this.#stats
    unrouted[policy === 'accept' ? 'accepted' : 'refused'] += 1
    lastUnrouted.topic = topic
    lastUnrouted.clientId = clientId
    const suppressed = this.#damper.pass(`unrouted ${clientId}`)
    if (suppressed === null) return
    const type = 'broker.message-unrouted'
    this.#emit({ type, clientId, topic, policy, nearest: nearest(), suppressed })
  }

  /** I9: a client of MQTT 5 was told that its message is not taken, and stays connected. */
  messageRefused(clientId: string, topic: string, reason: 'forbidden-topic' | 'unrouted'): void {
    this.#stats.messagesRefused[reason] += 1
    this.#devices?.refused(clientId, reason, topic)
    const suppressed = this.#damper.pass(`refused ${reason} ${clientId}`)
    if (suppressed === null) return
    const shown = topic.slice(0, SHOWN_TOPIC_LENGTH)
    this.#emit({ type: 'broker.message-refused', reason, clientId, topic: shown, suppressed })
  }

  /** I9: a PUBLISH or a will on an unwanted topic was taken. */
  unwanted(clientId: string, topic: string, reason: UnwantedReason, lanes: readonly Lane[]): void {
    this.#stats.unwanted[reason] += 1
    const suppressed = this.#damper.pass(`${reason} ${clientId}`)
    if (suppressed === null) return
    this.#emit({
      type: 'broker.message-unwanted',
      reason,
      clientId,
      topic: topic.slice(0, SHOWN_TOPIC_LENGTH),
      streams: lanes.map(({ stream }) => stream.name),
      suppressed,
    })
  }

  willDropped(clientId: string, topic: string, why: 'forbidden' | 'no-room'): void {
    this.#emit({ type: 'broker.will-dropped', clientId, topic, why })
  }

  /** Copies for a local subscriber; null: of no one in particular. */
  copiesDropped(clientId: string | null, count: number): void {
    this.#stats.localCopies.dropped += count
    const suppressed = this.#damper.pass(`copies ${clientId ?? ''}`)
    if (suppressed !== null) this.#emit({ type: 'broker.copies-dropped', clientId, suppressed })
  }

  /** A fault of the broker's own that was contained. */
  fault(where: string, error: unknown): void {
    if (this.#damper.pass(`fault ${where}`) === null) return
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.#emit({ type: 'broker.internal-error', where, detail })
  }
}
