/** What the publish paths of all connections have in common. */
import type { Appender, Message } from '../../ports/appender.ts'
import type { DeviceLog } from '../../ports/devices.ts'
import type { MqttConfig } from '../config.ts'
import type { LocalDelivery } from '../consumers/local-delivery.ts'
import type { RetainedMessages } from '../consumers/retained/retained-messages.ts'
import type { PublishView } from '../mqtt/publish.ts'
import type { Reports } from '../reports.ts'
import type { MessageHash } from '../sessions/message-hash.ts'
import type { SessionCopies } from '../sessions/session-copies.ts'
import type { SessionTable } from '../sessions/session-table.ts'
import type { BrokerStats } from '../stats.ts'
import type { Router } from './router.ts'

/** Who subscribes locally. */
interface LocalSubscribers {
  /** Rises with each change. */
  readonly version: number
  matches(topic: string): boolean
  /** Are messages at QoS 1 and 2 kept for persistent sessions? */
  isQueued(topic: string): boolean
}

export interface PublishContext {
  readonly config: MqttConfig
  readonly appender: Appender
  readonly router: Router
  readonly subscribers: LocalSubscribers
  readonly retained: Pick<RetainedMessages, 'stage'>
  readonly copies: Pick<SessionCopies, 'stage'>
  readonly delivery: LocalDelivery
  readonly sessions: SessionTable
  readonly stats: BrokerStats
  readonly reports: Reports
  /** null: nobody wants to know which devices there are. */
  readonly devices: DeviceLog | null
  /** Wall clock, ms since the epoch. */
  readonly nowMs: () => number
  readonly monotonicMs: () => number
  // Reused for every message, which is handled in one synchronous step.
  readonly view: PublishView
  readonly message: Message
  readonly hash: MessageHash
}
