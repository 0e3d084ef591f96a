/**
 * TCP, TLS and WebSocket listeners. Each accepted connection becomes an {@link Inbound} stream of
 * MQTT bytes; what MQTT does with it is the gate's business. Every listener starts, or none does.
 *
 * Who may listen where is in listener-policy, what one listener does in listener, the limits over
 * all of them in connection-limits (I6).
 */
import type { MqttConfig } from '../config.ts'
import { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent } from '../events.ts'
import { createListenerStats, type ListenerStats } from '../stats.ts'
import { ConnectionLimits } from './connection-limits.ts'
import type { Inbound } from './inbound.ts'
import { Listener, type ListenerAddress, type ListenerOptions } from './listener.ts'
import { admittedAddress } from './listener-policy.ts'

export interface Listeners {
  readonly addresses: readonly ListenerAddress[]
  readonly stats: Readonly<ListenerStats>
  /** New connections are refused from now on; those that are MQTT streams go on. */
  pause(): void
  /** Reads the certificates anew; one that cannot be used changes nothing. */
  reread(): Promise<void>
  /** Stops listening and destroys every connection that is left. */
  close(): Promise<void>
}

/**
 * Starts every listener of the configuration, or none: then the error is a `ListenerError` that
 * names the listener and what to do. `onConnection` must attach to the stream at once. Order of
 * addresses: that of the configuration.
 */
export async function startListeners(
  config: MqttConfig,
  onConnection: (connection: Inbound) => void,
  emit: EmitBrokerEvent,
  options: ListenerOptions = {},
): Promise<Listeners> {
  const stats = createListenerStats()
  const damper = new EventDamper()
  const limits = new ConnectionLimits(config, stats, damper, emit)
  const context = { config, onConnection, emit, options, stats, damper, limits }
  const addresses = await Promise.all(
    config.listeners.map((_, index) => admittedAddress(config, index)),
  )
  const listeners: Listener[] = []
  const close = async (): Promise<void> => {
    await Promise.all(listeners.map((listener) => listener.close()))
  }
  try {
    for (const index of config.listeners.keys()) {
      listeners.push(await Listener.prepare(context, index))
    }
    for (const [index, listener] of listeners.entries()) {
      await listener.listen(addresses[index] ?? '')
    }
  } catch (error) {
    await close()
    throw error
  }
  for (const { address } of listeners) emit({ type: 'broker.listening', ...address })
  return {
    addresses: listeners.map(({ address }) => address),
    stats,
    pause: () => {
      for (const listener of listeners) listener.pause()
    },
    reread: async () => {
      for (const listener of listeners) await listener.reread()
    },
    close,
  }
}
