/**
 * A picture that is drawn again and again: over the last one on a terminal, below it elsewhere (a
 * pipe, a file, a terminal that knows no such moves).
 */
import type { Output } from './output.ts'

const HOME = '\u001B[H'
const CLEAR_TO_END_OF_LINE = '\u001B[K'
const CLEAR_BELOW = '\u001B[J'
const CLEAR_ALL = '\u001B[2J'

export class Screen {
  readonly #output: Output
  readonly #isTerminal: boolean
  #wasDrawn = false

  constructor(output: Output, env: Readonly<Record<string, string | undefined>>) {
    this.#output = output
    this.#isTerminal = output.isTTY === true && env['TERM'] !== 'dumb'
  }

  /** `text`: with its last newline. */
  draw(text: string): void {
    if (this.#isTerminal) {
      // Line by line over what was there: a screen that is cleared first flickers.
      const lines = text.replaceAll('\n', `${CLEAR_TO_END_OF_LINE}\n`)
      this.#output.write(`${this.#wasDrawn ? '' : CLEAR_ALL}${HOME}${lines}${CLEAR_BELOW}`)
    } else this.#output.write(this.#wasDrawn ? `\n${text}` : text)
    this.#wasDrawn = true
  }
}
