/**
 * All metrics of Sluice, in the order of the printed table. Those of the process itself
 * (`sluice_process_…`, `sluice_nodejs_…`) come from prom-client.
 */
import { BROKER_METRICS, GATEWAY_METRICS } from './broker.ts'
import type { MetricDefinition } from './definition.ts'
import { DEVICES_METRICS } from './devices.ts'
import { OBSERVE_METRICS, SINK_METRICS } from './sinks.ts'
import { SPOOL_METRICS } from './spool.ts'
import { STREAM_METRICS } from './streams.ts'

export const METRICS: readonly MetricDefinition[] = [
  ...GATEWAY_METRICS,
  ...BROKER_METRICS,
  ...DEVICES_METRICS,
  ...SPOOL_METRICS,
  ...STREAM_METRICS,
  ...SINK_METRICS,
  ...OBSERVE_METRICS,
]
