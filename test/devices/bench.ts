/**
 * The table of devices over a spool in memory, with clocks that a test moves: it plays the broker,
 * and can end and begin anew as after a kill.
 */

import { Devices } from '../../gateway/devices/devices.ts'
import type { DevicesEvent } from '../../gateway/devices/events.ts'
import type { Lane, StreamIntake } from '../../gateway/ports/appender.ts'
import type { DeviceTrack, TakenTopic } from '../../gateway/ports/devices.ts'
import { MemoryAppender, type StoredRecord } from '../support/memory-appender.ts'
import { VirtualClock } from '../support/virtual-clock.ts'

export const SILENT_AFTER_MS = 60_000
export const STREAMS = [
  { name: 'telemetry', topics: ['t/#'] },
  { name: 'alarms', topics: ['a/#'] },
  { name: 'quiet', topics: ['q/#'] },
]

export interface SilenceTold {
  readonly stream: string
  readonly device: string
  readonly state: 'silent' | 'back'
  readonly since: string
  readonly lastTopic: string
}

export class DevicesBench {
  readonly clock = new VirtualClock()
  readonly events: DevicesEvent[] = []
  readonly path: string
  readonly maxDevices: number
  isListening = true
  appender = new MemoryAppender(STREAMS)
  #devices: Devices | null = null
  #topics = new Map<string, TakenTopic>()

  constructor(path: string, maxDevices = 100) {
    this.path = path
    this.maxDevices = maxDevices
  }

  get devices(): Devices {
    if (this.#devices === null) throw new Error('it was not opened')
    return this.#devices
  }

  async open(): Promise<void> {
    this.#devices = await Devices.open({
      config: { maxDevices: this.maxDevices },
      appender: this.appender,
      silentAfterMs: new Map([
        ['telemetry', SILENT_AFTER_MS],
        ['alarms', 3 * SILENT_AFTER_MS],
      ]),
      path: this.path,
      emit: (event) => this.events.push(event),
      nowMs: () => this.clock.wallMs(),
      monotonicMs: () => this.clock.monotonicMs(),
    })
    this.#devices.start(() => this.isListening)
  }

  /** The process dies: what no commit holds is gone, and so is the last minute of the file. */
  async kill(): Promise<void> {
    const durable = this.appender.crash()
    this.appender = new MemoryAppender(STREAMS, durable)
    await this.open()
  }

  /** As the broker's cache: the same object for the same topic. */
  topic(topic: string): TakenTopic {
    const known = this.#topics.get(topic)
    if (known !== undefined) return known
    const lanes: Lane[] = this.appender.streams
      .filter(({ topics }) => topics.some((filter) => topic.startsWith(filter.slice(0, -1))))
      .map((stream: StreamIntake) => ({ stream, envelope: stream.envelope('', topic) }))
    const taken = { topic, lanes }
    this.#topics.set(topic, taken)
    return taken
  }

  publish(track: DeviceTrack, topic: string, times = 1): void {
    for (let n = 0; n < times; n += 1) track.took(this.topic(topic))
  }

  /** Whole seconds. */
  pass(seconds: number): void {
    for (let n = 0; n < seconds; n += 1) {
      this.clock.advance(1_000)
      this.devices.step()
    }
  }

  /** The open commit becomes durable. */
  async commit(): Promise<void> {
    await new Promise((resolve) => setImmediate(() => setImmediate(resolve)))
  }

  /** What the streams were told, in order; durable records only. */
  async told(): Promise<SilenceTold[]> {
    await this.commit()
    return this.appender.records
      .filter(({ topic }) => topic.startsWith('$sluice/devices/'))
      .map(tellingOf)
  }
}

function tellingOf({ stream, payload }: StoredRecord): SilenceTold {
  return { stream, ...(JSON.parse(payload) as Omit<SilenceTold, 'stream'>) }
}
