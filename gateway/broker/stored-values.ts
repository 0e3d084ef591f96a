/**
 * How retained messages, subscriptions and wills look as values in the store. Each begins with a format byte, so that
 * a later version can read what this one wrote; what cannot be read is an error here and an event in the caller, never
 * a failed start (I7).
 */
import { checkTopicFilter, checkTopicName, PROTOCOL_TOPIC_LIMITS } from '../shared/topics.ts'

const FORMAT = 1
const RETAIN_FLAG = 0x04
const QOS_MASK = 0x03

export type Qos = 0 | 1 | 2

export interface StoredRetained {
  readonly qos: Qos
  readonly payload: Buffer
}

export interface StoredWill {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
}

/** The options that aedes keeps with a subscription; all but `qos` belong to MQTT 5 and are kept as they come. */
export interface StoredSubscription {
  readonly qos: Qos
  readonly rh?: number | undefined
  readonly rap?: boolean | undefined
  readonly nl?: boolean | undefined
  readonly subscriptionIdentifier?: number | undefined
}

/** format, QoS, payload. */
export function encodeRetained(value: StoredRetained): Buffer {
  return Buffer.concat([Buffer.of(FORMAT, value.qos), value.payload])
}

export function decodeRetained(bytes: Uint8Array): StoredRetained {
  const value = open(bytes)
  return { qos: qosOf(value.readUInt8(1)), payload: Buffer.from(value.subarray(2)) }
}

/** format, flags (QoS and retain), length of the topic (16 bits), topic, payload. */
export function encodeWill(will: StoredWill): Buffer {
  const topic = Buffer.from(will.topic)
  const head = Buffer.of(FORMAT, will.qos | (will.retain ? RETAIN_FLAG : 0), 0, 0)
  head.writeUInt16BE(topic.length, 2)
  return Buffer.concat([head, topic, will.payload])
}

export function decodeWill(bytes: Uint8Array): StoredWill {
  const value = open(bytes)
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
  }
}

/** format, then JSON: `[[filter, options], …]`. */
export function encodeSubscriptions(subscriptions: ReadonlyMap<string, StoredSubscription>): Buffer {
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
export interface StoredCopy {
  readonly cmd: 'publish' | 'pubrel'
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  /** 0: it was not sent yet. */
  readonly messageId: number
}

/** format, then JSON: `[[cmd, topic, payload in base64, QoS, retain, packet id], …]`, oldest first. */
export function encodeCopies(copies: readonly StoredCopy[]): Buffer {
  const list = copies.map(({ cmd, topic, payload, qos, retain, messageId }) => [
    cmd,
    topic,
    payload.toString('base64'),
    qos,
    retain,
    messageId,
  ])
  return Buffer.concat([Buffer.of(FORMAT), Buffer.from(JSON.stringify(list))])
}

export function decodeCopies(bytes: Uint8Array): StoredCopy[] {
  const parsed: unknown = JSON.parse(open(bytes).toString('utf8', 1))
  if (!Array.isArray(parsed)) throw new Error('not a list')
  return (parsed as readonly unknown[]).map((item) => {
    const [cmd, topic, payload, qos, retain, messageId] = Array.isArray(item) ? (item as unknown[]) : []
    if (cmd !== 'publish' && cmd !== 'pubrel') throw new Error('not a copy')
    if (typeof topic !== 'string' || typeof payload !== 'string') throw new Error('not a copy')
    const isPacketId = Number.isInteger(messageId) && Number(messageId) >= 0 && Number(messageId) <= 65_535
    if (!isPacketId || (cmd === 'pubrel' && messageId === 0)) throw new Error('not a packet identifier')
    const bytesOfPayload = Buffer.from(payload, 'base64')
    return {
      cmd,
      topic,
      payload: bytesOfPayload,
      qos: qosOf(qos),
      retain: retain === true,
      messageId: Number(messageId),
    }
  })
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
