/**
 * A receiver that a fleet's devices are held against: acknowledges after a short wait, keeps QoS 2
 * state per client across connections, and writes down every breach of MQTT 3.1.1 that a device
 * commits when it sends again.
 */

import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { generate, type IPublishPacket, type Packet, parser } from 'mqtt-packet'
import { freePort } from '../../../device-sim/free-ports.ts'

export interface Received {
  readonly client: string
  readonly payload: Buffer
  readonly qos: 0 | 1 | 2
}

interface Session {
  /** QoS 2 ids that were received and not released, with their payload. */
  readonly open: Map<number, string>
  /** PUBLISHes of earlier connections that this broker did not acknowledge, by id. */
  readonly unacked: Map<number, string>
}

export class StrictBroker {
  readonly received: Received[] = []
  readonly breaches: string[] = []
  /** Clients that came with clean session 0, and not with 1 since. */
  readonly keptSessions = new Set<string>()
  connects = 0
  dupsSeen = 0
  #server: Server | null = null
  #port = 0
  readonly #sockets = new Set<Socket>()
  readonly #sessions = new Map<string, Session>()
  readonly #ackDelayMs: number

  constructor(ackDelayMs: number) {
    this.#ackDelayMs = ackDelayMs
  }

  get url(): string {
    return `mqtt://127.0.0.1:${this.#port}`
  }

  /** Listens; the same port again after `kill`. */
  async start(): Promise<void> {
    if (this.#port === 0) this.#port = await freePort()
    const server = createServer((socket) => this.#serve(socket))
    server.listen(this.#port, '127.0.0.1')
    await once(server, 'listening')
    this.#server = server
  }

  /** Every connection is gone at once, and nobody listens. Sessions stay. */
  async kill(): Promise<void> {
    const server = this.#server
    this.#server = null
    for (const socket of this.#sockets) socket.resetAndDestroy()
    if (server !== null) {
      server.close()
      await once(server, 'close')
    }
  }

  #serve(socket: Socket): void {
    this.#sockets.add(socket)
    socket.on('error', () => undefined)
    socket.on('close', () => this.#sockets.delete(socket))
    const input = parser({ protocolVersion: 4 })
    let client = ''
    let seen = new Set<number>()
    input.on('packet', (packet: Packet) => {
      if (packet.cmd === 'connect') {
        client = packet.clientId
        seen = new Set()
        this.#connect(socket, client, packet.clean ?? true)
      } else if (packet.cmd === 'publish') {
        this.#publish(socket, client, packet, seen)
      } else if (packet.cmd === 'pubrel' && packet.messageId !== undefined) {
        this.#sessions.get(client)?.open.delete(packet.messageId)
        this.#reply(socket, { cmd: 'pubcomp', messageId: packet.messageId })
      } else if (packet.cmd === 'pingreq') {
        this.#reply(socket, { cmd: 'pingresp' })
      }
    })
    input.on('error', (error: Error) => {
      this.breaches.push(`${client}: unreadable bytes: ${error.message}`)
      socket.destroy()
    })
    socket.on('data', (chunk) => input.parse(chunk))
  }

  #connect(socket: Socket, client: string, clean: boolean): void {
    this.connects++
    if (clean) this.keptSessions.delete(client)
    else this.keptSessions.add(client)
    const sessionPresent = !clean && this.#sessions.has(client)
    if (!this.#sessions.has(client))
      this.#sessions.set(client, { open: new Map(), unacked: new Map() })
    this.#reply(socket, { cmd: 'connack', returnCode: 0, sessionPresent })
  }

  #publish(socket: Socket, client: string, packet: IPublishPacket, seen: Set<number>): void {
    const { qos, messageId: id, dup } = packet
    const payload = Buffer.from(packet.payload)
    if (dup) this.dupsSeen++
    if (qos === 0 || id === undefined) {
      this.received.push({ client, payload, qos: 0 })
      return
    }
    const session = this.#sessions.get(client)
    if (session === undefined) throw new Error('PUBLISH before CONNECT')
    const text = payload.toString('latin1')
    const before = session.unacked.get(id)
    if (before !== undefined && before !== text) {
      this.breaches.push(`${client}: id ${id} carries other bytes than before`)
    }
    if (before !== undefined && !dup && !seen.has(id)) {
      this.breaches.push(`${client}: id ${id} sent again without DUP`)
    }
    session.unacked.set(id, text)
    seen.add(id)
    if (qos === 1) {
      this.received.push({ client, payload, qos })
      this.#reply(socket, { cmd: 'puback', messageId: id }, () => session.unacked.delete(id))
      return
    }
    if (!session.open.has(id)) this.received.push({ client, payload, qos })
    else if (session.open.get(id) !== text)
      this.breaches.push(`${client}: open id ${id} was reused`)
    session.open.set(id, text)
    this.#reply(socket, { cmd: 'pubrec', messageId: id }, () => session.unacked.delete(id))
  }

  #reply(socket: Socket, packet: Packet, sent: () => void = () => undefined): void {
    setTimeout(() => {
      if (socket.destroyed) return
      sent()
      socket.write(generate(packet))
    }, this.#ackDelayMs)
  }
}
