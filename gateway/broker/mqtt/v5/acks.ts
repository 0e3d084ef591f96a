/**
 * PUBACK, PUBREC, PUBREL, PUBCOMP and DISCONNECT of MQTT 5 (sections 3.4 to 3.7 and 3.14): read from
 * a client, and those written that say more than success. Pure.
 */
import { DISCONNECT, frame } from '../packets.ts'
import { PacketReader } from '../reader.ts'
import { PROPERTY, propertyBlock, stringProperty } from './properties.ts'
import { malformed, type PacketFault, protocolError, type ReasonCode } from './reason-codes.ts'

export interface Ack {
  readonly packetId: number
  /** 0 where the packet has none (section 3.4.2.1). */
  readonly code: number
}

export function readAck(bytes: Buffer, at: number, end: number): Ack | PacketFault {
  const reader = new PacketReader(bytes, at, end)
  const packetId = reader.uint16('packet identifier')
  const code = reader.rest > 0 ? reader.uint8('reason code') : 0
  if (reader.rest > 0) {
    const fault = reader.properties('ack', () => {})
    if (fault !== null) return fault
  }
  if (reader.fault !== null) return malformed(reader.fault)
  if (reader.rest > 0) return malformed('an acknowledgement has bytes behind its last field')
  if (packetId === 0) return protocolError('packet identifier 0')
  return { packetId, code }
}

interface Disconnect {
  readonly code: number
  /** Session Expiry Interval, seconds; null: as CONNECT said. */
  readonly sessionExpirySeconds: number | null
}

export function readDisconnect(bytes: Buffer, at: number, end: number): Disconnect | PacketFault {
  const reader = new PacketReader(bytes, at, end)
  let sessionExpirySeconds: number | null = null
  const code = reader.rest > 0 ? reader.uint8('reason code') : 0
  if (reader.rest > 0) {
    const fault = reader.properties('DISCONNECT', (id, value) => {
      if (id === PROPERTY.sessionExpiry) sessionExpirySeconds = value
    })
    if (fault !== null) return fault
  }
  if (reader.rest > 0) return malformed('DISCONNECT has bytes behind its last field')
  return { code, sessionExpirySeconds }
}

/** `reason`: in words; null: none are wanted, or there is nothing to say. */
export function ackFrame(
  first: number,
  packetId: number,
  code: ReasonCode,
  reason: string | null,
): Buffer {
  const id = Buffer.of(packetId >> 8, packetId & 0xff)
  if (reason === null) return frame(first, [id, Buffer.of(code)])
  return frame(first, [id, Buffer.of(code), reasonBlock(reason)])
}

/** `reference`: another server that the client may use; null: none is named. */
export function disconnectFrame(
  code: ReasonCode,
  reason: string | null,
  reference: string | null,
): Buffer {
  const properties = reasonProperties(reason)
  if (reference !== null) properties.push(stringProperty(PROPERTY.serverReference, reference))
  if (properties.length === 0) return frame(DISCONNECT, [Buffer.of(code)])
  return frame(DISCONNECT, [Buffer.of(code), propertyBlock(properties)])
}

/** A longer one says nothing that a device could use. */
const MAX_REASON_LENGTH = 256

/** A block of properties with a reason string; null: without one. */
export function reasonBlock(reason: string | null): Buffer {
  return propertyBlock(reasonProperties(reason))
}

function reasonProperties(reason: string | null): Buffer[] {
  if (reason === null) return []
  return [stringProperty(PROPERTY.reasonString, reason.slice(0, MAX_REASON_LENGTH))]
}
