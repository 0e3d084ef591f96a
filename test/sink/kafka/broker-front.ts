/**
 * A front for the one broker of a mock cluster, which itself knows neither TLS nor users nor repeats:
 * it takes TLS and SASL/PLAIN, names another port in place of the broker's own, and drops what a
 * producer sends a second time with the same sequence, as a broker does. It can lose the next answer
 * to a kind of request after the broker has done it, and can stop answering at all.
 */

import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import { sequencesOf, tookEverything } from './produce-frames.ts'

const PRODUCE = 0
const SASL_HANDSHAKE = 17
const SASL_AUTHENTICATE = 36
const API_VERSIONS = 18
/** Type of the first record of a TLS client. */
const TLS_HANDSHAKE = 22
/** As a record of TLS 1.2: alert, fatal, internal_error. */
const INTERNAL_ERROR_ALERT = Buffer.of(21, 3, 3, 0, 2, 2, 80)
const SASL_AUTHENTICATION_FAILED = 58
/** Of the mock's answers, as they stand in them. */
const HOST = Buffer.from('\0\x09127.0.0.1')

export interface FrontOptions {
  readonly brokerPort: number
  readonly tls?: TlsOptions
  /** What is no TLS gets no word, but the end of the connection. */
  readonly closesWithoutAlert?: boolean
  /** `user:password`; absent: nobody is asked. */
  readonly credentials?: string
}

/** Of a produced batch, by its sequences: whose answer is to come, or what it was. */
type Produced =
  | { readonly state: 'asked'; readonly waiting: Array<(answer: Buffer | null) => void> }
  | { readonly state: 'taken'; readonly answer: Buffer }

interface Asked {
  readonly kind: number
  readonly version: number
  /** Of a Produce request. */
  readonly sequences: string | null
}

export class BrokerFront {
  readonly port: number
  /** Where clients are told to find the broker. */
  namedPort: number
  /** `user:password`; null: nobody is asked. */
  credentials: string | null
  /** The next answer to this kind of request does not arrive, and its connection is cut. */
  loseAnswerTo: number | null = null
  /** Nothing passes, and nothing is closed. */
  isFrozen = false
  /** What was shown by those who came. */
  readonly shown: string[] = []
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #options: FrontOptions
  readonly #produced = new Map<string, Produced>()

  private constructor(server: Server, options: FrontOptions) {
    this.#server = server
    this.#options = options
    this.port = (server.address() as AddressInfo).port
    this.namedPort = this.port
    this.credentials = options.credentials ?? null
  }

