/** Metrics of the broker, and of the gateway as a whole. Counts since the start, except gauges. */
import { byCode, loginOutcomes } from '../status.ts'
import { byKey, type MetricDefinition, single } from './definition.ts'

const NO_NOTICES = { told: 0, untold: 0, again: 0, heard: 0, ended: 0, malformed: 0 }

export const GATEWAY_METRICS: readonly MetricDefinition[] = [
  {
    type: 'gauge',
    name: 'sluice_gateway_info',
    help: 'Always 1; says which gateway and version this is.',
    labels: ['gateway', 'version'],
    read: ({ identity }) => [
      { labels: { gateway: identity.gateway, version: identity.version }, value: 1 },
    ],
  },
  single(
    'gauge',
    'sluice_gateway_uptime_seconds',
    'Time since the start.',
    ({ identity }) => identity.uptimeSeconds,
  ),
  single(
    'gauge',
    'sluice_gateway_accepting',
    '1: new messages are taken, the broker listens and the spool can write. The same condition as /readyz.',
    ({ broker, spool }) => (broker.traffic.accepting && spool.state === 'ok' ? 1 : 0),
  ),
  single(
    'gauge',
    'sluice_gateway_clock_set',
    '0: the wall clock is known to be unset, and records are marked so.',
    ({ identity }) => (identity.clockSet ? 1 : 0),
  ),
]

