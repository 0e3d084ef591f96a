/**
 * A small client of MQTT 3.1.1 and 5 over a real socket that shows each frame it gets and sends
 * whatever it is told, whole, cut or broken. It answers nothing by itself. A packet with
 * `properties` is one of version 5, without them one of 3.1.1.
 */
import { once } from 'node:events'
import { createConnection, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import {
  type Level,
  type RawFrame,
  REASON,
  readAck,
  readConnack,
  reasonText,
  TYPE,
} from './mqtt-answers.ts'
import {
  encodeProperties,
  encodeText,
  encodeU16,
  encodeVarint,
  type Properties,
} from './mqtt-properties.ts'

export { type RawFrame, TYPE } from './mqtt-answers.ts'

export interface ConnectFields {
  readonly clientId?: string
  readonly clean?: boolean
  readonly keepAlive?: number
  readonly protocol?: string
  readonly level?: number
  readonly will?: {
    topic: string
    payload: string
    qos?: number
    retain?: boolean
    properties?: Properties
  }
  readonly username?: string
  readonly password?: string
  /** @default none, which at level 5 is an empty list */
  readonly properties?: Properties
}

export interface PublishFields {
  readonly qos?: 0 | 1 | 2
  readonly id?: number
  readonly dup?: boolean
  readonly retain?: boolean
  readonly properties?: Properties
  /** 5: of that version also without `properties`. */
  readonly level?: Level
}

/** Of an ack or a DISCONNECT of version 5. */
export interface ReasonFields {
  readonly code: number
  readonly properties?: Properties
}

export function encodeFrame(first: number, ...parts: Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.of(first), encodeVarint(body.length), body])
}

/** Nothing in 3.1.1. */
function propertyBytes(properties: Properties | undefined): Buffer[] {
  return properties === undefined ? [] : [encodeProperties(properties)]
}

function reasonBytes(reason: ReasonFields | undefined): Buffer[] {
  if (reason === undefined) return []
  return [Buffer.of(reason.code), ...propertyBytes(reason.properties)]
}

/** Of a CONNECT whose session goes on and outlives the connection; 3.1.1 cannot say for how long. */
export function lastingSession(level: Level, expirySeconds: number): ConnectFields {
  if (level === 4) return { level, clean: false }
  return { level, clean: false, properties: { sessionExpiryInterval: expirySeconds } }
}

/** Encoded packets of a client. */
export const packet = {
  connect(fields: ConnectFields = {}): Buffer {
    const { clientId = '', clean = true, keepAlive = 0, protocol = 'MQTT', level = 4 } = fields
    const { will, username, password } = fields
    const own = (properties: Properties | undefined): Buffer[] =>
      level === 5 ? [encodeProperties(properties ?? {})] : propertyBytes(properties)
    let flags = clean ? 2 : 0
    const parts = [...own(fields.properties), encodeText(clientId)]
    if (will !== undefined) {
      flags |= 4 | ((will.qos ?? 0) << 3) | (will.retain ? 32 : 0)
      parts.push(...own(will.properties), encodeText(will.topic), encodeText(will.payload))
    }
    if (username !== undefined) {
      flags |= 128
      parts.push(encodeText(username))
    }
    if (password !== undefined) {
      flags |= 64
      parts.push(encodeText(password))
    }
    const head = [encodeText(protocol), Buffer.of(level, flags), encodeU16(keepAlive)]
    return encodeFrame(0x10, ...head, ...parts)
  },
  publish(topic: string | Buffer, payload: string | Buffer, fields: PublishFields = {}): Buffer {
    const { qos = 0, id, dup = false, retain = false, level = 4 } = fields
    const properties = fields.properties ?? (level === 5 ? {} : undefined)
    const first = 0x30 | (dup ? 8 : 0) | (qos << 1) | (retain ? 1 : 0)
    return encodeFrame(
      first,
      encodeText(topic),
      ...(qos > 0 ? [encodeU16(id ?? 1)] : []),
      ...propertyBytes(properties),
      Buffer.from(payload as string),
    )
  },
  ack: (type: number, id: number, reason?: ReasonFields): Buffer =>
    encodeFrame(type, encodeU16(id), ...reasonBytes(reason)),
  pubrel: (id: number, reason?: ReasonFields): Buffer =>
    encodeFrame(0x62, encodeU16(id), ...reasonBytes(reason)),
  /** Each filter with its options byte, which in 3.1.1 is the QoS. */
  subscribe: (
    id: number,
    filters: readonly (readonly [string, number])[],
    properties?: Properties,
  ): Buffer =>
    encodeFrame(
      0x82,
      encodeU16(id),
      ...propertyBytes(properties),
      ...filters.flatMap(([filter, options]) => [encodeText(filter), Buffer.of(options)]),
    ),
  unsubscribe: (id: number, filters: readonly string[], properties?: Properties): Buffer =>
    encodeFrame(
      0xa2,
      encodeU16(id),
      ...propertyBytes(properties),
      ...filters.map((filter) => encodeText(filter)),
    ),
  pingreq: (): Buffer => Buffer.of(0xc0, 0),
  disconnect: (reason?: ReasonFields): Buffer => encodeFrame(0xe0, ...reasonBytes(reason)),
}

