/**
 * A listening HTTP server that can go away and come back on the same port, as an outage does it:
 * the listener closes, so connections are refused by the kernel, and those that are open are cut;
 * or it stays and resets who comes.
 */
import { createServer, type RequestListener, type Server } from 'node:http'
import { createServer as createTlsServer, type ServerOptions as TlsOptions } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'

export interface ListenerOptions {
  readonly host: string
  /** 0: any free port; it stays the same across outages. */
  readonly port: number
  readonly tls?: TlsOptions
  readonly handle: RequestListener
  /** Asked for each connection: true resets it. */
  readonly resets: () => boolean
}

/** Between tries to listen again, when another process took the port during an outage, ms. */
const LISTEN_AGAIN_MS = 100

export class Listener {
  readonly #options: ListenerOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #port: number
  #wanted = false
  #timer: NodeJS.Timeout | null = null

  constructor(options: ListenerOptions) {
    this.#options = options
    this.#port = options.port
    this.#server = options.tls === undefined ? createServer() : createTlsServer(options.tls)
    this.#server.on('request', options.handle)
    // A gateway that sends nothing for a while is no reason to cut it.
    this.#server.keepAliveTimeout = 75_000
    this.#server.requestTimeout = 0
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.once('close', () => this.#sockets.delete(socket))
      if (options.resets()) socket.resetAndDestroy()
    })
  }

  get port(): number {
    return this.#port
  }

  /** Resolves when it listens. @throws when it cannot (EADDRINUSE, EACCES) */
  async open(): Promise<void> {
    this.#wanted = true
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(this.#port, this.#options.host, () => {
        this.#server.removeListener('error', reject)
        resolve()
      })
    })
    this.#port = (this.#server.address() as AddressInfo).port
  }

  /** Comes back after {@link vanish}; tries until the port is free. */
  comeBack(): void {
    this.#wanted = true
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#server.listening) return
    this.open().catch(() => {
      if (this.#wanted) this.#timer = setTimeout(() => this.comeBack(), LISTEN_AGAIN_MS)
    })
  }

  /** Stops listening at once and cuts every connection. */
  vanish(): void {
    this.#wanted = false
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    if (this.#server.listening) this.#server.close()
    this.cut()
  }

  /** Cuts every connection that is open now. */
  cut(): void {
    for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  async close(): Promise<void> {
    this.vanish()
    while (this.#sockets.size > 0) await new Promise((resolve) => setImmediate(resolve))
  }
}
