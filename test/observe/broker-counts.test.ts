/**
 * I9: what the broker counts is shown, each number under its own name, in /metrics and in the
 * status.
 */
import { expect, test } from 'vitest'
import { BROKER_METRICS } from '../../gateway/observe/metrics/broker.ts'
import type { Snapshot } from '../../gateway/observe/metrics/definition.ts'
import { buildStatus } from '../../gateway/observe/status.ts'
import { fakeSources, NOW_MS } from './fake-sources.ts'

/** Samples without a histogram, as `name{label value}`. */
function samples(): ReadonlyMap<string, number> {
  const observe = {
    events: {},
    suppressedLines: 0,
    droppedLines: 0,
    certificateEndsAtMs: {},
  }
  const snapshot: Snapshot = { nowMs: NOW_MS, ...fakeSources().state, observe, writtenBytes: null }
  const plain = BROKER_METRICS.flatMap((metric) =>
    metric.type === 'histogram'
      ? []
      : metric.read(snapshot).map(({ labels, value }) => {
          const label = Object.values(labels)[0]
          const name = metric.name.replace('sluice_broker_', '')
          return [label === undefined ? name : `${name}{${label}}`, value] as const
        }),
  )
  return new Map(plain)
}

test('each metric of the broker reads the number that its help names', () => {
  // There from the start at 0, so that the first one shows as an increase.
  const counted = [...samples()].filter(([name, value]) => value > 0 || name.includes('logins'))
  expect(Object.fromEntries(counted)).toEqual({
    connections: 50,
    sessions: 60,
    'sessions_ended_total{expired}': 28,
    'sessions_ended_total{evicted}': 29,
    open_packet_ids: 14,
    sockets: 51,
    sockets_accepted_total: 80,
    handshakes_failed_total: 15,
    undated_certificates_total: 30,
    'logins_total{accepted}': 71,
    'logins_total{credentials}': 16,
    'logins_total{busy}': 0,
    'logins_total{damped}': 17,
    logins_from_cache_total: 18,
    password_hashes_total: 19,
    connections_opened_total: 70,
    'connections_refused_total{bad-credentials}': 2,
    'connections_closed_total{malformed}': 1,
    'messages_total{0}': 1,
    'messages_total{1}': 2,
    'messages_total{2}': 3,
    message_bytes_total: 1_200,
    duplicates_total: 4,
    wills_published_total: 21,
    'unrouted_messages_total{accepted}': 5,
    'unrouted_messages_total{refused}': 6,
    'unwanted_messages_total{dollar-topic}': 20,
    'unwanted_messages_total{topic-too-long}': 21,
    'unwanted_messages_total{topic-too-deep}': 22,
    neighbors_connected: 1,
    'neighbor_notices_total{told}': 61,
    'neighbor_notices_total{untold}': 62,
    'neighbor_notices_total{again}': 66,
    'neighbor_notices_total{heard}': 63,
    'neighbor_notices_total{ended}': 64,
    'neighbor_notices_total{malformed}': 65,
    mqtt5_connections: 31,
    receive_maximum_granted: 32,
    'refused_messages_total{forbidden-topic}': 33,
    'refused_messages_total{unrouted}': 34,
    'reason_codes_sent_total{0x97}': 1,
    'reason_codes_received_total{0x80}': 2,
    waiting_messages: 7,
    unacked_messages: 8,
    unacked_bytes: 900,
    hold_back_bytes: 10,
    'local_copies_total{delivered}': 11,
    'local_copies_total{dropped}': 12,
    subscriber_bytes: 22,
    queued_copies: 23,
    queued_copies_bytes: 24,
    queued_copies_dropped_total: 25,
    retained_messages: 13,
    retained_bytes: 26,
    retained_refused_total: 27,
  })
})

test('the status has every count of the broker, each under its own name', () => {
  expect(buildStatus(fakeSources().sources, NOW_MS).broker).toMatchObject({
    accepting: true,
    listeners: ['mqtt://127.0.0.1:1883'],
    connections: 50,
    sessions: 60,
    sessionsEnded: { expired: 28, evicted: 29 },
    openPacketIds: 14,
    sockets: { open: 51, accepted: 80, handshakesFailed: 15, undatedCertificates: 30 },
    logins: { accepted: 71, credentials: 16, busy: 0, damped: 17 },
    loginsFromCache: 18,
    passwordHashes: 19,
    connectionsOpened: 70,
    connectionsRefused: { 'bad-credentials': 2, stopping: 0 },
    connectionsClosed: { malformed: 1, keepalive: 0 },
    messages: { qos0: 1, qos1: 2, qos2: 3 },
    messageBytes: 1_200,
    duplicates: 4,
    willsPublished: 21,
    unrouted: { accepted: 5, refused: 6 },
    unwanted: { 'dollar-topic': 20, 'topic-too-long': 21, 'topic-too-deep': 22 },
    lastUnrouted: { topic: 'plnt/press-7/temp' },
    waitingMessages: 7,
    unackedMessages: 8,
    unackedBytes: 900,
    holdBackBytes: 10,
    localCopies: { delivered: 11, dropped: 12 },
    subscriberBytes: 22,
    queuedCopies: { messages: 23, bytes: 24, dropped: 25 },
    retainedMessages: 13,
    retainedBytes: 26,
    retainedRefused: 27,
  })
})
