/**
 * Whether a connection is read from (I6), and since when its peer is silent. It is not read from while its hold-back
 * is full, while all hold-backs together are over their bound and it has its share, while its peer does not read what
 * we sent, and when the gateway stops. Time in which we do not read is not held against the peer.
 */
import { HOLD_BACK_FLOOR_BYTES, MAX_UNREAD_BYTES } from '../options.ts'
import type { Inlet } from './inlet.ts'
import type { GateShared } from './shared.ts'
import type { Wire } from './wire.ts'

export class Reading {
  readonly #shared: GateShared
  readonly #inlet: Inlet
  readonly #wire: Wire
  #isQuiet = false
  /** When the peer was last heard, monotonic ms. */
  lastByteMs: number

  constructor(shared: GateShared, inlet: Inlet, wire: Wire) {
    this.#shared = shared
    this.#inlet = inlet
    this.#wire = wire
    this.lastByteMs = shared.monotonicMs()
  }

  /** Nothing more is read or processed. */
  get isQuiet(): boolean {
    return this.#isQuiet
  }

  quiesce(): void {
    this.#isQuiet = true
  }

  /** `inputEnded`: the peer sends no more. Returns true if it waits for others to give hold-back bytes back. */
  update(inputEnded: boolean): boolean {
    const { config, stats } = this.#shared
    const held = this.#inlet.length
    const isStarved = stats.holdBackBytes > config.maxHoldBackBytesTotal && held > HOLD_BACK_FLOOR_BYTES
    const isFull = !this.#inlet.mayProcess && held >= config.maxHoldBackBytes
    const reads =
      !this.#isQuiet && !isStarved && !isFull && this.#wire.backlog <= MAX_UNREAD_BYTES && !inputEnded
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
