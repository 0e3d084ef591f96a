/** How long one stream waits after failures in a row. Nothing of it survives a restart. */
import type { Clock } from '../clock.ts'
import { backoffMs } from '../policy/retry-policy.ts'
import type { DrainRules } from '../policy/rules.ts'

export class StreamBackoff {
  readonly #clock: Clock
  readonly #random: () => number
  readonly #rules: DrainRules
  #failures = 0
  #notBeforeMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock, random: () => number, rules: DrainRules) {
    this.#clock = clock
    this.#random = random
    this.#rules = rules
  }

  /** No try begins sooner; monotonic, ms. */
  get notBeforeMs(): number {
    return this.#notBeforeMs
  }

  /** One more failure, and the wait that it costs. */
  failed(): void {
    this.failedWithSink()
    this.wait(backoffMs(this.#failures, this.#random, this.#rules))
  }

  /** One more failure, for which the whole sink waits. */
  failedWithSink(): void {
    this.#failures++
  }

  wait(delayMs: number): void {
    this.#notBeforeMs = Math.max(this.#notBeforeMs, this.#clock.monotonicMs() + delayMs)
  }

  /** A try may begin now; what failed before still counts. */
  skipWait(): void {
    this.#notBeforeMs = Number.NEGATIVE_INFINITY
  }

  clear(): void {
    this.#failures = 0
    this.skipWait()
  }
}
