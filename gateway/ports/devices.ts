/**
 * What the broker tells of the devices that connect, and what an operator is shown of them. A device
 * is what has a client id: a bridge that brings the readings of many is one.
 */
import type { Lane } from './appender.ts'

/** Told by the broker; nothing of it waits or throws. */
export interface DeviceLog {
  /** A client was let in, under an id that it brought itself. */
  connected(clientId: string): DeviceTrack
  /**
   * Something of a client was refused: its CONNECT, its message, or its connection over what it
   * sent. It need not be known.
   */
  refused(clientId: string, reason: string, detail: string): void
}

/** One connection of a device, from CONNACK to its end. */
export interface DeviceTrack {
  /** A message was taken. Called for each: it costs a number and a comparison. */
  took(topic: TakenTopic): void
  ended(): void
}

/** A topic that a connection publishes to: the same object for the same topic, as a rule. */
export interface TakenTopic {
  readonly topic: string
  readonly lanes: readonly Lane[]
}

export interface DeviceQuery {
  /** Part of the id, whatever its case; empty: any. */
  readonly search: string
  readonly sort: DeviceSort
  /** Those that are silent, and no others. */
  readonly silent: boolean
  /** 1 to 1,000. */
  readonly limit: number
  /** `next` of the page before; null: from the first. */
  readonly after: string | null
}

/** `lastSeen`: the latest first; `name`: by id; `rate`: the one with most messages first. */
export type DeviceSort = 'lastSeen' | 'name' | 'rate'

export interface DevicePage {
  readonly devices: readonly DeviceRow[]
  /** How many the search finds, on all pages. */
  readonly total: number
  /** For `after`; null: this was the last page. */
  readonly next: string | null
}

export interface DeviceRow {
  readonly id: string
  readonly connected: boolean
  /** Wall clock, ms since the epoch, as every `…AtMs` and `…SinceMs` here. */
  readonly firstSeenAtMs: number
  /** Its last message, connect or end of a connection. */
  readonly lastSeenAtMs: number
  /** Of about the last minute: older messages count less and less. */
  readonly messagesPerMinute: number
  /** Since it is in the table. */
  readonly messages: number
  /** At most 256 characters of it; null: it has sent nothing yet. */
  readonly lastTopic: string | null
  readonly lastRefusal: DeviceRefusal | null
  /** Its last message on a stream that has told of its silence; null: it is not silent. */
  readonly silentSinceMs: number | null
}

export interface DeviceRefusal {
  /** A word, as in the metrics of the broker. */
  readonly reason: string
  /** In words; may be empty. */
  readonly detail: string
  readonly atMs: number
}
