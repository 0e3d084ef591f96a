/**
 * What the newest lines of a queue were, by checksum: whether a seq that comes once more brings the
 * same record. Another one is a gateway that was rolled back, restored or cloned; taken for a
 * repeat it would be lost. Bounded; kept in memory only.
 */
import { crc32 } from 'node:zlib'

/** Lines of a queue that are remembered: the newest. */
const MAX_LINES = 100_000

export class LineMemory {
  readonly #checksums = new Map<number, number>()

  note(seq: number, line: Uint8Array): void {
    this.#checksums.set(seq, crc32(line))
    if (this.#checksums.size <= MAX_LINES) return
    for (const oldest of this.#checksums.keys()) {
      this.#checksums.delete(oldest)
      return
    }
  }

  /** False also for a line that is not remembered. */
  differs(seq: number, line: Uint8Array): boolean {
    const known = this.#checksums.get(seq)
    return known !== undefined && known !== crc32(line)
  }
}
