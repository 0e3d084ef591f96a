/**
 * How retained messages, subscriptions, wills and copies look as values in the store. Each begins
 * with a format byte, so that a later version can read what this one wrote; what cannot be read is
 * an error here and an event in the caller, never a failed start (I7).
 */
import {
  checkTopicFilter,
  checkTopicName,
  PROTOCOL_TOPIC_LIMITS,
} from '../../shared/topics/topics.ts'
import type { Qos } from '../mqtt/publish.ts'
import type { MessageOptions } from '../mqtt/v5/message-options.ts'
import { splitOptions, withOptions } from './stored-options.ts'

const FORMAT = 1
const RETAIN_FLAG = 0x04
const QOS_MASK = 0x03
const RELEASE_FLAG = 0x08
/** Of a copy: what stands before its topic. */
const COPY_HEAD_BYTES = 6

export interface StoredRetained {
  readonly qos: Qos
  readonly payload: Buffer
  /** null: it has none. */
  readonly options: MessageOptions | null
}

export interface StoredWill {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  /** Will Delay Interval, seconds. */
  readonly delaySeconds: number
  readonly options: MessageOptions | null
}

/**
 * The options of a subscription; all but `qos` belong to MQTT 5 and are kept as
 * they come.
 */
export interface StoredSubscription {
  readonly qos: Qos
  readonly rh?: number | undefined
  readonly rap?: boolean | undefined
  readonly nl?: boolean | undefined
  readonly subscriptionIdentifier?: number | undefined
}

/** format, QoS, payload. */
export function encodeRetained({ options, payload, qos }: StoredRetained): Buffer {
  const value = Buffer.concat([Buffer.of(FORMAT, qos), payload])
  return withOptions({ options, numbers: [] }, value)
}

export function decodeRetained(bytes: Uint8Array): StoredRetained {
  const { options, value: stored } = splitOptions(bytes)
  const value = open(stored)
  return { qos: qosOf(value.readUInt8(1)), payload: Buffer.from(value.subarray(2)), options }
}

/** format, flags (QoS and retain), length of the topic (16 bits), topic, payload. */
export function encodeWill(will: StoredWill): Buffer {
  const topic = Buffer.from(will.topic)
  const head = Buffer.of(FORMAT, will.qos | (will.retain ? RETAIN_FLAG : 0), 0, 0)
  head.writeUInt16BE(topic.length, 2)
  const { delaySeconds, options } = will
  const numbers = delaySeconds === 0 ? [] : [delaySeconds]
  return withOptions({ options, numbers }, Buffer.concat([head, topic, will.payload]))
}

export function decodeWill(bytes: Uint8Array): StoredWill {
  const { numbers, options, value: stored } = splitOptions(bytes)
  const value = open(stored)
  const flags = value.readUInt8(1)
  const end = 4 + value.readUInt16BE(2)
  if (end > value.length) throw new Error('the topic is cut off')
  const topic = value.toString('utf8', 4, end)
  const fault = checkTopicName(topic, PROTOCOL_TOPIC_LIMITS)
  if (fault !== null) throw new Error(fault)
  return {
    topic,
    payload: Buffer.from(value.subarray(end)),
    qos: qosOf(flags & QOS_MASK),
    retain: (flags & RETAIN_FLAG) !== 0,
    delaySeconds: numbers[0] ?? 0,
    options,
  }
}

/** format, then JSON: `[[filter, options], …]`. */
export function encodeSubscriptions(
  subscriptions: ReadonlyMap<string, StoredSubscription>,
): Buffer {
  return Buffer.concat([Buffer.of(FORMAT), Buffer.from(JSON.stringify([...subscriptions]))])
}

export function decodeSubscriptions(bytes: Uint8Array): Map<string, StoredSubscription> {
  const parsed: unknown = JSON.parse(open(bytes).toString('utf8', 1))
  if (!Array.isArray(parsed)) throw new Error('not a list')
  const subscriptions = new Map<string, StoredSubscription>()
  for (const pair of parsed as readonly unknown[]) {
    const [filter, options] = Array.isArray(pair) ? (pair as unknown[]) : []
    if (typeof filter !== 'string' || typeof options !== 'object' || options === null) {
      throw new Error('not a subscription')
    }
    const fault = checkTopicFilter(filter, PROTOCOL_TOPIC_LIMITS)
    if (fault !== null) throw new Error(fault)
    const { qos, ...others } = options as { qos?: unknown }
    subscriptions.set(filter, { ...others, qos: qosOf(qos) })
  }
  return subscriptions
}

/** A copy of a session's queue, or the PUBREL that took its place. */
interface StoredCopy {
  readonly isRelease: boolean
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  readonly messageId: number
  readonly options: MessageOptions | null
  /** Subscription Identifiers of those that it is for. */
  readonly identifiers: readonly number[]
}

/**
 * format, flags (QoS, retain, PUBREL), packet id (16 bits), length of the topic (16 bits), topic,
 * payload.
 */
export function encodeCopy({
  isRelease,
  topic,
  payload,
  qos,
  retain,
  messageId,
  options,
  identifiers,
}: StoredCopy): Buffer {
  const topicBytes = Buffer.byteLength(topic)
  const value = Buffer.allocUnsafe(COPY_HEAD_BYTES + topicBytes + payload.length)
  value[0] = FORMAT
  value[1] = qos | (retain ? RETAIN_FLAG : 0) | (isRelease ? RELEASE_FLAG : 0)
  value.writeUInt16BE(messageId, 2)
  value.writeUInt16BE(topicBytes, 4)
  value.write(topic, COPY_HEAD_BYTES)
  value.set(payload, COPY_HEAD_BYTES + topicBytes)
  return withOptions({ options, numbers: identifiers }, value)
}

export function decodeCopy(bytes: Uint8Array): StoredCopy {
  const { numbers: identifiers, options, value: stored } = splitOptions(bytes)
  const value = open(stored)
  const flags = value.readUInt8(1)
  const isRelease = (flags & RELEASE_FLAG) !== 0
  const messageId = value.readUInt16BE(2)
  if (messageId === 0) throw new Error('not a packet identifier')
  const end = COPY_HEAD_BYTES + value.readUInt16BE(4)
  if (end > value.length) throw new Error('the topic is cut off')
  const topic = value.toString('utf8', COPY_HEAD_BYTES, end)
  const fault = isRelease ? null : checkTopicName(topic, PROTOCOL_TOPIC_LIMITS)
  if (fault !== null) throw new Error(fault)
  const payload = Buffer.from(value.subarray(end))
  return {
    isRelease,
    topic,
    payload,
    qos: qosOf(flags & QOS_MASK),
    retain: (flags & RETAIN_FLAG) !== 0,
    messageId,
    options,
    identifiers,
  }
}

function open(bytes: Uint8Array): Buffer {
  const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  if (value[0] !== FORMAT) throw new Error(`unknown format ${value[0] ?? 'of an empty value'}`)
  return value
}

function qosOf(value: unknown): Qos {
  if (value === 0 || value === 1 || value === 2) return value
  throw new Error(`bad QoS ${String(value)}`)
}
