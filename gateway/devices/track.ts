/**
 * One connection of a device. The broker calls `took` for every message: it counts, and compares
 * the topic with the one before. What that means for the device is worked out once a second, for
 * the connections that sent something.
 */
import type { DeviceTrack, TakenTopic } from '../ports/devices.ts'
import type { Device } from './device.ts'

/** Of a topic, which may have 64 KiB, the beginning tells which one it is. */
const SHOWN_TOPIC_LENGTH = 256
/** Topics of one second that are not looked at twice; one that has more of them pays for each. */
const KNOWN_TOPICS = 16

/** What connections need of the stage. */
export interface TrackHost {
  /** Those that took something since they were last counted. */
  readonly active: Track[]
  /** null: no stream wants to know. */
  readonly onHeard: ((device: Device, topic: TakenTopic) => void) | null
  ended(track: Track): void
}

export class Track implements DeviceTrack {
  readonly device: Device
  readonly #host: TrackHost
  #messages = 0
  #topic: TakenTopic | null = null
  readonly #known: TakenTopic[] = []

  constructor(host: TrackHost, device: Device) {
    this.#host = host
    this.device = device
  }

  took(topic: TakenTopic): void {
    if (this.#messages === 0) this.#host.active.push(this)
    this.#messages += 1
    if (topic !== this.#topic) this.#changed(topic)
  }

  ended(): void {
    this.#host.ended(this)
  }

  /** Of this second, into the device. `nowMs`: monotonic; `atMs`: wall clock. */
  settle(nowMs: number, atMs: number): void {
    const { device } = this
    device.count(this.#messages, nowMs)
    device.lastSeenAtMs = atMs
    device.lastMessageAtMs = atMs
    device.seen = nowMs
    const topic = this.#topic?.topic ?? ''
    if (device.lastTopic !== topic) device.lastTopic = topic.slice(0, SHOWN_TOPIC_LENGTH)
    this.#messages = 0
    this.#topic = null
    this.#known.length = 0
  }

  #changed(topic: TakenTopic): void {
    this.#topic = topic
    const { onHeard } = this.#host
    if (onHeard === null || this.#known.includes(topic)) return
    if (this.#known.length < KNOWN_TOPICS) this.#known.push(topic)
    onHeard(this.device, topic)
  }
}
