/**
 * The sessions that outlive a connection (clean session 0): their open QoS 2 packet ids, kept in
 * the commits that hold the records (I3), and their number (I6). It is a journal of the spool: one
 * value of changes per commit, never a key per packet id; all of it is in memory.
 *
 * Bounds: `maxSessions`; `sessionExpiry` counts the time without a connection while the gateway
 * runs, so a wrong clock at boot ends no session. At the bound the session that is away longest
 * gives way: first among those that lose nothing, else among those with subscriptions (a device
 * that lives comes before a subscriber that is gone); never one with open packet ids (I3) or a
 * connection. If there is none, a new client has no room. It does not know connections or acks.
 */

import type { Journal, RecoveredJournal, Ticket, TicketRange } from '../../ports/appender.ts'
import { errorMessage } from '../../shared/errors.ts'
import { ByteWriter } from './byte-writer.ts'
import { NO_TICKET, PacketIds } from './packet-ids.ts'
import { replaySessionLog, type SessionLogTarget, sessionLog } from './session-log.ts'

/**
 * Open packet ids over all sessions, 100 bytes each in memory. A client may have 65,535; one that
 * opens another beyond this bound is disconnected.
 */
export const MAX_OPEN_PACKET_IDS = 500_000

/**
 * The idle time is journalled in steps of this share of the expiry: few bytes, and a restart loses
 * little of it.
 */
const IDLE_STEPS = 8

/** Sessions change their expiry when they begin, if at all. */
const FIRST_EXPIRY_BYTES = 64

export class Session {
  /** 0: ends with its connection (clean session 1), and is not in the journal. */
  readonly number: number
  readonly clientId: string
  readonly ids = new PacketIds()
  /** The last removal of a packet id rides in this commit: no PUBCOMP before it is durable. */
  lastRemoval: Ticket = 0
  /** It has, or had, subscriptions: others are evicted before it. */
  subscribed = false
  connected = false
  /** Its own Session Expiry Interval, ms; null: as configured, as always before MQTT 5. */
  expiryMs: number | null = null
  /** Idle time before `idleSinceMs`, and how much of it the journal knows. */
  idleMs = 0
  journalledIdleMs = 0
  idleSinceMs = 0

  constructor(number: number, clientId: string) {
    this.number = number
    this.clientId = clientId
  }
}

interface SessionLimits {
  readonly maxSessions: number
  /** ms */
  readonly sessionExpiry: number
}

export interface EndedSession {
  readonly clientId: string
  readonly why: 'expired' | 'evicted'
  readonly openPacketIds: number
}

export class SessionTable implements Journal {
  readonly name = 'sessions'
  readonly #limits: SessionLimits
  readonly #now: () => number
  readonly #byClient = new Map<string, Session>()
  readonly #changes = new ByteWriter()
  /** Written behind the other changes: see {@link sessionLog.expiry}. */
  readonly #expiries = new ByteWriter(FIRST_EXPIRY_BYTES)
  /** Clients of the sessions that ended with the earlier run: what is kept for them goes, too. */
  readonly endedAtStart: string[] = []
  #nextNumber = 1
  #openIds = 0

  /** `now`: monotonic milliseconds. */
  constructor(limits: SessionLimits, now: () => number) {
    this.#limits = limits
    this.#now = now
  }

  get size(): number {
    return this.#byClient.size
  }

  get openIds(): number {
    return this.#openIds
  }

  find(clientId: string): Session | undefined {
    return this.#byClient.get(clientId)
  }

