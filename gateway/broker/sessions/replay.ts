/**
 * What is queued for a session on its way to a connection that resumes it, in order: until all of
 * it is with aedes, what is handed over meanwhile takes its place behind it, and goes this way too;
 * from then on copies go to the connection directly [MQTT-4.6.0-6].
 *
 * aedes reads ahead of what it sends; so the end is not where the last packet was read, but where
 * aedes notes that it is sent.
 */
import type { QueuedPacket, SessionQueues } from './session-queues.ts'

/** Of aedes' connection. */
export interface ReplayedConnection {
  /** The subscriptions of its session are in place. */
  isRestored: boolean
  /**
   * All that was queued for its session is sent: what is handed over from here on comes directly.
   */
  isReplayed: boolean
}

export class Replay {
  readonly #queues: SessionQueues
  readonly #clientId: string
  readonly #connection: ReplayedConnection
  /** Read by aedes and not sent: the last packet. */
  #last: QueuedPacket | null = null
  #wake: (() => void) | null = null
  #isEnded = false

  constructor(queues: SessionQueues, clientId: string, connection: ReplayedConnection) {
    this.#queues = queues
    this.#clientId = clientId
    this.#connection = connection
    connection.isRestored = true
  }

  async *packets(): AsyncGenerator<QueuedPacket> {
    let serial = 0
    while (!this.#isEnded) {
      const next = this.#queues.nextBehind(this.#clientId, serial)
      if (next !== null) {
        ;({ serial } = next)
        this.#last = next.packet
        yield next.packet
      } else if (this.#last === null) {
        this.#connection.isReplayed = true
        return
      } else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve
        })
      }
    }
  }

  /** aedes sends it now. */
  sent({ cmd, messageId, brokerId, brokerCounter }: QueuedPacket): void {
    const last = this.#last
    if (last === null || last.cmd !== cmd) return
    const isLast =
      cmd === 'publish'
        ? last.brokerId === brokerId && last.brokerCounter === brokerCounter
        : last.messageId === messageId
    if (!isLast) return
    this.#last = null
    this.#wake?.()
    this.#wake = null
  }

  /** The connection is over. */
  end(): void {
    this.#isEnded = true
    this.#wake?.()
  }

  isOf(connection: ReplayedConnection): boolean {
    return this.#connection === connection
  }
}
