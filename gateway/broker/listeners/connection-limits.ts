/**
 * How many connections may be open, over all listeners and from one address (I6): enforced at
 * accept, before a connection costs more than its socket. Those over a limit are counted and told.
 */
import type { Socket } from 'node:net'
import type { MqttLimits } from '../config.ts'
import type { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent } from '../events.ts'
import type { ListenerStats } from '../stats.ts'

type Limits = Pick<MqttLimits, 'maxConnections' | 'maxConnectionsPerAddress'>

export class ConnectionLimits {
  readonly #limits: Limits
  readonly #stats: ListenerStats
  readonly #damper: EventDamper
  readonly #emit: EmitBrokerEvent
  /** Open connections by remote address. */
  readonly #byAddress = new Map<string, number>()

  constructor(limits: Limits, stats: ListenerStats, damper: EventDamper, emit: EmitBrokerEvent) {
    this.#limits = limits
    this.#stats = stats
    this.#damper = damper
    this.#emit = emit
  }

  /**
   * Counts the socket until it closes. False: it is over a limit or gone, and destroyed.
   * `isProxied`: a proxy will say for whom it is, see {@link admitFrom}.
   */
  admit(socket: Socket, isProxied: boolean): boolean {
    const stats = this.#stats
    const address = socket.remoteAddress
    stats.accepted += 1
    if (stats.open >= this.#limits.maxConnections) {
      this.#refuse(socket, 'maxConnections', address ?? '', '')
      return false
    }
    if (address === undefined) {
      socket.destroy()
      return false
    }
    if (!isProxied && !this.admitFrom(socket, address)) return false
    stats.open += 1
    socket.once('close', () => {
      stats.open -= 1
    })
    return true
  }

  /** Counts it for the address that it comes from. False: that has its share, and it is destroyed. */
  admitFrom(socket: Socket, address: string): boolean {
    const { maxConnectionsPerAddress } = this.#limits
    const fromAddress = this.#byAddress.get(address) ?? 0
    if (maxConnectionsPerAddress !== null && fromAddress >= maxConnectionsPerAddress) {
      this.#refuse(socket, 'maxConnectionsPerAddress', address, address)
      return false
    }
    this.#byAddress.set(address, fromAddress + 1)
    socket.once('close', () => this.#release(address))
    return true
  }

  #release(address: string): void {
    const left = (this.#byAddress.get(address) ?? 1) - 1
    if (left > 0) this.#byAddress.set(address, left)
    else this.#byAddress.delete(address)
  }

  /** `key`: of events that are told together, beside the limit. */
  #refuse(socket: Socket, limit: keyof Limits, address: string, key: string): void {
    const stats = this.#stats
    stats.refusedAtLimit += 1
    socket.destroy()
    const suppressed = this.#damper.pass(`connection-refused ${limit} ${key}`)
    if (suppressed === null) return
    let most = { address: '', connections: 0 }
    for (const [one, connections] of this.#byAddress) {
      if (connections > most.connections) most = { address: one, connections }
    }
    const type = 'broker.connection-refused'
    this.#emit({ type, limit, address, openConnections: stats.open, most, suppressed })
  }
}
