/**
 * A small MQTT 3.1.1 client over a real socket that shows each frame it gets and sends whatever it
 * is told, whole, cut or broken. It answers nothing by itself.
 */
import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'

export interface RawFrame {
  /** Upper half of the first byte. */
  readonly type: number
  readonly flags: number
  readonly body: Buffer
  readonly bytes: Buffer
}

export const TYPE = {
  CONNACK: 0x20,
  PUBLISH: 0x30,
  PUBACK: 0x40,
  PUBREC: 0x50,
  PUBREL: 0x60,
  PUBCOMP: 0x70,
  SUBACK: 0x90,
  UNSUBACK: 0xb0,
  PINGRESP: 0xd0,
} as const

export interface ConnectFields {
  readonly clientId?: string
  readonly clean?: boolean
  readonly keepAlive?: number
  readonly protocol?: string
  readonly level?: number
  readonly will?: { topic: string; payload: string; qos?: number; retain?: boolean }
  readonly username?: string
  readonly password?: string
}

export interface PublishFields {
  readonly qos?: 0 | 1 | 2
  readonly id?: number
  readonly dup?: boolean
  readonly retain?: boolean
}

const str = (text: string | Buffer): Buffer => {
  const bytes = Buffer.from(text as string)
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 255), bytes])
}

const u16 = (value: number): Buffer => Buffer.of(value >> 8, value & 255)

export function encodeFrame(first: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const length: number[] = []
  let rest = body.length
  do {
    const low = rest % 128
    rest = Math.floor(rest / 128)
    length.push(rest > 0 ? low | 128 : low)
  } while (rest > 0)
  return Buffer.concat([Buffer.of(first, ...length), body])
}

/** Encoded packets of a client. */
export const packet = {
  connect(fields: ConnectFields = {}): Buffer {
    const { clientId = '', clean = true, keepAlive = 0, protocol = 'MQTT', level = 4 } = fields
    const { will, username, password } = fields
    let flags = clean ? 2 : 0
    const parts = [str(clientId)]
    if (will !== undefined) {
      flags |= 4 | ((will.qos ?? 0) << 3) | (will.retain ? 32 : 0)
      parts.push(str(will.topic), str(will.payload))
    }
    if (username !== undefined) {
      flags |= 128
      parts.push(str(username))
    }
    if (password !== undefined) {
      flags |= 64
      parts.push(str(password))
    }
    return encodeFrame(0x10, str(protocol), Buffer.of(level, flags), u16(keepAlive), ...parts)
  },
  publish(topic: string | Buffer, payload: string | Buffer, fields: PublishFields = {}): Buffer {
    const { qos = 0, id, dup = false, retain = false } = fields
    const first = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0)
    return encodeFrame(
      first,
      str(topic),
      ...(qos > 0 ? [u16(id ?? 1)] : []),
      Buffer.from(payload as string),
    )
  },
  ack: (type: number, id: number): Buffer => encodeFrame(type, u16(id)),
  pubrel: (id: number): Buffer => encodeFrame(0x62, u16(id)),
  subscribe: (id: number, filters: readonly (readonly [string, number])[]): Buffer =>
    encodeFrame(
      0x82,
      u16(id),
      ...filters.flatMap(([filter, qos]) => [str(filter), Buffer.of(qos)]),
    ),
  unsubscribe: (id: number, filters: readonly string[]): Buffer =>
    encodeFrame(0xa2, u16(id), ...filters.map((filter) => str(filter))),
  pingreq: (): Buffer => Buffer.of(0xc0, 0),
  disconnect: (): Buffer => Buffer.of(0xe0, 0),
}

