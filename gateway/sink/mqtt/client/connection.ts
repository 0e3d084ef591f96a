/**
 * One connection to a broker: CONNECT and CONNACK, keepalive, packets in and out, its end. Hands
 * each acknowledgment to the exchange that is in progress. Does not reconnect, knows nothing of
 * batches.
 */
import type { Duplex } from 'node:stream'
import {
  generate,
  type IConnackPacket,
  type IConnectPacket,
  type IDisconnectPacket,
  type Packet,
  parser as packetParser,
} from 'mqtt-packet'
import { hideSecrets } from '../../../shared/text/hide-secrets.ts'
import { signatureIn } from '../../http/answers/hide-secrets.ts'
import { type Ending, NotConnected } from './ending.ts'

export type AckPacket = Extract<Packet, { readonly cmd: 'puback' | 'pubrec' | 'pubcomp' }>

/** Whoever waits for acknowledgments. */
export interface AckListener {
  onAcks(packets: readonly AckPacket[]): void
  onEnd(ending: Ending): void
}

/** What the broker allows on this connection. */
export interface Granted {
  readonly sessionPresent: boolean
  /** Most PUBLISHes without their last acknowledgment. */
  readonly receiveMaximum: number
  readonly maximumPacketBytes: number
}

interface ConnectionOptions {
  readonly connect: IConnectPacket
  /** What the configuration needs of it. */
  readonly needs: { readonly qos: 1 | 2; readonly retain: boolean }
  /** For CONNACK, and for a PINGRESP, ms. */
  readonly timeoutMs: number
}

/** Longer packets are none that a broker has for a client that subscribes to nothing. */
const MAX_PACKET_BYTES = 1024 * 1024

export class MqttConnection {
  readonly granted: Granted
  readonly openedAtMs = performance.now()
  readonly #wire: Wire
  readonly #timeoutMs: number
  #keepalive: NodeJS.Timeout | null = null
  #pingDeadline: NodeJS.Timeout | null = null
  #onPong: () => void = () => undefined
  #lastSentMs = performance.now()

  private constructor(
    wire: Wire,
    connack: IConnackPacket,
    { connect, timeoutMs }: ConnectionOptions,
  ) {
    this.#wire = wire
    this.#timeoutMs = timeoutMs
    const { properties } = connack
    this.granted = {
      sessionPresent: connack.sessionPresent,
      receiveMaximum: properties?.receiveMaximum ?? 65_535,
      maximumPacketBytes: properties?.maximumPacketSize ?? 268_435_455 + 5,
    }
    wire.onPong = () => this.#ponged()
    const seconds = properties?.serverKeepAlive ?? connect.keepalive ?? 0
    if (seconds > 0) this.#keepAlive(seconds * 1000)
  }

  /** @throws NotConnected */
  static async open(
    stream: Duplex,
    options: ConnectionOptions,
    signal: AbortSignal,
  ): Promise<MqttConnection> {
    const { connect, needs, timeoutMs } = options
    const wire = new Wire(stream, connect)
    const connack = await wire.firstPacket(generate(connect), timeoutMs, signal)
    const ending = faultOf(connack, needs, (reason) => wire.hide(reason))
    if (ending !== null) {
      wire.end(ending)
      throw new NotConnected(ending)
    }
    return new MqttConnection(wire, connack as IConnackPacket, options)
  }

  /** null: it is open. */
  get ending(): Ending | null {
    return this.#wire.ending
  }

  /** One exchange at a time; null: none. An end that was before is told at once. */
  set listener(listener: AckListener | null) {
    this.#wire.listener = listener
    const { ending } = this.#wire
    if (ending !== null && listener !== null) listener.onEnd(ending)
  }

  /** Of a connection that ends while no exchange is in progress. */
  set onIdleEnd(told: (ending: Ending) => void) {
    this.#wire.onIdleEnd = told
  }

  write(bytes: Uint8Array): void {
    this.#lastSentMs = performance.now()
    this.#wire.write(bytes)
  }

