/**
 * What happens to all connections: the moment of each commit, when its acks leave (I1); room in a
 * stream; the one timer; the end. Connections put themselves into lists and are called back.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { StreamIntake, TicketRange } from '../../ports/appender.ts'
import { within } from '../../shared/time/within.ts'
import type { ListenerConfig } from '../config.ts'
import { FINISHING_TURN_MS, SWEEP_GAP_MS, SWEEP_INTERVAL_MS } from '../limits.ts'
import type { Inbound } from '../listeners/inbound.ts'
import { Connection } from './connection.ts'
import { ConnectionLists } from './connection-lists.ts'
import type { GateContext } from './context.ts'
import { sendAway } from './waves.ts'

/** How often idle sessions are looked at. */
const SESSION_SWEEP_MS = 30_000

export class Gate {
  readonly #context: GateContext
  readonly #lists = new ConnectionLists<Connection>()
  /** By which listener. */
  readonly #cameBy = new WeakMap<Connection, ListenerConfig>()
  readonly #timer: NodeJS.Timeout
  #sweptAtMs: number
  #sessionsSweptAtMs: number
  #isStopping = false

  constructor(context: GateContext) {
    this.#context = context
    this.#sweptAtMs = context.monotonicMs()
    this.#sessionsSweptAtMs = this.#sweptAtMs
    context.appender.onDurable(() => this.#guard('commit', () => this.#onDurable()))
    context.appender.onPassed((lost) => this.#guard('delivery', () => this.#onPassed(lost)))
    context.appender.onLost((lost) => this.#guard('loss', () => this.#onLost(lost)))
    context.appender.onSpace(() => this.#guard('space', () => this.#onSpace()))
    // An UNSUBSCRIBE may wait for copies of the client's own messages.
    context.delivery.onHandedOver(() => {
      if (this.#lists.blocked.size > 0) this.#unblock()
    })
    const sweep = (): void => this.#guard('sweep', () => this.#sweep())
    this.#timer = setInterval(sweep, SWEEP_INTERVAL_MS).unref()
  }

  get connections(): number {
    return this.#lists.all.size
  }

  /** A connection was accepted. */
  accept(inbound: Inbound): void {
    const { stats } = this.#context
    if (this.#isStopping) {
      stats.connectionsRefused.stopping += 1
      inbound.stream.destroy()
      return
    }
    stats.connections += 1
    const connection = new Connection(this.#context, this.#lists, inbound)
    this.#cameBy.set(connection, inbound.listener)
    this.#lists.all.add(connection)
  }

  /** Takes no connection any more, and sends those away that are here; resolves at the last one. */
  async leave(): Promise<void> {
    this.#isStopping = true
    const { all, owing } = this.#lists
    const why = ['leaving', 'the gateway leaves'] as const
    await sendAway(() => [...all], owing, this.#context.monotonicMs, why)
  }

  /** Sends those away that came by one of these listeners; resolves at the last one. */
  async closeBy(listeners: ReadonlySet<ListenerConfig>): Promise<void> {
    const { all, owing } = this.#lists
    const isLeft = (connection: Connection): boolean => {
      const listener = this.#cameBy.get(connection)
      return listener !== undefined && listeners.has(listener)
    }
    const open = (): Connection[] => [...all].filter(isLeft)
    const why = ['listener-removed', 'the listener was removed'] as const
    await sendAway(open, owing, this.#context.monotonicMs, why)
  }

  /** The streams are others: what waits for room in one goes where they say now. */
  rerouted(): void {
    this.#context.wills.reroute()
    this.#onSpace()
  }

  /**
   * Reads no more. Resolves when every ack that a commit can release has left, or at the deadline.
   */
  async drain(deadlineMs: number): Promise<void> {
    const { all } = this.#lists
    this.#isStopping = true
    for (const connection of all) connection.quiesce()
    const owes = (): boolean => [...all].some(({ awaitsCommit }) => awaitsCommit)
    while (owes() && this.#context.monotonicMs() < deadlineMs) await sleep(5)
  }

  /** Closes all connections. Resolves when nothing of them is left. */
  async closeAll(deadlineMs: number): Promise<void> {
    const { clientIds, monotonicMs } = this.#context
    const connections = [...this.#lists.all]
    for (const connection of connections) connection.close('stopping', '')
    const left = deadlineMs - monotonicMs()
    const everyone = new Set([...connections, ...clientIds.holders])
    if (left > 0) await within(Promise.all([...everyone].map(({ gone }) => gone)), left)
    clearInterval(this.#timer)
  }

  /** The spool calls it after the fsync of a commit: the acks of that commit leave (I1). */
  #onDurable(): void {
    const { appender, delivery } = this.#context
    for (const connection of this.#lists.owing) connection.flushAcks()
    delivery.durable(appender.durableTicket)
    this.#unblock()
  }

  /** A sink has acknowledged records of a stream with `ack: delivered`. */
  #onPassed(lost: readonly TicketRange[]): void {
    for (const connection of this.#lists.owing) {
      connection.flushAcks()
      // It is closed over a lost record once the acks before that one have left.
      if (lost.length > 0) connection.flushAcks()
    }
    this.#unblock()
  }

  /** What a device repeats is to be taken as new, also behind a kill between this and the next. */
  #onLost(lost: TicketRange): void {
    const { appender, sessions } = this.#context
    sessions.forget([lost], appender.touch())
  }

  #onSpace(): void {
    const { waiting } = this.#lists
    this.#context.wills.retry()
    const full = new Set<StreamIntake>()
    const inTurn = [...waiting]
    for (const connection of inTurn) {
      // To the end of the round: the next time another one is first.
      waiting.delete(connection)
      connection.retryWaiting(full)
    }
    this.#unblock()
  }

  #unblock(): void {
    const { blocked, starved } = this.#lists
    const held = [...blocked]
    blocked.clear()
    for (const connection of held) connection.unblock()
    if (starved.size === 0) return
    for (const connection of starved) connection.recheckReading()
  }

  #sweep(): void {
    const { endSession, monotonicMs, sessions } = this.#context
    const { all, blocked, finishing, starved } = this.#lists
    const now = monotonicMs()
    const gap = now - this.#sweptAtMs
    this.#sweptAtMs = now
    const shiftMs = gap > SWEEP_GAP_MS ? gap : 0
    for (const connection of all) connection.sweep(now, shiftMs)
    for (const [connection, sinceMs] of finishing) {
      if (now - sinceMs <= FINISHING_TURN_MS) continue
      finishing.delete(connection)
      // To the end of those that wait for a turn.
      if (starved.delete(connection)) starved.add(connection)
    }
    // Connections that ended gave back their share of the totals.
    if (blocked.size + starved.size > 0) this.#unblock()
    if (now - this.#sessionsSweptAtMs < SESSION_SWEEP_MS) return
    this.#sessionsSweptAtMs = now
    for (const ended of sessions.expire()) endSession(ended)
  }

  #guard(where: string, step: () => void): void {
    try {
      step()
    } catch (error) {
      this.#context.reports.fault(where, error)
    }
  }
}
