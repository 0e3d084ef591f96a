/** Whatever a stop has to wait for: requests, and commits of what their answers did. */
import type { Clock } from './clock.ts'

export class PendingWork {
  readonly #clock: Clock
  readonly #promises = new Set<Promise<void>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The promise must not reject. */
  add(promise: Promise<void>): void {
    this.#promises.add(promise)
    void promise.finally(() => this.#promises.delete(promise))
  }

  /** True: nothing is pending any longer. False: something still is, `limitMs` from now. */
  async endsWithin(limitMs: number): Promise<boolean> {
    let cancel = (): void => {}
    const late = new Promise<false>((resolve) => {
      cancel = this.#clock.setTimer(limitMs, () => resolve(false))
    })
    const inTime = await Promise.race([this.#end(), late])
    cancel()
    return inTime
  }

  async #end(): Promise<true> {
    while (this.#promises.size > 0) await Promise.all(this.#promises)
    return true
  }
}
