/**
 * Messages of one connection at QoS 1 and 2 that wait for room in a stream (`whenFull: block`, I6),
 * oldest first, and the streams that are closed to later messages of the connection until they are
 * through: per stream, arrival order stays (I2); a message that shares no stream with a waiting one
 * goes on.
 */
import type { Lane, MessageProperties, StreamIntake } from '../../ports/appender.ts'
import { WAITING_SHARE } from '../limits.ts'
import type { Publication } from '../mqtt/publish.ts'
import type { MessageOptions } from '../mqtt/v5/message-options.ts'
import type { BrokerStats } from '../stats.ts'
import type { PublishContext } from './context.ts'
import type { TopicEntry } from './topic-cache.ts'

/** `bytes` is a copy of the payload: the read buffer is long gone when there is room. */
export interface WaitingMessage extends Publication {
  readonly entry: TopicEntry
  /** For local subscribers. */
  readonly options: MessageOptions | null
  /** For the streams that want them. */
  readonly properties: MessageProperties | null
  readonly receivedAtMs: number
  readonly arrivedMs: number
  /** What it takes in memory. */
  readonly heldBytes: number
  /** Its place in the ack queue. */
  readonly position: number
  readonly packetId: number
  readonly hashHigh: number
  readonly hashLow: number
  /** Places of QoS 2 repeats that came meanwhile: their PUBREC waits for the same commit. */
  readonly repeats: number[]
}

/**
 * Waiting messages take a share of the totals, or one full stream would shut out everybody else's
 * messages.
 */
export function hasRoomToWait(
  { config, stats }: Pick<PublishContext, 'config' | 'stats'>,
  bytes: number,
): boolean {
  return (
    stats.waitingMessages < config.maxUnackedMessagesTotal * WAITING_SHARE &&
    stats.waitingBytes + bytes <= config.maxUnackedBytesTotal * WAITING_SHARE
  )
}

/** A message goes to wait for room in these streams (1), or waits no longer (-1). */
export function countWaiting(
  stats: BrokerStats,
  lanes: readonly Lane[],
  bytes: number,
  by: 1 | -1,
): void {
  const { waitingByStream } = stats
  stats.waitingMessages += by
  stats.waitingBytes += by * bytes
  for (const { stream } of lanes) {
    waitingByStream.set(stream.name, (waitingByStream.get(stream.name) ?? 0) + by)
  }
}

export class WaitingMessages {
  readonly #stats: BrokerStats
  #messages: WaitingMessage[] = []
  readonly #closed = new Map<StreamIntake, number>()

  constructor(stats: BrokerStats) {
    this.#stats = stats
  }

  get size(): number {
    return this.#messages.length
  }

  /** Does a waiting message go to one of these streams, too? */
  blocks(lanes: readonly Lane[]): boolean {
    if (this.#closed.size === 0) return false
    for (const { stream } of lanes) if (this.#closed.has(stream)) return true
    return false
  }

  add(message: WaitingMessage): void {
    this.#messages.push(message)
    this.#count(message, 1)
    for (const { stream } of message.entry.lanes) {
      this.#closed.set(stream, (this.#closed.get(stream) ?? 0) + 1)
    }
  }

  /** The message under this packet id that came last, if one waits. */
  findId(packetId: number): WaitingMessage | undefined {
    return this.#messages.findLast((message) => message.qos === 2 && message.packetId === packetId)
  }

  /**
   * Offers every message again, in order, but none whose stream an earlier one still waits for.
   * `full`: streams that are known to have no room in this round; found ones are added. `append`
   * says whether the message was taken.
   */
  retry(full: Set<StreamIntake>, append: (message: WaitingMessage) => boolean): void {
    const kept: WaitingMessage[] = []
    const closed = new Set<StreamIntake>()
    for (const message of this.#messages) {
      const { lanes } = message.entry
      const isClosed = lanes.some(({ stream }) => closed.has(stream) || full.has(stream))
      if (!isClosed && append(message)) {
        this.#release(message)
        continue
      }
      kept.push(message)
      // Of several streams it is not known which one is full.
      if (!isClosed && lanes.length === 1) full.add(lanes[0]!.stream)
      for (const { stream } of lanes) closed.add(stream)
    }
    this.#messages = kept
  }

  find(isWanted: (message: WaitingMessage) => boolean): WaitingMessage | undefined {
    return this.#messages.find(isWanted)
  }

  /** The streams are others: each goes where its topic goes now, in the same order. */
  reroute(renewed: (entry: TopicEntry) => TopicEntry): void {
    const messages = this.#messages
    for (const message of messages) this.#release(message)
    this.#messages = []
    for (const message of messages) this.add({ ...message, entry: renewed(message.entry) })
  }

  /** The connection ended: they were never acknowledged, and the device keeps them. */
  discard(onDiscard: (message: WaitingMessage) => void): void {
    for (const message of this.#messages) {
      this.#release(message)
      onDiscard(message)
    }
    this.#messages = []
  }

  #release(message: WaitingMessage): void {
    this.#count(message, -1)
    for (const { stream } of message.entry.lanes) {
      const left = (this.#closed.get(stream) ?? 0) - 1
      if (left > 0) this.#closed.set(stream, left)
      else this.#closed.delete(stream)
    }
  }

  #count({ entry, heldBytes }: WaitingMessage, by: 1 | -1): void {
    countWaiting(this.#stats, entry.lanes, heldBytes, by)
  }
}
