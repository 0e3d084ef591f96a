/**
 * A front for the one broker of a mock cluster, which itself knows neither TLS nor users: it takes
 * TLS and SASL/PLAIN, and answers with its own port where the broker names its own. It can lose the
 * next answer to a kind of request after the broker has done it, and can stop answering at all.
 */

import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'

const SASL_HANDSHAKE = 17
const SASL_AUTHENTICATE = 36
const API_VERSIONS = 18
const SASL_AUTHENTICATION_FAILED = 58
/** Of the mock's answers, as they stand in them. */
const HOST = Buffer.from('\0\x09127.0.0.1')

export interface FrontOptions {
  readonly brokerPort: number
  readonly tls?: TlsOptions
  /** `user:password`; absent: nobody is asked. */
  readonly credentials?: string
}

export class BrokerFront {
  readonly port: number
  /** The next answer to this kind of request does not arrive, and its connection is cut. */
  loseAnswerTo: number | null = null
  /** Nothing passes, and nothing is closed. */
  isFrozen = false
  /** What was shown by those who came. */
  readonly shown: string[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #options: FrontOptions

  private constructor(server: Server, options: FrontOptions) {
    this.#server = server
    this.#options = options
    this.port = (server.address() as AddressInfo).port
  }

  static async start(options: FrontOptions): Promise<BrokerFront> {
    const server = options.tls === undefined ? createServer() : createTlsServer(options.tls)
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    const front = new BrokerFront(server, options)
    const event = options.tls === undefined ? 'connection' : 'secureConnection'
    server.on(event, (socket: Socket) => front.#serve(socket))
    server.on('tlsClientError', () => undefined)
    return front
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise((resolve) => {
      this.#server.close(resolve)
    })
  }

  #serve(client: Socket): void {
    const broker = connect(this.#options.brokerPort, '127.0.0.1')
    const kinds = new Map<number, number>()
    let isKnown = this.#options.credentials === undefined
    for (const socket of [client, broker]) {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        this.#sockets.delete(socket)
        client.destroy()
        broker.destroy()
      })
    }
    eachFrame(client, (frame) => {
      if (this.isFrozen) return
      const kind = frame.readInt16BE(4)
      const id = frame.readInt32BE(8)
      if (kind === SASL_HANDSHAKE) client.write(answer(id, handshakeBody()))
      else if (kind === SASL_AUTHENTICATE) {
        isKnown = this.#knows(frame)
        client.write(answer(id, authenticateBody(frame.readInt16BE(6), isKnown)))
      } else if (isKnown || kind === API_VERSIONS) {
        kinds.set(id, kind)
        broker.write(frame)
      } else client.destroy()
    })
    eachFrame(broker, (frame) => {
      if (this.isFrozen) return
      const kind = kinds.get(frame.readInt32BE(4))
      if (kind === this.loseAnswerTo && kind !== undefined) {
        this.loseAnswerTo = null
        client.destroy()
        return
      }
      client.write(this.#withOwnPort(frame))
    })
  }

  #knows(frame: Buffer): boolean {
    // PLAIN: nobody, user, password, with NULs between.
    const found = /\0([^\0]+)\0([^\0]+)$/.exec(frame.toString('latin1').replace(/\0$/, ''))
    const shown = `${found?.[1]}:${found?.[2]}`
    this.shown.push(shown)
    return shown === this.#options.credentials
  }

  #withOwnPort(frame: Buffer): Buffer {
    const port = Buffer.alloc(4)
    port.writeInt32BE(this.#options.brokerPort)
    const own = Buffer.concat([HOST, port])
    for (let at = frame.indexOf(own); at >= 0; at = frame.indexOf(own, at + 1))
      frame.writeInt32BE(this.port, at + HOST.length)
    return frame
  }
}

/** Whole requests or answers, their length in front. */
function eachFrame(socket: Socket, take: (frame: Buffer) => void): void {
  let rest = Buffer.alloc(0)
  socket.on('data', (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    while (rest.length >= 4 && rest.length >= 4 + rest.readInt32BE(0)) {
      const length = 4 + rest.readInt32BE(0)
      take(Buffer.from(rest.subarray(0, length)))
      rest = rest.subarray(length)
    }
  })
}

function answer(id: number, body: Buffer): Buffer {
  const head = Buffer.alloc(8)
  head.writeInt32BE(4 + body.length)
  head.writeInt32BE(id, 4)
  return Buffer.concat([head, body])
}

/** No error, and the one mechanism. */
function handshakeBody(): Buffer {
  return Buffer.from('\0\0\0\0\0\x01\0\x05PLAIN', 'latin1')
}

function authenticateBody(version: number, isKnown: boolean): Buffer {
  const code = Buffer.alloc(2)
  code.writeInt16BE(isKnown ? 0 : SASL_AUTHENTICATION_FAILED)
  // From version 2 on, an empty header tag, compact texts and bytes, and a tag behind all.
  if (version >= 2)
    return Buffer.concat([Buffer.alloc(1), code, Buffer.from([0, 1]), Buffer.alloc(9)])
  const lifetime = Buffer.alloc(version >= 1 ? 8 : 0)
  return Buffer.concat([code, Buffer.from([0xff, 0xff]), Buffer.alloc(4), lifetime])
}
