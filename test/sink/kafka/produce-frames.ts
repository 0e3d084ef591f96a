/**
 * What of a Produce request tells a broker that it is a repeat, and whether an answer to one says
 * that everything was taken. Versions 3 to 8 of the protocol.
 */

/** Reads what stands one behind the other. */
class Cursor {
  readonly #bytes: Buffer
  #at: number

  constructor(bytes: Buffer, at: number) {
    this.#bytes = bytes
    this.#at = at
  }

  skip(bytes: number): void {
    this.#at += bytes
  }

  int16(): number {
    this.#at += 2
    return this.#bytes.readInt16BE(this.#at - 2)
  }

  int32(): number {
    this.#at += 4
    return this.#bytes.readInt32BE(this.#at - 4)
  }

  text(): string {
    const length = Math.max(0, this.int16())
    this.skip(length)
    return this.#bytes.toString('utf8', this.#at - length, this.#at)
  }

  hex(bytes: number): string {
    this.skip(bytes)
    return this.#bytes.toString('hex', this.#at - bytes, this.#at)
  }
}

/** Behind length, kind, version and correlation id. */
const CLIENT_ID_AT = 12
/** Of a batch of records: from its begin to the producer's id. */
const PRODUCER_AT = 43
const PRODUCER_BYTES = 8 + 2 + 4

/** Topics and partitions of a request, each with its producer, epoch and first sequence. */
export function sequencesOf(request: Buffer): string {
  const cursor = new Cursor(request, CLIENT_ID_AT)
  cursor.text()
  // The transaction's id, acks, and the time-out.
  cursor.text()
  cursor.skip(2 + 4)
  const parts: string[] = []
  for (let topics = cursor.int32(); topics > 0; topics--) {
    const topic = cursor.text()
    for (let partitions = cursor.int32(); partitions > 0; partitions--) {
      const partition = cursor.int32()
      const length = cursor.int32()
      cursor.skip(PRODUCER_AT)
      parts.push(`${topic}-${partition}-${cursor.hex(PRODUCER_BYTES)}`)
      cursor.skip(length - PRODUCER_AT - PRODUCER_BYTES)
    }
  }
  return parts.join(' ')
}

/** @param version of the request */
export function tookEverything(answer: Buffer, version: number): boolean {
  const cursor = new Cursor(answer, 8)
  for (let topics = cursor.int32(); topics > 0; topics--) {
    cursor.text()
    for (let partitions = cursor.int32(); partitions > 0; partitions--) {
      cursor.skip(4)
      if (cursor.int16() !== 0) return false
      cursor.skip(8 + 8 + (version >= 5 ? 8 : 0))
    }
  }
  return true
}
