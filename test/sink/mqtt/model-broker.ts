/**
 * A broker that keeps a session as MQTT has it, in memory, for exchanges that are cut at any step:
 * it delivers a QoS 2 message once for its packet id, when it is released (method B of section 4.3.3)
 * or when it comes first (method A). What reaches it, and what it says, can end after any number of
 * packets: a kill.
 */
import { type Packet, parser } from 'mqtt-packet'
import type { AckListener, AckPacket } from '../../../gateway/sink/mqtt/client/connection.ts'
import type { Ending } from '../../../gateway/sink/mqtt/client/ending.ts'

interface Held {
  readonly payload: string
  isDelivered: boolean
}

export class ModelBroker {
  readonly delivered: string[] = []
  /** Of the session: packet id -> message that is not released. */
  readonly #held = new Map<number, Held>()
  readonly #delivers: 'on release' | 'at once'
  /** Of PUBLISHes without PUBCOMP, the most at a time. */
  mostOpen = 0
  /** Payload -> code of its PUBREC, or of its PUBACK. */
  readonly codes = new Map<string, number>()

  constructor(delivers: 'on release' | 'at once') {
    this.#delivers = delivers
  }

  /** It has no message that was not released. */
  get isClean(): boolean {
    return this.#held.size === 0
  }

  loseSession(): void {
    this.#held.clear()
  }

  /**
   * @param packets so many reach it, and so many of its answers arrive; then the connection is gone
   */
  connect(packets = { in: Number.POSITIVE_INFINITY, out: Number.POSITIVE_INFINITY }): ModelLink {
    return new ModelLink((packet) => this.#take(packet), packets)
  }

  #take(packet: Packet): AckPacket | null {
    const { messageId = 0 } = packet
    if (packet.cmd === 'pubrel') {
      const held = this.#held.get(messageId)
      if (held !== undefined && !held.isDelivered) this.delivered.push(held.payload)
      this.#held.delete(messageId)
      return { cmd: 'pubcomp', messageId, reasonCode: held === undefined ? 0x92 : 0 }
    }
    if (packet.cmd !== 'publish') throw new Error(`no broker gets ${packet.cmd} here`)
    const payload = packet.payload.toString()
    const reasonCode = this.codes.get(payload) ?? 0
    if (packet.qos === 1) {
      if (reasonCode < 0x80) this.delivered.push(payload)
      return { cmd: 'puback', messageId, reasonCode }
    }
    if (reasonCode < 0x80 && !this.#held.has(messageId)) {
      const isDelivered = this.#delivers === 'at once'
      if (isDelivered) this.delivered.push(payload)
      this.#held.set(messageId, { payload, isDelivered })
      this.mostOpen = Math.max(this.mostOpen, this.#held.size)
    }
    return { cmd: 'pubrec', messageId, reasonCode }
  }
}

/** What an exchange has of a connection. Answers come in a later turn, as from a socket. */
export class ModelLink {
  listener: AckListener | null = null
  ended: Ending | null = null
  readonly #take: (packet: Packet) => AckPacket | null
  readonly #left: { in: number; out: number }
  readonly #parser = parser({ protocolVersion: 5 })
  #answers: AckPacket[] = []

  constructor(
    take: (packet: Packet) => AckPacket | null,
    packets: { readonly in: number; readonly out: number },
  ) {
    this.#take = take
    this.#left = { ...packets }
    this.#parser.on('packet', (packet) => this.#reaches(packet))
  }

  write(bytes: Uint8Array): void {
    if (this.ended !== null) return
    this.#parser.parse(Buffer.from(bytes))
    setImmediate(() => this.#answer())
  }

  destroy(ending: Ending): void {
    if (this.ended !== null) return
    this.ended = ending
    this.listener?.onEnd(ending)
  }

  #reaches(packet: Packet): void {
    if (this.#left.in === 0) return
    this.#left.in -= 1
    const answer = this.#take(packet)
    if (answer === null || this.#left.out === 0) return
    this.#left.out -= 1
    this.#answers.push(answer)
  }

  #answer(): void {
    const answers = this.#answers.splice(0)
    if (answers.length > 0) this.listener?.onAcks(answers)
    if (this.#left.in === 0 || this.#left.out === 0) this.destroy({ kind: 'closed' })
  }
}
