/**
 * Time that only moves when a test says so. One pair of clocks for all generations of a process: a
 * kill keeps them, a reboot starts the monotonic one anew under another boot id.
 */
import type { Clock } from '../../gateway/drain/clock.ts'

interface Timer {
  readonly atMs: number
  readonly fire: () => void
}

export class VirtualClock implements Clock {
  #wallMs: number
  #monotonicMs = 1_000
  #boots = 1
  readonly #timers = new Set<Timer>()

  constructor(wallMs = Date.UTC(2026, 10, 23)) {
    this.#wallMs = wallMs
  }

  get bootId(): string {
    return `boot-${this.#boots}`
  }

  wallMs(): number {
    return this.#wallMs
  }

  monotonicMs(): number {
    return this.#monotonicMs
  }

  setTimer(delayMs: number, fire: () => void): () => void {
    const timer = { atMs: this.#monotonicMs + Math.max(0, delayMs), fire }
    this.#timers.add(timer)
    return () => this.#timers.delete(timer)
  }

  /** When the next timer is due, ms from now; null: none is set. */
  nextTimerMs(): number | null {
    let next: number | null = null
    for (const { atMs } of this.#timers) next = Math.min(next ?? atMs, atMs)
    return next === null ? null : Math.max(0, next - this.#monotonicMs)
  }

  /** Moves on, firing what is due in its order, each at its time. */
  advance(ms: number): void {
    const endMs = this.#monotonicMs + ms
    for (;;) {
      const due = [...this.#timers]
        .filter(({ atMs }) => atMs <= endMs)
        .sort((a, b) => a.atMs - b.atMs)[0]
      if (!due) break
      this.#timers.delete(due)
      this.#to(Math.max(due.atMs, this.#monotonicMs))
      due.fire()
    }
    this.#to(endMs)
  }

  #to(monotonicMs: number): void {
    this.#wallMs += monotonicMs - this.#monotonicMs
    this.#monotonicMs = monotonicMs
  }

  /** The wall clock is set; nothing else moves. */
  setWall(wallMs: number): void {
    this.#wallMs = wallMs
  }

  /** The process ends: nobody waits any more. */
  killTimers(): void {
    this.#timers.clear()
  }

  reboot(): void {
    this.killTimers()
    this.#boots++
    this.#monotonicMs = 1_000
  }
}
