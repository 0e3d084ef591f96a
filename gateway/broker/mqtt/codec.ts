/**
 * What the two versions of MQTT say differently to a client: chosen at CONNECT, kept with the
 * connection. Success is the same four bytes in both, so the acks of messages do not pass here.
 * Pure.
 */
import type { CloseReason } from '../events.ts'
import { CONNACK, connack, frame, SUBACK, suback, UNSUBACK, unsuback } from './packets.ts'
import { type Ack, disconnectFrame, readAck, reasonBlock } from './v5/acks.ts'
import {
  PROPERTY,
  propertyBlock,
  stringProperty,
  uint16Property,
  uint32Property,
} from './v5/properties.ts'
import { malformed, type PacketFault, REASON, type ReasonCode } from './v5/reason-codes.ts'

/** What CONNACK grants. Before MQTT 5 only Session Present is told. */
interface ConnectGrant {
  readonly isSessionPresent: boolean
  readonly receiveMaximum: number
  /** null: as the client asked. */
  readonly sessionExpirySeconds: number | null
  readonly maximumPacketBytes: number
  readonly topicAliasMaximum: number
  /** null: the client has named itself. */
  readonly assignedClientId: string | null
}

/** Of CONNACK before MQTT 5 (table 3.1), and of those from 0x80 of MQTT 5. */
export type ReturnCode = 1 | 2 | 4 | 5 | ReasonCode

export interface Codec {
  readonly isV5: boolean
  /** Bytes of the reason string that an ack may have [MQTT-3.4.2-2]; 0: the client wants none. */
  readonly maxReasonBytes: number
  accepted(grant: ConnectGrant): Buffer
  /** `detail`: why, in words. */
  refused(code: ReturnCode, detail: string): Buffer
  /**
   * DISCONNECT before the gateway closes; null: the version has none. `reference`: another server;
   * null: none is named.
   */
  goodbye(code: ReasonCode, detail: string, reference: string | null): Buffer | null
  /** One code per filter. */
  suback(packetId: number, codes: Uint8Array): Buffer
  unsuback(packetId: number, codes: Uint8Array): Buffer
  /** PUBACK, PUBREC, PUBREL or PUBCOMP, behind its fixed header. `what`: for words. */
  readAck(bytes: Buffer, at: number, end: number, what: string): Ack | PacketFault
}

/** MQTT 3.1 and 3.1.1. `hasPresent`: in 3.1 the byte of Session Present is reserved. */
function codec3(hasPresent: boolean): Codec {
  return {
    isV5: false,
    maxReasonBytes: 0,
    accepted: ({ isSessionPresent }) => connack(0, isSessionPresent && hasPresent),
    refused: (code) => connack(code, false),
    goodbye: () => null,
    suback: (packetId, codes) => suback(packetId, codes),
    unsuback: (packetId) => unsuback(packetId),
    readAck: readAck3,
  }
}

function readAck3(bytes: Buffer, at: number, end: number, what: string): Ack | PacketFault {
  if (end - at !== 2) return malformed(`${what} of a wrong length`)
  const packetId = bytes.readUInt16BE(at)
  return packetId === 0 ? malformed('packet identifier 0') : { packetId, code: REASON.success }
}

interface Wanted {
  readonly wantsReasons: boolean
  /** Bytes of a packet that the client takes; null: any. */
  readonly maximumPacketBytes: number | null
}

/** What an ack has beside its reason string of some words: header, id, code, block and string. */
const REASONED_ACK_BYTES = 2 + 2 + 1 + 1 + 3

