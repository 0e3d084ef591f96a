/**
 * What the acks of a message wait for besides its fsync: each of its streams with `ack: delivered`.
 * Pure.
 */
import type { Lane, Passage, Ticket } from '../../../ports/appender.ts'

/** null: none of the streams has it. */
export function passageOf(lanes: readonly Lane[]): Passage | null {
  const passages = lanes.flatMap(({ stream }) => stream.passage ?? [])
  const [first = null] = passages
  return passages.length < 2 ? first : new AllPassages(passages)
}

/** The slowest of them counts, and a loss in any. */
class AllPassages implements Passage {
  readonly #passages: readonly Passage[]

  constructor(passages: readonly Passage[]) {
    this.#passages = passages
  }

  get through(): Ticket {
    return Math.min(...this.#passages.map(({ through }) => through))
  }

  isLost(ticket: Ticket): boolean {
    return this.#passages.some((passage) => passage.isLost(ticket))
  }
}
