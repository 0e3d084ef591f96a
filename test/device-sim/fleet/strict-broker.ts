/**
 * A receiver that a fleet's devices are held against: acknowledges after a short wait, keeps QoS 2
 * state per client across connections, and writes down every breach of MQTT 3.1.1 or 5 that a
 * device commits when it sends, and sends again.
 */

import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import {
  generate,
  type IConnectPacket,
  type IPublishPacket,
  type Packet,
  parser,
} from 'mqtt-packet'
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

/** What a broker of version 5 says and grants. */
export interface StrictOptions {
  /** @default 65535 */
  readonly receiveMaximum?: number
  /** Reason code of a first ack. @default 0 */
  readonly reason?: (payload: Buffer) => number
}

interface Connection {
  readonly socket: Socket
  readonly client: string
  readonly level: 4 | 5
  /** Ids whose PUBLISH came over it. */
  readonly seen: Set<number>
  /** Of these, what counts against Receive Maximum [MQTT-3.3.4-7]. */
  readonly granted: Set<number>
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
  /** Connects by version. */
  readonly levels = { 4: 0, 5: 0 }
  /** PUBLISHes of version 5: with an alias and no topic, and with user properties. */
  aliased = 0
  described = 0
  readonly #ackDelayMs: number
  readonly #receiveMaximum: number
  readonly #reason: (payload: Buffer) => number

  constructor(ackDelayMs: number, options: StrictOptions = {}) {
    this.#ackDelayMs = ackDelayMs
    this.#receiveMaximum = options.receiveMaximum ?? 65_535
    this.#reason = options.reason ?? (() => 0)
  }

  /** As if the sessions of all clients had expired. */
  forgetSessions(): void {
    this.#sessions.clear()
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
    let connection: Connection | null = null
    input.on('packet', (packet: Packet) => {
      if (packet.cmd === 'connect') {
        connection = this.#connect(socket, packet)
        return
      }
      if (connection === null) throw new Error(`${packet.cmd} before CONNECT`)
      const { client, granted } = connection
      if (packet.cmd === 'publish') {
        this.#publish(connection, packet)
      } else if (packet.cmd === 'pubrel' && packet.messageId !== undefined) {
        const id = packet.messageId
        this.#sessions.get(client)?.open.delete(id)
        this.#reply(connection, { cmd: 'pubcomp', messageId: id }, () => granted.delete(id))
      } else if (packet.cmd === 'pingreq') {
        this.#reply(connection, { cmd: 'pingresp' })
      }
    })
    input.on('error', (error: Error) => {
      this.breaches.push(`${connection?.client}: unreadable bytes: ${error.message}`)
      socket.destroy()
    })
    socket.on('data', (chunk) => input.parse(chunk))
  }

  #connect(socket: Socket, packet: IConnectPacket): Connection {
    const { clientId: client, clean = true } = packet
    const level = packet.protocolVersion === 5 ? 5 : 4
    this.connects++
    this.levels[level]++
    const keeps = level === 4 || (packet.properties?.sessionExpiryInterval ?? 0) > 0
    if (clean || !keeps) this.keptSessions.delete(client)
    else this.keptSessions.add(client)
    const sessionPresent = !clean && this.#sessions.has(client)
    if (!this.#sessions.has(client))
      this.#sessions.set(client, { open: new Map(), unacked: new Map() })
    const connection = {
      socket,
      client,
      level,
      seen: new Set<number>(),
      granted: new Set<number>(),
    }
    const receiveMaximum = this.#receiveMaximum
    const properties = { receiveMaximum, topicAliasMaximum: 4 }
    this.#reply(
      connection as Connection,
      level === 4
        ? { cmd: 'connack', returnCode: 0, sessionPresent }
        : { cmd: 'connack', reasonCode: 0, sessionPresent, properties },
    )
    return connection as Connection
  }

  #publish(connection: Connection, packet: IPublishPacket): void {
    const { client, seen } = connection
    const { qos, messageId: id, dup } = packet
    const payload = Buffer.from(packet.payload)
    if (dup) this.dupsSeen++
    if (packet.topic === '') this.aliased++
    if (packet.properties?.userProperties !== undefined) this.described++
    if (qos === 0 || id === undefined) {
      this.received.push({ client, payload, qos: 0 })
      return
    }
    this.#count(connection, id)
    const session = this.#sessions.get(client)
    if (session === undefined) {
      // It is a test that has forgotten it: what comes over the connection is of no session.
      connection.socket.destroy()
      return
    }
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
    this.#answer(connection, session, { client, payload, qos }, id)
  }

  /** What version 5 forbids a sender. */
  #count({ client, level, granted }: Connection, id: number): void {
    if (level === 4) return
    if (granted.has(id))
      this.breaches.push(`${client}: id ${id} twice on one connection [MQTT-4.4.0-1]`)
    granted.add(id)
    if (granted.size > this.#receiveMaximum)
      this.breaches.push(`${client}: ${granted.size} unacknowledged [MQTT-3.3.4-7]`)
  }

  #answer(connection: Connection, session: Session, received: Received, id: number): void {
    const { client, level, granted, seen } = connection
    const { qos, payload } = received
    const reasonCode = level === 5 ? this.#reason(payload) : 0
    const isFinal = qos === 1 || reasonCode >= 0x80
    const acked = (): void => {
      session.unacked.delete(id)
      seen.delete(id)
      if (isFinal) granted.delete(id)
    }
    if (qos === 1) {
      if (reasonCode === 0) this.received.push(received)
      this.#reply(connection, { cmd: 'puback', messageId: id, reasonCode }, acked)
      return
    }
    const text = payload.toString('latin1')
    if (reasonCode < 0x80) {
      if (!session.open.has(id)) {
        if (reasonCode === 0) this.received.push(received)
      } else if (session.open.get(id) !== text)
        this.breaches.push(`${client}: open id ${id} was reused`)
      session.open.set(id, text)
    }
    this.#reply(connection, { cmd: 'pubrec', messageId: id, reasonCode }, acked)
  }

  #reply(connection: Connection, packet: Packet, sent: () => void = () => undefined): void {
    const { socket, level } = connection
    setTimeout(() => {
      if (socket.destroyed) return
      sent()
      socket.write(generate(packet, { protocolVersion: level }))
    }, this.#ackDelayMs)
  }
}
