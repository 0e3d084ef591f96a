/**
 * Days of commits under a virtual clock: quiet hours, trickles, bursts and load arrive at a committer that asks `Pace` as the
 * real one does. Seen from outside: how often a small commit begins, and how long anything waits for its commit.
 */
import type { Random } from '../../../device-sim/random.ts'
import { FULL_COMMIT_BYTES, Pace, type PaceOptions } from '../../../gateway/spool/pace.ts'
import { DAY_MS, EPSILON_MS, Faults, type Simulated } from './result.ts'

/** What the committer asks. */
export type Pacing = Pick<Pace, 'delayMs' | 'begin'>

export function simulatePacing(
  random: Random,
  days: number,
  newPace: (options: PaceOptions, nowMs: number) => Pacing = (options, nowMs) => new Pace(options, nowMs),
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
  #firstAtMs = 0
  /** When the open commit became full; null: it is not. */
  #fullAtMs: number | null = null
  #dueMs = Number.POSITIVE_INFINITY
  #beganMs = Number.NEGATIVE_INFINITY
  #endsMs = Number.NEGATIVE_INFINITY
  /** Small commits that may still begin: burst and one, and one more per interval. That is the bound over any window. */
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
    const kind = random.below(4)
    const arrivals = random.below(200)
    const { commitIntervalMs } = this.#options
    for (let i = 0; i < arrivals; i += 1) {
      const meanMs = [600_000, Math.max(1, commitIntervalMs * 2), 1, 0.1][kind] ?? 1
      this.#runTo(this.nowMs + random.exponential(1 / meanMs))
      this.#arrive(kind === 3 ? 1 + random.below(40_000) : 1 + random.below(600))
    }
    this.#runTo(this.nowMs + random.exponential(1 / (DAY_MS / 20)))
  }

  #arrive(bytes: number): void {
    if (this.#pendingBytes === 0) this.#firstAtMs = this.nowMs
    this.#pendingBytes += bytes
    if (this.#pendingBytes >= FULL_COMMIT_BYTES) this.#fullAtMs ??= this.nowMs
    if (this.nowMs < this.#endsMs) return
    // As the committer: a timer is set once, and a commit that fills up does not wait for it.
    if (this.#pendingBytes >= FULL_COMMIT_BYTES || this.#dueMs === Number.POSITIVE_INFINITY) this.#schedule()
  }

  #schedule(): void {
    const dueMs = this.nowMs + this.#pace.delayMs(this.#pendingBytes, this.nowMs)
    this.#dueMs = Math.min(this.#dueMs, dueMs)
  }

  #runTo(endMs: number): void {
    for (;;) {
      const isRunning = this.#endsMs > this.nowMs
      const nextMs = isRunning ? this.#endsMs : Math.max(this.nowMs, this.#dueMs)
      if (nextMs > endMs) break
      this.nowMs = nextMs
      if (!isRunning) this.#begin()
      else if (this.#pendingBytes > 0) this.#schedule()
    }
    this.nowMs = endMs
  }

  #begin(): void {
    const { nowMs, faults } = this
    const { commitIntervalMs, commitBurst } = this.#options
    const freeMs = Math.max(this.#firstAtMs, this.#endsMs)
    const lateMs = nowMs - Math.max(freeMs, this.#beganMs + commitIntervalMs)
    faults.expect(lateMs <= EPSILON_MS, () => `at ${nowMs}: ${lateMs} ms later than commitInterval allows`)
    if (this.#fullAtMs !== null) {
      const waitedMs = nowMs - Math.max(this.#fullAtMs, this.#endsMs)
      faults.expect(waitedMs <= EPSILON_MS, () => `at ${nowMs}: a full commit waited ${waitedMs} ms`)
    } else {
      const earned = (nowMs - this.#allowedAtMs) / Math.max(1, commitIntervalMs)
      this.#allowed = Math.min(commitBurst + 1, this.#allowed + earned) - 1
      this.#allowedAtMs = nowMs
      const isPaced = commitIntervalMs === 0 || this.#allowed >= -EPSILON_MS
      faults.expect(isPaced, () => `at ${nowMs}: more small commits than ${commitBurst} + 1 per interval`)
    }
    this.#pace.begin(this.#pendingBytes, nowMs)
    this.count += 1
    this.#beganMs = nowMs
    this.#endsMs = nowMs + this.#random.between(0.2, this.#random.chance(0.01) ? 500 : 8)
    this.#pendingBytes = 0
    this.#fullAtMs = null
    this.#dueMs = Number.POSITIVE_INFINITY
  }
}
