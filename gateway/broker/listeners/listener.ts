/**
 * One listener: its server, what stands between a socket and a stream of MQTT bytes (a PROXY header,
 * TLS, a client certificate, a WebSocket upgrade), and its end. Certificates are renewed without dropping a
 * session.
 */
import { once } from 'node:events'
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer, TLSSocket, type Server as TlsServer } from 'node:tls'
import { isClockSet } from '../../shared/clock.ts'
import { FILE_POLL_INTERVAL_MS } from '../../shared/file-watch.ts'
import type { ListenerConfig, MqttConfig, ServerTlsConfig } from '../config.ts'
import type { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent } from '../events.ts'
import type { ListenerStats } from '../stats.ts'
import type { ConnectionLimits } from './connection-limits.ts'
import { Handshakes } from './handshakes.ts'
import type { Inbound } from './inbound.ts'
import { authOf, listenFault, nameOf } from './listener-policy.ts'
import { clientCertificate, RenewedCertificates } from './listener-tls.ts'
import { Proxies } from './proxy/proxies.ts'
import { tlsFailure } from './wrong-protocol.ts'

export interface ListenerOptions {
  /** How often certificate files are looked at, ms. @default FILE_POLL_INTERVAL_MS */
  readonly filePollMs?: number
  /**
   * Does the wall clock tell the time? While it does not, dates of client certificates are not
   * judged.
   */
  readonly isClockSet?: () => boolean
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] }

/** What all listeners have in common. */
export interface ListenerContext {
  readonly config: MqttConfig
  readonly onConnection: (connection: Inbound) => void
  readonly emit: EmitBrokerEvent
  readonly options: ListenerOptions
  readonly stats: ListenerStats
  readonly damper: EventDamper
  readonly limits: ConnectionLimits
}

export interface ListenerAddress {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  readonly websocket: boolean
}

/** Request line and headers of an upgrade; browsers send cookies. */
const MAX_HTTP_HEADER_BYTES = 16 * 1024

/** TCP keepalive: a peer that is gone without a word is noticed even if its MQTT keepalive is 0. */
const TCP_KEEPALIVE_MS = 60_000

export class Listener {
  readonly #context: ListenerContext
  /** What its connections are judged by: one object for as long as there are any. */
  readonly #config: Mutable<ListenerConfig>
  readonly #name: string
  #server: Server
  /** Those that came before `open`; null: it is open. */
  #early: Socket[] | null = []
  readonly #handshakes: Handshakes
  /** null: devices connect themselves. */
  readonly #proxies: Proxies | null
  readonly #sockets = new Set<Socket>()
  #receive: (socket: Socket) => void = (socket) => this.#deliver(socket, socket, null)
  #certificates: RenewedCertificates | null = null
  #closing: Promise<void> | null = null
  #address: ListenerAddress | null = null

