/**
 * SUBSCRIBE and UNSUBSCRIBE (sections 3.8 and 3.10 of both versions), read and checked. Pure.
 */
import {
  checkTopicFilter,
  PROTOCOL_TOPIC_LIMITS,
  type TopicLimits,
} from '../../shared/topics/topics.ts'
import type { Qos } from './publish.ts'
import { PacketReader } from './reader.ts'
import { PROPERTY } from './v5/properties.ts'
import { malformed, type PacketFault, protocolError } from './v5/reason-codes.ts'

export interface Subscribe {
  readonly packetId: number
  readonly requests: readonly SubscribeRequest[]
  /** Subscription Identifier; null: none, as always before MQTT 5. */
  readonly identifier: number | null
}

/** One filter of the packet; of UNSUBSCRIBE the options say nothing. */
export interface SubscribeRequest {
  /** As it came, `$share/…` included. */
  readonly filter: string
  readonly options: SubscribeOptions
  /** Over a limit of topics; there is nothing wrong with it. */
  readonly isOverLimit: boolean
}

interface SubscribeOptions {
  readonly qos: Qos
  /** No Local: nothing that the client published itself. */
  readonly nl: boolean
  /** Retain As Published. */
  readonly rap: boolean
  /** Retain Handling: 0: retained messages are sent; 1: if the subscription is new; 2: none are. */
  readonly rh: 0 | 1 | 2
}

interface Shared {
  readonly group: string
  readonly filter: string
}

const SHARE = '$share/'
const NO_OPTIONS: SubscribeOptions = { qos: 0, nl: false, rap: false, rh: 0 }

/**
 * The group and the filter of a shared subscription (MQTT 5, section 4.8.2); null: it is none. A
 * group without a name, or one without a filter, is `''`.
 */
export function sharedFilter(filter: string): Shared | null {
  if (!filter.startsWith(SHARE)) return null
  const end = filter.indexOf('/', SHARE.length)
  if (end < 0) return { group: filter.slice(SHARE.length), filter: '' }
  return { group: filter.slice(SHARE.length, end), filter: filter.slice(end + 1) }
}

/** The packet, or why it is malformed. `isV5`: with properties, options and shared filters. */
export function readSubscribe(
  bytes: Buffer,
  at: number,
  end: number,
  { isSubscribe, isV5 }: { readonly isSubscribe: boolean; readonly isV5: boolean },
  limits: TopicLimits,
): Subscribe | PacketFault {
  const reader = new PacketReader(bytes, at, end)
  const packetId = reader.uint16('packet identifier')
  let identifier: number | null = null
  if (isV5) {
    const fault = reader.properties(isSubscribe ? 'SUBSCRIBE' : 'UNSUBSCRIBE', (id, value) => {
      if (id === PROPERTY.subscriptionIdentifier) identifier = value
    })
    if (fault !== null) return fault
  }
  const requests: SubscribeRequest[] = []
  while (reader.rest > 0 && reader.fault === null) {
    const filter = reader.string('topic filter')
    const bits = isSubscribe ? reader.uint8(isV5 ? 'subscription options' : 'requested QoS') : 0
    if (reader.fault !== null) break
    const options = readOptions(bits, isV5)
    if ('code' in options) return options
    const request = checked(filter, options, isV5, limits)
    if ('code' in request) return request
    requests.push(request)
  }
  if (reader.fault !== null) return malformed(reader.fault)
  if (packetId === 0) return protocolError('packet identifier 0') // [MQTT-2.3.1-1], [MQTT-2.2.1-3]
  // [MQTT-3.8.3-3], [MQTT-3.10.3-2]; in MQTT 5 [MQTT-3.8.3-2]
  if (requests.length === 0) return protocolError('no topic filter')
  return { packetId, requests, identifier }
}

function readOptions(bits: number, isV5: boolean): SubscribeOptions | PacketFault {
  if (bits === 0) return NO_OPTIONS
  const qos = bits & 3
  // [MQTT-3.8.3-4]; in MQTT 5 [MQTT-3.8.3-5]
  if (isV5 ? qos === 3 : bits > 2)
    return isV5 ? protocolError('requested QoS 3') : malformed('requested QoS over 2')
  const rh = (bits >> 4) & 3
  if (rh === 3) return protocolError('Retain Handling 3')
  if (bits > 0x3f) return malformed('reserved bits of the subscription options')
  return { qos: qos as Qos, nl: (bits & 4) !== 0, rap: (bits & 8) !== 0, rh: rh as 0 | 1 | 2 }
}

function checked(
  filter: string,
  options: SubscribeOptions,
  isV5: boolean,
  limits: TopicLimits,
): SubscribeRequest | PacketFault {
  const fault = checkTopicFilter(filter, PROTOCOL_TOPIC_LIMITS)
  if (fault !== null && fault !== 'topic-too-deep') return malformed(fault)
  const shared = isV5 ? sharedFilter(filter) : null
  if (shared !== null) {
    // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
    if (shared.group === '' || /[+#]/.test(shared.group) || shared.filter === '')
      return malformed('a shared subscription without a name or a filter')
    if (options.nl) return protocolError('No Local on a shared subscription') // [MQTT-3.8.3-4]
  }
  return { filter, options, isOverLimit: checkTopicFilter(filter, limits) !== null }
}
