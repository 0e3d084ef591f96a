/**
 * TCP, TLS and WebSocket listeners. Each accepted connection becomes an {@link Inbound} stream of
 * MQTT bytes; what MQTT does with it is the gate's business. Every listener starts, or none does;
 * the same holds of those that a reloaded configuration adds.
 *
 * Who may listen where is in listener-policy, what one listener does in listener, the limits over
 * all of them in connection-limits (I6).
 */
import { isDeepStrictEqual } from 'node:util'
import type { ListenerConfig, MqttConfig } from '../config.ts'
import { EventDamper } from '../event-damper.ts'
import type { EmitBrokerEvent } from '../events.ts'
import { createListenerStats, type ListenerStats } from '../stats.ts'
import { ConnectionLimits } from './connection-limits.ts'
import type { Inbound } from './inbound.ts'
import {
  Listener,
  type ListenerAddress,
  type ListenerContext,
  type ListenerOptions,
} from './listener.ts'
import { admittedAddress, nameOf, ownPortFault } from './listener-policy.ts'

/** What becomes of each listener of a configuration that is reloaded. */
export interface ListenerChange {
  /** Those of it, in its order. */
  readonly next: readonly Listener[]
  /** Those that go on, each with what it was and what it is configured to be. */
  readonly kept: ReadonlyMap<Listener, ListenerConfig>
  /** Those that are new: they listen, and take nothing yet. */
  readonly added: readonly Listener[]
  /** New ones that go on with the address of a former one. */
  readonly takeovers: ReadonlyMap<Listener, Listener>
  /** Former ones whose address is another one now, or that are gone altogether. */
  readonly moved: readonly Listener[]
  readonly removed: readonly Listener[]
}

export class Listeners {
  readonly stats: Readonly<ListenerStats>
  readonly #context: ListenerContext
  #listeners: readonly Listener[] = []
  /** Former ones that still have connections. */
  #retired: readonly Listener[] = []

  private constructor(context: ListenerContext) {
    this.#context = context
    this.stats = context.stats
  }

  /**
   * Starts every listener of the configuration, or none: then the error is a `ListenerError` that
   * names the listener and what to do. `onConnection` must attach to the stream at once. Limits are
   * read of `config` as they are when they are needed.
   */
  static async start(
    config: MqttConfig,
    onConnection: (connection: Inbound) => void,
    emit: EmitBrokerEvent,
    options: ListenerOptions = {},
  ): Promise<Listeners> {
    const stats = createListenerStats()
    const damper = new EventDamper()
    const limits = new ConnectionLimits(config, stats, damper, emit)
    const listeners = new Listeners({ config, onConnection, emit, options, stats, damper, limits })
    listeners.apply(await listeners.prepare(config))
    return listeners
  }

  /** Order: that of the configuration; ports are the real ones. */
  get addresses(): readonly ListenerAddress[] {
    return this.#listeners.map(({ address }) => address)
  }

  /**
   * Makes everything ready that `next` asks for, new addresses bound, and changes nothing: see
   * `apply` and `discard`. @throws ListenerError
   */
  async prepare(next: MqttConfig): Promise<ListenerChange> {
    const { left, paired } = pair(this.#listeners, next.listeners)
    const kept = new Map<Listener, ListenerConfig>()
    const takeovers = new Map<Listener, Listener>()
    const made: Listener[] = []
    const all: Listener[] = []
    const added: Listener[] = []
    try {
      for (const [index, config] of next.listeners.entries()) {
        const former = paired.get(index)
        const address = await admittedAddress(next, index)
        if (former !== undefined && isSameButAuth(former.config, config)) {
          kept.set(former, config)
          all.push(former)
          continue
        }
        const listener = await Listener.prepare(this.#context, config, index)
        made.push(listener)
        all.push(listener)
        if (former !== undefined) {
          takeovers.set(listener, former)
          continue
        }
        await listener.listen(address).catch((error: unknown) => {
          throw left.some((other) => isInTheWay(other, { host: address, port: config.port }))
            ? ownPortFault(nameOf(config, index), error)
            : error
        })
        added.push(listener)
      }
    } catch (error) {
      await Promise.all(made.map((listener) => listener.close()))
      throw error
    }
    const moved = left.slice(0, added.length)
    return { next: all, kept, added, takeovers, moved, removed: left.slice(added.length) }
  }

  /** Synchronous. The connections of those that are removed are the caller's to close. */
  apply({ next, kept, added, takeovers, moved, removed }: ListenerChange): void {
    const { emit } = this.#context
    for (const [listener, config] of kept) listener.setAuth(config)
    for (const [listener, former] of takeovers) listener.takeOver(former)
    for (const listener of added) listener.open()
    const retired = [...takeovers.values(), ...moved, ...removed]
    for (const listener of removed) listener.pause()
    for (const listener of retired) listener.retire()
    this.#listeners = next
    this.#retired = [...this.#retired, ...retired].filter(({ isEmpty }) => !isEmpty)
    for (const { name } of [...moved, ...removed])
      emit({ type: 'broker.listener-closed', listener: name })
    for (const { address } of [...added, ...takeovers.keys()])
      emit({ type: 'broker.listening', ...address })
  }

  /** A change that will not be made: what was made ready for it goes. */
  async discard({ added, takeovers }: ListenerChange): Promise<void> {
    await Promise.all([...added, ...takeovers.keys()].map((listener) => listener.close()))
  }

  /** New connections are refused from now on; those that are MQTT streams go on. */
  pause(): void {
    for (const listener of this.#listeners) listener.pause()
  }

  /** Reads the certificates anew; one that cannot be used changes nothing. */
  async reread(): Promise<void> {
    for (const listener of this.#listeners) await listener.reread()
  }

  /** Stops listening and destroys every connection that is left. */
  async close(): Promise<void> {
    await Promise.all([...this.#listeners, ...this.#retired].map((listener) => listener.close()))
  }
}

/**
 * Listeners of two configurations that have one address; of several with port 0, in their order.
 * `left`: former ones without a counterpart. `paired`: by the index in the new list.
 */
function pair(
  former: readonly Listener[],
  next: readonly ListenerConfig[],
): { readonly left: readonly Listener[]; readonly paired: ReadonlyMap<number, Listener> } {
  const left = [...former]
  const paired = new Map<number, Listener>()
  const take = (index: number, isWanted: (config: ListenerConfig) => boolean): void => {
    const at = left.findIndex(({ config }) => isWanted(config))
    const [found] = at < 0 ? [] : left.splice(at, 1)
    if (found !== undefined) paired.set(index, found)
  }
  for (const [index, config] of next.entries())
    take(index, (other) => isSameAddress(config, other) && isSameButAuth(config, other))
  for (const [index, config] of next.entries())
    if (!paired.has(index)) take(index, (other) => isSameAddress(config, other))
  return { left, paired }
}

function isSameAddress(a: ListenerConfig, b: ListenerConfig): boolean {
  return a.port === b.port && a.host.toLowerCase() === b.host.toLowerCase()
}

/** A port that is taken on one address of the machine cannot be had on all of them, nor vice versa. */
function isInTheWay(
  { address: { host, port } }: Listener,
  wanted: Pick<ListenerAddress, 'host' | 'port'>,
): boolean {
  const isOneOfAll = [host, wanted.host].some((one) => one === '0.0.0.0' || one === '::')
  return port === wanted.port && (isOneOfAll || host === wanted.host)
}

function isSameButAuth(a: ListenerConfig, b: ListenerConfig): boolean {
  return isDeepStrictEqual({ ...a, auth: null }, { ...b, auth: null })
}
