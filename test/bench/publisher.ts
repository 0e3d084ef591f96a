/**
 * A lean load of many devices (device.ts), as fast as their windows allow or at a pace. Runs as a
 * process of its own; takes its options as JSON in argv, prints a line when the measured time
 * begins, one when it ends, and one of JSON. Counts what is completed inside the measured time
 * only. Where a C compiler is at hand publisher.c, which does the same, takes its place
 * (compiled-publisher.ts): this one takes more processor than some of the systems that it is to
 * measure.
 */
import { Random } from '../../device-sim/random.ts'
import { Device } from './device.ts'
import type { Protocol, Shape } from './readings.ts'
import { mean } from './statistics.ts'

/** Connections that subscribe to `#` and count what they are sent. */
export interface Subscribers {
  /** At most 10. */
  readonly count: number
  readonly qos: 0 | 1
}

export interface PublisherOptions {
  readonly port: number
  readonly devices: number
  readonly firstDevice: number
  readonly window: number
  readonly qos: 1 | 2
  readonly warmupMs: number
  readonly measureMs: number
  readonly seed: number
  /** @default models */
  readonly shape?: Shape
  /** Of MQTT. @default 4, which is 3.1.1; only publisher.c can 5 */
  readonly protocol?: Protocol
  /** Beside the devices. Only publisher.c can. @default none */
  readonly subscribers?: Subscribers
  /**
   * All devices together, each message at a random moment of its turn: at even distances it would
   * keep step with what the system does at even distances. null: as fast as acks allow; 0:
   * connections that send nothing.
   */
  readonly messagesPerSecond: number | null
}

export interface PublisherResult {
  readonly completed: number
  readonly seconds: number
  readonly payloadBytes: number
  readonly p50Ms: number
  readonly p99Ms: number
  /**
   * Share of a core that the publisher itself took, or all subscribers, if they took more; of its
   * event loop, if it is not the compiled one.
   */
  readonly busyShare: number
  readonly total: number
  /** What all subscribers were sent in the measured time; null: there were none. */
  readonly copies: number | null
}

/** Lines on standard output. */
export const MEASURE_BEGAN = 'began'
export const MEASURE_ENDED = 'ended'

/**
 * Prebuilt frames: many for a device, or deflate sees repeats; not so many that a large fleet fills
 * the memory.
 */
const MAX_FRAMES_PER_DEVICE = 1000
const MAX_FRAMES = 100_000

/** Prebuilt messages of each device. */
export function framesPerDevice(options: PublisherOptions): number {
  if (options.messagesPerSecond === 0) return 1
  return Math.min(MAX_FRAMES_PER_DEVICE, Math.ceil(MAX_FRAMES / options.devices))
}

const PACE_TICK_MS = 2
/** Of a fleet, so many connect at a time: a listener's backlog is 511. */
const CONNECTS_AT_A_TIME = 200

export async function publish(options: PublisherOptions): Promise<PublisherResult> {
  let measuring = false
  let completed = 0
  let total = 0
  const latencies: number[] = []
  const devices: Device[] = []
  if (options.subscribers !== undefined || options.protocol === 5) {
    throw new Error('only publisher.c has subscribers and MQTT 5')
  }
  const frames = framesPerDevice(options)
  let connecting: Promise<void>[] = []
  for (let i = 0; i < options.devices; i++) {
    if (connecting.length >= CONNECTS_AT_A_TIME) {
      await Promise.all(connecting)
      connecting = []
    }
    devices.push(
      new Device({ ...options, frames }, options.firstDevice + i, (latencyMs) => {
        total++
        if (!measuring) return
        completed++
        // A sample of one in eight: enough for a p99, and cheap.
        if ((completed & 7) === 0 || options.messagesPerSecond !== null) latencies.push(latencyMs)
      }),
    )
    connecting.push((devices[i] as Device).connected())
  }
  await Promise.all(connecting)
  let stopped = false
  let pacer: NodeJS.Timeout | null = null
  if (options.messagesPerSecond === null) {
    for (const device of devices) {
      device.onFree = () => {
        if (!stopped) device.send(Number.POSITIVE_INFINITY)
      }
      device.send(Number.POSITIVE_INFINITY)
    }
  } else {
    const rate = options.messagesPerSecond
    const began = performance.now()
    const random = new Random(options.seed, 'pace')
    let sent = 0
    let turn = 0
    let due = random.next()
    pacer = setInterval(() => {
      const turns = ((performance.now() - began) / 1000) * rate
      for (let misses = 0; due < turns && misses < devices.length; turn++) {
        const n = (devices[turn % devices.length] as Device).send(1)
        if (n > 0) due = ++sent + random.next()
        misses = n === 0 ? misses + 1 : 0
      }
    }, PACE_TICK_MS)
  }
  await new Promise((resolve) => setTimeout(resolve, options.warmupMs))
  measuring = true
  process.stdout.write(`${MEASURE_BEGAN}\n`)
  const began = performance.now()
  const busy = performance.eventLoopUtilization()
  await new Promise((resolve) => setTimeout(resolve, options.measureMs))
  measuring = false
  process.stdout.write(`${MEASURE_ENDED}\n`)
  const seconds = (performance.now() - began) / 1000
  const busyShare = performance.eventLoopUtilization(busy).utilization
  stopped = true
  if (pacer) clearInterval(pacer)
  for (const device of devices) device.end()
  latencies.sort((a, b) => a - b)
  const at = (share: number): number =>
    latencies[Math.floor(latencies.length * share)] ?? Number.NaN
  return {
    completed,
    seconds,
    payloadBytes: mean(devices.map((device) => device.payloadBytes)),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    busyShare,
    total,
    copies: null,
  }
}

const [, script, json] = process.argv
if (script?.endsWith('publisher.js') && json) {
  const result = await publish(JSON.parse(json) as PublisherOptions)
  process.stdout.write(`${JSON.stringify(result)}\n`)
  process.exit(0)
}
