/**
 * One connection of one device: an mqtt.js client that lives exactly as long as its socket. Packet
 * ids and what is to be sent again are the device's business (device.ts); here is only how mqtt.js
 * is made to do it.
 *
 * mqtt.js (5.16, read in its source) can reconnect and resend by itself, but not as a device must:
 * it repeats one packet at a time, each waiting for its ack; it does not count what it sends against
 * the gateway's Receive Maximum; it repeats a PUBLISH without DUP
 * [MQTT-3.3.1-1]; a PUBREL that it could not send waits in another queue than its PUBLISH, and both
 * go out after the reconnect, so a QoS 2 message can be given twice. Hence a new client per
 * connection, with `reconnectPeriod: 0`, a store that keeps nothing and a provider that hands out
 * the id the device chose.
 */
import type { Duplex } from 'node:stream'
import { connect, type IClientOptions, type MqttClient, type Packet, Store } from 'mqtt'
import type { Qos } from '../ledger/ledger.ts'
import type { Dialect } from './dialect.ts'

export type PacketName =
  | 'connect'
  | 'connack'
  | 'publish'
  | 'puback'
  | 'pubrec'
  | 'pubrel'
  | 'pubcomp'
  | 'other'

/** What CONNACK said. */
export interface Granted {
  readonly sessionPresent: boolean
  /** Unacknowledged readings at one time [MQTT-3.3.4-7]; Infinity in 3.1.1, which knows no limit. */
  readonly receiveMaximum: number
  /** How long the session outlives its connection, where the gateway says another time than asked. */
  readonly sessionExpirySeconds: number | null
}

/** The word that settles a message, or a PUBREC that ends it. In 3.1.1 the code is 0. */
export interface Answer {
  readonly packet: 'puback' | 'pubrec' | 'pubcomp'
  readonly code: number
}

export interface LinkEvents {
  onUp(granted: Granted): void
  /** Once; nothing comes after it. `refused`: CONNACK said no. */
  onDown(reason: {
    readonly error: string | null
    readonly wasUp: boolean
    readonly refused: boolean
  }): void
  /** PUBACK, PUBCOMP, or a PUBREC of 0x80 and above. */
  onAck(id: number, answer: Answer): void
  /**
   * PUBREC came, and the PUBREL is about to be written: from here on the PUBLISH must not be
   * repeated.
   */
  onRelease(id: number, code: number): void
  /** The gateway said with a DISCONNECT why it ends the connection. */
  onFarewell(code: number): void
  /** A PUBLISH is about to be written whose topic is an alias. */
  onAlias(): void
  /** A packet is about to be written, or was read and is about to be handled. */
  onPacket(direction: 'in' | 'out', name: PacketName): void
}

export interface LinkOptions {
  readonly url: string
  readonly clientId: string
  readonly dialect: Dialect
  readonly clean: boolean
  /** Of version 5, and not with `clean`. */
  readonly sessionExpirySeconds: number
  readonly keepaliveSeconds: number
  readonly connectTimeoutMs: number
  readonly login: { readonly username: string; readonly password: string } | null
  readonly tls: {
    readonly ca: Buffer | null
    readonly cert: Buffer | null
    readonly key: Buffer | null
    readonly verify: boolean
  }
}

const PACKET_NAMES: ReadonlySet<string> = new Set<PacketName>([
  'connect',
  'connack',
  'publish',
  'puback',
  'pubrec',
  'pubrel',
  'pubcomp',
])

/** What is published. */
interface Message {
  readonly n: number
  readonly topic: string
  readonly payload: Buffer
}

/** Where CONNACK says nothing [MQTT-3.2.2.3.3]. */
const MAX_RECEIVE_MAXIMUM = 65_535

/** Keeps nothing, so that mqtt.js repeats nothing; sees every PUBREL just before it is written. */
class ForgetfulStore extends Store {
  readonly #onRelease: (id: number) => void

  constructor(onRelease: (id: number) => void) {
    super()
    this.#onRelease = onRelease
  }

  override put(packet: Parameters<Store['put']>[0], done: Parameters<Store['put']>[1]): this {
    if (packet.cmd === 'pubrel' && packet.messageId !== undefined) this.#onRelease(packet.messageId)
    done()
    return this
  }

  override del(_packet: unknown, done: Parameters<Store['del']>[1]): this {
    done()
    return this
  }
}

export class Link {
  readonly #client: MqttClient
  readonly #events: LinkEvents
  /** True: whatever this connection still does, the device does not hear of it. */
  #deaf = false
  #up = false
  #refused = false
  #lastError: string | null = null
  #nextId = 1
  readonly #dialect: Dialect
  /** The ack that is being handled. */
  #answer: Answer = { packet: 'puback', code: 0 }

