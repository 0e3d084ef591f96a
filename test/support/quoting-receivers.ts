/**
 * Receivers that take nobody's word and repeat everybody's: each quotes the secret that it was
 * shown, by every way in which its protocol has words, and notes what it quoted. A secret begins
 * with MARK; what it is called says when its receiver speaks: `late` ones are let in first.
 */
import { createServer as createHttpServer, type IncomingMessage } from 'node:http'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { generate, type IConnectPacket, type Packet, parser } from 'mqtt-packet'

export const MARK = 'm4rk-'
const SECRET = /m4rk-[\w-]+/

const WRONG_PASSWORD = 0x86
const NOT_AUTHORIZED = 0x87

export class QuotingReceivers {
  /** All that they said. */
  quoted = ''
  /** Tokens that were made of a secret: as good as it. */
  readonly tokens: string[] = []
  readonly #servers: Server[] = []
  readonly #sockets = new Set<Socket>()

  /** Answers 401 and 407. @returns its port */
  async http(): Promise<number> {
    const server = createHttpServer((request, response) => {
      let body = ''
      request.setEncoding('latin1').on('data', (chunk: string) => {
        body += chunk
      })
      request.on('end', () => {
        const said = `${credentialsOf(request)} ${body}`
        this.#note(said)
        if (request.url?.startsWith('/no-http') === true) {
          response.socket?.end(`${request.headers.authorization} is no answer of HTTP`)
          return
        }
        response.writeHead(401, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ error: 'invalid_client', error_description: said }))
      })
    })
    server.on('connect', (request: IncomingMessage, socket: Socket) => {
      const said = credentialsOf(request)
      this.#note(said)
      socket.end(`HTTP/1.1 407 ${said}\r\ncontent-length: ${said.length}\r\n\r\n${said}`)
    })
    server.on('upgrade', (request: IncomingMessage, socket: Socket) => {
      const said = credentialsOf(request)
      this.#note(said)
      socket.end(`HTTP/1.1 401 ${said}\r\ncontent-length: ${said.length}\r\n\r\n${said}`)
    })
    return await this.#listen(server)
  }

  /** Refuses who connects, or lets in and refuses what is published. */
  async mqtt(): Promise<number> {
    return await this.#listen(
      createServer((socket) => {
        let secret = ''
        let version = 4
        const packets = parser({ protocolVersion: 5 })
        const send = (packet: Packet): void =>
          void socket.write(generate(packet, { protocolVersion: version }))
        const words = (): { readonly reasonString: string } => {
          this.#note(secret)
          return { reasonString: `not with ${secret}` }
        }
        packets.on('packet', (packet) => {
          if (packet.cmd === 'connect') {
            version = packet.protocolVersion ?? 4
            secret = this.#secretOf(packet)
            // 3.1.1 has no words but the topic of a message.
            if (secret.includes('late') || this.tokens.includes(secret)) send(connackOf(0))
            else if (version === 5) send(connackOf(WRONG_PASSWORD, words()))
            else {
              this.#note(secret)
              send(connackOf(4))
            }
          } else if (packet.cmd === 'publish')
            this.#refuse(packet.messageId ?? 0, secret, send, words)
        })
        socket.on('data', (chunk) => packets.parse(chunk))
      }),
    )
  }

  #refuse(
    messageId: number,
    secret: string,
    send: (packet: Packet) => void,
    properties: () => { readonly reasonString: string },
  ): void {
    if (secret.includes('puback'))
      send({ cmd: 'puback', messageId, reasonCode: NOT_AUTHORIZED, properties: properties() })
    else if (secret.includes('pubrec'))
      send({ cmd: 'pubrec', messageId, reasonCode: NOT_AUTHORIZED, properties: properties() })
    else if (secret.includes('disconnect'))
      send({ cmd: 'disconnect', reasonCode: NOT_AUTHORIZED, properties: properties() })
    else {
      const topic = properties().reasonString
      send({ cmd: 'publish', topic, payload: '', qos: 0, retain: false, dup: false })
    }
  }

  /** Of a token of Azure the signature, which makes one. */
  #secretOf({ password }: IConnectPacket): string {
    const text = String(password ?? '')
    const signature = /&sig=([^&]+)/.exec(text)?.[1]
    if (signature === undefined) return text
    this.tokens.push(signature, decodeURIComponent(signature))
    return decodeURIComponent(signature)
  }

  /** Asks for the password as it is, and refuses it, or what is asked for next. */
  async postgres(): Promise<number> {
    return await this.#listen(
      createServer((socket) => {
        const refuse = (secret: string, code: string): void => {
          this.#note(secret)
          socket.end(message('E', `SFATAL\0VFATAL\0C${code}\0Mnot with ${secret}\0\0`))
        }
        socket.once('data', () => {
          // AuthenticationCleartextPassword
          socket.write(message('R', '\0\0\0\x03'))
          socket.once('data', (frame) => {
            const secret = frame.subarray(5, -1).toString()
            if (!secret.includes('late')) return refuse(secret, '28P01')
            // AuthenticationOk, ReadyForQuery
            socket.write(Buffer.concat([message('R', '\0\0\0\0'), message('Z', 'I')]))
            socket.on('data', () => refuse(secret, '42501'))
          })
        })
      }),
    )
  }

  /** Refuses a login, or the first question of one that it let in. */
  async nats(): Promise<number> {
    const info = JSON.stringify({
      server_id: 'x',
      server_name: 'x',
      version: '2.10.0',
      proto: 1,
      go: 'go1',
      host: '127.0.0.1',
      port: 4222,
      headers: true,
      auth_required: true,
      nonce: 'bm9uY2U',
      max_payload: 1_048_576,
    })
    return await this.#listen(
      createServer((socket) => {
        socket.write(`INFO ${info}\r\n`)
        let secret = ''
        let inbox = ''
        socket.on('data', (chunk) => {
          const text = chunk.toString('latin1')
          secret = SECRET.exec(text)?.[0] ?? secret
          inbox = /SUB \S+ (\d+)\r\n/.exec(text)?.[1] ?? inbox
          if (!secret.includes('late')) {
            this.#note(secret)
            socket.end(`-ERR 'Authorization Violation of ${secret}'\r\n`)
            return
          }
          if (text.includes('PING\r\n')) socket.write('PONG\r\n')
          const asked = /PUB \$JS\S+ (\S+) \d+/.exec(text)?.[1]
          if (asked === undefined) return
          this.#note(secret)
          const error = { code: 500, err_code: 10_118, description: `not with ${secret}` }
          const body = JSON.stringify({ error })
          socket.write(`MSG ${asked} ${inbox} ${body.length}\r\n${body}\r\n`)
        })
      }),
    )
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    for (const server of this.#servers) server.close()
  }

  #note(said: string): void {
    this.quoted += `${said}\n`
  }

  async #listen(server: Server): Promise<number> {
    this.#servers.push(server)
    server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.on('error', () => undefined)
    })
    await new Promise<void>((resolve) => {
      server.listen(0, '127.0.0.1', resolve)
    })
    return (server.address() as AddressInfo).port
  }
}

/** Credentials first: words are cut. */
function credentialsOf({ headers, url = '' }: IncomingMessage): string {
  const names = ['authorization', 'proxy-authorization', 'x-api-key', 'x-key'] as const
  const all = [...names, 'x-amz-security-token'].flatMap((name) => headers[name] ?? [])
  return `refused: ${[...all, url].join(' ')}`
}

function connackOf(code: number, properties: { readonly reasonString?: string } = {}): Packet {
  return { cmd: 'connack', returnCode: code, reasonCode: code, sessionPresent: false, properties }
}

/** Of PostgreSQL. */
function message(type: string, body: string): Buffer {
  const head = Buffer.alloc(5)
  head.write(type)
  head.writeInt32BE(Buffer.byteLength(body) + 4, 1)
  return Buffer.concat([head, Buffer.from(body)])
}
