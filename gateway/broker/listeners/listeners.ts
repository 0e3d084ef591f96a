/**
 * The doors: TCP, TLS and WebSocket listeners. Each accepted connection becomes an {@link Inbound}
 * stream of MQTT bytes; what MQTT does with it is the gate's business.
 *
 * Owns: who may listen where (`listener-policy.ts`), the limit of connections, enforced at accept
 * over all listeners (I6), the time until a connection is an MQTT stream, certificates and their
 * renewal without dropping a session. Every listener starts, or none does.
 */
import { once } from 'node:events'
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer, TLSSocket, type Server as TlsServer } from 'node:tls'
import { isClockSet } from '../../shared/clock.ts'
import { errorMessage } from '../../shared/errors.ts'
import { FILE_POLL_INTERVAL_MS, FileWatch } from '../../shared/file-watch.ts'
import type { ListenerConfig, MqttConfig } from '../config.ts'
import { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent, HandshakeFailure } from '../events.ts'
import { createListenerStats, type ListenerStats } from '../stats.ts'
import { admittedAddress, authOf, listenFault, nameOf } from './listener-policy.ts'
import {
  type Certificates,
  certificateFiles,
  clientCertificate,
  readCertificates,
  serverOptions,
} from './listener-tls.ts'
import type { WebSocketDoorOptions } from './websocket-upgrade.ts'
import { tlsFailure } from './wrong-protocol.ts'

export interface Inbound {
  /**
   * Bytes of MQTT. A `net.Socket`, a `tls.TLSSocket` or a WebSocketDuplex; all have
   * `destroySoon()`.
   */
  readonly stream: Duplex
  readonly listener: ListenerConfig
  readonly remoteAddress: string
  /** Common name of the client's verified certificate; null without one. */
  readonly certificateSubject: string | null
}

export interface Listeners {
  readonly addresses: readonly {
    readonly host: string
    readonly port: number
    readonly tls: boolean
    readonly websocket: boolean
  }[]
  readonly stats: Readonly<ListenerStats>
  /** New connections are refused from now on; those that are MQTT streams go on. */
  pause(): void
  /** Reads the certificates anew; one that cannot be used changes nothing. */
  reread(): Promise<void>
  /** Stops listening and destroys every connection that is left. */
  close(): Promise<void>
}

export interface ListenerOptions {
  /** How often certificate files are looked at, ms. @default FILE_POLL_INTERVAL_MS */
  readonly filePollMs?: number
  /**
   * Does the wall clock tell the time? While it does not, dates of client certificates are not
   * judged.
   */
  readonly isClockSet?: () => boolean
}

/** Request line and headers of an upgrade; browsers send cookies. */
const MAX_HTTP_HEADER_BYTES = 16 * 1024

/** TCP keepalive: a peer that is gone without a word is noticed even if its MQTT keepalive is 0. */
const TCP_KEEPALIVE_MS = 60_000

/**
 * Starts every listener of the configuration, or none: then the error is a `ListenerError` that
 * names the listener and what to do. `onConnection` must attach to the stream at once. Order of
 * addresses: that of the configuration.
 */
export async function startListeners(
  config: MqttConfig,
  onConnection: (connection: Inbound) => void,
  emit: EmitBrokerEvent,
  options: ListenerOptions = {},
): Promise<Listeners> {
  const shared = new Shared(config, onConnection, emit, options)
  const addresses = await Promise.all(
    config.listeners.map((_, index) => admittedAddress(config, index)),
  )
  const doors: Door[] = []
  try {
    for (const [index, listener] of config.listeners.entries()) {
      doors.push(await Door.prepare(shared, listener, index))
    }
    for (const [index, door] of doors.entries()) await door.listen(addresses[index] ?? '')
  } catch (error) {
    await Promise.all(doors.map((door) => door.close()))
    throw error
  }
  for (const door of doors) emit({ type: 'broker.listening', ...door.address })
  return {
    addresses: doors.map((door) => door.address),
    stats: shared.stats,
    pause: () => {
      for (const door of doors) door.pause()
    },
    reread: async () => {
      for (const door of doors) await door.reread()
    },
    close: async () => {
      await Promise.all(doors.map((door) => door.close()))
    },
  }
}