export class RawMqtt {
  readonly socket: Socket
  /** Frames that nobody has asked for yet. */
  readonly inbox: RawFrame[] = []
  /** Every byte that came. */
  receivedBytes = 0
  #pending: Buffer = Buffer.alloc(0)
  readonly #waiters = new Set<() => void>()
  isClosed = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length
      this.#pending = Buffer.concat([this.#pending, chunk])
      this.#cut()
      this.#wake()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.isClosed = true
      this.#wake()
    })
  }

  static async open(port: number): Promise<RawMqtt> {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
    const client = new RawMqtt(socket)
    await once(socket, 'connect')
    return client
  }

  /** Connects and expects CONNACK 0; returns Session Present with the client. */
  static async connect(
    port: number,
    fields: ConnectFields = {},
  ): Promise<RawMqtt & { sessionPresent: boolean }> {
    const client = await RawMqtt.open(port)
    client.send(packet.connect(fields))
    const frame = await client.next(TYPE.CONNACK)
    if (frame.body[1] !== 0) throw new Error(`CONNACK ${frame.body[1]}`)
    return Object.assign(client, { sessionPresent: frame.body[0] === 1 })
  }

  send(...bytes: Buffer[]): void {
    this.socket.write(Buffer.concat(bytes))
  }

  /** The next frame, which must be of this type. */
  async next(type?: number): Promise<RawFrame> {
    await this.until(() => this.inbox.length > 0)
    const frame = this.inbox.shift()!
    if (type !== undefined && frame.type !== type) {
      throw new Error(`got frame 0x${frame.type.toString(16)}, expected 0x${type.toString(16)}`)
    }
    return frame
  }

  /** The next `count` frames. */
  async take(count: number): Promise<RawFrame[]> {
    await this.until(() => this.inbox.length >= count)
    return this.inbox.splice(0, count)
  }

  /** Packet ids of the next `count` acks, each of this type. */
  async acks(count: number, type: number = TYPE.PUBACK): Promise<number[]> {
    const frames = await this.take(count)
    for (const frame of frames) {
      if (frame.type !== type) throw new Error(`got frame 0x${frame.type.toString(16)} among acks`)
    }
    return frames.map((frame) => frame.body.readUInt16BE(0))
  }

  /** Resolves when the peer has answered a PINGREQ: everything sent before was read by then. */
  async roundTrip(): Promise<void> {
    const before = this.inbox.length
    this.send(packet.pingreq())
    await this.until(() => this.inbox.slice(before).some(({ type }) => type === TYPE.PINGRESP))
    const at = this.inbox.findIndex(({ type }, index) => index >= before && type === TYPE.PINGRESP)
    this.inbox.splice(at, 1)
  }

  async closed(timeoutMs = 10_000): Promise<void> {
    await this.#wait(() => this.isClosed, timeoutMs, false)
  }

  async until(condition: () => boolean, timeoutMs = 10_000): Promise<void> {
    await this.#wait(condition, timeoutMs, true)
  }

  /** Cuts the connection without a word. */
  cut(): void {
    this.socket.destroy()
  }

  async end(): Promise<void> {
    this.send(packet.disconnect())
    await this.closed()
  }

  async #wait(condition: () => boolean, timeoutMs: number, failsOnClose: boolean): Promise<void> {
    const endMs = performance.now() + timeoutMs
    while (!condition()) {
      if (failsOnClose && this.isClosed) throw new Error('the connection was closed')
      const leftMs = endMs - performance.now()
      if (leftMs <= 0) {
        const seen = this.inbox.map(({ type }) => type.toString(16)).join(' ')
        throw new Error(`nothing came in ${timeoutMs} ms; frames: ${seen}`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(done, leftMs)
        const waiters = this.#waiters
        function done(): void {
          clearTimeout(timer)
          waiters.delete(done)
          resolve()
        }
        waiters.add(done)
      })
    }
  }

  #wake(): void {
    for (const waiter of this.#waiters) waiter()
  }

  #cut(): void {
    for (;;) {
      const bytes = this.#pending
      if (bytes.length < 2) return
      let length = 0
      let at = 1
      for (let shift = 0; ; shift += 7) {
        if (at >= bytes.length) return
        const byte = bytes[at]!
        at += 1
        length += (byte & 127) * 2 ** shift
        if (byte < 128) break
      }
      if (bytes.length < at + length) return
      const whole = bytes.subarray(0, at + length)
      const first = whole[0]!
      if (!FROM_SERVER.has(first & 0xf0))
        throw new Error(`no server frame begins with 0x${first.toString(16)}`)
      this.inbox.push({
        type: first & 0xf0,
        flags: first & 15,
        body: whole.subarray(at),
        bytes: whole,
      })
      this.#pending = bytes.subarray(at + length)
    }
  }
}

const FROM_SERVER: ReadonlySet<number> = new Set(Object.values(TYPE))

/** Topic, payload and packet id of a PUBLISH that a subscriber got. */
export function readPublish(frame: RawFrame): {
  topic: string
  payload: string
  id: number
  qos: number
} {
  const topicEnd = 2 + frame.body.readUInt16BE(0)
  const qos = (frame.flags >> 1) & 3
  const id = qos > 0 ? frame.body.readUInt16BE(topicEnd) : 0
  const payload = frame.body.subarray(qos > 0 ? topicEnd + 2 : topicEnd).toString()
  return { topic: frame.body.subarray(2, topicEnd).toString(), payload, id, qos }
}
