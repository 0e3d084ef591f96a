/**
 * What is done once a second, whether or not messages come: limits of age and size, ages kept up in
 * the store, and the space of settled blocks given back.
 */
import type { CommitContents } from '../commit/commit-contents.ts'
import { stateKey } from '../store/keys.ts'
import { MARK_INTERVAL_MS, type SpoolTime } from '../time/spool-time.ts'
import type { DeadLetters } from './dead-letters.ts'

const INTERVAL_MS = 1_000
/**
 * Settled bytes after which their space is given back to the file system, and the share of live
 * bytes likewise.
 */
const COMPACT_MIN_BYTES = 64 * 1024 * 1024
const COMPACT_SHARE = 0.25

export class Housekeeping {
  readonly #contents: CommitContents
  readonly #deadLetters: DeadLetters
  readonly #time: SpoolTime
  readonly #timer: NodeJS.Timeout
  #compacting = false

  /** `beforeEach`: called first, each time. */
  constructor(
    contents: CommitContents,
    deadLetters: DeadLetters,
    time: SpoolTime,
    beforeEach: () => void,
  ) {
    this.#contents = contents
    this.#deadLetters = deadLetters
    this.#time = time
    this.#timer = setInterval(() => {
      beforeEach()
      this.#tidy()
    }, INTERVAL_MS)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  #tidy(): void {
    if (this.#contents.committer.failing) return
    this.#contents.retainAll()
    if (this.#time.unmarkedMs >= MARK_INTERVAL_MS) this.markAges()
    this.#deadLetters.tidy().catch(() => undefined)
    this.#compact().catch(() => undefined)
  }

  /** Only where something ages: an idle gateway must not wear out its flash. */
  markAges(): void {
    for (const { config, pendingRecords, state } of this.#contents.streams.values()) {
      const { ingest, refused } = state.deadLetters
      const areRecordsAging = pendingRecords > 0 && (config?.maxAge ?? null) !== null
      const areLettersAging =
        ingest.count + refused.count > 0 && (config?.deadLetters.maxAge ?? null) !== null
      if (areRecordsAging || areLettersAging) this.#contents.committer.touch()
    }
  }

  /**
   * Deleting gives no space back by itself: LevelDB keeps settled blocks until their tables are
   * compacted.
   */
  async #compact(): Promise<void> {
    if (this.#compacting) return
    const streams = [...this.#contents.streams.values()]
    const deleted = streams.reduce((n, s) => n + s.deletedBytes, 0)
    const live = streams.reduce((n, s) => n + s.storedBytes, 0)
    if (deleted < Math.max(COMPACT_MIN_BYTES, live * COMPACT_SHARE)) return
    this.#compacting = true
    for (const stream of streams) stream.deletedBytes = 0
    try {
      // Everything in the commit space below the oldest block that is still needed.
      const end = stateKey(this.#contents.oldestBlockCommit())
      await this.#contents.committer.store.compact(stateKey(0), end)
    } finally {
      this.#compacting = false
    }
  }
}
