/**
 * 64 bits of hash over a message's topic and payload, as two lanes of 32 bits: tells whether a QoS
 * 2 packet id that is in use comes with the same message again (I3). Not cryptographic: a device
 * that builds collisions fools only itself.
 *
 * Both lanes are MurmurHash3's 32-bit body with different constants, read four bytes at a time.
 */
export class MessageHash {
  high = 0
  low = 0

  /**
   * Sets `high` and `low`; the payload is `bytes.subarray(payloadStart, payloadEnd)`. The topic's
   * length goes in, so that a byte cannot move between topic and payload.
   */
  compute(topic: Uint8Array, bytes: Uint8Array, payloadStart: number, payloadEnd: number): void {
    this.high = 0x9747b28c ^ topic.length
    this.low = 0x3c6ef372 ^ (payloadEnd - payloadStart)
    this.#mix(topic, 0, topic.length)
    this.#mix(bytes, payloadStart, payloadEnd)
    const high = finish(this.high ^ Math.imul(this.low, 0x9e3779b1))
    const low = finish(this.low ^ Math.imul(this.high, 0x85ebca77))
    this.high = high >>> 0
    this.low = low >>> 0
  }

  #mix(bytes: Uint8Array, start: number, end: number): void {
    let high = this.high
    let low = this.low
    let at = start
    for (; at + 4 <= end; at += 4) {
      const word =
        bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
      high = lane(high, word, 0xcc9e2d51, 0x1b873593)
      low = lane(low, word, 0x85ebca6b, 0xc2b2ae35)
    }
    let tail = 1
    for (; at < end; at += 1) tail = (tail << 8) | bytes[at]!
    this.high = lane(high, tail, 0xcc9e2d51, 0x1b873593)
    this.low = lane(low, tail, 0x85ebca6b, 0xc2b2ae35)
  }
}

function lane(hash: number, word: number, first: number, second: number): number {
  let mixed = Math.imul(word, first)
  mixed = Math.imul((mixed << 15) | (mixed >>> 17), second)
  const turned = hash ^ mixed
  return (Math.imul((turned << 13) | (turned >>> 19), 5) + 0xe6546b64) | 0
}

function finish(hash: number): number {
  let mixed = hash ^ (hash >>> 16)
  mixed = Math.imul(mixed, 0x85ebca6b)
  mixed ^= mixed >>> 13
  mixed = Math.imul(mixed, 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}