  private constructor(context: ListenerContext, config: ListenerConfig, name: string) {
    const { stats, damper, emit } = context
    const timeoutMs = (): number => context.config.connectTimeout
    this.#context = context
    this.#config = { ...config }
    this.#name = name
    this.#handshakes = new Handshakes({ listener: name, timeoutMs, stats, damper, emit })
    this.#proxies = config.proxyProtocol === null ? null : new Proxies(config.proxyProtocol)
    this.#server = createServer({
      noDelay: true,
      keepAlive: true,
      keepAliveInitialDelay: TCP_KEEPALIVE_MS,
    })
    this.#server.on('connection', (socket) => this.#accept(socket))
  }

  /** Reads certificates; nothing listens yet. `index`: its place in the configuration. */
  static async prepare(
    context: ListenerContext,
    config: ListenerConfig,
    index: number,
  ): Promise<Listener> {
    const listener = new Listener(context, config, nameOf(config, index))
    const { tls, websocket } = config
    if (tls !== null) await listener.#receiveTls(tls, websocket)
    else if (websocket) await listener.#receiveWebSockets()
    return listener
  }

  get name(): string {
    return this.#name
  }

  /** As its connections name it. */
  get config(): ListenerConfig {
    return this.#config
  }

  /** Nothing of its connections is left. */
  get isEmpty(): boolean {
    return this.#sockets.size === 0
  }

  get address(): ListenerAddress {
    if (this.#address === null) throw new Error(`${this.#name} does not listen`)
    return this.#address
  }

  async listen(address: string): Promise<void> {
    const { tls, websocket, port: wanted } = this.#config
    try {
      this.#server.listen(wanted, address)
      await once(this.#server, 'listening')
    } catch (error) {
      throw listenFault(this.#name, error as NodeJS.ErrnoException)
    }
    const { address: host, port } = this.#server.address() as AddressInfo
    this.#address = { host, port, tls: tls !== null, websocket }
    this.#server.on('error', this.#onError)
  }

  readonly #onError = ({ message }: Error): void => {
    const { damper, emit } = this.#context
    if (damper.pass(`listener ${this.#name}`) === null) return
    emit({ type: 'broker.listener-error', listener: this.#name, message })
  }

  /** Connections that came since `listen`, and later ones, are taken. */
  open(): void {
    const early = this.#early ?? []
    this.#early = null
    for (const socket of early) this.#accept(socket)
  }

  /**
   * Goes on with the address of another one, which has no gap thereby; the connections of that one
   * stay its own. In place of `listen` and `open`.
   */
  takeOver(former: Listener): void {
    const { tls, websocket } = this.#config
    this.#server = former.#server
    this.#server.removeAllListeners('connection')
    this.#server.off('error', former.#onError)
    this.#server.on('connection', (socket) => this.#accept(socket))
    this.#server.on('error', this.#onError)
    this.#address = { ...former.address, tls: tls !== null, websocket }
    this.#early = null
    former.#closing = Promise.resolve()
  }

  /** Of its connections that log in from now on, and the rules of those that have. */
  setAuth({ auth }: ListenerConfig): void {
    if (auth === undefined) delete this.#config.auth
    else this.#config.auth = auth
  }

  /** Without certificates there is nothing to read. */
  async reread(): Promise<void> {
    await this.#certificates?.reread()
  }

  pause(): void {
    this.#closing ??= this.#stopListening()
    this.#handshakes.abandon()
  }

  /** It takes no connections any more, and keeps those that it has, the ones that begin included. */
  retire(): void {
    this.#closing ??= this.#stopListening()
    this.#certificates?.close()
  }

  async close(): Promise<void> {
    this.pause()
    this.#certificates?.close()
    for (const socket of this.#early ?? []) socket.destroy()
    for (const socket of this.#sockets) socket.destroy()
    await this.#closing
  }

  async #stopListening(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }

  // How a socket becomes a stream.

  async #receiveWebSockets(): Promise<void> {
    const http = createHttpServer({ maxHeaderSize: MAX_HTTP_HEADER_BYTES })
    await this.#upgradeToWebSockets(http)
    this.#receiveThrough(http)
  }

  async #receiveTls(tls: ServerTlsConfig, websocket: boolean): Promise<void> {
    const { emit, options } = this.#context
    const pollMs = options.filePollMs ?? FILE_POLL_INTERVAL_MS
    const certificates = await RenewedCertificates.open(tls, this.#name, emit, pollMs)
    this.#certificates = certificates
    const { serverOptions } = certificates
    let server: TlsServer
    if (websocket) {
      const https = createHttpsServer({ ...serverOptions, maxHeaderSize: MAX_HTTP_HEADER_BYTES })
      await this.#upgradeToWebSockets(https)
      server = https
    } else {
      server = createTlsServer(serverOptions, (socket) => this.#admit(socket, socket))
    }
    certificates.renew(server)
    server.on('tlsClientError', (error, socket) => {
      this.#handshakes.fail(socket, 'tls', tlsFailure(error))
      socket.destroy()
    })
    this.#receiveThrough(server)
  }

  /** Sockets go to a server that listens nowhere itself. */
  #receiveThrough(server: Server): void {
    this.#receive = (socket) => {
      this.#handshakes.begin(socket)
      server.emit('connection', socket)
    }
  }

  /** The package is loaded where a listener asks for it. */
  async #upgradeToWebSockets(http: HttpServer): Promise<void> {
    const { upgradeToWebSockets } = await import('./websocket-upgrade.ts')
    const { config } = this.#context
    upgradeToWebSockets(http, {
      limits: config,
      // A browser sends a client certificate by itself, so one says nothing about the page.
      anonymous: () => (authOf(config, this.#config)?.passwordFile ?? null) === null,
      onStream: (stream, socket) => this.#admit(stream, socket),
      onRefused: (socket, message) => this.#handshakes.fail(socket, 'websocket', message),
    })
  }

  #accept(socket: Socket): void {
    // Nothing that an outsider does to a socket may end the process, with or without other
    // listeners for errors.
    socket.on('error', ignore)
    if (this.#early !== null) {
      this.#early.push(socket)
      return
    }
    if (!this.#context.limits.admit(socket, this.#proxies !== null)) return
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    if (this.#proxies === null) this.#receive(socket)
    else this.#receiveFromProxy(socket, this.#proxies)
  }

  #receiveFromProxy(socket: Socket, proxies: Proxies): void {
    this.#handshakes.begin(socket)
    proxies.receive(socket, {
      onOrigin: (origin) => {
        if (!this.#context.limits.admitFrom(socket, origin.address)) return
        this.#handshakes.setOrigin(socket, origin)
        this.#receive(socket)
      },
      onRefused: ({ kind, reason, address }) => {
        this.#handshakes.setOrigin(socket, { address, certificateSubject: null })
        this.#handshakes.fail(socket, kind, reason)
        socket.destroy()
      },
    })
  }

  /** The handshake is done; `socket` is what the stream runs on. */
  #admit(stream: Duplex, socket: Duplex): void {
    socket.on('error', ignore)
    const { tls } = this.#config
    // Behind a proxy the certificate of TLS is the proxy's.
    if (tls === null || !(socket instanceof TLSSocket) || this.#proxies?.namesClients === true) {
      this.#deliver(stream, socket as Socket, null)
      return
    }
    const authorities = this.#certificates?.authorities ?? []
    const isSet = (this.#context.options.isClockSet ?? clockIsSet)()
    const certificate = clientCertificate(socket, tls, authorities, isSet)
    if (certificate.ok) {
      if (certificate.isUndated) this.#countUndated(certificate.subject ?? '')
      this.#deliver(stream, socket, certificate.subject)
      return
    }
    this.#handshakes.fail(socket, 'client-certificate', certificate.reason)
    stream.destroy()
    socket.destroy()
  }

  #countUndated(subject: string): void {
    const { stats, damper, emit } = this.#context
    stats.undatedCertificates += 1
    const suppressed = damper.pass(`undated ${this.#name}`)
    if (suppressed === null) return
    emit({ type: 'broker.certificate-undated', listener: this.#name, subject, suppressed })
  }

  #deliver(stream: Duplex, socket: Socket, ownSubject: string | null): void {
    const origin = this.#handshakes.done(socket)
    const remoteAddress = origin?.address ?? socket.remoteAddress
    stream.on('error', ignore)
    if (remoteAddress === undefined || socket.destroyed) {
      stream.destroy()
      return
    }
    const listener = this.#config
    const certificateSubject = origin?.certificateSubject ?? ownSubject
    this.#context.onConnection({ stream, listener, remoteAddress, certificateSubject })
  }
}

function clockIsSet(): boolean {
  return isClockSet(Date.now())
}

function ignore(): void {}
