/**
 * Days of commits under a virtual clock: quiet hours, trickles, bursts and load arrive at a
 * committer that asks `Pace` as the real one does. Seen from outside: how often a small commit
 * begins, and how long anything waits for its commit.
 */
import type { Random } from '../../../device-sim/random.ts'
import {
  EAGER_MS,
  FULL_COMMIT_BYTES,
  LARGE_COMMIT_BYTES,
  MAX_WAITING_BYTES,
  Pace,
  type PaceOptions,
  STALL_MS,
} from '../../../gateway/spool/commit/pace.ts'
import { DAY_MS, EPSILON_MS, Faults, type Simulated } from './result.ts'

/** What the committer asks. */
export type Pacing = Pick<Pace, 'delayMs' | 'sufficientBytes' | 'stalled' | 'begin'>

export function simulatePacing(
  random: Random,
  days: number,
  newPace: (options: PaceOptions, nowMs: number) => Pacing = (options, nowMs) =>
    new Pace(options, nowMs),
): Simulated {
  const options: PaceOptions = {
    commitIntervalMs: [0, 20, 50, 1_000, 60_000][random.below(5)] ?? 0,
    commitBurst: [0, 1, 3, 50, 1_000][random.below(5)] ?? 0,
  }
  const commits = new SimulatedCommits(options, newPace(options, 0), random)
  while (commits.nowMs < days * DAY_MS) commits.regime()
  return { days, decisions: commits.count, faults: commits.faults.list }
}

class SimulatedCommits {
  nowMs = 0
  count = 0
  readonly faults = new Faults()
  readonly #options: PaceOptions
  readonly #pace: Pacing
  readonly #random: Random
  #pendingBytes = 0
  readonly #pendingStreams = new Set<number>()
  #firstAtMs = 0
  #lastAtMs = 0
  /**
   * When the open commit was worth its writes, and when it was large enough to wait for nothing;
   * null: it is not.
   */
  #fullAtMs: number | null = null
  #largeAtMs: number | null = null
  #dueMs = Number.POSITIVE_INFINITY
  /** When a full commit is looked at again, and how large it was when that was decided. */
  #lookAtMs = Number.POSITIVE_INFINITY
  #lookedBytes = 0
  #stalledMs = Number.NEGATIVE_INFINITY
  /** Whoever waited in vain just now is not made to wait again. */
  #isEager = false
  #beganMs = Number.NEGATIVE_INFINITY
  #endsMs = Number.NEGATIVE_INFINITY
  /**
   * Small commits that may still begin: burst and one, and one more per interval. That is the bound
   * over any window.
   */
  #allowed: number
  #allowedAtMs = 0

  constructor(options: PaceOptions, pace: Pacing, random: Random) {
    this.#options = options
    this.#pace = pace
    this.#random = random
    this.#allowed = options.commitBurst + 1
  }

  /** A stretch of one kind of traffic. */
  regime(): void {
    const random = this.#random
    const kind = random.below(5)
    const arrivals = random.below(200)
    const streams = 1 + random.below(4)
    const { commitIntervalMs } = this.#options
    for (let i = 0; i < arrivals; i += 1) {
      const meanMs = [600_000, Math.max(1, commitIntervalMs * 2), 1, 0.1, 4 * STALL_MS][kind] ?? 1
      this.#runTo(this.nowMs + random.exponential(1 / meanMs))
      // The last are devices that wait for their acks: all that they send comes at once, and then
      // nothing.
      const bytes = [600, 600, 600, 40_000, LARGE_COMMIT_BYTES][kind] ?? 1
      this.#arrive(1 + random.below(bytes), random.below(streams))
    }
    this.#runTo(this.nowMs + random.exponential(1 / (DAY_MS / 20)))
  }

