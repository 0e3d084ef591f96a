/**
 * The last lines of the log, for whoever asks the gateway itself: where its output went, to a
 * journal, a file or a container's daemon, is not known here.
 */
import { Fifo } from '../../shared/fifo.ts'

/** Some thousand lines. */
const MAX_BYTES = 512 * 1024

export class RecentLines {
  readonly #lines = new Fifo<{ readonly text: string }>()
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes = MAX_BYTES) {
    this.#maxBytes = maxBytes
  }

  /** `line`: with its newline. */
  push(line: string): void {
    this.#lines.push({ text: line })
    this.#bytes += line.length
    while (this.#bytes > this.#maxBytes) this.#bytes -= this.#lines.shift()?.text.length ?? 0
  }

  get text(): string {
    return [...this.#lines].map(({ text }) => text).join('')
  }
}
