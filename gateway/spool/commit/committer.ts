/**
 * The only writer of the store. Everything that is handed over joins the commit that is open; a
 * commit is one atomic, fsynced batch, one in flight, and what arrives meanwhile is the next one.
 *
 * I1: `#releaseAcks` below is the one place where an acknowledgement becomes legal. A rejected write
 * ends the handle (LevelDB acknowledges later synced writes that are then lost at the next
 * opening): the commit goes back in front of the open one, the store is reopened, and nobody hears
 * of it but by the delay.
 */
import { setTimeout as delay } from 'node:timers/promises'
import type { TicketRange } from '../../ports/appender.ts'
import { describeError, systemErrorOf } from '../disk/disk-errors.ts'
import type { EmitSpoolEvent } from '../events.ts'
import type { SpoolStats } from '../stats.ts'
import type { Op, Store } from '../store/store.ts'
import { FULL_COMMIT_BYTES, Pace, type PaceOptions, STALL_MS } from './pace.ts'

/** How long a change that nobody waits for (a QoS 0 drop) may wait for a commit to ride with. */
export const LAZY_COMMIT_MS = 10_000
/** Pause between tries to reopen a store that refuses. */
export const REOPEN_INTERVAL_MS = 5_000

/** A commit that takes no more; made in one synchronous step. */
export interface ClosedCommit {
  /** The number that it has in the store. */
  readonly number: number
  /**
   * Blocks and state record, once all is deflated. `sparing`: bytes on disk count for more than the
   * time to the ack.
   */
  encode(sparing: boolean): Promise<readonly Op[]>
  readonly records: number
  readonly rawBytes: number
}

export interface CommitSource {
  /** Raw bytes that wait for the next commit. */
  readonly openBytes: number
  /**
   * What the next commit is worth, in raw bytes: those that wait for it, and those whose settling
   * others wait for.
   */
  readonly worthBytes: number
  /** Streams with something for the next commit. */
  readonly openStreams: number
  /** Retention and snapshots of this instant. Synchronous; may add ops. */
  close(): ClosedCommit
  /**
   * What was closed last is in the store and fsynced, under the last of these tickets; those before
   * it are of commits that failed, whose records it holds.
   */
  committed(tickets: TicketRange): void
  /**
   * What was closed last is not in the store: its records join the open ones in front, under new
   * seqs. Returns how many.
   */
  uncommitted(): Promise<number>
  /**
   * A new handle, after the old one was closed. Says whether the commit with this number is in the
   * store.
   */
  reopen(
    number: number,
    error: unknown,
  ): Promise<{ readonly store: Store; readonly stored: boolean }>
}

type Waiter = () => void

export class Committer {
  readonly #source: CommitSource
  readonly #pace: Pace
  readonly #emit: EmitSpoolEvent
  readonly #stats: SpoolStats
  readonly #monotonicMs: () => number
  readonly #listeners: Array<(ticket: number) => void> = []
  #store: Store
  #ops: Op[] = []
  #waiters: Waiter[] = []
  #openTicket = 1
  #durableTicket = 0
  #wanted = false
  #running: Promise<void> | null = null
  #timer: NodeJS.Timeout | null = null
  #timerDueMs = Number.POSITIVE_INFINITY
  #growthTimer: NodeJS.Timeout | null = null
  #immediate = false
  #beganMs: number | null = null
  #failure: string | null = null
  #failuresInARow = 0
  #stopping = false
  #stopped = false

  constructor(options: {
    source: CommitSource
    store: Store
    pace: PaceOptions
    emit: EmitSpoolEvent
    stats: SpoolStats
    monotonicMs?: () => number
  }) {
    this.#source = options.source
    this.#store = options.store
    this.#emit = options.emit
    this.#stats = options.stats
    this.#monotonicMs = options.monotonicMs ?? ((): number => performance.now())
    this.#pace = new Pace(options.pace, this.#monotonicMs())
  }

  get store(): Store {
    return this.#store
  }

  get durableTicket(): number {
    return this.#durableTicket
  }

  get openTicket(): number {
    return this.#openTicket
  }

  /** True from a rejected write until a commit succeeded again. */
  get failing(): boolean {
    return this.#failure !== null
  }

  /** What the disk said to the last try, while it is failing; null: it is not. */
  get failure(): string | null {
    return this.#failure
  }

  /** How long the commit in flight has been running, ms; null: none is. */
  get runningMs(): number | null {
    return this.#beganMs === null ? null : this.#monotonicMs() - this.#beganMs
  }

  /** The pace from now on. */
  reconfigure(pace: PaceOptions): void {
    this.#pace.reconfigure(pace)
  }

  onDurable(listener: (ticket: number) => void): void {
    this.#listeners.push(listener)
  }

  add(op: Op): void {
    this.#ops.push(op)
  }

