/**
 * What all connections of a gate have in common, and the narrow interfaces that the gate needs of
 * its neighbours.
 */

import type { Appender, Message, StreamIntake, Ticket } from '../../ports/appender.ts'
import type { MqttConfig } from '../config.ts'
import type { LocalDelivery } from '../consumers/local-delivery.ts'
import type { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent } from '../events.ts'
import type { MessageHash } from '../sessions/message-hash.ts'
import type { StagedCopies } from '../sessions/session-copies.ts'
import type { SessionTable } from '../sessions/session-table.ts'
import type { BrokerStats } from '../stats.ts'

export interface TopicRouter {
  route(topic: string): readonly StreamIntake[]
  deviceOf(stream: StreamIntake, clientId: string, topic: string): string
}

/** Who subscribes locally. */
export interface LocalIndex {
  readonly version: number
  matches(topic: string): boolean
  /** Are messages at QoS 1 and 2 kept for persistent sessions? */
  isQueued(topic: string): boolean
}

/**
 * Puts a retained message into the commit that is open now; null: nothing changes. Copies the
 * payload.
 */
export type StageRetained = (topic: string, payload: Uint8Array, qos: 0 | 1 | 2) => Ticket | null

/**
 * Puts a message's copies for persistent sessions into the commit that is open now; null: there are
 * none.
 */
export type StageCopies = (
  topic: string,
  payload: Uint8Array,
  qos: 1 | 2,
  retain: boolean,
  from: string,
) => StagedCopies | null

export interface GateShared {
  readonly config: MqttConfig
  readonly appender: Appender
  readonly router: TopicRouter
  readonly local: LocalIndex
  readonly stageRetained: StageRetained
  readonly stageCopies: StageCopies
  readonly delivery: LocalDelivery
  readonly sessions: SessionTable
  readonly stats: BrokerStats
  readonly emit: EmitBrokerEvent
  readonly damper: EventDamper
  /** Wall clock, ms since the epoch. */
  readonly nowMs: () => number
  readonly monotonicMs: () => number
  /** Reused for every message. */
  readonly message: Message
  readonly hash: MessageHash
}
