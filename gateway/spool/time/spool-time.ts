/**
 * How old a record is, for `maxAge` (I8): spool time, ms that the spool has lived, by the monotonic
 * clock. The wall clock takes no part: one that jumps by fifty years must not expire a backlog, and
 * one that falls back must not keep it.
 *
 * Each commit carries a mark of it. A restart within one boot goes on where the mark says, the
 * pause included, because the monotonic clock went on. After a reboot, on another box, or where
 * boots cannot be told apart, it goes on from the mark itself: how long the box was off is not
 * known by any clock that can be trusted, so that time is not counted. What is in doubt makes a
 * record younger, never older.
 */
import { bootId } from '../disk/folder.ts'

/** Time since the boot, as the system tells it. */
export interface BootClock {
  /** ms; never runs back, goes on across restarts of the process, starts anew at a boot. */
  monotonicMs(): number
  /** Differs after a reboot; null: this system does not tell. */
  readonly bootId: string | null
}

/** Spool time, and the monotonic clock and the boot at which it was that. */
export type SpoolTimeMark = readonly [
  spoolTimeMs: number,
  monotonicMs: number,
  bootId: string | null,
]

/**
 * While nothing else is committed, a mark is made so often: what a power cut takes of the age of
 * what is stored.
 */
export const MARK_INTERVAL_MS = 600_000

export function bootClock(): BootClock {
  return { monotonicMs: () => Number(process.hrtime.bigint()) / 1e6, bootId: bootId() }
}

/** Where spool time goes on, ms. */
export function resumedMs(mark: SpoolTimeMark | null, clock: BootClock): number {
  if (mark === null) return 0
  const [spoolTimeMs, monotonicMs, boot] = mark
  const passedMs = clock.monotonicMs() - monotonicMs
  const isSameBoot = boot !== null && boot === clock.bootId
  return isSameBoot && passedMs > 0 ? spoolTimeMs + passedMs : spoolTimeMs
}

export class SpoolTime {
  readonly #clock: BootClock
  #spoolTimeMs: number
  #monotonicMs: number
  #markedMs: number

  /**
   * `newestMs`: of what is stored; after damage the newest mark may be lost, and nothing is from the future.
   */
  constructor(clock: BootClock, mark: SpoolTimeMark | null, newestMs = 0) {
    this.#clock = clock
    this.#spoolTimeMs = Math.max(resumedMs(mark, clock), newestMs)
    this.#monotonicMs = clock.monotonicMs()
    this.#markedMs = this.#spoolTimeMs
  }

  /** Whole ms; never runs back. */
  nowMs(): number {
    const monotonicMs = this.#clock.monotonicMs()
    this.#spoolTimeMs += Math.max(0, monotonicMs - this.#monotonicMs)
    this.#monotonicMs = monotonicMs
    return Math.floor(this.#spoolTimeMs)
  }

  /** For the commit that is being closed. */
  mark(): SpoolTimeMark {
    this.#markedMs = this.nowMs()
    return [this.#markedMs, Math.ceil(this.#monotonicMs), this.#clock.bootId]
  }

  /** How much would be lost if the power went now, ms. */
  get unmarkedMs(): number {
    return this.nowMs() - this.#markedMs
  }
}