/** What all doors of a gateway have in common. */
class Shared {
  readonly config: MqttConfig
  readonly onConnection: (connection: Inbound) => void
  readonly emit: EmitBrokerEvent
  readonly options: ListenerOptions
  readonly stats: ListenerStats = createListenerStats()
  readonly damper = new EventDamper()
  /** Open connections by remote address. */
  readonly byAddress = new Map<string, number>()

  constructor(
    config: MqttConfig,
    onConnection: (connection: Inbound) => void,
    emit: EmitBrokerEvent,
    options: ListenerOptions,
  ) {
    this.config = config
    this.onConnection = onConnection
    this.emit = emit
    this.options = options
  }
}

/** A connection that is not an MQTT stream yet. */
interface Handshake {
  readonly socket: Socket
  readonly timer: NodeJS.Timeout
  /** Reported; what the servers say while the socket goes down is an echo. */
  failed: boolean
}

class Door {
  readonly #shared: Shared
  readonly #listener: ListenerConfig
  readonly #name: string
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  /**
   * By remote address and port: TLS and HTTP servers hand out other objects than the socket they
   * were given.
   */
  readonly #handshakes = new Map<string, Handshake>()
  #receive: (socket: Socket) => void = (socket) => this.#deliver(socket, socket, null)
  /** Without a certificate there is nothing to read. */
  reread: () => Promise<void> = async () => undefined
  #watch: FileWatch | null = null
  #authorities: Certificates['authorities'] = []
  #closing: Promise<void> | null = null
  #address: Listeners['addresses'][number] | null = null

