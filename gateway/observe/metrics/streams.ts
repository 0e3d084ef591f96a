/**
 * Metrics per stream: both lines of I5 as committed counters that survive restarts, the limits of
 * I6, the drain's state. The label `stream` is bounded by the configuration, plus orphaned streams.
 */
import type { StreamSnapshot } from '../sources.ts'
import { ageSeconds } from '../status.ts'
import { type MetricDefinition, oneOf, type PlainDefinition } from './definition.ts'

export const DELIVERY_STATES = ['ok', 'retrying', 'held'] as const

function perStream(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  read: (stream: StreamSnapshot, nowMs: number) => number | null,
): PlainDefinition {
  return {
    type,
    name,
    help,
    labels: ['stream'],
    read: ({ streams, nowMs }) =>
      streams.flatMap((stream) => {
        const value = read(stream, nowMs)
        return value === null ? [] : [{ labels: { stream: stream.name }, value }]
      }),
  }
}

function perReason(
  name: string,
  help: string,
  read: (stream: StreamSnapshot) => Readonly<Record<string, number>>,
): PlainDefinition {
  return {
    type: 'counter',
    name,
    help,
    labels: ['stream', 'reason'],
    read: ({ streams }) =>
      streams.flatMap((stream) =>
        Object.entries(read(stream)).map(([reason, value]) => ({
          labels: { stream: stream.name, reason },
          value,
        })),
      ),
  }
}

export const STREAM_METRICS: readonly MetricDefinition[] = [
  perStream(
    'counter',
    'sluice_spool_received_records_total',
    'I5: messages whose verdict in this stream is final (record, ingest dead letter or drop).',
    (stream) => stream.counters.received,
  ),
  perStream(
    'counter',
    'sluice_spool_requeued_records_total',
    'I5: dead letters that came back into this stream as new records.',
    (stream) => stream.counters.requeued,
  ),
  perStream(
    'counter',
    'sluice_spool_delivered_records_total',
    'I5: records that the sink acknowledged, each once, at its settle.',
    (stream) => stream.counters.delivered,
  ),
  perStream(
    'counter',
    'sluice_spool_dead_lettered_records_total',
    'I5: messages refused at ingest and records refused by the sink for good.',
    (stream) => stream.counters.deadLettered,
  ),
  perReason(
    'sluice_spool_dropped_records_total',
    'I5, I9: left without being delivered, by reason.',
    (stream) => stream.counters.dropped,
  ),
  perStream(
    'gauge',
    'sluice_spool_pending_records',
    'I5: records in the spool that are not settled, parked ones included: the backlog.',
    (stream) => stream.counters.pending,
  ),
  perStream(
    'gauge',
    'sluice_spool_backlog_bytes',
    'Uncompressed bytes of the pending records.',
    (stream) => stream.backlogBytes,
  ),
  perStream(
    'gauge',
    'sluice_spool_stored_bytes',
    'Bytes of the stored values: what maxBytes limits (I6).',
    (stream) => stream.storedBytes,
  ),
  perStream(
    'gauge',
    'sluice_spool_max_bytes',
    "The stream's maxBytes; absent for an orphaned stream.",
    (stream) => (stream.orphaned ? null : stream.maxBytes),
  ),
  perStream(
    'gauge',
    'sluice_spool_oldest_age_seconds',
    'Age of the oldest pending record that is not parked, by the wall clock; 0 without one.',
    (stream, nowMs) => ageSeconds(stream.oldestReceivedAtMs, nowMs) ?? 0,
  ),
  perStream(
    'gauge',
    'sluice_spool_head_seq',
    'Lowest seq not settled.',
    (stream) => stream.headSeq,
  ),
  perStream(
    'gauge',
    'sluice_spool_next_seq',
    'Seq of the next record.',
    (stream) => stream.nextSeq,
  ),
  perStream(
    'gauge',
    'sluice_spool_parked_records',
    'Refused records that wait for the proof that the sink does not refuse everything (I8).',
    (stream) => stream.parked,
  ),
  perStream(
    'gauge',
    'sluice_spool_waiting_messages',
    'Messages that wait, unacknowledged, for room in this stream (I6).',
    (stream) => stream.waitingMessages,
  ),
  perStream(
    'counter',
    'sluice_spool_ill_formed_texts_total',
    'Messages of a stream with payload: text that are no UTF-8 and go as payloadBase64, since the start.',
    (stream) => stream.illFormedTexts,
  ),
  perStream(
    'gauge',
    'sluice_spool_orphaned',
    '1: the spool holds this stream, the configuration does not name it.',
    (stream) => (stream.orphaned ? 1 : 0),
  ),
  perStream(
    'gauge',
    'sluice_spool_dead_letters',
    'I5: dead letters kept.',
    (stream) => stream.deadLetters.kept,
  ),
  perStream(
    'gauge',
    'sluice_spool_dead_letters_bytes',
    'Bytes of the dead letters kept.',
    (stream) => stream.deadLetters.keptBytes,
  ),
  perStream(
    'counter',
    'sluice_spool_dead_letters_requeued_total',
    'I5: dead letters of this stream that an operator requeued.',
    (stream) => stream.deadLetters.requeued,
  ),
  perReason(
    'sluice_spool_dead_letters_removed_total',
    'I5, I9: dead letters removed, by reason.',
    (stream) => stream.deadLetters.removed,
  ),
  {
    type: 'gauge',
    name: 'sluice_drain_stream_state',
    help: '1 for the state of delivery that the stream is in, 0 for the others; never better than that of its sink. held: an alarm, nothing is lost (I8). sink is empty for an orphaned stream that no sink was named for.',
    labels: ['stream', 'sink', 'state'],
    read: ({ streams }) =>
      streams.flatMap((stream) =>
        oneOf('state', DELIVERY_STATES, stream.delivery.state, {
          stream: stream.name,
          sink: stream.sink ?? '',
        }),
      ),
  },
]