  /** Makes sure that a commit comes: soon, or within LAZY_COMMIT_MS. Returns its ticket. */
  touch(lazy = false): number {
    if (lazy) {
      if (!this.#wanted) this.#arm(LAZY_COMMIT_MS)
    } else if (!this.#wanted) {
      this.#wanted = true
      this.#schedule()
    }
    return this.#openTicket
  }

  /** Resolves when all that was handed over so far is durable. */
  durable(): Promise<void> {
    this.touch()
    return new Promise((resolve) => {
      this.#waiters.push(resolve)
    })
  }

  /** Bytes were added: begins at once if that filled the commit. */
  filled(): void {
    const { worthBytes, openStreams } = this.#source
    if (worthBytes < FULL_COMMIT_BYTES || this.#running || this.#immediate) return
    if (worthBytes >= this.#pace.sufficientBytes(openStreams)) this.#soon()
    else this.#watchGrowth()
  }

  /** Commits what is open, at once, and waits for it; later changes are refused by the caller. */
  async stop(): Promise<void> {
    this.#stopping = true
    if (this.#ops.length > 0 || this.#wanted || this.#source.openBytes > 0) {
      const durable = this.durable()
      // It may be wanted since long, by the interval.
      this.#schedule()
      await durable
    }
    this.#stopped = true
    if (this.#timer) clearTimeout(this.#timer)
    if (this.#growthTimer) clearTimeout(this.#growthTimer)
    await this.#running
  }

  #schedule(): void {
    if (this.#running || this.#immediate || this.#stopped) return
    const { worthBytes, openStreams } = this.#source
    const delayMs = this.#pace.delayMs(worthBytes, openStreams, this.#monotonicMs())
    if (delayMs === 0 || this.#stopping) this.#soon()
    else {
      this.#arm(delayMs)
      if (worthBytes >= FULL_COMMIT_BYTES) this.#watchGrowth()
    }
  }

  /** A full commit waits for more: until nothing more comes. */
  #watchGrowth(): void {
    if (this.#growthTimer) return
    const ticket = this.#openTicket
    const { worthBytes } = this.#source
    const look = (): void => {
      this.#growthTimer = null
      const isSame = ticket === this.#openTicket && worthBytes === this.#source.worthBytes
      if (isSame && !this.#immediate) {
        this.#pace.stalled(this.#monotonicMs())
        this.#begin()
      } else this.filled()
    }
    // After a turn that took long, what came meanwhile is read behind the timers: it counts.
    this.#growthTimer = setTimeout(() => setImmediate(look), STALL_MS)
  }

  /** At the end of this turn of the event loop: all that its sockets brought is one commit. */
  #soon(): void {
    this.#immediate = true
    setImmediate(() => {
      this.#immediate = false
      this.#begin()
    })
  }

  #arm(delayMs: number): void {
    const dueMs = this.#monotonicMs() + delayMs
    if (this.#timer && this.#timerDueMs <= dueMs) return
    if (this.#timer) clearTimeout(this.#timer)
    this.#timerDueMs = dueMs
    this.#timer = setTimeout(() => {
      this.#timer = null
      this.#timerDueMs = Number.POSITIVE_INFINITY
      this.#begin()
    }, delayMs)
  }

  #begin(): void {
    if (this.#stopped) return
    if (this.#running) {
      this.#wanted = true
      return
    }
    if (this.#timer) clearTimeout(this.#timer)
    this.#timer = null
    this.#timerDueMs = Number.POSITIVE_INFINITY
    this.#running = this.#commit().finally(() => {
      this.#running = null
      if (this.#wanted) this.#schedule()
    })
  }

  async #commit(): Promise<void> {
    const began = this.#monotonicMs()
    this.#beganMs = began
    this.#pace.begin(this.#source.worthBytes, began)
    // Closing may add ops itself (retention, index segments): they belong to this commit.
    const closed = this.#source.close()
    const ops = this.#ops
    const waiters = this.#waiters
    this.#ops = []
    this.#waiters = []
    this.#wanted = false
    const ticket = this.#openTicket++
    try {
      await this.#store.write([...ops, ...(await closed.encode(this.#pace.isSpent))])
    } catch (error) {
      const detail = describeError(error)
      this.#failure = detail
      this.#stats.failedCommits++
      this.#emit({ type: 'spool.write-failed', code: codeOf(error), detail })
      // A store that opens and then rejects again would be reopened without a pause.
      if (this.#failuresInARow++ > 0) await delay(REOPEN_INTERVAL_MS)
      if (!(await this.#recover(closed, error))) {
        this.#ops.unshift(...ops)
        this.#waiters.unshift(...waiters)
        this.#wanted = true
        return
      }
    }
    this.#releaseAcks(ticket, closed, waiters, began)
  }

  /** The commit is fsynced: acks of what it holds are legal from here on, and nowhere before (I1). */
  #releaseAcks(
    ticket: number,
    closed: ClosedCommit,
    waiters: readonly Waiter[],
    beganMs: number,
  ): void {
    this.#failure = null
    this.#failuresInARow = 0
    this.#beganMs = null
    const tickets = { first: this.#durableTicket + 1, last: ticket }
    this.#durableTicket = ticket
    this.#stats.commits++
    this.#stats.lastCommitAtMs = Date.now()
    this.#stats.committedRecords += closed.records
    this.#stats.rawBytes += closed.rawBytes
    this.#stats.commitSeconds.observe((this.#monotonicMs() - beganMs) / 1000)
    this.#source.committed(tickets)
    for (const listener of this.#listeners) listener(ticket)
    for (const waiter of waiters) waiter()
  }

  /** True: the commit turned out to be in the store. */
  async #recover(closed: ClosedCommit, error: unknown): Promise<boolean> {
    const began = this.#monotonicMs()
    for (;;) {
      try {
        const { store, stored } = await this.#source.reopen(closed.number, error)
        this.#store = store
        const renumberedRecords = stored ? 0 : await this.#source.uncommitted()
        this.#emit({
          type: 'spool.recovered',
          outageMs: this.#monotonicMs() - began,
          renumberedRecords,
        })
        return stored
      } catch (again) {
        const detail = describeError(again)
        this.#failure = detail
        this.#emit({
          type: 'spool.storage-failed',
          detail,
          retryMs: REOPEN_INTERVAL_MS,
        })
        await delay(REOPEN_INTERVAL_MS)
      }
    }
  }
}

function codeOf(error: unknown): string {
  const code = systemErrorOf(error)
  if (code !== null) return code
  return error instanceof Error && 'code' in error ? String(error.code) : 'UNKNOWN'
}
