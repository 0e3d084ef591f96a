/**
 * Whether a connection is read from (I6), and since when its peer is silent. It is not read from
 * while its hold-back is full, while all hold-backs together are over their bound and it has its
 * share (but for a few that finish a frame), while its peer does not read what we sent, and when
 * the gateway stops. Time in which we do not read is not held against the peer.
 */
import { HOLD_BACK_FLOOR_BYTES, MAX_UNREAD_BYTES } from '../limits.ts'
import type { FrameReader } from '../mqtt/frame-reader.ts'
import type { GateContext } from './context.ts'
import type { Transport } from './transport.ts'

export class ReadControl {
  readonly #context: Pick<GateContext, 'config' | 'monotonicMs' | 'stats'>
  readonly #frames: FrameReader
  readonly #transport: Transport
  readonly #mayFinish: () => boolean
  #isQuiet = false
  #isFinishing = false
  /** When the peer was last heard, monotonic ms. */
  lastByteMs: number

  /** `mayFinish`: is it its turn to read on to the end of a frame, while others wait? */
  constructor(
    context: Pick<GateContext, 'config' | 'monotonicMs' | 'stats'>,
    frames: FrameReader,
    transport: Transport,
    mayFinish: () => boolean,
  ) {
    this.#context = context
    this.#frames = frames
    this.#transport = transport
    this.#mayFinish = mayFinish
    this.lastByteMs = context.monotonicMs()
  }

  /** Nothing more is read or processed. */
  get isQuiet(): boolean {
    return this.#isQuiet
  }

  /** It has only a part of a frame, and may read the rest whatever the others hold. */
  get isFinishing(): boolean {
    return this.#isFinishing
  }

  quiesce(): void {
    this.#isQuiet = true
  }

  /**
   * `mayProcess`: frames that come are taken. `inputEnded`: the peer sends no more. Returns true if
   * it waits for others to give hold-back bytes back.
   */
  update(mayProcess: boolean, inputEnded: boolean): boolean {
    const { config, stats } = this.#context
    const held = this.#frames.length
    const isStarved =
      stats.holdBackBytes > config.maxHoldBackBytesTotal && held > HOLD_BACK_FLOOR_BYTES
    // What it may process and has not is no whole frame.
    this.#isFinishing = isStarved && mayProcess && !inputEnded && this.#mayFinish()
    const isFull = !mayProcess && held >= config.maxHoldBackBytes
    const reads =
      !this.#isQuiet &&
      (!isStarved || this.#isFinishing) &&
      !isFull &&
      this.#transport.backlog <= MAX_UNREAD_BYTES &&
      !inputEnded
    if (reads !== this.#transport.isReading) this.#set(reads)
    return isStarved
  }

  #set(reads: boolean): void {
    if (reads) {
      // What the peer sent meanwhile lies in the kernel: its clocks start anew.
      this.lastByteMs = this.#context.monotonicMs()
      this.#frames.restartFrame(this.lastByteMs)
    }
    this.#transport.read(reads)
  }

  /** For `ms` the gateway did not run: that time was not the peer's. */
  shift(now: number, ms: number): void {
    if (ms === 0) return
    this.lastByteMs += ms
    this.#frames.restartFrame(now)
  }
}
