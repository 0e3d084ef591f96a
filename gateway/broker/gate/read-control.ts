/**
 * Whether a connection is read from (I6), and since when its peer is silent. It is not read from
 * while its hold-back is full, while all hold-backs together are over their bound and it has its
 * share (but for a few that finish a frame), while its peer does not read what we sent, and when
 * the gateway stops. Time in which we do not read is not held against the peer.
 */
import { HOLD_BACK_FLOOR_BYTES, MAX_UNREAD_BYTES } from '../limits.ts'
import type { Inlet } from '../mqtt/frame-reader.ts'
import type { GateShared } from './context.ts'
import type { Wire } from './transport.ts'

export class Reading {
  readonly #shared: GateShared
  readonly #inlet: Inlet
  readonly #wire: Wire
  readonly #mayFinish: () => boolean
  #isQuiet = false
  /** It has only a part of a frame, and may read the rest whatever the others hold. */
  isFinishing = false
  /** When the peer was last heard, monotonic ms. */
  lastByteMs: number

  /** `mayFinish`: is it its turn to read on to the end of a frame, while others wait? */
  constructor(shared: GateShared, inlet: Inlet, wire: Wire, mayFinish: () => boolean) {
    this.#shared = shared
    this.#inlet = inlet
    this.#wire = wire
    this.#mayFinish = mayFinish
    this.lastByteMs = shared.monotonicMs()
  }

  /** Nothing more is read or processed. */
  get isQuiet(): boolean {
    return this.#isQuiet
  }

  quiesce(): void {
    this.#isQuiet = true
  }

  /**
   * `inputEnded`: the peer sends no more. Returns true if it waits for others to give hold-back bytes back.
   */
  update(inputEnded: boolean): boolean {
    const { config, stats } = this.#shared
    const held = this.#inlet.length
    const isStarved =
      stats.holdBackBytes > config.maxHoldBackBytesTotal && held > HOLD_BACK_FLOOR_BYTES
    // What it may process and has not is no whole frame.
    this.isFinishing = isStarved && this.#inlet.mayProcess && !inputEnded && this.#mayFinish()
    const isFull = !this.#inlet.mayProcess && held >= config.maxHoldBackBytes
    const reads =
      !this.#isQuiet &&
      (!isStarved || this.isFinishing) &&
      !isFull &&
      this.#wire.backlog <= MAX_UNREAD_BYTES &&
      !inputEnded
    if (reads !== this.#wire.isReading) this.#set(reads)
    return isStarved
  }

  #set(reads: boolean): void {
    if (reads) {
      // What the peer sent meanwhile lies in the kernel: its clocks start anew.
      this.lastByteMs = this.#shared.monotonicMs()
      this.#inlet.restartFrame(this.lastByteMs)
    }
    this.#wire.setReading(reads)
  }

  /** For `ms` the gateway did not run: that time was not the peer's. */
  shift(now: number, ms: number): void {
    if (ms === 0) return
    this.lastByteMs += ms
    this.#inlet.restartFrame(now)
  }
}