  /**
   * Between two exchanges: waits for the answer to a PINGREQ, or the end. What the broker had to send
   * at the beginning came before.
   */
  async ping(signal: AbortSignal): Promise<void> {
    const onAbort = (): void => this.destroy({ kind: 'given-up' })
    signal.addEventListener('abort', onAbort, { once: true })
    try {
      await new Promise<void>((resolve) => {
        this.#onPong = resolve
        this.listener = { onAcks: () => undefined, onEnd: () => resolve() }
        if (signal.aborted) onAbort()
        else if (this.#pingDeadline === null) this.#sendPing()
      })
    } finally {
      signal.removeEventListener('abort', onAbort)
      this.listener = null
    }
  }

  /** Ends it at once, without a word. */
  destroy(ending: Ending): void {
    this.#stopTimers()
    this.#wire.end(ending)
  }

  /** Says goodbye; what was written before leaves first. */
  close(): void {
    this.#stopTimers()
    this.#wire.goodbye()
  }

  #keepAlive(intervalMs: number): void {
    // A packet leaves in each interval, the spec's limit is one and a half.
    this.#keepalive = setInterval(() => {
      if (this.ending !== null) return this.#stopTimers()
      if (this.#pingDeadline !== null) return
      if (performance.now() - this.#lastSentMs < intervalMs / 2) return
      this.#sendPing()
    }, intervalMs / 2)
    this.#keepalive.unref()
  }

  #sendPing(): void {
    const timeoutMs = this.#timeoutMs
    this.write(generate({ cmd: 'pingreq' }))
    this.#pingDeadline = setTimeout(() => {
      this.destroy({ kind: 'silent', detail: `no answer to a PINGREQ for ${timeoutMs} ms` })
    }, timeoutMs)
    this.#pingDeadline.unref()
  }

  #ponged(): void {
    if (this.#pingDeadline !== null) clearTimeout(this.#pingDeadline)
    this.#pingDeadline = null
    this.#onPong()
  }

  #stopTimers(): void {
    if (this.#keepalive !== null) clearInterval(this.#keepalive)
    this.#keepalive = null
    this.#ponged()
  }
}

/** The stream with its parser. */
class Wire {
  ending: Ending | null = null
  listener: AckListener | null = null
  onPong: () => void = () => undefined
  onIdleEnd: (ending: Ending) => void = () => undefined
  readonly #stream: Duplex
  readonly #version: number
  /** Brokers may quote them. */
  readonly #secrets: readonly string[]
  readonly #parser: ReturnType<typeof packetParser>
  #acks: AckPacket[] = []
  #first: ((packet: Packet) => void) | null = null

