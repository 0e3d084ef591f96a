/**
 * Tells all connects again when a gateway is connected to the others again, a few at a time: acks
 * are not to wait for it, here or where it is heard.
 *
 * It goes round {@link ROUNDS} times: servers of NATS that have just started may not have found each
 * other yet, and what one of them gets then does not reach gateways at the others.
 */

/** In one message: of 200 connections that all end over it, acks are not delayed visibly. */
const BATCH = 200
/** Between two of them: 10,000 clients in 5 s. */
const PAUSE_MS = 100
const ROUNDS = 2
/** Between two rounds. */
const ROUND_PAUSE_MS = 10_000

export class Retelling<T> {
  readonly #connects: ReadonlyMap<string, T>
  readonly #tell: (connects: readonly T[]) => boolean
  /** Over the live map: it holds no copy, and what comes meanwhile comes up, too. */
  #rest: Iterator<T> | null = null
  #roundsLeft = 0
  #timer: NodeJS.Timeout | null = null

  /** @param tell false: they cannot be told now. */
  constructor(connects: ReadonlyMap<string, T>, tell: (connects: readonly T[]) => boolean) {
    this.#connects = connects
    this.#tell = tell
  }

  /** From the first one, also where it has got halfway. */
  begin(): void {
    this.stop()
    this.#roundsLeft = ROUNDS
    this.#beginRound()
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#rest = null
  }

  #beginRound(): void {
    this.#roundsLeft -= 1
    this.#rest = this.#connects.values()
    this.#step(this.#rest)
  }

  #step(rest: Iterator<T>): void {
    const batch: T[] = []
    let isDone = false
    while (batch.length < BATCH && !isDone) {
      const next = rest.next()
      isDone = next.done === true
      if (next.done !== true) batch.push(next.value)
    }
    if (batch.length > 0 && !this.#tell(batch)) return this.stop()
    if (!isDone) this.#timer = setTimeout(() => this.#step(rest), PAUSE_MS)
    else if (this.#roundsLeft > 0)
      this.#timer = setTimeout(() => this.#beginRound(), ROUND_PAUSE_MS)
    else this.stop()
  }
}
