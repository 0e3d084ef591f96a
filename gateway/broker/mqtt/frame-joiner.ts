/**
 * Joins the chunks that aedes writes into whole frames: mqtt-packet writes a packet in up to seven
 * pieces, and acks of the gate must not land between them. Trusts its writer: lengths are not
 * limited here.
 */
import { BAD_LENGTH, frameBytes } from './packets.ts'

export class FrameJoiner {
  readonly #onFrame: (frame: Buffer) => void
  #pieces: Buffer[] = []
  #bytes = 0
  /** Of the frame that is being joined; 0 while its header is not complete. */
  #wanted = 0

  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame
  }

  /** True between two frames. */
  get isEmpty(): boolean {
    return this.#bytes === 0
  }

  push(chunk: Buffer): void {
    if (chunk.length === 0) return
    this.#pieces.push(chunk)
    this.#bytes += chunk.length
    while (this.#bytes > 0) {
      if (this.#wanted === 0) this.#measure()
      if (this.#wanted === 0 || this.#bytes < this.#wanted) return
      this.#cut()
    }
  }

  #measure(): void {
    // The header has at most five bytes; usually it comes in the first two pieces.
    const head =
      this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces.slice(0, 6))
    const bytes = frameBytes(head, 0, head.length)
    if (bytes === BAD_LENGTH) throw new Error('aedes wrote a frame with a bad length')
    if (bytes > 0) this.#wanted = bytes
  }

  #cut(): void {
    const all = this.#pieces.length === 1 ? this.#pieces[0]! : Buffer.concat(this.#pieces)
    const frame = all.subarray(0, this.#wanted)
    const rest = all.subarray(this.#wanted)
    this.#pieces = rest.length > 0 ? [rest] : []
    this.#bytes = rest.length
    this.#wanted = 0
    this.#onFrame(frame)
  }
}
