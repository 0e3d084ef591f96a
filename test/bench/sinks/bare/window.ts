/** So many messages without an acknowledgment, and no more. */
export class Window {
  readonly #size: number
  #inFlight = 0
  #failure: Error | null = null
  #wake: () => void = () => undefined

  constructor(size: number) {
    this.#size = size
  }

  get isFull(): boolean {
    return this.#inFlight >= this.#size
  }

  sent(): void {
    this.#inFlight += 1
  }

  /** @param error of a message that was not taken: the next wait throws it */
  readonly acknowledged = (error?: Error | null): void => {
    this.#failure ??= error ?? null
    this.#inFlight -= 1
    this.#wake()
  }

  async hasRoom(): Promise<void> {
    while (this.isFull) await this.#change()
  }

  async isEmpty(): Promise<void> {
    while (this.#inFlight > 0) await this.#change()
    if (this.#failure !== null) throw this.#failure
  }

  async #change(): Promise<void> {
    if (this.#failure !== null) throw this.#failure
    await new Promise<void>((resolve) => {
      this.#wake = resolve
    })
  }
}
