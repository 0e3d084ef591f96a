/**
 * Copies of a message as the frames that subscribers get. A frame is encoded once for all that get
 * the message in the same way; DUP, the packet id and the rest of the Message Expiry Interval of
 * each copy are written into the bytes of its socket write. Pure.
 */
import { frame, PUBLISH, prefixed } from '../mqtt/packets.ts'
import type { Qos } from '../mqtt/publish.ts'
import { type MessageOptions, restOfExpiry } from '../mqtt/v5/message-options.ts'
import {
  PROPERTY,
  propertyBlock,
  subscriptionIdentifierProperty,
  uint32Property,
} from '../mqtt/v5/properties.ts'

const DUP = 0x08

/** A frame without its DUP flag, its packet id and the rest of its expiry. */
export interface CopyFrame {
  readonly bytes: Buffer
  readonly qos: Qos
  /** Where the packet id belongs; 0 at QoS 0. */
  readonly idAt: number
  /** Where the rest of the expiry belongs; 0: there is none, as always before MQTT 5. */
  readonly expiryAt: number
  /** Of the message, whatever its frame says of them. */
  readonly options: MessageOptions | null
}

/** How one subscriber gets a message. */
export interface CopyWay {
  readonly qos: Qos
  readonly retain: boolean
  readonly isV5: boolean
  /** Of the subscriptions that take it (MQTT 5). */
  readonly identifiers: readonly number[]
}

interface Message {
  readonly topic: string
  readonly payload: Uint8Array
  readonly options: MessageOptions | null
}

const NO_ID = Buffer.alloc(2)
const NO_OPTIONS = Buffer.alloc(0)

/** Section 3.3. */
export function copyFrame({ topic, payload, options }: Message, way: CopyWay): CopyFrame {
  const { qos, retain, isV5, identifiers } = way
  const first = PUBLISH | (qos << 1) | (retain ? 1 : 0)
  const name = prefixed(topic)
  const head = qos === 0 ? [name] : [name, NO_ID]
  if (!isV5) {
    const bytes = frame(first, [...head, payload])
    const idAt = qos === 0 ? 0 : bytes.length - payload.length - NO_ID.length
    return { bytes, qos, idAt, expiryAt: 0, options }
  }
  const forwarded = options?.forwarded ?? NO_OPTIONS
  const hasExpiry = options !== null && options.expirySeconds !== null
  const expiry = hasExpiry ? [uint32Property(PROPERTY.messageExpiry, 0)] : []
  // [MQTT-3.3.4-3], [MQTT-3.3.4-4]
  const own = identifiers.map((identifier) => subscriptionIdentifierProperty(identifier))
  const properties = propertyBlock([forwarded, ...own, ...expiry])
  const bytes = frame(first, [...head, properties, payload])
  const body = bytes.length - payload.length
  const idAt = qos === 0 ? 0 : body - properties.length - NO_ID.length
  return { bytes, qos, idAt, expiryAt: hasExpiry ? body - EXPIRY_BYTES : 0, options }
}

/** The value of the expiry, which stands last in its block. */
const EXPIRY_BYTES = 4

/** The frames of one message, each made when it is first asked for. */
export class CopyFrames {
  readonly #message: Message
  readonly #made: (CopyFrame | undefined)[] = []

  constructor(message: Message) {
    this.#message = message
  }

  at(way: CopyWay): CopyFrame {
    const { qos, retain, isV5, identifiers } = way
    if (identifiers.length > 0) return copyFrame(this.#message, way)
    const place = qos * 4 + (retain ? 2 : 0) + (isV5 ? 1 : 0)
    return (this.#made[place] ??= copyFrame(this.#message, way))
  }
}

/** [MQTT-3.3.2-5], which is about any subscriber, whatever version it speaks. */
export function isExpired({ options }: CopyFrame, nowMs: number): boolean {
  return options !== null && restOfExpiry(options, nowMs) === 0
}

/** Writes the frame of one copy at `at`. `nowMs`: wall clock. Returns where it ends. */
export function writeCopy(
  out: Buffer,
  at: number,
  copy: CopyFrame,
  { packetId, dup, nowMs }: { packetId: number; dup: boolean; nowMs: number },
): number {
  const { bytes, expiryAt, idAt, options } = copy
  const end = at + bytes.copy(out, at)
  if (dup) out[at]! |= DUP
  if (idAt > 0) out.writeUInt16BE(packetId, at + idAt)
  if (expiryAt > 0 && options !== null)
    out.writeUInt32BE(restOfExpiry(options, nowMs) ?? 0, at + expiryAt)
  return end
}