/** Behind its CONNACK. */
type Granted = RawMqtt & { readonly sessionPresent: boolean; readonly granted: Properties }

const MAX_PACKET_ID = 65_535

export class RawMqtt {
  readonly socket: Socket
  readonly level: Level
  /** Frames that nobody has asked for yet. */
  readonly inbox: RawFrame[] = []
  /** Every byte that came. */
  receivedBytes = 0
  #pending: Buffer = Buffer.alloc(0)
  readonly #waiters = new Set<() => void>()
  isClosed = false

  private constructor(socket: Socket, level: Level) {
    this.socket = socket
    this.level = level
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

  /** `level`: of what it will send; 3.1.1 has no DISCONNECT from a server. */
  static async open(port: number, level: Level = 4): Promise<RawMqtt> {
    const socket = createConnection({ port, host: '127.0.0.1', noDelay: true })
    const client = new RawMqtt(socket, level)
    await once(socket, 'connect')
    return client
  }

  /** Over another way than TCP. */
  static over(stream: Duplex, level: Level): RawMqtt {
    return new RawMqtt(stream as Socket, level)
  }

  /** Connects and expects CONNACK 0; returns what it says with the client. */
  static async connect(port: number, fields: ConnectFields = {}): Promise<Granted> {
    const client = await RawMqtt.open(port, fields.level === 5 ? 5 : 4)
    return await client.begin(fields)
  }

  /** The same on a connection that is there. */
  async begin(fields: ConnectFields): Promise<Granted> {
    this.send(packet.connect(fields))
    const { sessionPresent, code, properties } = readConnack(
      await this.next(TYPE.CONNACK),
      this.level,
    )
    if (code !== 0) throw new Error(`CONNACK ${code}`)
    return Object.assign(this, { sessionPresent, granted: properties })
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

  /** Packet ids of the next `count` acks, each of this type, and none of a refusal. */
  async acks(count: number, type: number = TYPE.PUBACK): Promise<number[]> {
    const frames = await this.take(count)
    for (const frame of frames) {
      if (frame.type !== type) throw new Error(`got frame 0x${frame.type.toString(16)} among acks`)
    }
    return frames.map((frame) => {
      const { id, code } = readAck(frame, this.level)
      if (code >= REASON.UNSPECIFIED) throw new Error(`${id} is refused: ${reasonText(code)}`)
      return id
    })
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
      const type = first & 0xf0
      if (!FROM_SERVER.has(type) || (type === TYPE.DISCONNECT && this.level === 4))
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

/** Publishes at QoS 1, no more at one time than was granted; resolves behind the last PUBACK. */
export async function publishAll(
  client: Granted,
  topic: string,
  payloads: readonly string[],
): Promise<void> {
  const { level } = client
  const { receiveMaximum = MAX_PACKET_ID } = client.granted
  for (let at = 0; at < payloads.length; at += receiveMaximum) {
    const some = payloads.slice(at, at + receiveMaximum)
    const frames = some.map((payload, index) =>
      packet.publish(topic, payload, { qos: 1, id: index + 1, level }),
    )
    client.send(...frames)
    await client.acks(some.length)
  }
}

const FROM_SERVER: ReadonlySet<number> = new Set(Object.values(TYPE))

/** Topic, payload and packet id of a PUBLISH that a subscriber of 3.1.1 got. */
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
