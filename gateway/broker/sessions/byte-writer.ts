/** A byte list that grows: the changes of one commit, written without an object per change. */
export class ByteWriter {
  #bytes: Buffer
  #length = 0

  constructor(initialBytes = 1024) {
    this.#bytes = Buffer.allocUnsafe(initialBytes)
  }

  get length(): number {
    return this.#length
  }

  uint8(value: number): void {
    this.#reserve(1)
    this.#bytes[this.#length] = value
    this.#length += 1
  }

  uint16(value: number): void {
    this.#reserve(2)
    this.#length = this.#bytes.writeUInt16BE(value, this.#length)
  }

  uint32(value: number): void {
    this.#reserve(4)
    this.#length = this.#bytes.writeUInt32BE(value, this.#length)
  }

  /** Seven bits a byte, low ones first; up to 2^53 - 1. */
  varint(value: number): void {
    let rest = value
    while (rest >= 0x80) {
      this.uint8((rest % 0x80) | 0x80)
      rest = Math.floor(rest / 0x80)
    }
    this.uint8(rest)
  }

  string(text: string): void {
    const bytes = Buffer.byteLength(text)
    this.varint(bytes)
    this.#reserve(bytes)
    this.#length += this.#bytes.write(text, this.#length, 'utf8')
  }

  /**
   * A copy of what was written; the writer is empty afterwards, and keeps no more room than it
   * began with.
   */
  take(): Uint8Array {
    const taken = Buffer.from(this.#bytes.subarray(0, this.#length))
    this.#length = 0
    if (this.#bytes.length > KEPT_BYTES) this.#bytes = Buffer.allocUnsafe(KEPT_BYTES)
    return taken
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#bytes.length) return
    const grown = Buffer.allocUnsafe(Math.max(this.#bytes.length * 2, this.#length + bytes))
    this.#bytes.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
  }
}

/** A commit of 5,000 QoS 2 messages lists 60 KiB; more room than that is given back. */
const KEPT_BYTES = 64 * 1024
