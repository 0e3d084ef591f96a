/**
 * All events of all stages. Stages emit their own union and never log or count by themselves; this
 * file joins the unions so that logs and metrics can be exhaustive. Hot-path counts are plain
 * numbers in each stage's `stats`.
 */
import type { BrokerEvent } from '../broker/events.ts'
import type { ConfigEvent } from '../config/events.ts'
import type { DevicesEvent } from '../devices/events.ts'
import type { DrainEvent } from '../drain/events.ts'
import type { SinkEvent } from '../sink/events.ts'
import type { SpoolEvent } from '../spool/events.ts'

export type GatewayEvent =
  | BrokerEvent
  | ConfigEvent
  | SpoolEvent
  | DevicesEvent
  | DrainEvent
  | SinkEvent