  private constructor(shared: Shared, listener: ListenerConfig, index: number) {
    this.#shared = shared
    this.#listener = listener
    this.#name = nameOf(listener, index)
    this.#server = createServer({
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEPALIVE_MS,
    })
    this.#server.on('connection', (socket) => this.#accept(socket))
  }

  /** Reads certificates; nothing listens yet. */
  static async prepare(shared: Shared, listener: ListenerConfig, index: number): Promise<Door> {
    const door = new Door(shared, listener, index)
    await door.#build()
    return door
  }

  get address(): Listeners['addresses'][number] {
    if (this.#address === null) throw new Error(`${this.#name} does not listen`)
    return this.#address
  }

  async listen(address: string): Promise<void> {
    try {
      this.#server.listen(this.#listener.port, address)
      await once(this.#server, 'listening')
    } catch (error) {
      throw listenFault(this.#name, error as NodeJS.ErrnoException)
    }
    const { address: host, port } = this.#server.address() as AddressInfo
    this.#address = {
      host,
      port,
      tls: this.#listener.tls !== null,
      websocket: this.#listener.websocket,
    }
    this.#server.on('error', (error) => {
      const suppressed = this.#shared.damper.pass(`listener ${this.#name}`)
      if (suppressed === null) return
      this.#shared.emit({
        type: 'broker.listener-error',
        listener: this.#name,
        message: error.message,
      })
    })
  }

  pause(): void {
    this.#closing ??= this.#stopListening()
    for (const handshake of this.#handshakes.values()) {
      handshake.failed = true
      handshake.socket.destroy()
    }
  }

  async close(): Promise<void> {
    this.pause()
    this.#watch?.close()
    for (const socket of this.#sockets) socket.destroy()
    await this.#closing
  }

  async #stopListening(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }

  async #build(): Promise<void> {
    const { tls, websocket } = this.#listener
    if (tls === null) {
      if (!websocket) return
      const http = createHttpServer({ maxHeaderSize: MAX_HTTP_HEADER_BYTES })
      await this.#openWebSockets(http)
      this.#receive = (socket) => this.#shake(socket, () => http.emit('connection', socket))
      return
    }
    let server: TlsServer | null = null
    const pollMs = this.#shared.options.filePollMs ?? FILE_POLL_INTERVAL_MS
    this.reread = async () => {
      if (server !== null) await this.#renew(server)
    }
    this.#watch = new FileWatch(certificateFiles(tls), () => this.reread(), pollMs)
    let certificates: Awaited<ReturnType<typeof readCertificates>>
    try {
      certificates = await readCertificates(tls, this.#name)
    } catch (error) {
      this.#watch.close()
      throw error
    }
    this.#authorities = certificates.authorities
    const options = serverOptions(tls, certificates)
    if (websocket) {
      const https = createHttpsServer({ ...options, maxHeaderSize: MAX_HTTP_HEADER_BYTES })
      await this.#openWebSockets(https)
      server = https
    } else {
      server = createTlsServer(options, (socket) => this.#admit(socket, socket))
    }
    const secure = server
    secure.on('tlsClientError', (error, socket) => {
      this.#fail(socket, 'tls', tlsFailure(error))
      socket.destroy()
    })
    this.#receive = (socket) => this.#shake(socket, () => secure.emit('connection', socket))
    const { validTo } = certificates
    this.#shared.emit({ type: 'broker.certificate-loaded', listener: this.#name, validTo })
  }

  /** Loaded where a listener asks for it. */
  async #openWebSockets(http: HttpServer): Promise<void> {
    const { openWebSocketDoor } = await import('./websocket-upgrade.ts')
    const options: WebSocketDoorOptions = {
      limits: this.#shared.config,
      // A browser sends a client certificate by itself, so one says nothing about the page.
      anonymous: (authOf(this.#shared.config, this.#listener)?.passwordFile ?? null) === null,
      onStream: (stream, socket) => this.#admit(stream, socket),
      onRefused: (socket, message) => this.#fail(socket, 'websocket', message),
    }
    openWebSocketDoor(http, options)
  }

  /** New files for new connections; a renewal that cannot be used changes nothing. */
  async #renew(server: TlsServer): Promise<void> {
    const { tls } = this.#listener
    if (tls === null) return
    try {
      const { authorities, context, validTo } = await readCertificates(tls, this.#name)
      server.setSecureContext(context)
      this.#authorities = authorities
      this.#shared.emit({ type: 'broker.certificate-loaded', listener: this.#name, validTo })
    } catch (error) {
      const message = errorMessage(error)
      this.#shared.emit({ type: 'broker.certificate-refused', listener: this.#name, message })
    }
  }

  #accept(socket: Socket): void {
    const { stats, config, byAddress } = this.#shared
    stats.accepted += 1
    // Nothing that an outsider does to a socket may end the process, whoever listens to it at the
    // moment.
    socket.on('error', ignore)
    const address = socket.remoteAddress
    const fromAddress = byAddress.get(address ?? '') ?? 0
    const perAddress = config.maxConnectionsPerAddress ?? Number.POSITIVE_INFINITY
    if (stats.open >= config.maxConnections) {
      this.#refuse(socket, 'maxConnections', '')
      return
    }
    if (fromAddress >= perAddress) {
      this.#refuse(socket, 'maxConnectionsPerAddress', address ?? '')
      return
    }
    if (address === undefined) {
      socket.destroy()
      return
    }
    stats.open += 1
    byAddress.set(address, fromAddress + 1)
    this.#sockets.add(socket)
    socket.once('close', () => {
      stats.open -= 1
      const left = (byAddress.get(address) ?? 1) - 1
      if (left > 0) byAddress.set(address, left)
      else byAddress.delete(address)
      this.#sockets.delete(socket)
    })
    this.#receive(socket)
  }

  /** `key`: of events that are told together, beside the limit. */
  #refuse(socket: Socket, limit: 'maxConnections' | 'maxConnectionsPerAddress', key: string): void {
    const { byAddress, damper, emit, stats } = this.#shared
    stats.refusedAtLimit += 1
    const address = socket.remoteAddress ?? ''
    socket.destroy()
    const suppressed = damper.pass(`connection-refused ${limit} ${key}`)
    if (suppressed === null) return
    let most = { address: '', connections: 0 }
    for (const [one, connections] of byAddress) {
      if (connections > most.connections) most = { address: one, connections }
    }
    emit({
      type: 'broker.connection-refused',
      limit,
      address,
      openConnections: stats.open,
      most,
      suppressed,
    })
  }

  /**
   * Until the connection is an MQTT stream it has `connectTimeout`; from then on the gate has its
   * own timer.
   */
  #shake(socket: Socket, begin: () => void): void {
    const key = peerOf(socket)
    const timer = setTimeout(() => {
      this.#fail(socket, 'timeout', 'the handshake took too long')
      socket.destroy()
    }, this.#shared.config.connectTimeout)
    this.#handshakes.set(key, { socket, timer, failed: false })
    socket.once('close', () => {
      if (this.#handshakes.get(key)?.socket === socket) this.#endHandshake(key)
    })
    begin()
  }

  #endHandshake(key: string): void {
    const handshake = this.#handshakes.get(key)
    if (handshake === undefined) return
    clearTimeout(handshake.timer)
    this.#handshakes.delete(key)
  }

  /** The handshake is done; `socket` is what the stream runs on. */
  #admit(stream: Duplex, socket: Duplex): void {
    socket.on('error', ignore)
    const { tls } = this.#listener
    if (tls === null || !(socket instanceof TLSSocket)) {
      this.#deliver(stream, socket as Socket, null)
      return
    }
    const isClockSet = (this.#shared.options.isClockSet ?? clockIsSet)()
    const certificate = clientCertificate(socket, tls, this.#authorities, isClockSet)
    if (certificate.ok) {
      if (certificate.isUndated) this.#countUndated(certificate.subject ?? '')
      this.#deliver(stream, socket, certificate.subject)
      return
    }
    this.#fail(socket, 'client-certificate', certificate.reason)
    stream.destroy()
    socket.destroy()
  }

  #countUndated(subject: string): void {
    const { stats, damper, emit } = this.#shared
    stats.undatedCertificates += 1
    const suppressed = damper.pass(`undated ${this.#name}`)
    if (suppressed !== null)
      emit({ type: 'broker.certificate-undated', listener: this.#name, subject, suppressed })
  }

  #deliver(stream: Duplex, socket: Socket, certificateSubject: string | null): void {
    const { remoteAddress } = socket
    this.#endHandshake(peerOf(socket))
    stream.on('error', ignore)
    if (remoteAddress === undefined || socket.destroyed) {
      stream.destroy()
      return
    }
    this.#shared.onConnection({
      stream,
      listener: this.#listener,
      remoteAddress,
      certificateSubject,
    })
  }

  /** The timer goes on: it ends a socket that does not go down by itself. */
  #fail(socket: Duplex, kind: HandshakeFailure, message: string): void {
    const { stats, damper, emit } = this.#shared
    const handshake = this.#handshakes.get(peerOf(socket as Socket))
    if (handshake === undefined || handshake.failed) return
    handshake.failed = true
    stats.handshakesFailed += 1
    const address = handshake.socket.remoteAddress ?? ''
    const suppressed = damper.pass(`${kind} ${address}`)
    if (suppressed === null) return
    emit({
      type: 'broker.handshake-failed',
      kind,
      listener: this.#name,
      address,
      message,
      suppressed,
    })
  }
}

function peerOf(socket: Socket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}

function clockIsSet(): boolean {
  return isClockSet(Date.now())
}

function ignore(): void {}
