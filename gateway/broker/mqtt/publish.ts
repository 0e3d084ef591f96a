/**
 * PUBLISH (section 3.3), read in place: a view that is filled anew for each packet, so that the hot
 * path makes no object and copies nothing. Pure; topic and payload are not looked at here.
 */

export type Qos = 0 | 1 | 2

/** A message within a buffer: what is appended of it. */
export interface Publication {
  readonly bytes: Buffer
  /** The payload is `bytes.subarray(start, end)`. */
  readonly start: number
  readonly end: number
  readonly qos: Qos
  readonly dup: boolean
  readonly retain: boolean
}

const NO_BYTES = Buffer.alloc(0)

export class PublishView implements Publication {
  bytes: Buffer = NO_BYTES
  topicStart = 0
  topicEnd = 0
  start = 0
  end = 0
  qos: Qos = 0
  dup = false
  retain = false
  /** 0 at QoS 0. */
  packetId = 0

  /** Bytes of the payload. */
  get size(): number {
    return this.end - this.start
  }

  payload(): Buffer {
    return this.bytes.subarray(this.start, this.end)
  }

  /**
   * One whole packet: fixed header at `at`, variable header at `body`. null: it is well-formed; else
   * what is wrong with it, and the view holds nothing of use.
   */
  read(bytes: Buffer, at: number, body: number, end: number): string | null {
    const first = bytes[at]!
    const qos = (first >> 1) & 3
    const dup = (first & 0x08) !== 0
    if (qos === 3) return 'QoS 3' // [MQTT-3.3.1-4]
    if (dup && qos === 0) return 'DUP at QoS 0' // [MQTT-3.3.1-2]
    if (end - body < 2) return 'PUBLISH without a topic'
    const topicEnd = body + 2 + ((bytes[body]! << 8) | bytes[body + 1]!)
    const start = qos === 0 ? topicEnd : topicEnd + 2
    if (start > end) return 'PUBLISH ends in its header'
    const packetId = qos === 0 ? 0 : (bytes[topicEnd]! << 8) | bytes[topicEnd + 1]!
    if (qos !== 0 && packetId === 0) return 'packet identifier 0' // [MQTT-2.3.1-1]
    this.bytes = bytes
    this.topicStart = body + 2
    this.topicEnd = topicEnd
    this.start = start
    this.end = end
    this.qos = qos as Qos
    this.dup = dup
    this.retain = (first & 0x01) !== 0
    this.packetId = packetId
    return null
  }

  /** Pins the read buffer no longer. */
  release(): void {
    this.bytes = NO_BYTES
  }
}
