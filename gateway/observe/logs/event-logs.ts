/**
 * What each event says in the log. A new event type of any stage does not compile until it has its
 * row, so that no stage can report what is shown nowhere (I9).
 */
import type { GatewayEvent } from '../events.ts'
import { BROKER_LOGS } from './broker-logs.ts'
import { CONFIG_LOGS } from './config-logs.ts'
import { DRAIN_LOGS, SINK_LOGS } from './delivery-logs.ts'
import { DEVICES_LOGS } from './devices-logs.ts'
import type { EventLogs } from './event-log.ts'
import { SPOOL_LOGS } from './spool-logs.ts'

export const EVENT_LOGS: EventLogs<GatewayEvent> = {
  ...BROKER_LOGS,
  ...CONFIG_LOGS,
  ...SPOOL_LOGS,
  ...DEVICES_LOGS,
  ...DRAIN_LOGS,
  ...SINK_LOGS,
}
