/**
 * SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10), read and checked. Pure.
 */
import {
  checkTopicFilter,
  PROTOCOL_TOPIC_LIMITS,
  type TopicLimits,
} from '../../shared/topics/topics.ts'
import { PacketReader } from './reader.ts'

export interface Subscribe {
  readonly packetId: number
  readonly filters: readonly string[]
  /** Requested QoS per filter; empty for UNSUBSCRIBE. */
  readonly qos: readonly number[]
  /** Those of the filters that are over a limit; there is nothing wrong with them. */
  readonly overLimit: ReadonlySet<string>
}

/** The packet, or in words why it is malformed. `withQos`: SUBSCRIBE; else UNSUBSCRIBE. */
export function readSubscribe(
  bytes: Buffer,
  at: number,
  end: number,
  withQos: boolean,
  limits: TopicLimits,
): Subscribe | string {
  const reader = new PacketReader(bytes, at, end)
  const packetId = reader.uint16('packet identifier')
  const filters: string[] = []
  const qos: number[] = []
  const overLimit = new Set<string>()
  while (reader.rest > 0 && reader.fault === null) {
    const filter = reader.string('topic filter')
    const requested = withQos ? reader.uint8('requested QoS') : 0
    if (reader.fault !== null) break
    const fault = checkTopicFilter(filter, PROTOCOL_TOPIC_LIMITS)
    if (fault !== null && fault !== 'topic-too-deep') return fault
    if (checkTopicFilter(filter, limits) !== null) overLimit.add(filter)
    if (requested > 2) return 'requested QoS over 2' // [MQTT-3.8.3-4]
    filters.push(filter)
    if (withQos) qos.push(requested)
  }
  if (reader.fault !== null) return reader.fault
  if (packetId === 0) return 'packet identifier 0' // [MQTT-2.3.1-1]
  if (filters.length === 0) return 'no topic filter' // [MQTT-3.8.3-3], [MQTT-3.10.3-2]
  return { packetId, filters, qos, overLimit }
}
