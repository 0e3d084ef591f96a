/**
 * One try to write a batch, for those who wait for it. It may be given up while the file system
 * hangs in the middle of a call: the call cannot be taken back, and what it does later is found by
 * the next try.
 */
import { AbandonedError } from './file-errors.ts'
import type { WriteProgress } from './folder-writer.ts'

/** When something last moved, monotonic, ms: tries that wait for their turn look at it, too. */
export interface Movement {
  lastMs: number
}

export class WriteAttempt implements WriteProgress {
  isAbandoned = false
  isVisible = false
  storedThrough: number | null = null
  /** Nobody waits any more. */
  isOver = false
  /** Rejects when there is no use in waiting. */
  readonly over: Promise<never>
  readonly #movement: Movement
  readonly #timeoutMs: number
  #reject: (error: Error) => void = () => undefined
  #timer: NodeJS.Timeout | null = null

  constructor(movement: Movement, timeoutMs: number) {
    this.#movement = movement
    this.#timeoutMs = timeoutMs
    this.over = new Promise((_, reject) => {
      this.#reject = reject
    })
    this.over.catch(() => undefined)
    this.moved()
    this.#wait(timeoutMs)
  }

  moved(): void {
    this.#movement.lastMs = performance.now()
  }

  /** It ends before its next step, if nobody can have seen its file yet. */
  abandon(): void {
    this.isAbandoned = true
    this.#reject(new AbandonedError('given up, the file was not there yet'))
    this.end()
  }

  end(): void {
    this.isOver = true
    if (this.#timer !== null) clearTimeout(this.#timer)
  }

  #wait(ms: number): void {
    this.#timer = setTimeout(() => {
      const stillMs = performance.now() - this.#movement.lastMs
      if (stillMs < this.#timeoutMs) return this.#wait(this.#timeoutMs - stillMs)
      // It goes on: on a slow disk it comes to its end, and the next try finds the file there.
      const seconds = Math.round(stillMs / 1000)
      this.#reject(new AbandonedError(`the file system has not answered for ${seconds} s`))
      this.end()
    }, ms)
  }
}
