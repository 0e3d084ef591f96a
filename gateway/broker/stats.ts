/**
 * Counts of the broker: plain numbers, read at scrape. Counters are since this start. The hot path
 * adds to its own directly, and what waits or is unacknowledged is also what the gate checks its
 * totals against; what another part counts anyway is read there, when somebody asks.
 */
import { LatencyHistogram } from '../shared/latency-histogram.ts'
import {
  CLOSE_REASONS,
  type CloseReason,
  REFUSE_REASONS,
  type RefuseReason,
  UNWANTED_REASONS,
  type UnwantedReason,
} from './events.ts'

import type { ReasonCode } from './mqtt/v5/reason-codes.ts'

/**
 * Upper bounds of the ack latency histogram, seconds: one fsync on flash at the low end, a stalled
 * store at the high.
 */
const ACK_BUCKETS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
]

export interface BrokerStats {
  /** Listeners are bound and new connections are taken. */
  accepting: boolean
  /** An operator has taken it out of service. */
  leaving: boolean
  /** Sockets, from accept to end. */
  connections: number
  /** Stored sessions (clean session 0), connected or not. */
  sessions: number
  /** Sessions that ended without their client: expired, or evicted at `maxSessions`. */
  readonly sessionsEnded: { expired: number; evicted: number }
  /** QoS 2 packet ids between PUBLISH and PUBREL, in all sessions. */
  openPacketIds: number
  connectionsOpened: number
  readonly connectionsRefused: Record<RefuseReason, number>
  readonly connectionsClosed: Record<CloseReason, number>
  /** PUBLISH packets of devices, repeats included; a message that waits counts once, on arrival. */
  readonly messages: { qos0: number; qos1: number; qos2: number }
  /** Payload bytes of those. */
  messageBytes: number
  /** QoS 2 repeats that were recognized and not stored again (I3). */
  duplicates: number
  /** I9: messages that no stream and no local subscription took. */
  readonly unrouted: { accepted: number; refused: number }
  /** I9: PUBLISHes and wills that were taken for what they are and did not become records. */
  readonly unwanted: Record<UnwantedReason, number>
  /** The last message that was unrouted; empty: none yet. */
  readonly lastUnrouted: { topic: string; clientId: string }
  /** The last two clients that fought for one id; empty: none yet. `atMs`: of the wall clock. */
  readonly lastSharedClientId: { clientId: string; addresses: readonly string[]; atMs: number }
  /**
   * Messages that wait for room in a stream (I6), their bytes, and how many of them per stream
   * name.
   */
  waitingMessages: number
  waitingBytes: number
  readonly waitingByStream: Map<string, number>
  /** Taken but not acknowledged yet. */
  unackedMessages: number
  unackedBytes: number
  /** Bytes read but not looked at yet, partial frames included. */
  holdBackBytes: number
  /** Copies of messages for local subscribers. */
  readonly localCopies: { delivered: number; dropped: number }
  /** Bytes of copies that wait: for their commit, for their turn, for a slow subscriber. */
  subscriberBytes: number
  willsPublished: number
  /** Connections open now that speak MQTT 5; the others speak 3.1.1 or 3.1. */
  connectionsV5: number
  /** Receive Maximum that is granted to those, all together. */
  grantedReceiveMaximum: number
  /** I9: messages of MQTT 5 clients that got a refusing code (`mqtt.refusals: code`). */
  readonly messagesRefused: { 'forbidden-topic': number; unrouted: number }
  /** Reason codes of MQTT 5 other than success, by number. */
  readonly reasonCodes: {
    readonly sent: Partial<Record<ReasonCode, number>>
    readonly received: Partial<Record<ReasonCode, number>>
  }
  readonly ackSeconds: LatencyHistogram
}

/** What the listeners see before there is MQTT. */
export interface ListenerStats {
  /** Connections open now, also those whose handshake is not done. */
  open: number
  accepted: number
  /**
   * Refused at accept, because `maxConnections` were open, or `maxConnectionsPerAddress` of its
   * address. Also part of `accepted`.
   */
  refusedAtLimit: number
  /** Connections that ended before they were MQTT streams, for a reason that has an event. */
  handshakesFailed: number
  /**
   * Client certificates that were taken without regard to their dates, because the clock is not
   * set.
   */
  undatedCertificates: number
}

