/**
 * Bytes of a connection that were read and not looked at yet: a frame that is not complete, frames
 * behind CONNECT, or the hold-back buffer of a connection at its bounds (I6). A copy, so that it
 * pins no read buffer, and nothing grows with the number of segments that the bytes came in.
 */

/** Where all buffers together count their bytes. */
export interface HeldBytes {
  holdBackBytes: number
}

const FIRST_BYTES = 256

export class InboundBuffer {
  readonly #total: HeldBytes
  #bytes: Buffer = EMPTY
  #start = 0
  #end = 0
  /** Frames before this offset were looked at for PINGREQ already; at least `start`. */
  scanned = 0

  constructor(total: HeldBytes) {
    this.#total = total
  }

  get bytes(): Buffer {
    return this.#bytes
  }

  get start(): number {
    return this.#start
  }

  get end(): number {
    return this.#end
  }

  get length(): number {
    return this.#end - this.#start
  }

  append(chunk: Uint8Array, from: number): void {
    const added = chunk.length - from
    if (added <= 0) return
    if (this.#end + added > this.#bytes.length) this.#makeRoom(added)
    this.#bytes.set(from === 0 ? chunk : chunk.subarray(from), this.#end)
    this.#end += added
    this.#total.holdBackBytes += added
  }

  /** Bytes before `offset` are done with. */
  consume(offset: number): void {
    this.#total.holdBackBytes -= offset - this.#start
    this.#start = offset
    if (this.scanned < offset) this.scanned = offset
    if (this.#start < this.#end) return
    this.#start = 0
    this.#end = 0
    this.scanned = 0
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = EMPTY
  }

  discard(): void {
    this.consume(this.#end)
    this.#bytes = EMPTY
  }

  #makeRoom(added: number): void {
    const length = this.length
    const wanted = length + added
    // Doubling: a frame that trickles in is copied a few times, not once per segment.
    let capacity = Math.max(this.#bytes.length, FIRST_BYTES)
    while (capacity < wanted) capacity *= 2
    const target = capacity > this.#bytes.length ? Buffer.allocUnsafeSlow(capacity) : this.#bytes
    this.#bytes.copy(target, 0, this.#start, this.#end)
    this.#bytes = target
    this.scanned -= this.#start
    this.#start = 0
    this.#end = length
  }
}

const EMPTY = Buffer.alloc(0)

/** An empty buffer of more than this is given back. */
const KEPT_BYTES = 4 * 1024