function codec5({ wantsReasons, maximumPacketBytes }: Wanted): Codec {
  const maxPacketBytes = maximumPacketBytes ?? Number.POSITIVE_INFINITY
  /** The words are left out where none are wanted, or make the packet too large for the client. */
  const explained = (detail: string, make: (reason: string | null) => Buffer): Buffer => {
    if (detail === '' || !wantsReasons) return make(null)
    const packet = make(detail)
    return packet.length <= maxPacketBytes ? packet : make(null)
  }
  const answer = (first: number, packetId: number, codes: Uint8Array): Buffer =>
    frame(first, [Buffer.of(packetId >> 8, packetId & 0xff, 0), codes])
  return {
    isV5: true,
    maxReasonBytes: wantsReasons ? maxPacketBytes - REASONED_ACK_BYTES : 0,
    accepted: connack5,
    refused: (code, detail) => {
      const reason = RETURN_CODES[code] ?? code
      // A client of another version may not know what a property is.
      const words = reason === REASON.unsupportedProtocolVersion ? '' : detail
      return explained(words, (said) => connackOf(reason, said))
    },
    goodbye: (code, detail, reference) => {
      const packet = explained(detail, (said) => disconnectFrame(code, said, reference))
      return packet.length <= maxPacketBytes ? packet : disconnectFrame(code, null, null)
    },
    suback: (packetId, codes) => answer(SUBACK, packetId, codes),
    unsuback: (packetId, codes) => answer(UNSUBACK, packetId, codes),
    readAck,
  }
}

export const CODEC_31: Codec = codec3(false)
export const CODEC_311: Codec = codec3(true)
/** Of nearly all clients, and before it is known what the client wants. */
export const CODEC_5: Codec = codec5({ wantsReasons: true, maximumPacketBytes: null })
/** With Request Problem Information 0 [MQTT-3.1.2-29]. */
const CODEC_5_TERSE: Codec = codec5({ wantsReasons: false, maximumPacketBytes: null })

export function codecOf5(wanted: Wanted): Codec {
  if (wanted.maximumPacketBytes !== null) return codec5(wanted)
  return wanted.wantsReasons ? CODEC_5 : CODEC_5_TERSE
}

/** What the return codes before MQTT 5 are in it. */
const RETURN_CODES: Readonly<Record<number, ReasonCode>> = {
  1: REASON.unsupportedProtocolVersion,
  2: REASON.clientIdentifierNotValid,
  4: REASON.badUserNameOrPassword,
  5: REASON.notAuthorized,
}

function connackOf(code: ReturnCode, reason: string | null): Buffer {
  return frame(CONNACK, [Buffer.of(0, code), reasonBlock(reason)])
}

/** Section 3.2.2.3: a property is left out where its default says the same. */
function connack5(grant: ConnectGrant): Buffer {
  const { assignedClientId, sessionExpirySeconds } = grant
  const properties = [
    uint16Property(PROPERTY.receiveMaximum, grant.receiveMaximum),
    uint32Property(PROPERTY.maximumPacketSize, grant.maximumPacketBytes),
    uint16Property(PROPERTY.topicAliasMaximum, grant.topicAliasMaximum),
  ]
  if (sessionExpirySeconds !== null)
    properties.push(uint32Property(PROPERTY.sessionExpiry, sessionExpirySeconds))
  if (assignedClientId !== null)
    properties.push(stringProperty(PROPERTY.assignedClientId, assignedClientId))
  const present = grant.isSessionPresent ? 1 : 0
  return frame(CONNACK, [Buffer.of(present, 0), propertyBlock(properties)])
}

/** What DISCONNECT says of each reason to close (section 3.14.2.1). */
export const CLOSE_CODES: Readonly<Record<CloseReason, ReasonCode>> = {
  'client-disconnect': REASON.success,
  'connection-lost': REASON.unspecifiedError,
  malformed: REASON.malformedPacket,
  'packet-too-large': REASON.packetTooLarge,
  'connect-timeout': REASON.unspecifiedError,
  keepalive: REASON.keepAliveTimeout,
  'frame-timeout': REASON.keepAliveTimeout,
  'forbidden-topic': REASON.notAuthorized,
  unrouted: REASON.topicNameInvalid,
  takeover: REASON.sessionTakenOver,
  'slow-subscriber': REASON.quotaExceeded,
  'slow-reader': REASON.quotaExceeded,
  'qos2-window': REASON.quotaExceeded,
  'receive-maximum': REASON.receiveMaximumExceeded,
  'lost-before-delivery': REASON.unspecifiedError,
  'listener-removed': REASON.administrativeAction,
  leaving: REASON.useAnotherServer,
  stopping: REASON.serverShuttingDown,
  'internal-error': REASON.implementationSpecificError,
}
