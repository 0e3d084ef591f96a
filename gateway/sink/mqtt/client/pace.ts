/**
 * How fast a connection publishes, where the broker drops what comes faster: no more than so many
 * messages and bytes in any second. What was sent is owed; the next message waits until little is.
 */
interface Rate {
  readonly messagesPerSecond: number
  readonly bytesPerSecond: number
}

/** May be owed, of a second: timers are coarse. The rate is lower by as much. */
const BURST = 0.1

export class PublishPace {
  readonly #messageMs: number
  readonly #byteMs: number
  readonly #nowMs: () => number
  /** When nothing is owed any more. */
  #paidAtMs = 0

  constructor({ messagesPerSecond, bytesPerSecond }: Rate, nowMs = () => performance.now()) {
    this.#messageMs = 1000 / (messagesPerSecond * (1 - BURST))
    this.#byteMs = 1000 / (bytesPerSecond * (1 - BURST))
    this.#nowMs = nowMs
  }

  /** Until the next message may go; 0: now. */
  get waitMs(): number {
    return Math.max(0, Math.ceil(this.#paidAtMs - this.#nowMs() - 1000 * BURST))
  }

  sent(bytes: number): void {
    const costMs = Math.max(this.#messageMs, bytes * this.#byteMs)
    this.#paidAtMs = Math.max(this.#paidAtMs, this.#nowMs()) + costMs
  }
}
