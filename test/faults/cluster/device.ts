/**
 * A device of the cluster's fleet: it publishes at its pace with a small window, comes back when its
 * connection is gone, and sends again what was not acknowledged. It knows which of its readings were
 * acknowledged, and how often a connection ended that it had not ended itself.
 *
 * At QoS 2 a reading counts as acknowledged with its PUBREC; where the gateway that it comes to does
 * not know its session, it sends every reading without one as a new message.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Random } from '../../../device-sim/random.ts'
import { type Level, REASON, readAck } from '../../support/mqtt-answers.ts'
import { lastingSession, packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'

export interface ClusterDeviceOptions {
  readonly clientId: string
  readonly prefix: 'safe' | 'plain'
  readonly qos: 1 | 2
  readonly level: Level
  /** Between two readings, ms. */
  readonly paceMs: number
  readonly seed: number
}

/** Readings without an ack at one time. */
export const WINDOW = 10
const SESSION_SECONDS = 3_600
/** What a device of the field has; the gateway's own is 1.5 times it. */
const KEEP_ALIVE_SECONDS = 10
/** A device that is cut off comes again after at most so long. */
const RECONNECT_MS = 500

interface Open {
  readonly n: number
  /** QoS 2: PUBREC came, PUBCOMP did not. */
  isReceived: boolean
}

export class ClusterDevice {
  readonly options: ClusterDeviceOptions
  published = 0
  readonly acked = new Set<number>()
  /** Connections that ended, or were refused, without a word of this device. */
  drops = 0
  /** Of its connections after the first: those that found its session. */
  resumed = 0
  connections = 0
  readonly #random: Random
  readonly #open = new Map<number, Open>()
  #nextId = 1
  #client: RawMqtt | null = null
  #isPublishing = true
  #isStopping = false
  #running: Promise<void> = Promise.resolve()
  #pingedMs = 0

  constructor(options: ClusterDeviceOptions) {
    this.options = options
    this.#random = new Random(options.seed, options.clientId)
  }

  get unacked(): number {
    return [...this.#open.values()].filter(({ isReceived }) => !isReceived).length
  }

  start(port: number): void {
    this.#running = this.#live(port)
  }

  /** Publishes nothing new; what is open is still brought to its end. */
  pause(): void {
    this.#isPublishing = false
  }

  resume(): void {
    this.#isPublishing = true
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    this.#client?.cut()
    await this.#running
  }

  async #live(port: number): Promise<void> {
    while (!this.#isStopping) {
      const client = await this.#connect(port)
      if (client !== null) await this.#talk(client)
      if (this.#isStopping) return
      if (client !== null) this.drops += 1
      await sleep(this.#random.between(10, RECONNECT_MS))
    }
  }

  /** null: nobody answers, or not with success. */
  async #connect(port: number): Promise<RawMqtt | null> {
    const { clientId, level } = this.options
    let opened: RawMqtt | null = null
    try {
      const client = await RawMqtt.connect(port, {
        clientId,
        keepAlive: KEEP_ALIVE_SECONDS,
        ...lastingSession(level, SESSION_SECONDS),
      })
      opened = client
      this.#client = client
      this.connections += 1
      if (client.sessionPresent) this.resumed += 1
      this.#repeat(client, client.sessionPresent)
      return client
    } catch {
      opened?.cut()
      return null
    }
  }

  /** What was open goes first, in its order. */
  #repeat(client: RawMqtt, isKnown: boolean): void {
    for (const [id, open] of this.#open) {
      if (open.isReceived && !isKnown) this.#open.delete(id)
      else if (open.isReceived) client.send(packet.pubrel(id))
      else client.send(this.#publish(id, open.n, true))
    }
  }

  #publish(id: number, n: number, dup: boolean): Buffer {
    const { clientId, level, prefix, qos } = this.options
    const payload = JSON.stringify({ device: clientId, n })
    return packet.publish(`${prefix}/${clientId}`, payload, { qos, id, dup, level })
  }

  /** Until the connection is gone. */
  async #talk(client: RawMqtt): Promise<void> {
    const { paceMs } = this.options
    this.#pingedMs = performance.now()
    try {
      while (!client.isClosed) {
        this.#take(client)
        if (this.#isPublishing && this.#open.size < WINDOW) {
          const n = ++this.published
          client.send(this.#publish(this.#take16(n), n, false))
        }
        if (performance.now() - this.#pingedMs > (KEEP_ALIVE_SECONDS * 1000) / 2) {
          this.#pingedMs = performance.now()
          client.send(packet.pingreq())
        }
        await sleep(paceMs * (0.5 + this.#random.next()))
      }
    } catch (error) {
      if (!client.isClosed) throw error
    }
    this.#take(client)
  }

  #take16(n: number): number {
    while (this.#open.has(this.#nextId)) this.#nextId = (this.#nextId % 65_535) + 1
    const id = this.#nextId
    this.#nextId = (this.#nextId % 65_535) + 1
    this.#open.set(id, { n, isReceived: false })
    return id
  }

  #take(client: RawMqtt): void {
    for (const frame of client.inbox.splice(0)) {
      if (frame.type === TYPE.PINGRESP || frame.type === TYPE.DISCONNECT) continue
      const { id, code } = readAck(frame, client.level)
      const open = this.#open.get(id)
      if (open === undefined) continue
      // Of a session that is known no more.
      const isGone = frame.type === TYPE.PUBCOMP && code === REASON.PACKET_ID_NOT_FOUND
      if (code !== REASON.SUCCESS && !isGone)
        throw new Error(`${this.options.clientId}: ${id} is answered with 0x${code.toString(16)}`)
      if (frame.type === TYPE.PUBREC) {
        open.isReceived = true
        client.send(packet.pubrel(id))
      } else this.#open.delete(id)
      this.acked.add(open.n)
    }
  }
}
