/**
 * Watches the free space (I6): ingest closes at `minFreeBytes`, before LevelDB meets the limit, and
 * resumes by itself. Delivery and deletion go on. After a full disk was met, ingest also waits
 * until the ballast is back.
 */
import type { EmitSpoolEvent } from '../events.ts'
import type { Ballast } from './ballast.ts'
import { freeBytes } from './folder.ts'

const LOOK_INTERVAL_MS = 1_000
/** Ingest resumes when so much more than `minFreeBytes` is free: no flapping at the limit. */
const RESUME_SHARE = 1.05

export class DiskGuard {
  /** From the next look on. */
  minFreeBytes: number
  readonly #folder: string
  readonly #emit: EmitSpoolEvent
  #onSpace: () => void = () => undefined
  #timer: NodeJS.Timeout | undefined
  #freeBytes = Number.POSITIVE_INFINITY
  #low = false
  #missing: Pick<Ballast, 'bytes' | 'ensure'> | null = null
  #looking = false

  constructor(options: { folder: string; minFreeBytes: number; emit: EmitSpoolEvent }) {
    this.#folder = options.folder
    this.minFreeBytes = options.minFreeBytes
    this.#emit = options.emit
  }

  /** Called when ingest opens again: what waited for room may go on. */
  onSpace(listener: () => void): void {
    this.#onSpace = listener
  }

  start(): void {
    this.#timer = setInterval(() => {
      this.look().catch(() => undefined)
    }, LOOK_INTERVAL_MS)
    this.#timer.unref()
  }

  /** True: ingest is closed. */
  get low(): boolean {
    return this.#low || this.#missing !== null
  }

  get freeBytes(): number {
    return this.#freeBytes
  }

  /** So many bytes must be free for ingest to open again. */
  get wantedBytes(): number {
    return Math.ceil(this.minFreeBytes * RESUME_SHARE) + (this.#missing?.bytes ?? 0)
  }

  /**
   * A full disk was met: ingest stays closed until the ballast is there again, and `minFreeBytes`
   * beside it.
   */
  holdForBallast(ballast: Pick<Ballast, 'bytes' | 'ensure'>): void {
    this.#missing = ballast
  }

  async look(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    try {
      this.#freeBytes = await freeBytes(this.#folder)
      const was = this.low
      if (await this.#missing?.ensure(Math.ceil(this.minFreeBytes * RESUME_SHARE))) {
        this.#missing = null
        this.#freeBytes = await freeBytes(this.#folder)
      }
      const limit = this.#low ? this.minFreeBytes * RESUME_SHARE : this.minFreeBytes
      this.#setLow(this.#freeBytes < limit)
      if (was && !this.low) this.#onSpace()
    } finally {
      this.#looking = false
    }
  }

  #setLow(low: boolean): void {
    if (low === this.#low) return
    this.#low = low
    const { minFreeBytes } = this
    if (low) this.#emit({ type: 'spool.disk-low', freeBytes: this.#freeBytes, minFreeBytes })
    else this.#emit({ type: 'spool.disk-ok', freeBytes: this.#freeBytes })
  }

  stop(): void {
    clearInterval(this.#timer)
  }
}