  static async start(options: FrontOptions): Promise<BrokerFront> {
    const server = createServer()
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    const front = new BrokerFront(server, options)
    if (options.tls === undefined) {
      server.on('connection', (socket) => front.#serve(socket))
      return front
    }
    const secure = createTlsServer(options.tls)
    secure.on('secureConnection', (socket) => front.#serve(socket))
    secure.on('tlsClientError', () => undefined)
    server.on('connection', (socket) => front.#admit(socket, secure))
    return front
  }

  async close(): Promise<void> {
    this.disconnectAll()
    await new Promise((resolve) => {
      this.#server.close(resolve)
    })
  }

  /** Whoever comes next has to show the credentials again. */
  disconnectAll(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Java answers what is no TLS with an alert; OpenSSL, which is here, would close. */
  #admit(socket: Socket, secure: Server): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => this.#sockets.delete(socket))
    socket.once('readable', () => {
      const first = socket.read() as Buffer | null
      if (first === null) return
      if (first[0] === TLS_HANDSHAKE) {
        socket.unshift(first)
        secure.emit('connection', socket)
      } else if (this.#options.closesWithoutAlert === true) socket.destroy()
      else socket.end(INTERNAL_ERROR_ALERT)
    })
  }

  #serve(client: Socket): void {
    const broker = connect(this.#options.brokerPort, '127.0.0.1')
    const asked = new Map<number, Asked>()
    let isKnown = this.credentials === null
    for (const socket of [client, broker]) {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
      socket.on('close', () => {
        this.#sockets.delete(socket)
        client.destroy()
        broker.destroy()
        for (const one of asked.values()) this.#settle(one, null)
        asked.clear()
      })
    }
    eachFrame(client, (frame) => {
      if (this.isFrozen) return
      const kind = frame.readInt16BE(4)
      const version = frame.readInt16BE(6)
      const id = frame.readInt32BE(8)
      if (kind === SASL_HANDSHAKE) client.write(answer(id, handshakeBody()))
      else if (kind === SASL_AUTHENTICATE) {
        isKnown = this.#knows(frame)
        const words = isKnown ? '' : `not with ${this.shown.at(-1)}`
        client.write(answer(id, authenticateBody(version, isKnown, words)))
      } else if (!isKnown && kind !== API_VERSIONS) client.destroy()
      else if (!this.#isRepeat(kind, frame, client)) {
        const sequences = kind === PRODUCE ? sequencesOf(frame) : null
        asked.set(id, { kind, version, sequences })
        broker.write(frame)
      }
    })
    eachFrame(broker, (frame) => {
      if (this.isFrozen) return
      const id = frame.readInt32BE(4)
      const one = asked.get(id)
      asked.delete(id)
      if (one !== undefined) this.#settle(one, frame)
      if (one?.kind === this.loseAnswerTo && one !== undefined) {
        this.loseAnswerTo = null
        client.destroy()
        return
      }
      client.write(this.#withNamedPort(frame))
    })
  }

  /** A repeat gets the answer of the first, when there is one. */
  #isRepeat(kind: number, frame: Buffer, client: Socket): boolean {
    if (kind !== PRODUCE) return false
    const sequences = sequencesOf(frame)
    const produced = this.#produced.get(sequences)
    const id = frame.readInt32BE(8)
    const give = (given: Buffer | null): void => {
      if (given === null) client.destroy()
      else client.write(answer(id, given.subarray(8)))
    }
    if (produced === undefined) this.#produced.set(sequences, { state: 'asked', waiting: [] })
    else if (produced.state === 'taken') give(produced.answer)
    else produced.waiting.push(give)
    return produced !== undefined
  }

  /** @param frame the answer; null: there is none */
  #settle({ sequences, version }: Asked, frame: Buffer | null): void {
    if (sequences === null) return
    const produced = this.#produced.get(sequences)
    if (frame !== null && tookEverything(frame, version))
      this.#produced.set(sequences, { state: 'taken', answer: frame })
    else this.#produced.delete(sequences)
    if (produced?.state === 'asked') for (const give of produced.waiting) give(frame)
  }

  #knows(frame: Buffer): boolean {
    // PLAIN: nobody, user, password, with NULs between.
    const found = /\0([^\0]+)\0([^\0]+)$/.exec(frame.toString('latin1').replace(/\0$/, ''))
    const shown = `${found?.[1]}:${found?.[2]}`
    this.shown.push(shown)
    return shown === this.credentials
  }

  #withNamedPort(frame: Buffer): Buffer {
    const port = Buffer.alloc(4)
    port.writeInt32BE(this.#options.brokerPort)
    const own = Buffer.concat([HOST, port])
    for (let at = frame.indexOf(own); at >= 0; at = frame.indexOf(own, at + 1))
      frame.writeInt32BE(this.namedPort, at + HOST.length)
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

/** @param words what the broker says of it, less than 127 bytes */
function authenticateBody(version: number, isKnown: boolean, words: string): Buffer {
  const code = Buffer.alloc(2)
  code.writeInt16BE(isKnown ? 0 : SASL_AUTHENTICATION_FAILED)
  const text = Buffer.from(words)
  // From version 2 on, an empty header tag, compact texts and bytes, and a tag behind all.
  if (version >= 2) {
    const [tag, length, noBytes] = [Buffer.alloc(1), Buffer.of(text.length + 1), Buffer.of(1)]
    return Buffer.concat([tag, code, length, text, noBytes, Buffer.alloc(9)])
  }
  const length = Buffer.alloc(2)
  length.writeInt16BE(text.length)
  const lifetime = Buffer.alloc(version >= 1 ? 8 : 0)
  return Buffer.concat([code, length, text, Buffer.alloc(4), lifetime])
}
