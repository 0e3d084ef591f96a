/**
 * MQTT 3.1 and 3.1.1 control packets as bytes: types, frame lengths, and the few packets that the
 * gate writes itself. Pure. Parsing of CONNECT and SUBSCRIBE has files of its own; PUBLISH is read
 * in place on the hot path.
 *
 * Cited rules: MQTT Version 3.1.1, OASIS Standard, 29 October 2014.
 */

/**
 * The control packet type as it stands in the upper half of the first byte, flags cut off (section
 * 2.2.1).
 */
export const CONNECT = 0x10
export const CONNACK = 0x20
export const PUBLISH = 0x30
export const PUBACK = 0x40
export const PUBREC = 0x50
export const PUBREL = 0x60
export const PUBCOMP = 0x70
export const SUBSCRIBE = 0x80
export const SUBACK = 0x90
export const UNSUBSCRIBE = 0xa0
export const UNSUBACK = 0xb0
export const PINGREQ = 0xc0
export const PINGRESP = 0xd0
export const DISCONNECT = 0xe0

/** Answers of {@link frameBytes}. */
export const NEED_MORE = -1
export const BAD_LENGTH = -2

/**
 * How many bytes the frame at `at` has, fixed header included; NEED_MORE while the length is not
 * there yet; BAD_LENGTH for a remaining length of more than four bytes (section 2.2.3). The frame
 * itself may still be incomplete.
 */
export function frameBytes(bytes: Uint8Array, at: number, end: number): number {
  if (at + 2 > end) return NEED_MORE
  const first = bytes[at + 1]!
  if (first < 0x80) return 2 + first
  let length = first & 0x7f
  for (let i = 1; i < 4; i += 1) {
    if (at + 1 + i >= end) return NEED_MORE
    const byte = bytes[at + 1 + i]!
    length |= (byte & 0x7f) << (7 * i)
    if (byte < 0x80) return 2 + i + length
  }
  return BAD_LENGTH
}

/**
 * Where the frame at `at` has its variable header. Only for frames that {@link frameBytes}
 * measured.
 */
export function bodyOffset(bytes: Uint8Array, at: number): number {
  let offset = at + 1
  while (bytes[offset]! >= 0x80) offset += 1
  return offset + 1
}

/**
 * Flags in the lower half of the first byte that section 2.2.2 prescribes for everything but
 * PUBLISH.
 */
export function hasValidFlags(first: number): boolean {
  const type = first & 0xf0
  const flags = first & 0x0f
  if (type === PUBLISH) return true
  return flags === (type === PUBREL || type === SUBSCRIBE || type === UNSUBSCRIBE ? 2 : 0)
}

export const PINGRESP_FRAME: Uint8Array = Buffer.of(PINGRESP, 0)

/**
 * Section 3.2; `returnCode` 0 to 5. Session Present is 0 with every other code than 0
 * [MQTT-3.2.2-4]. Codes from 0x80 are reason codes of MQTT 5, whose CONNACK has properties (none
 * here).
 */
export function connack(returnCode: number, sessionPresent: boolean): Buffer {
  if (returnCode >= 0x80) return Buffer.of(CONNACK, 3, 0, returnCode, 0)
  return Buffer.of(CONNACK, 2, returnCode === 0 && sessionPresent ? 1 : 0, returnCode)
}

/** Section 3.6. */
export function pubrel(packetId: number): Buffer {
  return Buffer.of(PUBREL | 2, 2, packetId >> 8, packetId & 0xff)
}

/** Section 3.9; one return code per filter, in the order of the SUBSCRIBE [MQTT-3.9.3-1]. */
export function unsuback(packetId: number): Buffer {
  return frame(UNSUBACK, [Buffer.of(packetId >> 8, packetId & 0xff)])
}

export function suback(packetId: number, returnCodes: Uint8Array): Buffer {
  return frame(SUBACK, [Buffer.of(packetId >> 8, packetId & 0xff), returnCodes])
}

/** A whole frame: fixed header with the remaining length in the fewest bytes, then the parts. */
export function frame(first: number, parts: readonly Uint8Array[]): Buffer {
  let length = 0
  for (const part of parts) length += part.length
  return Buffer.concat([Buffer.of(first), varint(length), ...parts])
}

/** A remaining length, in MQTT 5 any variable byte integer, in the fewest bytes (section 2.2.3). */
export function varint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  do {
    const low = rest & 0x7f
    rest >>>= 7
    bytes.push(rest > 0 ? low | 0x80 : low)
  } while (rest > 0)
  return Buffer.from(bytes)
}

/** Bytes of a variable byte integer. */
export function varintLength(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x40_00) return 2
  return value < 0x20_00_00 ? 3 : 4
}

/** A UTF-8 string with its two-byte length in front (section 1.5.3), or bytes so framed. */
export function prefixed(value: string | Uint8Array): Buffer {
  const bytes = Buffer.from(value as string)
  return Buffer.concat([Buffer.of(bytes.length >> 8, bytes.length & 0xff), bytes])
}