  /**
   * The session of a client that connects and leaves one behind, made if there is none; null: no
   * room. `expiryMs`: see {@link Session}.
   */
  open(
    clientId: string,
    onEvicted: (ended: EndedSession) => void,
    expiryMs: number | null = null,
  ): { session: Session; present: boolean } | null {
    const known = this.#byClient.get(clientId)
    if (known !== undefined) {
      known.connected = true
      known.idleMs = 0
      this.#noteIdle(known)
      this.setExpiry(known, expiryMs)
      return { session: known, present: true }
    }
    if (this.#byClient.size >= this.#limits.maxSessions) {
      const victim = this.#leastNeeded()
      if (victim === null) return null
      this.drop(victim)
      onEvicted({ clientId: victim.clientId, why: 'evicted', openPacketIds: 0 })
    }
    const session = new Session(this.#nextNumber, clientId)
    this.#nextNumber += 1
    session.connected = true
    this.#byClient.set(clientId, session)
    sessionLog.open(this.#out(), session.number, clientId)
    this.setExpiry(session, expiryMs)
    return { session, present: false }
  }

  /** DISCONNECT may change it. Capped by the configured one. */
  setExpiry(session: Session, expiryMs: number | null): void {
    if (session.expiryMs === expiryMs) return
    session.expiryMs = expiryMs
    const stored = expiryMs ?? this.#limits.sessionExpiry
    this.#out()
    sessionLog.expiry(this.#expiries, session.number, stored)
  }

  /** A session that ends with its connection; its packet ids count, but are not stored. */
  transient(clientId: string): Session {
    const session = new Session(0, clientId)
    session.connected = true
    return session
  }

  /**
   * The connection ended. A transient session is over; of a stored one the messages that waited are
   * forgotten. True: it is over, and what is kept for it goes, too.
   */
  leave(session: Session): boolean {
    session.connected = false
    if (session.number === 0) {
      this.#openIds -= session.ids.size
      return true
    }
    if (session.expiryMs === 0) {
      this.drop(session)
      return true
    }
    session.idleSinceMs = this.#now()
    // To the end: the order of a connection's sessions is the order in which they were left.
    if (this.#byClient.get(session.clientId) === session) {
      this.#byClient.delete(session.clientId)
      this.#byClient.set(session.clientId, session)
    }
    return false
  }

  /**
   * The client's session, if it has been idle for too long and no sweep has come by: removed
   * [MQTT-4.1.0-2].
   */
  endOverdue(clientId: string): EndedSession | null {
    const session = this.#byClient.get(clientId)
    if (session === undefined || session.connected) return null
    const idleMs = session.idleMs + this.#now() - session.idleSinceMs
    if (idleMs < this.expiryOf(session)) return null
    const openPacketIds = session.ids.size
    this.drop(session)
    return { clientId, why: 'expired', openPacketIds }
  }

  /** Removes the session and all that it knows, with the next commit. */
  drop(session: Session): void {
    if (this.#byClient.get(session.clientId) !== session) return
    this.#byClient.delete(session.clientId)
    this.#openIds -= session.ids.size
    sessionLog.drop(this.#out(), session.number)
  }

  /**
   * I3: call in the same synchronous run as the append of the record, so that both ride in one
   * commit.
   */
  addId(session: Session, id: number, high: number, low: number, ticket: Ticket): void {
    const isReplaced = session.ids.has(id) && session.ids.ticketOf(id) !== NO_TICKET
    // Of a stored id that is taken by a message that waits, memory forgets the former message: so
    // must the journal.
    if (ticket === NO_TICKET && isReplaced && session.number > 0) {
      sessionLog.removeId(this.#out(), session.number, id)
    }
    if (session.ids.set(id, high, low, ticket)) this.#openIds += 1
    if (session.number > 0 && ticket !== NO_TICKET) {
      sessionLog.addId(this.#out(), session.number, id, high, low)
    }
  }

  /** Returns true if the removal has to be committed before PUBCOMP. */
  removeId(session: Session, id: number): boolean {
    const stored = session.number > 0 && session.ids.ticketOf(id) !== NO_TICKET
    if (!session.ids.delete(id)) return false
    this.#openIds -= 1
    if (stored) sessionLog.removeId(this.#out(), session.number, id)
    return stored
  }

  /**
   * Open packet ids that came in commits of which a record was lost: which of them it was is not
   * known, so all of them are taken as new when they are repeated (I9 before I3). `ticket`: of the
   * commit that is open.
   */
  forget(lost: readonly TicketRange[], ticket: Ticket): void {
    for (const session of this.#byClient.values())
      for (const id of session.ids.under(lost))
        if (this.removeId(session, id)) session.lastRemoval = ticket
  }

  markSubscribed(session: Session): void {
    if (session.number === 0 || session.subscribed) return
    session.subscribed = true
    sessionLog.subscribed(this.#out(), session.number)
  }

  /**
   * Ends what has been idle for too long, and journals idle times now and then. Call every minute
   * or so.
   */
  expire(): EndedSession[] {
    const ended: EndedSession[] = []
    const now = this.#now()
    for (const session of this.#byClient.values()) {
      if (session.connected) continue
      session.idleMs += now - session.idleSinceMs
      session.idleSinceMs = now
      if (session.idleMs >= this.expiryOf(session)) {
        const openPacketIds = session.ids.size
        this.drop(session)
        ended.push({ clientId: session.clientId, why: 'expired', openPacketIds })
      } else this.#noteIdle(session)
    }
    return ended
  }

  // Journal.

  collect(): Uint8Array | null {
    if (this.#changes.length === 0) return null
    return Buffer.concat([this.#changes.take(), this.#expiries.take()])
  }

  checkpoint(): Uint8Array {
    this.#changes.take()
    this.#expiries.take()
    const out = new ByteWriter()
    sessionLog.begin(out)
    for (const session of this.#byClient.values()) {
      const { number } = session
      sessionLog.open(out, number, session.clientId)
      if (session.subscribed) sessionLog.subscribed(out, number)
      if (session.journalledIdleMs > 0) sessionLog.idle(out, number, session.journalledIdleMs)
      for (const [id, high, low] of session.ids.entries())
        sessionLog.addId(out, number, id, high, low)
    }
    for (const { number, expiryMs } of this.#byClient.values())
      if (expiryMs !== null) sessionLog.expiry(out, number, expiryMs)
    return out.take()
  }

  /**
   * Takes what the spool kept. Returns what could not be read, in words, or null; the readable part
   * is in use (I7).
   */
  recover(recovered: RecoveredJournal): string | null {
    const byNumber = new Map<number, Session>()
    const target: SessionLogTarget = {
      open: (number, clientId) => {
        const session = new Session(number, clientId)
        byNumber.set(number, session)
        this.#byClient.set(clientId, session)
        this.#nextNumber = Math.max(this.#nextNumber, number + 1)
      },
      drop: (number) => {
        const session = byNumber.get(number)
        byNumber.delete(number)
        if (session !== undefined && this.#byClient.get(session.clientId) === session) {
          this.#byClient.delete(session.clientId)
        }
      },
      addId: (number, id, high, low) => byNumber.get(number)?.ids.set(id, high, low, 0),
      removeId: (number, id) => byNumber.get(number)?.ids.delete(id),
      subscribed: (number) => {
        const session = byNumber.get(number)
        if (session !== undefined) session.subscribed = true
      },
      idle: (number, idleMs) => {
        const session = byNumber.get(number)
        if (session !== undefined) session.journalledIdleMs = idleMs
      },
      expiry: (number, expiryMs) => {
        const session = byNumber.get(number)
        if (session !== undefined) session.expiryMs = expiryMs
      },
    }
    let fault: string | null = null
    const values = recovered.checkpoint === null ? [] : [recovered.checkpoint]
    for (const value of [...values, ...recovered.changes]) {
      try {
        replaySessionLog(value, target)
      } catch (error) {
        fault ??= errorMessage(error)
      }
    }
    const now = this.#now()
    for (const session of this.#byClient.values()) {
      this.#openIds += session.ids.size
      session.idleMs = session.journalledIdleMs
      session.idleSinceMs = now
      // Its connection ended with the earlier run, and it with that.
      if (session.expiryMs === 0) {
        this.drop(session)
        this.endedAtStart.push(session.clientId)
      }
    }
    return fault
  }

  /** See the head of this file; null if there is none. */
  #leastNeeded(): Session | null {
    let subscriber: Session | null = null
    for (const session of this.#byClient.values()) {
      if (session.connected || session.ids.size > 0) continue
      if (!session.subscribed) return session
      subscriber ??= session
    }
    return subscriber
  }

  /** How long the session outlives its connection, ms. */
  expiryOf({ expiryMs }: Session): number {
    const { sessionExpiry } = this.#limits
    return expiryMs === null ? sessionExpiry : Math.min(expiryMs, sessionExpiry)
  }

  #noteIdle(session: Session): void {
    const step = this.expiryOf(session) / IDLE_STEPS
    const known = session.journalledIdleMs
    if (session.idleMs >= known && session.idleMs - known < step) return
    session.journalledIdleMs = session.idleMs
    sessionLog.idle(this.#out(), session.number, session.idleMs)
  }

  #out(): ByteWriter {
    if (this.#changes.length === 0) sessionLog.begin(this.#changes)
    return this.#changes
  }
}
