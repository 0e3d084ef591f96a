/**
 * Keeps the seq lease ahead of every stream (I4: a seq is never used twice, even when the store
 * lost its tail). A seq is taken only below a lease that is fsynced; a raise happens in the
 * background at half of the distance.
 */
import { judgeDiskError } from '../disk/disk-errors.ts'
import type { SeqLease } from '../disk/lease.ts'
import type { SpoolStream } from './stream.ts'

/** How far a lease reaches ahead; after a crash as many numbers at most become a gap (`unused`). */
export const LEASE_AHEAD = 100_000

export class LeaseKeeper {
  readonly #lease: SeqLease
  readonly #streams: () => Iterable<SpoolStream>
  readonly #ahead: number
  #onSpace: () => void = () => undefined
  #writing: Promise<void> | null = null
  #again = false

  /** `ahead`: how far to lease; tests that look at every seq want less. */
  constructor(lease: SeqLease, streams: () => Iterable<SpoolStream>, ahead: number = LEASE_AHEAD) {
    this.#lease = lease
    this.#streams = streams
    this.#ahead = ahead
  }

  /** Called after each raise: what waited for numbers may go on. */
  onSpace(listener: () => void): void {
    this.#onSpace = listener
  }

  key(stream: SpoolStream): string {
    return `${stream.state.identities.at(-1)?.spoolId ?? ''}/${stream.name}`
  }

  /** After seqs were taken. Cheap: two comparisons. */
  taken(stream: SpoolStream): void {
    if (this.#writing || stream.leaseEnd - stream.state.nextSeq >= this.#ahead / 2) return
    void this.raise(1).catch(() => undefined)
  }

  /**
   * Makes room for at least `records` more seqs in every stream. Rejects when the file cannot be
   * written.
   */
  async raise(records: number): Promise<void> {
    const enough = [...this.#streams()].every(
      (s) => s.leaseEnd - s.state.nextSeq >= Math.max(records, this.#ahead / 2),
    )
    if (enough) return
    if (this.#writing) {
      this.#again = true
      await this.#writing
      if (!this.#again) return
    }
    this.#again = false
    this.#writing = this.#write(Math.max(records, this.#ahead)).finally(() => {
      this.#writing = null
    })
    await this.#writing
  }

  async #write(ahead: number): Promise<void> {
    const ends = new Map<SpoolStream, number>()
    for (const stream of this.#streams())
      ends.set(stream, Math.max(stream.leaseEnd, stream.state.nextSeq + ahead))
    await this.#lease.write(new Map([...ends].map(([stream, end]) => [this.key(stream), end])))
    for (const [stream, end] of ends) stream.leaseEnd = end
    this.#onSpace()
  }

  /**
   * The last write of a clean stop: the next start goes on without a gap. Where the disk fails now,
   * with one.
   */
  async lower(): Promise<void> {
    await this.#writing?.catch(() => undefined)
    const ends = [...this.#streams()].map((s) => [this.key(s), s.state.nextSeq] as const)
    try {
      await this.#lease.write(new Map(ends))
    } catch (error) {
      if (judgeDiskError(error) === null) throw error
    } finally {
      await this.#lease.close()
    }
  }

  async close(): Promise<void> {
    await this.#writing?.catch(() => undefined)
    await this.#lease.close()
  }
}