export const BROKER_METRICS: readonly MetricDefinition[] = [
  single(
    'gauge',
    'sluice_broker_connections',
    'Open connections.',
    ({ broker }) => broker.traffic.connections,
  ),
  single(
    'gauge',
    'sluice_broker_sessions',
    'Sessions kept for clients, connected or not.',
    ({ broker }) => broker.traffic.sessions,
  ),
  byKey(
    'counter',
    'sluice_broker_sessions_ended_total',
    'Sessions that ended without their client: expired, or evicted because maxSessions were kept (I6).',
    'reason',
    ({ broker }) => broker.traffic.sessionsEnded,
  ),
  single(
    'gauge',
    'sluice_broker_open_packet_ids',
    'QoS 2 packet ids between PUBLISH and PUBREL, in all sessions (I3).',
    ({ broker }) => broker.traffic.openPacketIds,
  ),
  single(
    'gauge',
    'sluice_broker_sockets',
    'Open sockets, also those whose TLS or WebSocket handshake is not done.',
    ({ broker }) => broker.sockets.open,
  ),
  single(
    'counter',
    'sluice_broker_sockets_accepted_total',
    'Sockets that listeners accepted, also those that were closed at once because of maxConnections.',
    ({ broker }) => broker.sockets.accepted,
  ),
  single(
    'counter',
    'sluice_broker_handshakes_failed_total',
    'Sockets that ended before MQTT: PROXY header, TLS, client certificate, WebSocket, or too slow.',
    ({ broker }) => broker.sockets.handshakesFailed,
  ),
  single(
    'counter',
    'sluice_broker_undated_certificates_total',
    'Client certificates that were taken without regard to their dates, because the clock is not set.',
    ({ broker }) => broker.sockets.undatedCertificates,
  ),
  byKey(
    'gauge',
    'sluice_broker_certificate_expiry_timestamp_seconds',
    "When the validity of a TLS listener's certificate ends.",
    'listener',
    ({ observe }) =>
      Object.fromEntries(
        Object.entries(observe.certificateEndsAtMs).map(([name, ms]) => [name, ms / 1000]),
      ),
  ),
  byKey(
    'counter',
    'sluice_broker_logins_total',
    'Verdicts of authentication: accepted, credentials (wrong or missing), busy, damped (both: not judged, try later).',
    'outcome',
    ({ broker }) => loginOutcomes(broker.logins),
  ),
  single(
    'counter',
    'sluice_broker_logins_from_cache_total',
    'Of the accepted ones, those whose credentials were known: they cost no hash.',
    ({ broker }) => broker.logins.acceptedFromCache,
  ),
  single(
    'counter',
    'sluice_broker_password_hashes_total',
    'Slow hashes computed; guessing passwords raises it, bounded.',
    ({ broker }) => broker.logins.hashesComputed,
  ),
  single(
    'counter',
    'sluice_broker_connections_opened_total',
    'Connections whose CONNECT was accepted.',
    ({ broker }) => broker.traffic.connectionsOpened,
  ),
  byKey(
    'counter',
    'sluice_broker_connections_refused_total',
    'Connections refused before or at CONNECT, by reason.',
    'reason',
    ({ broker }) => broker.traffic.connectionsRefused,
  ),
  byKey(
    'counter',
    'sluice_broker_connections_closed_total',
    'Connections that the gateway closed, by reason.',
    'reason',
    ({ broker }) => broker.traffic.connectionsClosed,
  ),
  byKey(
    'counter',
    'sluice_broker_messages_total',
    'PUBLISH packets of devices by QoS, repeats included, whatever became of them.',
    'qos',
    ({ broker: { traffic } }) => ({
      0: traffic.messages.qos0,
      1: traffic.messages.qos1,
      2: traffic.messages.qos2,
    }),
  ),
  single(
    'counter',
    'sluice_broker_message_bytes_total',
    'Payload bytes of these packets.',
    ({ broker }) => broker.traffic.messageBytes,
  ),
  single(
    'counter',
    'sluice_broker_duplicates_total',
    'QoS 2 repeats that were recognized and not stored again (I3).',
    ({ broker }) => broker.traffic.duplicates,
  ),
  single(
    'counter',
    'sluice_broker_wills_published_total',
    'Wills of clients that went without a DISCONNECT, appended like any message.',
    ({ broker }) => broker.traffic.willsPublished,
  ),
  byKey(
    'counter',
    'sluice_broker_unrouted_messages_total',
    'Messages that no stream and no local subscription took, by outcome: accepted or refused (I9).',
    'outcome',
    ({ broker }) => broker.traffic.unrouted,
  ),
  byKey(
    'counter',
    'sluice_broker_unwanted_messages_total',
    'PUBLISHes and wills that were acknowledged and made no record, by reason: dollar-topic (under $, no stream names it), topic-too-long, topic-too-deep (dead letters of the streams that take them) (I9).',
    'reason',
    ({ broker }) => broker.traffic.unwanted,
  ),
  single(
    'gauge',
    'sluice_broker_neighbors_connected',
    '1 while gateways of the cluster tell each other of clients that connect (cluster.takeover); 0: they do not, or are not to.',
    ({ broker }) => (broker.neighbors?.isConnected ? 1 : 0),
  ),
  byKey(
    'counter',
    'sluice_broker_neighbor_notices_total',
    'Connects by what became of their notices: told to the others, untold for lack of a connection, again (told again once there is one), heard from them, ended (a connection here ended over it), malformed (messages that are no notices).',
    'outcome',
    ({ broker: { neighbors } }) => {
      const { told, untold, again, heard, ended, malformed } = neighbors ?? NO_NOTICES
      return { told, untold, again, heard, ended, malformed }
    },
  ),
  single(
    'gauge',
    'sluice_broker_mqtt5_connections',
    'Of the connections, those of clients that speak MQTT 5.',
    ({ broker }) => broker.traffic.connectionsV5,
  ),
  single(
    'gauge',
    'sluice_broker_receive_maximum_granted',
    'Messages that these may have on their way, all together (Receive Maximum, I6).',
    ({ broker }) => broker.traffic.grantedReceiveMaximum,
  ),
  byKey(
    'counter',
    'sluice_broker_refused_messages_total',
    'Messages that got a final reason code instead of a closed connection (mqtt.refusals: code), by reason (I9).',
    'reason',
    ({ broker }) => broker.traffic.messagesRefused,
  ),
  byKey(
    'counter',
    'sluice_broker_reason_codes_sent_total',
    'Reason codes of MQTT 5 other than success that clients were sent, by number.',
    'code',
    ({ broker }) => byCode(broker.traffic.reasonCodes.sent),
  ),
  byKey(
    'counter',
    'sluice_broker_reason_codes_received_total',
    'Reason codes of MQTT 5 other than success that clients sent, by number.',
    'code',
    ({ broker }) => byCode(broker.traffic.reasonCodes.received),
  ),
  single(
    'gauge',
    'sluice_broker_waiting_messages',
    'Messages that wait, unacknowledged, for room in a stream (I6).',
    ({ broker }) => broker.traffic.waitingMessages,
  ),
  single(
    'gauge',
    'sluice_broker_unacked_messages',
    'QoS 1 and 2 messages read and not acknowledged yet.',
    ({ broker }) => broker.traffic.unackedMessages,
  ),
  single(
    'gauge',
    'sluice_broker_unacked_bytes',
    'Bytes of these messages.',
    ({ broker }) => broker.traffic.unackedBytes,
  ),
  single(
    'gauge',
    'sluice_broker_hold_back_bytes',
    'Bytes read beyond the bounds of unacknowledged messages and held back.',
    ({ broker }) => broker.traffic.holdBackBytes,
  ),
  byKey(
    'counter',
    'sluice_broker_local_copies_total',
    'Copies for local subscribers that are connected, by outcome.',
    'outcome',
    ({ broker }) => broker.traffic.localCopies,
  ),
  single(
    'gauge',
    'sluice_broker_subscriber_bytes',
    'Bytes of copies that wait: for their commit, for their turn, for a slow subscriber (I6).',
    ({ broker }) => broker.traffic.subscriberBytes,
  ),
  single(
    'gauge',
    'sluice_broker_queued_copies',
    'Copies kept for persistent sessions until they acknowledge them (I6).',
    ({ broker }) => broker.kept.queuedMessages,
  ),
  single(
    'gauge',
    'sluice_broker_queued_copies_bytes',
    'Bytes of these copies.',
    ({ broker }) => broker.kept.queuedBytes,
  ),
  single(
    'counter',
    'sluice_broker_queued_copies_dropped_total',
    'Copies for persistent sessions that a bound dropped; the records themselves are not touched (I9).',
    ({ broker }) => broker.kept.queuedDropped,
  ),
  single(
    'gauge',
    'sluice_broker_retained_messages',
    'Retained messages kept.',
    ({ broker }) => broker.kept.retainedMessages,
  ),
  single(
    'gauge',
    'sluice_broker_retained_bytes',
    'Bytes of their topics and payloads.',
    ({ broker }) => broker.kept.retainedBytes,
  ),
  single(
    'counter',
    'sluice_broker_retained_refused_total',
    'Messages that a limit kept from being retained; they were delivered like any other (I9).',
    ({ broker }) => broker.kept.retainedRefused,
  ),
  {
    type: 'histogram',
    name: 'sluice_broker_ack_seconds',
    help: 'From the arrival of a QoS 1 or 2 PUBLISH to its acknowledgement on the wire, fsync included (I1).',
    labels: [],
    read: ({ broker }) => [{ labels: {}, histogram: broker.traffic.ackSeconds }],
  },
]
