/**
 * PUBLISH (section 3.3 of both versions), read in place: a view that is filled anew for each packet, so that the hot
 * path makes no object and copies nothing. Pure; topic and payload are not looked at here.
 */
import { varintLength } from './packets.ts'
import { isForwarded, type MessageOptions } from './v5/message-options.ts'
import { isFault, PROPERTY, readProperties, valueAt } from './v5/properties.ts'
import { malformed, type PacketFault, protocolError, REASON } from './v5/reason-codes.ts'

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
  // Of MQTT 5; before it they stay as they are here.
  /** Where its properties stand; nothing: it has none. */
  propertiesStart = 0
  propertiesEnd = 0
  /** 0: it has none. */
  topicAlias = 0
  /** Message Expiry Interval, seconds; null: it has none. */
  expirySeconds: number | null = null
  /** Its publisher says that the payload is UTF-8. */
  saysUtf8 = false
  /** It has properties that go on to subscribers. */
  hasForwarded = false

  /** Bytes of the payload. */
  get size(): number {
    return this.end - this.start
  }

  /** Bytes of payload and properties: what the message takes where it is kept (I6). */
  get heldBytes(): number {
    return this.size + this.propertiesEnd - this.propertiesStart
  }

  payload(): Buffer {
    return this.bytes.subarray(this.start, this.end)
  }

  /**
   * One whole packet: fixed header at `at`, variable header at `body`. null: it is well-formed; else
   * what is wrong with it, and the view holds nothing of use.
   */
  read(bytes: Buffer, at: number, body: number, end: number): string | null {
    const fault = this.#readHeader(bytes, at, body, end)
    if (fault !== null) return fault
    this.propertiesStart = 0
    this.propertiesEnd = 0
    // [MQTT-2.3.1-1]
    return this.qos !== 0 && this.packetId === 0 ? 'packet identifier 0' : null
  }

  /** The same of MQTT 5, whose properties stand between packet identifier and payload. */
  read5(bytes: Buffer, at: number, body: number, end: number): PacketFault | null {
    const fault = this.#readHeader(bytes, at, body, end)
    if (fault !== null) return malformed(fault)
    if (this.qos !== 0 && this.packetId === 0) return protocolError('packet identifier 0') // [MQTT-2.2.1-3]
    this.topicAlias = 0
    this.expirySeconds = null
    this.saysUtf8 = false
    this.hasForwarded = false
    const { start } = this
    // Nearly all have none.
    if (bytes[start] === 0 && start < end) {
      this.propertiesStart = start + 1
      this.propertiesEnd = start + 1
      this.start = start + 1
      return null
    }
    return this.#readProperties(bytes, start, end)
  }

  #readProperties(bytes: Buffer, start: number, end: number): PacketFault | null {
    let fault: PacketFault | null = null
    const block = readProperties(bytes, start, end, 'PUBLISH', (id, value, from, to) => {
      if (isForwarded(id)) this.hasForwarded = true
      if (id === PROPERTY.topicAlias) {
        this.topicAlias = value
        // [MQTT-3.3.2-8]
        if (value === 0) fault = { code: REASON.topicAliasInvalid, detail: 'topic alias 0' }
      } else if (id === PROPERTY.messageExpiry) this.expirySeconds = value
      else if (id === PROPERTY.payloadFormat) this.saysUtf8 = value === 1
      // [MQTT-3.3.2-14]
      else if (id === PROPERTY.responseTopic && hasWildcard(valueAt(bytes, from, to)))
        fault = protocolError('a response topic with wildcards')
    })
    if (isFault(block)) return block
    this.propertiesStart = block.start
    this.propertiesEnd = block.end
    this.start = block.end
    return fault
  }

  #readHeader(bytes: Buffer, at: number, body: number, end: number): string | null {
    const first = bytes[at]!
    const qos = (first >> 1) & 3
    const dup = (first & 0x08) !== 0
    if (qos === 3) return 'QoS 3' // [MQTT-3.3.1-4]
    if (dup && qos === 0) return 'DUP at QoS 0' // [MQTT-3.3.1-2]
    if (end - body < 2) return 'PUBLISH without a topic'
    const topicEnd = body + 2 + ((bytes[body]! << 8) | bytes[body + 1]!)
    const start = qos === 0 ? topicEnd : topicEnd + 2
    if (start > end) return 'PUBLISH ends in its header'
    this.bytes = bytes
    this.topicStart = body + 2
    this.topicEnd = topicEnd
    this.start = start
    this.end = end
    this.qos = qos as Qos
    this.dup = dup
    this.retain = (first & 0x01) !== 0
    this.packetId = qos === 0 ? 0 : (bytes[topicEnd]! << 8) | bytes[topicEnd + 1]!
    return null
  }

  /** What goes on to subscribers, copied; null: nothing. Before MQTT 5: call it not. */
  options(receivedAtMs: number): MessageOptions | null {
    const { expirySeconds } = this
    if (!this.hasForwarded && expirySeconds === null) return null
    const parts: Buffer[] = []
    if (this.hasForwarded) {
      readProperties(
        this.bytes,
        this.propertiesStart - varintLength(this.propertiesEnd - this.propertiesStart),
        this.propertiesEnd,
        'PUBLISH',
        (id, _value, from, to) => {
          if (isForwarded(id)) parts.push(this.bytes.subarray(from - 1, to))
        },
      )
    }
    return { forwarded: Buffer.concat(parts), expirySeconds, receivedAtMs }
  }

  /** Pins the read buffer no longer. */
  release(): void {
    this.bytes = NO_BYTES
  }
}

const PLUS = 43
const HASH = 35

export function hasWildcard(topic: Uint8Array): boolean {
  return topic.includes(PLUS) || topic.includes(HASH)
}
