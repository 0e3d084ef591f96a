/**
 * A lean load: raw sockets, prebuilt frames, a fixed window in flight per device. Runs as a process of its own; takes its
 * options as JSON in argv, prints a line when the measured time begins, one when it ends, and one of JSON. Counts completed messages (PUBACK, or PUBCOMP at QoS 2) inside the
 * measured time only; latencies from the write of a PUBLISH to its last ack.
 */
import { connect, type Socket } from 'node:net'
import { Random } from '../../device-sim/random.ts'
import { connectFrame, deviceFrames } from './readings.ts'

export interface PublisherOptions {
  readonly port: number
  readonly devices: number
  readonly firstDevice: number
  readonly window: number
  readonly qos: 1 | 2
  readonly warmupMs: number
  readonly measureMs: number
  readonly seed: number
  /**
   * All devices together, each message at a random moment of its turn: at even distances it would keep step with what
   * the system does at even distances. null: as fast as acks allow; 0: connections that send nothing.
   */
  readonly messagesPerSecond: number | null
}

export interface PublisherResult {
  readonly completed: number
  readonly seconds: number
  readonly payloadBytes: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Share of the time in which the publisher itself was busy: near 1, it is the limit. */
  readonly busyShare: number
  readonly total: number
}

/** Lines on standard output. */
export const MEASURE_BEGAN = 'began'
export const MEASURE_ENDED = 'ended'

/** Prebuilt frames: many for a device, or deflate sees repeats; not so many that a large fleet fills the memory. */
const MAX_FRAMES_PER_DEVICE = 1000
const MAX_FRAMES = 100_000
const PACE_TICK_MS = 2
/** Of a fleet, so many connect at a time: a listener's backlog is 511. */
const CONNECTS_AT_A_TIME = 200

class Device {
  readonly #socket: Socket
  readonly #frames: readonly Buffer[]
  readonly #idAt: readonly number[]
  /** By packet id, of those in flight. */
  readonly #sentAt: Float64Array
  readonly #qos: 1 | 2
  /** Packet ids from 1 to here: a multiple of the window, so that those in flight differ by it. */
  readonly #ids: number
  #next = 0
  #id = 0
  #pending: Buffer = Buffer.alloc(0)
  #free: number
  readonly #onDone: (latencyMs: number) => void
  #connected: () => void = () => undefined

  constructor(options: PublisherOptions, device: number, onDone: (latencyMs: number) => void) {
    const sends = options.messagesPerSecond !== 0
    const count = sends ? Math.min(MAX_FRAMES_PER_DEVICE, Math.ceil(MAX_FRAMES / options.devices)) : 1
    const { clientId, frames, idAt } = deviceFrames(device, options.seed, options.qos, count)
    this.#frames = frames
    this.#idAt = idAt
    this.#qos = options.qos
    this.#free = options.window
    this.#sentAt = new Float64Array(options.window)
    this.#ids = 65_535 - (65_535 % options.window)
    this.#onDone = onDone
    this.#socket = connect({ port: options.port, host: '127.0.0.1', noDelay: true })
    this.#socket.on('connect', () => this.#socket.write(connectFrame(clientId, true)))
    this.#socket.on('data', (chunk) => this.#read(chunk))
    this.#socket.on('error', (error) => {
      throw error
    })
  }

  connected(): Promise<void> {
    return new Promise((resolve) => {
      this.#connected = resolve
    })
  }

  get free(): number {
    return this.#free
  }

  /** Sends up to so many messages, as the window allows, in one write. */
  send(count: number): number {
    const sending = Math.min(count, this.#free)
    if (sending === 0) return 0
    const parts: Buffer[] = []
    const now = performance.now()
    for (let i = 0; i < sending; i++) {
      const at = this.#next++ % this.#frames.length
      const frame = Buffer.from(this.#frames[at] as Buffer)
      this.#id = (this.#id % this.#ids) + 1
      frame.writeUInt16BE(this.#id, this.#idAt[at])
      this.#sentAt[this.#id % this.#sentAt.length] = now
      parts.push(frame)
    }
    this.#free -= sending
    this.#socket.write(parts.length === 1 ? (parts[0] as Buffer) : Buffer.concat(parts))
    return sending
  }

  onFree: () => void = () => undefined

  #read(chunk: Buffer): void {
    const bytes = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    const releases: number[] = []
    let at = 0
    // All packets that a broker sends here are four bytes long.
    for (; at + 4 <= bytes.length; at += 4) {
      const type = (bytes[at] as number) >> 4
      const id = bytes.readUInt16BE(at + 2)
      if (type === 2) this.#connected()
      else if (type === 5) releases.push(id)
      else if ((type === 4 && this.#qos === 1) || type === 7) {
        this.#free++
        this.#onDone(performance.now() - (this.#sentAt[id % this.#sentAt.length] as number))
      } else throw new Error(`unexpected packet type ${type}`)
    }
    this.#pending = bytes.subarray(at)
    if (releases.length > 0) {
      const out = Buffer.alloc(releases.length * 4)
      releases.forEach((id, i) => {
        out[i * 4] = 0x62
        out[i * 4 + 1] = 2
        out.writeUInt16BE(id, i * 4 + 2)
      })
      this.#socket.write(out)
    }
    this.onFree()
  }

  end(): void {
    this.#socket.destroy()
  }
}

export async function publish(options: PublisherOptions): Promise<PublisherResult> {
  let measuring = false
  let completed = 0
  let total = 0
  const latencies: number[] = []
  const devices: Device[] = []
  let connecting: Promise<void>[] = []
  for (let i = 0; i < options.devices; i++) {
    if (connecting.length >= CONNECTS_AT_A_TIME) {
      await Promise.all(connecting)
      connecting = []
    }
    devices.push(
      new Device(options, options.firstDevice + i, (latencyMs) => {
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
  const at = (share: number): number => latencies[Math.floor(latencies.length * share)] ?? Number.NaN
  const sample = deviceFrames(options.firstDevice, options.seed, options.qos, 200)
  return {
    completed,
    seconds,
    payloadBytes: sample.payloadBytes,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    busyShare,
    total,
  }
}

const [, script, json] = process.argv
if (script?.endsWith('publisher.js') && json) {
  const result = await publish(JSON.parse(json) as PublisherOptions)
  process.stdout.write(`${JSON.stringify(result)}\n`)
  process.exit(0)
}