/** Verdicts of authentication. */
export interface AuthenticationStats {
  accepted: number
  acceptedFromCache: number
  refusedCredentials: number
  refusedBusy: number
  refusedDamped: number
  /** Slow hashes computed. */
  hashesComputed: number
}

/** What is kept for local consumers. */
export interface ConsumerStateStats {
  readonly retainedMessages: number
  readonly retainedBytes: number
  /** Messages that a limit kept from being retained. */
  readonly retainedRefused: number
  readonly queuedMessages: number
  readonly queuedBytes: number
  /** Copies for sessions that a bound dropped. */
  readonly queuedDropped: number
}

/** What gateways tell each other of clients that connect (`cluster.takeover`). */
export interface NeighborStats {
  /** Notices leave and arrive now. */
  readonly isConnected: boolean
  /** Why not; null: they do, or it was not tried yet. */
  readonly detail: string | null
  /** Connects that the others were told of. */
  readonly told: number
  /** Connects that nobody was told of, for lack of a connection. */
  readonly untold: number
  /** Connects that the others were told of again, after they could not be told of any. */
  readonly again: number
  /** Connects at other gateways that this one was told of, each time. */
  readonly heard: number
  /** Connections that ended because of one. */
  readonly ended: number
  /** Messages that are no notices of a known version. */
  readonly malformed: number
}

/** All that the broker counts, for one look. */
export interface BrokerCounts {
  readonly traffic: Readonly<BrokerStats>
  readonly sockets: Readonly<ListenerStats>
  readonly logins: Readonly<AuthenticationStats>
  readonly kept: Readonly<ConsumerStateStats>
  /** null: other gateways are not told. */
  readonly neighbors: NeighborStats | null
}

/** While there is no broker: the gateway starts, or is stopped. */
export function noBrokerCounts(): BrokerCounts {
  return {
    traffic: createBrokerStats(),
    sockets: createListenerStats(),
    logins: {
      accepted: 0,
      acceptedFromCache: 0,
      refusedCredentials: 0,
      refusedBusy: 0,
      refusedDamped: 0,
      hashesComputed: 0,
    },
    kept: {
      retainedMessages: 0,
      retainedBytes: 0,
      retainedRefused: 0,
      queuedMessages: 0,
      queuedBytes: 0,
      queuedDropped: 0,
    },
    neighbors: null,
  }
}

export function createBrokerStats(): BrokerStats {
  return {
    accepting: false,
    leaving: false,
    connections: 0,
    sessions: 0,
    sessionsEnded: { expired: 0, evicted: 0 },
    openPacketIds: 0,
    connectionsOpened: 0,
    connectionsRefused: zeros(REFUSE_REASONS),
    connectionsClosed: zeros(CLOSE_REASONS),
    messages: { qos0: 0, qos1: 0, qos2: 0 },
    messageBytes: 0,
    duplicates: 0,
    unrouted: { accepted: 0, refused: 0 },
    unwanted: zeros(UNWANTED_REASONS),
    lastUnrouted: { topic: '', clientId: '' },
    lastSharedClientId: { clientId: '', addresses: [], atMs: 0 },
    waitingMessages: 0,
    waitingBytes: 0,
    waitingByStream: new Map(),
    unackedMessages: 0,
    unackedBytes: 0,
    holdBackBytes: 0,
    localCopies: { delivered: 0, dropped: 0 },
    subscriberBytes: 0,
    willsPublished: 0,
    messagesRefused: { 'forbidden-topic': 0, unrouted: 0 },
    connectionsV5: 0,
    grantedReceiveMaximum: 0,
    reasonCodes: { sent: {}, received: {} },
    ackSeconds: new LatencyHistogram(ACK_BUCKETS_SECONDS),
  }
}

export function createListenerStats(): ListenerStats {
  return { open: 0, accepted: 0, refusedAtLimit: 0, handshakesFailed: 0, undatedCertificates: 0 }
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>
}
