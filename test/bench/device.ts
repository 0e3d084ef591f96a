/**
 * A device of the lean load: a raw socket, prebuilt frames, a fixed window in flight. Counts
 * completed messages (PUBACK, or PUBCOMP at QoS 2), with latencies from the write of a PUBLISH to
 * its last ack.
 */
import { connect, type Socket } from 'node:net'
import { connectFrame, deviceFrames, type FramesOptions } from './readings.ts'

/** `frames`: prebuilt messages, sent in turn. */
export interface DeviceOptions extends FramesOptions {
  readonly port: number
  /** Messages in flight. */
  readonly window: number
}

export class Device {
  /** Mean of its messages. */
  readonly payloadBytes: number
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
  #hasEnded = false
  readonly #onDone: (latencyMs: number) => void
  #connected: () => void = () => undefined

  /** `device`: its number. `onDone` is called for each completed message. */
  constructor(options: DeviceOptions, device: number, onDone: (latencyMs: number) => void) {
    const { clientId, frames, idAt, payloadBytes } = deviceFrames(device, options)
    this.payloadBytes = payloadBytes
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
    this.#socket.on('close', () => {
      if (!this.#hasEnded) throw new Error(`the connection of ${clientId} was closed`)
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

  /** Called after each read: there may be room in the window. */
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
    this.#hasEnded = true
    this.#socket.destroy()
  }
}