  #arrive(bytes: number, stream: number): void {
    if (this.#pendingBytes === 0) this.#firstAtMs = this.nowMs
    this.#pendingBytes += bytes
    this.#pendingStreams.add(stream)
    this.#lastAtMs = this.nowMs
    const { size } = this.#pendingStreams
    if (this.#pendingBytes >= FULL_COMMIT_BYTES) this.#fullAtMs ??= this.nowMs
    const isLarge = this.#pendingBytes >= Math.min(MAX_WAITING_BYTES, LARGE_COMMIT_BYTES * size)
    this.#largeAtMs = isLarge ? (this.#largeAtMs ?? this.nowMs) : null
    if (this.nowMs < this.#endsMs) return
    // As the committer: a timer is set once, and a commit that has enough does not wait for it.
    if (this.#pendingBytes >= this.#pace.sufficientBytes(size)) this.#dueMs = this.nowMs
    else if (this.#dueMs === Number.POSITIVE_INFINITY) this.#schedule()
    else this.#watch()
  }

  #schedule(): void {
    const { size } = this.#pendingStreams
    const dueMs = this.nowMs + this.#pace.delayMs(this.#pendingBytes, size, this.nowMs)
    this.#dueMs = Math.min(this.#dueMs, dueMs)
    if (dueMs > this.nowMs) this.#watch()
  }

  #watch(): void {
    if (this.#pendingBytes < FULL_COMMIT_BYTES || this.#lookAtMs < Number.POSITIVE_INFINITY) return
    this.#lookAtMs = this.nowMs + STALL_MS
    this.#lookedBytes = this.#pendingBytes
  }

  #runTo(endMs: number): void {
    for (;;) {
      const isRunning = this.#endsMs > this.nowMs
      const waitsUntilMs = Math.max(this.nowMs, Math.min(this.#dueMs, this.#lookAtMs))
      const nextMs = isRunning ? this.#endsMs : waitsUntilMs
      if (nextMs > endMs) break
      this.nowMs = nextMs
      if (isRunning) {
        if (this.#pendingBytes > 0) this.#schedule()
      } else if (this.#dueMs <= this.nowMs) this.#begin()
      else this.#look()
    }
    this.nowMs = endMs
  }

  #look(): void {
    this.#lookAtMs = Number.POSITIVE_INFINITY
    if (this.#pendingBytes > this.#lookedBytes) this.#watch()
    else {
      this.#pace.stalled(this.nowMs)
      this.#stalledMs = this.nowMs
      this.#begin()
    }
  }

  #begin(): void {
    const { nowMs, faults } = this
    const { commitIntervalMs, commitBurst } = this.#options
    const freeMs = Math.max(this.#firstAtMs, this.#endsMs)
    const lateMs = nowMs - Math.max(freeMs, this.#beganMs + commitIntervalMs)
    faults.expect(
      lateMs <= EPSILON_MS,
      () => `at ${nowMs}: ${lateMs} ms later than commitInterval allows`,
    )
    if (this.#fullAtMs !== null) {
      const enoughAtMs = this.#isEager ? this.#fullAtMs : (this.#largeAtMs ?? nowMs)
      const waitedMs = nowMs - Math.max(enoughAtMs, this.#endsMs)
      faults.expect(
        waitedMs <= EPSILON_MS,
        () => `at ${nowMs}: enough for a commit waited ${waitedMs} ms`,
      )
      const stalledMs = nowMs - Math.max(this.#lastAtMs, this.#endsMs) - 2 * STALL_MS
      faults.expect(stalledMs <= EPSILON_MS, () => `at ${nowMs}: a full commit waited for nothing`)
    } else {
      const earned = (nowMs - this.#allowedAtMs) / Math.max(1, commitIntervalMs)
      this.#allowed = Math.min(commitBurst + 1, this.#allowed + earned) - 1
      this.#allowedAtMs = nowMs
      const isPaced = commitIntervalMs === 0 || this.#allowed >= -EPSILON_MS
      faults.expect(
        isPaced,
        () => `at ${nowMs}: more small commits than ${commitBurst} + 1 per interval`,
      )
    }
    this.#pace.begin(this.#pendingBytes, nowMs)
    this.count += 1
    this.#beganMs = nowMs
    this.#isEager = nowMs < this.#stalledMs + EAGER_MS
    this.#endsMs = nowMs + this.#random.between(0.2, this.#random.chance(0.01) ? 500 : 8)
    this.#pendingBytes = 0
    this.#pendingStreams.clear()
    this.#fullAtMs = null
    this.#largeAtMs = null
    this.#dueMs = Number.POSITIVE_INFINITY
    this.#lookAtMs = Number.POSITIVE_INFINITY
  }
}
