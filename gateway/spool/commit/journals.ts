/**
 * The journals that ride in commits (ports/appender.ts): who has joined, what a failed commit still
 * owes them, and what was recovered for those that join later.
 */
import type { Journal, RecoveredJournal } from '../../ports/appender.ts'

type Entry = readonly [name: string, bytes: Uint8Array]

export class Journals {
  readonly #joined = new Map<string, Journal>()
  readonly #recovered: ReadonlyMap<string, RecoveredJournal>
  /** Changes that are not durable yet: those of a failed commit ride again. */
  #unsaved: Entry[] = []

  constructor(recovered: ReadonlyMap<string, RecoveredJournal>) {
    this.#recovered = recovered
  }

  attach(journal: Journal): RecoveredJournal {
    if (this.#joined.has(journal.name))
      throw new Error(`journal ${journal.name} is attached already`)
    this.#joined.set(journal.name, journal)
    return this.#recovered.get(journal.name) ?? { checkpoint: null, changes: [] }
  }

  /** Changes that a failed commit carried come before newer ones, as one list of changes each. */
  close(checkpoint: boolean): readonly Entry[] {
    const parts: Entry[] = []
    for (const journal of this.#joined.values()) {
      const changes = journal.collect()
      if (changes) this.#unsaved.push([journal.name, changes])
      if (checkpoint) parts.push([journal.name, journal.checkpoint()])
    }
    if (!checkpoint) return [...this.#unsaved]
    // What nobody has joined (yet) must outlive the checkpoint: the broker joins after the first
    // commit.
    for (const [name, { checkpoint: whole, changes }] of this.#recovered) {
      if (this.#joined.has(name)) continue
      parts.push([name, whole ?? Buffer.alloc(0)])
      for (const bytes of changes) parts.push([name, bytes])
    }
    return parts
  }

  /** What was closed last is durable. */
  committed(): void {
    this.#unsaved = []
  }
}
