/**
 * The parts of a gateway, in the order of their start. A stop takes them in reverse, twice: first
 * each ends its work, then each gives back what it holds; so the admin server answers until the
 * last request to a sink has ended. A start that fails unwinds the same list.
 */

interface Part {
  /** Begins nothing new; what is in progress has `leftMs`. */
  finish?(leftMs: number): Promise<void>
  /** Gives back what it holds. `leftMs`: for requests that it may wait for. */
  close?(leftMs: number): Promise<void>
}

export class Parts {
  readonly #parts: Part[] = []

  /** One that has just started. */
  add(part: Part): void {
    this.#parts.unshift(part)
  }

  /** Stops every part, even if another one fails. @throws the first error of any */
  async stop(deadlineMs: number): Promise<void> {
    const endsMs = performance.now() + deadlineMs
    const leftMs = (): number => Math.max(0, endsMs - performance.now())
    const errors: unknown[] = []
    for (const step of ['finish', 'close'] as const)
      for (const part of this.#parts)
        await part[step]?.(leftMs()).catch((error: unknown) => errors.push(error))
    if (errors.length > 0) throw errors[0]
  }
}
