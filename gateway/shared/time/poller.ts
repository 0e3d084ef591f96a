/** Does something again and again, one round at a time; its timer keeps no process alive. */
export class Poller {
  readonly #look: () => Promise<void>
  readonly #intervalMs: number
  #timer: NodeJS.Timeout | null = null
  #isClosed = false

  /**
   * `look` must not reject. It is called `intervalMs` after the start, then so long after its last call was done.
   */
  constructor(intervalMs: number, look: () => Promise<void>) {
    this.#look = look
    this.#intervalMs = intervalMs
    this.#schedule()
  }

  /** No round begins any more; one that runs ends by itself. */
  close(): void {
    this.#isClosed = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  #schedule(): void {
    if (this.#isClosed) return
    this.#timer = setTimeout(() => void this.#round(), this.#intervalMs)
    this.#timer.unref()
  }

  async #round(): Promise<void> {
    await this.#look()
    this.#schedule()
  }
}
