/**
 * What the connections have in common: who holds which client id, who waits for what, the one
 * timer, and the moment of each commit, when acks become legal (I1). Connections add themselves to
 * the sets below and are called back.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { StreamIntake } from '../../ports/appender.ts'
import { within } from '../../shared/within.ts'
import type { AedesServer, WillMessage } from '../aedes/aedes-server.ts'
import type { AedesSide } from './consumer-side.ts'
import type { GateDuplex } from '../aedes/gate-duplex.ts'
import type { Authenticate, Authentication, AuthenticationRequest } from '../auth/authenticator.ts'
import type { CloseReason, RefuseReason } from '../events.ts'
import {
  FINISHING_TURN_MS,
  MAX_FINISHING_FRAMES,
  SWEEP_GAP_MS,
  SWEEP_INTERVAL_MS,
  TAKEOVER_GRACE_MS,
} from '../limits.ts'
import type { Inbound } from '../listeners/listeners.ts'
import { Wills } from '../publish/wills.ts'
import type { EndedSession } from '../sessions/session-table.ts'
import { ConnectAdmission } from './connect-admission.ts'
import { Connection } from './connection.ts'
import type { GateShared } from './context.ts'
import { TakeoverWatch } from './client-ids.ts'

/** How often idle sessions are looked at. */
const SESSION_SWEEP_MS = 30_000

export interface GateNeighbours {
  readonly authenticate: Authenticate
  readonly mintClientId: () => string
  /** The session of a client is over: what aedes keeps for it goes, too. */
  readonly forgetSession: (clientId: string) => void
  /** Somebody subscribes to something under `$SYS`. */
  readonly onSysSubscribe: () => void
}

export class Gate {
  readonly shared: GateShared
  readonly wills: Wills
  readonly admission = new ConnectAdmission()
  readonly mintClientId: () => string
  /**
   * Connections that are owed acks; whose messages wait for a stream; whose head frame is held;
   * that hold too many bytes.
   */
  readonly owing = new Set<Connection>()
  readonly waiting = new Set<Connection>()
  readonly blocked = new Set<Connection>()
  readonly starved = new Set<Connection>()
  /** Of the starved: who reads on to the end of a frame, since when. */
  readonly finishing = new Map<Connection, number>()
  /** CONNACK waits for a commit. */
  readonly opening = new Set<Connection>()
  /** Subscribers with much before them at QoS 1 or 2. */
  readonly pressed = new Set<AedesSide>()
  readonly #neighbours: GateNeighbours
  readonly #connections = new Set<Connection>()
  readonly #holders = new Map<string, Connection>()
  readonly #byDuplex = new WeakMap<GateDuplex, Connection>()
  readonly #takeovers = new TakeoverWatch()
  #aedes: AedesServer | null = null
  #timer: NodeJS.Timeout | null = null
  #sweptAtMs: number
  #sessionsSweptAtMs: number
  #isStopping = false
  #suppressesWills = false

