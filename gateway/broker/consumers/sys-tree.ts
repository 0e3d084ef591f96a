/**
 * A small `$SYS/broker/` tree under the names that Mosquitto gave, for panels that read it: what is
 * in /metrics too, and more there. Values are retained, in memory only, and sent anew every
 * `mqtt.sysInterval`, to subscribers and only while there are some. Nothing of it is a message of a
 * device: no stream takes it, no client may publish there.
 *
 * "Messages" are PUBLISH packets here: the gateway counts no others.
 */
import type { BrokerStats } from '../stats.ts'

interface SysHost {
  readonly stats: BrokerStats
  readonly retainedMessages: () => number
  /** `sluice version …`. */
  readonly version: string
  readonly monotonicMs: () => number
  /** Is there a subscriber of this topic? */
  hasSubscriber(topic: string): boolean
  /** For those who subscribe from now on. */
  retain(topic: string, payload: Buffer): void
  /** To those who have. */
  send(topic: string, payload: Buffer): void
  onFault(error: unknown): void
}

const PREFIX = '$SYS/broker/'

export class SysTree {
  readonly #host: SysHost
  readonly #beganMs: number
  #timer: NodeJS.Timeout | null = null

  constructor(host: SysHost) {
    this.#host = host
    this.#beganMs = host.monotonicMs()
  }

  /** null: nothing is sent by itself. */
  start(intervalMs: number | null): void {
    this.stop()
    if (intervalMs === null) return
    this.#timer = setInterval(() => this.#publish(), intervalMs).unref()
  }

  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer)
    this.#timer = null
  }

  /** A client subscribes to something of it and gets the values of this moment. */
  refresh(): void {
    for (const [name, value] of this.#values())
      this.#host.retain(`${PREFIX}${name}`, Buffer.from(value))
  }

  #publish(): void {
    const host = this.#host
    try {
      for (const [name, value] of this.#values()) {
        const topic = `${PREFIX}${name}`
        if (host.hasSubscriber(topic)) host.send(topic, Buffer.from(value))
      }
    } catch (error) {
      host.onFault(error)
    }
  }

  #values(): ReadonlyArray<readonly [name: string, value: string]> {
    const { stats, version, monotonicMs, retainedMessages } = this.#host
    const { connections, localCopies, messages, messageBytes, unwanted } = stats
    const received = String(messages.qos0 + messages.qos1 + messages.qos2)
    const sent = String(localCopies.delivered)
    const dropped = Object.values(unwanted).reduce((sum, one) => sum + one, localCopies.dropped)
    return [
      ['version', version],
      ['uptime', `${Math.floor((monotonicMs() - this.#beganMs) / 1000)} seconds`],
      ['clients/connected', String(connections)],
      ['clients/active', String(connections)],
      ['messages/received', received],
      ['messages/sent', sent],
      ['publish/messages/received', received],
      ['publish/messages/sent', sent],
      ['publish/messages/dropped', String(dropped)],
      ['publish/bytes/received', String(messageBytes)],
      ['bytes/received', String(messageBytes)],
      ['retained messages/count', String(retainedMessages())],
    ]
  }
}
