/**
 * What a message of MQTT 5 carries beside topic and payload, on its way to local subscribers: its
 * properties as they came [MQTT-3.3.2-4, -15 to -18, -20], and how long it is of use.
 */
import { PROPERTY } from './properties.ts'

export interface MessageOptions {
  /** Properties of the publisher that go on unaltered, one behind the other, in their order. */
  readonly forwarded: Buffer
  /** Message Expiry Interval, seconds; null: it does not expire. */
  readonly expirySeconds: number | null
  /** When it came, wall clock, ms since the epoch: its expiry counts from there. */
  readonly receivedAtMs: number
}

/** What they take in memory, beside topic and payload (I6). */
export function optionsBytes(options: MessageOptions | null): number {
  return options === null ? 0 : options.forwarded.length
}

/** [MQTT-3.3.2-5], [MQTT-3.3.2-6]; the rest of the interval, seconds; null: it does not expire. */
export function restOfExpiry(options: MessageOptions, nowMs: number): number | null {
  if (options.expirySeconds === null) return null
  const waitedSeconds = Math.max(0, Math.floor((nowMs - options.receivedAtMs) / 1000))
  return Math.max(0, options.expirySeconds - waitedSeconds)
}

const FORWARDED: ReadonlySet<number> = new Set([
  PROPERTY.payloadFormat,
  PROPERTY.contentType,
  PROPERTY.responseTopic,
  PROPERTY.correlationData,
  PROPERTY.userProperty,
])

export function isForwarded(id: number): boolean {
  return FORWARDED.has(id)
}