  constructor(shared: GateShared, neighbours: GateNeighbours) {
    this.shared = shared
    this.#neighbours = neighbours
    this.mintClientId = neighbours.mintClientId
    this.wills = new Wills(shared)
    this.#sweptAtMs = shared.monotonicMs()
    this.#sessionsSweptAtMs = this.#sweptAtMs
    shared.appender.onDurable(() => this.#guard('commit', () => this.#onDurable()))
    shared.appender.onSpace(() => this.#guard('space', () => this.#onSpace()))
  }

  start(aedes: AedesServer): void {
    this.#aedes = aedes
    this.#timer = setInterval(() => this.#guard('sweep', () => this.#sweep()), SWEEP_INTERVAL_MS)
    this.#timer.unref()
  }

  get connections(): number {
    return this.#connections.size
  }

  /** A connection was accepted. */
  accept(inbound: Inbound): void {
    if (this.#isStopping) {
      this.shared.stats.connectionsRefused.stopping += 1
      inbound.stream.destroy()
      return
    }
    this.shared.stats.connections += 1
    this.#connections.add(new Connection(this, inbound))
  }

  // What connections ask.

  async authenticate(request: AuthenticationRequest): Promise<Authentication> {
    return await this.#neighbours.authenticate(request)
  }

  /**
   * Makes the connection the holder of its client id. The former holder is destroyed first, and has
   * published its will and left aedes when this resolves [MQTT-3.1.4-2]. Of several that race, the
   * last one stays.
   */
  async takeOver(connection: Connection): Promise<void> {
    const former = this.#holders.get(connection.clientId)
    this.#holders.set(connection.clientId, connection)
    if (former === undefined) return
    former.close('takeover', 'the client id connected again')
    this.#watchTakeover(former, connection)
    // The former one may itself still wait for whom it took over.
    await within(former.gone, TAKEOVER_GRACE_MS)
  }

  #watchTakeover(former: Connection, connection: Connection): void {
    const { damper, emit, monotonicMs } = this.shared
    const { clientId } = connection
    const takeovers = this.#takeovers.note(clientId, monotonicMs())
    if (takeovers === 0) return
    const suppressed = damper.pass(`shared ${clientId}`)
    if (suppressed === null) return
    const addresses = [...new Set([former.remoteAddress, connection.remoteAddress])]
    emit({ type: 'broker.client-id-shared', clientId, addresses, takeovers, suppressed })
  }

  onSysSubscribe(): void {
    this.#neighbours.onSysSubscribe()
  }

  /** Nothing of it is left: the client id is free, unless somebody else holds it by now. */
  release(connection: Connection): void {
    if (this.#holders.get(connection.clientId) === connection)
      this.#holders.delete(connection.clientId)
  }

  connectToAedes(duplex: GateDuplex, connection: Connection): void {
    this.#byDuplex.set(duplex, connection)
    this.#aedes?.connect(duplex)
  }

  /** The connection is closed; aedes may still be at its will. */
  forget(connection: Connection): void {
    if (!this.#connections.delete(connection)) return
    this.shared.stats.connections -= 1
    const sets = [this.owing, this.waiting, this.blocked, this.starved, this.opening]
    for (const set of sets) set.delete(connection)
    this.finishing.delete(connection)
    this.shared.delivery.resume()
  }

  mayFinish(connection: Connection): boolean {
    if (this.finishing.has(connection)) return true
    if (this.finishing.size >= MAX_FINISHING_FRAMES) return false
    this.finishing.set(connection, this.shared.monotonicMs())
    return true
  }

  /** Before the numbers are read. */
  updateGauges(): void {
    const { stats, sessions } = this.shared
    stats.sessions = sessions.size
    stats.openPacketIds = sessions.openIds
  }

  // What aedes asks.

  maySubscribe(duplex: GateDuplex, filter: string): boolean {
    const access = this.#byDuplex.get(duplex)?.access ?? null
    if (access === null || !access.maySubscribe(filter)) return false
    duplex.readsUnchecked(access.mayReceiveAll(filter), access.version)
    return true
  }

  mayReceive(duplex: GateDuplex, topic: string): boolean {
    const access = this.#byDuplex.get(duplex)?.access ?? null
    return access !== null && (duplex.isUnchecked(access.version) || access.mayReceive(topic))
  }

  onWill(duplex: GateDuplex, will: WillMessage, done: () => void): void {
    const connection = this.#byDuplex.get(duplex)
    if (connection === undefined || connection.saidGoodbye || this.#suppressesWills) done()
    else this.wills.publish(connection.clientId, will, connection.access, done)
  }

  // Local delivery.

  get isPressed(): boolean {
    return this.pressed.size > 0
  }

  /** An UNSUBSCRIBE may wait for copies of the client's own messages. */
  onHandedOver(): void {
    if (this.blocked.size > 0) this.#unblock()
  }

  /** No room for copies at QoS 1 and 2: those who hold them up go. */
  disconnectPressed(): void {
    for (const subscriber of this.pressed) subscriber.onOverflow()
  }

  onCopiesDropped(clientId: string | null): void {
    const suppressed = this.shared.damper.pass(`copies ${clientId ?? ''}`)
    if (suppressed !== null)
      this.shared.emit({ type: 'broker.copies-dropped', clientId, suppressed })
  }

  // Telling.

  reportClosed(connection: Connection, reason: CloseReason, detail: string): void {
    if (reason === 'stopping') return
    const clientId = connection.clientId === '' ? null : connection.clientId
    const { remoteAddress } = connection
    const suppressed = this.shared.damper.pass(`${reason} ${clientId ?? remoteAddress}`)
    if (suppressed === null) return
    this.shared.emit({
      type: 'broker.connection-closed',
      reason,
      clientId,
      remoteAddress,
      detail,
      suppressed,
    })
  }

  reportRefused(connection: Connection, reason: RefuseReason, detail: string): void {
    this.shared.stats.connectionsRefused[reason] += 1
    const clientId = connection.clientId === '' ? null : connection.clientId
    const { remoteAddress } = connection
    const suppressed = this.shared.damper.pass(`${reason} ${clientId ?? remoteAddress}`)
    if (suppressed === null) return
    this.shared.emit({
      type: 'broker.client-refused',
      reason,
      clientId,
      remoteAddress,
      detail,
      suppressed,
    })
  }

  onSessionEnded(ended: EndedSession): void {
    this.shared.stats.sessionsEnded[ended.why] += 1
    this.shared.emit({ type: 'broker.session-ended', ...ended })
    this.#neighbours.forgetSession(ended.clientId)
  }

  /** A fault that was contained. */
  onFault(where: string, error: unknown): void {
    const suppressed = this.shared.damper.pass(`fault ${where}`)
    if (suppressed === null) return
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.shared.emit({ type: 'broker.internal-error', where, detail })
  }

  // What happens to all.

  /**
   * The line where acks become legal (I1): called by the spool, only after the fsync of a commit.
   */
  #onDurable(): void {
    const { appender, delivery } = this.shared
    for (const connection of this.owing) connection.flushAcks()
    for (const connection of this.opening) connection.openIfDurable()
    delivery.durable(appender.durableTicket)
    this.#unblock()
  }

  #onSpace(): void {
    this.wills.retry()
    const full = new Set<StreamIntake>()
    const waiting = [...this.waiting]
    for (const connection of waiting) {
      // To the end of the round: the next time somebody else is first.
      this.waiting.delete(connection)
      connection.retryWaiting(full)
    }
    this.#unblock()
  }

  #unblock(): void {
    const blocked = [...this.blocked]
    this.blocked.clear()
    for (const connection of blocked) connection.unblock()
    if (this.starved.size === 0) return
    for (const connection of this.starved) connection.recheckReading()
  }

  #sweep(): void {
    const now = this.shared.monotonicMs()
    const gap = now - this.#sweptAtMs
    this.#sweptAtMs = now
    const shiftMs = gap > SWEEP_GAP_MS ? gap : 0
    for (const connection of this.#connections) connection.sweep(now, shiftMs)
    for (const [connection, sinceMs] of this.finishing) {
      if (now - sinceMs <= FINISHING_TURN_MS) continue
      this.finishing.delete(connection)
      // To the end of those that wait for a turn.
      if (this.starved.delete(connection)) this.starved.add(connection)
    }
    // Connections that ended gave back their share of the totals.
    if (this.blocked.size + this.starved.size > 0) this.#unblock()
    if (now - this.#sessionsSweptAtMs < SESSION_SWEEP_MS) return
    this.#sessionsSweptAtMs = now
    for (const ended of this.shared.sessions.expire()) this.onSessionEnded(ended)
  }

  // The end.

  /**
   * Reads no more. Resolves when every ack that a commit can release has left, or at the deadline.
   */
  async drain(deadlineMs: number): Promise<void> {
    this.#isStopping = true
    for (const connection of this.#connections) connection.quiesce()
    const owes = (): boolean => [...this.#connections].some((connection) => connection.awaitsCommit)
    while (owes() && this.shared.monotonicMs() < deadlineMs) await sleep(5)
  }

  /**
   * Closes all connections; their wills are published or not. Resolves when aedes is done with
   * them.
   */
  async closeAll(publishesWills: boolean, deadlineMs: number): Promise<void> {
    this.#suppressesWills = !publishesWills
    const connections = [...this.#connections]
    for (const connection of connections) connection.close('stopping', '')
    const left = deadlineMs - this.shared.monotonicMs()
    const everyone = [...new Set([...connections, ...this.#holders.values()])].map(
      ({ gone }) => gone,
    )
    if (left > 0) await within(Promise.all(everyone), left)
    if (this.#timer !== null) clearInterval(this.#timer)
  }

  #guard(where: string, step: () => void): void {
    try {
      step()
    } catch (error) {
      this.onFault(where, error)
    }
  }
}
