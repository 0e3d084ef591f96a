/**
 * Metrics per sink, and what observe counts of itself. The label `sink` is bounded by the
 * configuration.
 */
import type { SinkSnapshot } from '../sources.ts'
import { byKey, type MetricDefinition, oneOf, type PlainDefinition, single } from './definition.ts'
import { DELIVERY_STATES } from './streams.ts'

function perSink(
  type: 'counter' | 'gauge',
  name: string,
  help: string,
  read: (sink: SinkSnapshot) => number | null,
): PlainDefinition {
  return {
    type,
    name,
    help,
    labels: ['sink'],
    read: ({ sinks }) =>
      sinks.flatMap((sink) => {
        const value = read(sink)
        return value === null ? [] : [{ labels: { sink: sink.name }, value }]
      }),
  }
}

export const SINK_METRICS: readonly MetricDefinition[] = [
  {
    type: 'gauge',
    name: 'sluice_sink_state',
    help: '1 for the state that the sink is in, 0 for the others. retrying: every try fails. held: an alarm, nothing is lost (I8).',
    labels: ['sink', 'state'],
    read: ({ sinks }) =>
      sinks.flatMap((sink) =>
        oneOf('state', DELIVERY_STATES, sink.delivery.state, { sink: sink.name }),
      ),
  },
  {
    type: 'counter',
    name: 'sluice_sink_requests_total',
    help: 'Tries of a batch by what came of them: HTTP requests, or files.',
    labels: ['sink', 'outcome'],
    read: ({ sinks }) =>
      sinks.flatMap((sink) =>
        Object.entries(sink.stats.requests).map(([outcome, value]) => ({
          labels: { sink: sink.name, outcome },
          value,
        })),
      ),
  },
  {
    type: 'counter',
    name: 'sluice_sink_may_repeat_total',
    help: 'Batches that went out though an earlier try may have arrived, by why nothing could tell: session-lost, the MQTT broker lost its session; message-gone, limits of the NATS stream took the last message; other-names, files or objects of other names hold records of the queue.',
    labels: ['sink', 'cause'],
    read: ({ sinks }) =>
      sinks.flatMap((sink) =>
        Object.entries(sink.stats.mayRepeat).map(([cause, value]) => ({
          labels: { sink: sink.name, cause },
          value,
        })),
      ),
  },
  perSink(
    'counter',
    'sluice_sink_sent_bytes_total',
    'Bytes of request bodies as they went out, repeats included.',
    (sink) => sink.stats.sentBytes,
  ),
  perSink(
    'gauge',
    'sluice_sink_requests_in_flight',
    'Requests in progress.',
    (sink) => sink.stats.inFlight,
  ),
  {
    type: 'histogram',
    name: 'sluice_sink_request_seconds',
    help: 'From the first byte of a request to the last of its answer, or its failure.',
    labels: ['sink'],
    read: ({ sinks }) =>
      sinks.map((sink) => ({ labels: { sink: sink.name }, histogram: sink.stats.requestSeconds })),
  },
  perSink(
    'gauge',
    'sluice_sink_last_success_timestamp_seconds',
    'When the sink last acknowledged something; absent before the first time since the start.',
    (sink) => (sink.lastSuccessAtMs === null ? null : sink.lastSuccessAtMs / 1000),
  ),
  perSink(
    'gauge',
    'sluice_sink_clock_skew_seconds',
    "The sink's clock (Date of its last answer) minus ours; absent before the first one.",
    (sink) => sink.stats.clockSkewSeconds,
  ),
]

export const OBSERVE_METRICS: readonly MetricDefinition[] = [
  byKey(
    'counter',
    'sluice_observe_events_total',
    'Events of all stages by type, those that damping kept out of the log included.',
    'event',
    ({ observe }) => observe.events,
  ),
  single(
    'counter',
    'sluice_observe_suppressed_lines_total',
    'Log lines held back because the same was logged within the minute.',
    ({ observe }) => observe.suppressedLines,
  ),
  single(
    'counter',
    'sluice_observe_dropped_lines_total',
    'Log lines lost because standard output took none for long: a full disk, a reader that is gone or slow.',
    ({ observe }) => observe.droppedLines,
  ),
  byKey(
    'counter',
    'sluice_observe_admin_requests_total',
    'Requests to the admin server by outcome.',
    'outcome',
    ({ admin }) => ({ ...admin }),
  ),
]
