/**
 * A front of a server, for what the installed one does not have: TLS before the first word
 * (`handshake_first`, nats-server 2.10.4). It ends TLS, and speaks TLS with the server behind it as
 * the server asks. Without certificates of its own it passes bytes on, and keeps what clients said.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { connect as connectTls, createServer as createTlsServer } from 'node:tls'

interface FrontFiles {
  readonly cert: string
  readonly key: string
  /** Of the server behind it. */
  readonly ca: string
}

const INFO_END = '\r\n'

export class TlsFront {
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  #heard = ''

  private constructor(server: Server) {
    this.#server = server
  }

  static async to(target: number, files: FrontFiles | null): Promise<TlsFront> {
    const server =
      files === null
        ? createServer()
        : createTlsServer({ cert: readFileSync(files.cert), key: readFileSync(files.key) })
    const front = new TlsFront(server)
    server.on(files === null ? 'connection' : 'secureConnection', (near: Socket) =>
      front.#join(near, target, files),
    )
    server.on('tlsClientError', () => undefined)
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return front
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** All that clients sent, as it came. */
  heard(): string {
    return this.#heard
  }

  async close(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  #join(near: Socket, target: number, files: FrontFiles | null): void {
    const far = connect(target, '127.0.0.1')
    this.#bind(near, far)
    near.on('data', (bytes: Buffer) => {
      this.#heard += bytes.toString('latin1')
    })
    if (files === null) {
      near.pipe(far)
      far.pipe(near)
      return
    }
    // The server's INFO comes in the clear; TLS begins behind it.
    far.once('data', (info: Buffer) => {
      const end = info.indexOf(INFO_END) + INFO_END.length
      near.write(info.subarray(0, end))
      const socket = connectTls({
        socket: far,
        ca: readFileSync(files.ca),
        servername: 'localhost',
      })
      this.#bind(near, socket)
      near.pipe(socket)
      socket.pipe(near)
    })
  }

  #bind(one: Socket, other: Socket): void {
    for (const [socket, peer] of [
      [one, other],
      [other, one],
    ] as const) {
      this.#sockets.add(socket)
      socket.on('error', () => peer.destroy())
      socket.on('close', () => {
        this.#sockets.delete(socket)
        peer.destroy()
      })
    }
  }
}