  constructor(stream: Duplex, { protocolVersion: version = 4, password }: IConnectPacket) {
    this.#stream = stream
    this.#version = version
    const secret = password?.toString() ?? ''
    this.#secrets = [secret, ...signatureIn(secret)]
    this.#parser = packetParser({ protocolVersion: version })
    this.#parser.on('packet', (packet) => this.#take(packet))
    this.#parser.on('error', (error: Error) => {
      this.end({ kind: 'protocol', detail: `sent what is no MQTT packet: ${error.message}` })
    })
    stream.on('data', (chunk: Buffer) => this.#read(chunk))
    stream.on('error', (error) => this.end({ kind: 'network', error }))
    stream.on('end', () => this.end({ kind: 'closed' }))
    stream.on('close', () => this.end({ kind: 'closed' }))
  }

  /** A reason as messages may show it; null: none was given. */
  hide(reason: string | undefined): string | null {
    return reason === undefined ? null : hideSecrets(reason, this.#secrets)
  }

  /** Writes CONNECT and waits for the answer. @throws NotConnected */
  async firstPacket(connect: Buffer, timeoutMs: number, signal: AbortSignal): Promise<Packet> {
    let timer: NodeJS.Timeout | undefined
    const onAbort = (): void => this.end({ kind: 'given-up' })
    try {
      return await new Promise<Packet>((resolve, reject) => {
        this.#first = resolve
        this.listener = {
          onAcks: () => undefined,
          onEnd: (ending) => reject(new NotConnected(ending)),
        }
        signal.addEventListener('abort', onAbort, { once: true })
        if (signal.aborted) return onAbort()
        timer = setTimeout(() => {
          this.end({ kind: 'silent', detail: `no answer to CONNECT for ${timeoutMs} ms` })
        }, timeoutMs)
        this.write(connect)
      })
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
      this.listener = null
      this.#first = null
    }
  }

  write(bytes: Uint8Array): void {
    if (this.ending === null) this.#stream.write(bytes)
  }

  end(ending: Ending): void {
    if (this.ending !== null) return
    this.ending = ending
    this.#stream.destroy()
    if (this.listener === null) this.onIdleEnd(ending)
    else this.listener.onEnd(ending)
  }

  goodbye(): void {
    if (this.ending !== null) return
    this.write(generate({ cmd: 'disconnect', reasonCode: 0 }, { protocolVersion: this.#version }))
    this.ending = { kind: 'given-up' }
    this.#stream.end()
    this.#stream.resume()
    this.listener?.onEnd(this.ending)
  }

  #read(chunk: Buffer): void {
    if (this.ending !== null) return
    let left: number
    try {
      left = this.#parser.parse(chunk)
    } catch (error) {
      const detail = `sent what is no MQTT packet: ${(error as Error).message}`
      return this.end({ kind: 'protocol', detail })
    }
    const acks = this.#acks
    this.#acks = []
    if (acks.length > 0) this.listener?.onAcks(acks)
    if (left > MAX_PACKET_BYTES)
      this.end({ kind: 'protocol', detail: `sent a packet of more than ${MAX_PACKET_BYTES} bytes` })
  }

  #take(packet: Packet): void {
    if (this.#first !== null) {
      const first = this.#first
      this.#first = null
      return first(packet)
    }
    switch (packet.cmd) {
      case 'puback':
      case 'pubrec':
      case 'pubcomp':
        this.#acks.push(this.#told(packet))
        return
      case 'pingresp':
        return this.onPong()
      case 'disconnect':
        return this.#disconnected(packet)
      case 'publish': {
        const topic = JSON.stringify(this.hide(packet.topic))
        const detail = `sent a message on ${topic}: the session of this client id has subscriptions; choose a clientId that nothing else used`
        return this.end({ kind: 'protocol', detail })
      }
      default:
        this.end({ kind: 'protocol', detail: `sent ${packet.cmd.toUpperCase()}, unasked` })
    }
  }

  #told(packet: AckPacket): AckPacket {
    const reasonString = this.hide(packet.properties?.reasonString)
    if (reasonString === null) return packet
    return { ...packet, properties: { ...packet.properties, reasonString } }
  }

  #disconnected(packet: IDisconnectPacket): void {
    const acks = this.#acks
    this.#acks = []
    if (acks.length > 0) this.listener?.onAcks(acks)
    const reason = this.hide(packet.properties?.reasonString)
    this.end({ kind: 'disconnected', code: packet.reasonCode ?? 0, reason })
  }
}

function faultOf(
  packet: Packet,
  needs: ConnectionOptions['needs'],
  hide: Wire['hide'],
): Ending | null {
  if (packet.cmd !== 'connack')
    return { kind: 'protocol', detail: `answered CONNECT with ${packet.cmd.toUpperCase()}` }
  const code = packet.reasonCode ?? packet.returnCode ?? 0
  const { properties } = packet
  if (code !== 0) return { kind: 'refused', code, reason: hide(properties?.reasonString) }
  const maximumQoS = properties?.maximumQoS ?? 2
  if (maximumQoS < needs.qos)
    return { kind: 'unfit', detail: `takes QoS ${maximumQoS} at most, and qos is ${needs.qos}` }
  if (needs.retain && properties?.retainAvailable === false)
    return { kind: 'unfit', detail: 'takes no retained messages, and retain is set' }
  return null
}