  constructor(options: LinkOptions, events: LinkEvents) {
    this.#events = events
    this.#dialect = options.dialect
    this.#client = connect(options.url, this.#clientOptions(options))
    this.#client.on('connect', ({ sessionPresent, properties }) => {
      this.#up = true
      if (this.#deaf) return
      const is5 = options.dialect.protocol === '5'
      events.onUp({
        sessionPresent,
        receiveMaximum: is5
          ? (properties?.receiveMaximum ?? MAX_RECEIVE_MAXIMUM)
          : Number.POSITIVE_INFINITY,
        sessionExpirySeconds: properties?.sessionExpiryInterval ?? null,
      })
    })
    this.#client.on('disconnect', ({ reasonCode }) => {
      if (!this.#deaf) events.onFarewell(reasonCode ?? 0)
    })
    this.#client.on('error', (error) => {
      this.#lastError = error.message === '' ? errorCode(error) : error.message
      this.#refused ||= error.message.startsWith('Connection refused:')
    })
    this.#client.on('close', () => this.#down())
    this.#client.on('packetsend', (packet) => {
      if (packet.cmd === 'publish' && packet.topic === '') events.onAlias()
      if (!this.#deaf) events.onPacket('out', packetName(packet.cmd))
    })
    this.#client.on('packetreceive', (packet) => {
      this.#answer = answerOf(packet) ?? this.#answer
      if (!this.#deaf) events.onPacket('in', packetName(packet.cmd))
    })
  }

  get isUp(): boolean {
    return this.#up && !this.#deaf
  }

  /** CONNACK came once. */
  get wasUp(): boolean {
    return this.#up
  }

  publish(id: number, { n, topic, payload }: Message, qos: Qos, dup: boolean): void {
    this.#nextId = id
    const properties = this.#dialect.usesProperties
      ? { contentType: 'application/json', userProperties: { reading: String(n), firmware: '2.4' } }
      : {}
    const options = { qos, dup, ...(this.#dialect.protocol === '5' ? { properties } : {}) }
    this.#client.publish(topic, payload, options, (error) => this.#acked(id, error))
  }

  /** Sends PUBREL again, for a message whose PUBREC came over an earlier connection. */
  release(id: number): void {
    this.#client.outgoing[id] = {
      volatile: false,
      cmd: 'publish',
      cb: (error: Error | undefined) => this.#acked(id, error),
    }
    this.#events.onPacket('out', 'pubrel')
    this.#stream.write(Buffer.from([0x62, 2, id >> 8, id & 0xff]))
  }

  /**
   * Cuts the connection as a pulled cable with a reset does. The device hears nothing of it, nor of
   * acks on their way.
   */
  cut(): void {
    this.#deaf = true
    this.#stream.destroy()
  }

  /**
   * Half-open from now on: nothing is read or written any more, nothing is closed. Ends with `cut`.
   */
  freeze(): void {
    this.#deaf = true
    this.#client.keepaliveManager?.destroy()
    this.#stream.unpipe()
    this.#stream.pause()
    this.#stream.cork()
  }

  /** DISCONNECT and close; hard when that takes longer than `timeoutMs`. */
  async end(timeoutMs = 2000): Promise<void> {
    const gently = this.isUp
    this.#deaf = true
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.#stream.destroy(), timeoutMs)
      const done = (): void => {
        clearTimeout(timer)
        resolve()
      }
      if (this.#stream.closed) {
        done()
        return
      }
      this.#stream.once('close', done)
      // Unanswered messages would make a gentle end wait for them.
      if (gently) this.#stream.end(Buffer.from([0xe0, 0]))
      else this.#stream.destroy()
    })
  }

  get #stream(): Duplex {
    return this.#client.stream as Duplex
  }

  #acked(id: number, error: Error | undefined | null): void {
    // Without a reason code of the gateway it is mqtt.js that gives up: nothing was said.
    const isSaid = error === undefined || error === null || isReason(error)
    if (!this.#deaf && isSaid) this.#events.onAck(id, this.#answer)
  }

  #down(): void {
    const deaf = this.#deaf
    this.#deaf = true
    if (!deaf) {
      this.#events.onDown({ error: this.#lastError, wasUp: this.#up, refused: this.#refused })
    }
  }

  #clientOptions(options: LinkOptions): IClientOptions {
    const { login, tls, dialect } = options
    return {
      ...dialectOptions(options),
      clientId: options.clientId,
      clean: options.clean,
      keepalive: options.keepaliveSeconds,
      connectTimeout: options.connectTimeoutMs,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      autoAssignTopicAlias: dialect.usesAliases,
      outgoingStore: new ForgetfulStore((id) => {
        if (!this.#deaf) this.#events.onRelease(id, this.#answer.code)
      }),
      messageIdProvider: {
        allocate: () => this.#nextId,
        getLastAllocated: () => this.#nextId,
        register: () => true,
        deallocate: () => undefined,
        clear: () => undefined,
      },
      rejectUnauthorized: tls.verify,
      ...(login === null ? {} : { username: login.username, password: login.password }),
      ...(tls.ca === null ? {} : { ca: tls.ca }),
      ...(tls.cert === null ? {} : { cert: tls.cert }),
      ...(tls.key === null ? {} : { key: tls.key }),
    }
  }
}

function dialectOptions({ dialect, clean, sessionExpirySeconds }: LinkOptions): IClientOptions {
  if (dialect.protocol === '3.1.1') return { protocolVersion: 4 }
  const sessionExpiryInterval = clean ? 0 : sessionExpirySeconds
  return { protocolVersion: 5, properties: { sessionExpiryInterval } }
}

function answerOf(packet: Packet): Answer | null {
  if (packet.cmd !== 'puback' && packet.cmd !== 'pubrec' && packet.cmd !== 'pubcomp') return null
  return { packet: packet.cmd, code: packet.reasonCode ?? 0 }
}

/** mqtt.js makes an error of a reason code; its own errors have a text, or none. */
function isReason(error: Error): boolean {
  return 'code' in error && typeof error.code === 'number'
}

function packetName(cmd: string | undefined): PacketName {
  return cmd !== undefined && PACKET_NAMES.has(cmd) ? (cmd as PacketName) : 'other'
}

function errorCode(error: Error): string {
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name
}
