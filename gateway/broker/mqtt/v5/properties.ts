/**
 * Properties of MQTT 5 packets (section 2.2.2): read in place and checked, each against its type,
 * the packet that it stands in, and how often it may stand there; and written. Pure.
 *
 * What a client may send is checked here in full, so whoever takes a property from the read
 * buffer, or forwards a block of them unaltered, need not look again.
 */
import { isUtf8 } from 'node:buffer'
import { prefixed, varint } from '../packets.ts'
import { malformed, type PacketFault, protocolError } from './reason-codes.ts'

/** Identifiers (table 2-4). */
export const PROPERTY = {
  payloadFormat: 0x01,
  messageExpiry: 0x02,
  contentType: 0x03,
  responseTopic: 0x08,
  correlationData: 0x09,
  subscriptionIdentifier: 0x0b,
  sessionExpiry: 0x11,
  assignedClientId: 0x12,
  serverKeepAlive: 0x13,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  requestProblemInformation: 0x17,
  willDelay: 0x18,
  requestResponseInformation: 0x19,
  serverReference: 0x1c,
  reasonString: 0x1f,
  receiveMaximum: 0x21,
  topicAliasMaximum: 0x22,
  topicAlias: 0x23,
  maximumQos: 0x24,
  retainAvailable: 0x25,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
  sharedSubscriptionAvailable: 0x2a,
} as const

type PropertyId = (typeof PROPERTY)[keyof typeof PROPERTY]

/** Where properties of a client stand. */
export type PropertyPlace =
  | 'CONNECT'
  | 'will'
  | 'PUBLISH'
  | 'ack'
  | 'SUBSCRIBE'
  | 'UNSUBSCRIBE'
  | 'DISCONNECT'

type Kind = 'flag' | 'uint16' | 'uint32' | 'varint' | 'string' | 'binary' | 'pair'

interface Rule {
  readonly name: string
  readonly kind: Kind
  readonly places: readonly PropertyPlace[]
  /** 0 is a protocol error. */
  readonly isPositive?: true
}

const MESSAGE: readonly PropertyPlace[] = ['PUBLISH', 'will']
const EVERYWHERE: readonly PropertyPlace[] = [
  'CONNECT',
  'will',
  'PUBLISH',
  'ack',
  'SUBSCRIBE',
  'UNSUBSCRIBE',
  'DISCONNECT',
]

/** Those that a client may send (table 2-4). */
const RULES: ReadonlyMap<number, Rule> = new Map<PropertyId, Rule>([
  [PROPERTY.payloadFormat, { name: 'Payload Format Indicator', kind: 'flag', places: MESSAGE }],
  [PROPERTY.messageExpiry, { name: 'Message Expiry Interval', kind: 'uint32', places: MESSAGE }],
  [PROPERTY.contentType, { name: 'Content Type', kind: 'string', places: MESSAGE }],
  [PROPERTY.responseTopic, { name: 'Response Topic', kind: 'string', places: MESSAGE }],
  [PROPERTY.correlationData, { name: 'Correlation Data', kind: 'binary', places: MESSAGE }],
  [
    PROPERTY.subscriptionIdentifier,
    { name: 'Subscription Identifier', kind: 'varint', places: ['SUBSCRIBE'], isPositive: true },
  ],
  [
    PROPERTY.sessionExpiry,
    { name: 'Session Expiry Interval', kind: 'uint32', places: ['CONNECT', 'DISCONNECT'] },
  ],
  [
    PROPERTY.authenticationMethod,
    { name: 'Authentication Method', kind: 'string', places: ['CONNECT'] },
  ],
  [
    PROPERTY.authenticationData,
    { name: 'Authentication Data', kind: 'binary', places: ['CONNECT'] },
  ],
  [
    PROPERTY.requestProblemInformation,
    { name: 'Request Problem Information', kind: 'flag', places: ['CONNECT'] },
  ],
  [PROPERTY.willDelay, { name: 'Will Delay Interval', kind: 'uint32', places: ['will'] }],
  [
    PROPERTY.requestResponseInformation,
    { name: 'Request Response Information', kind: 'flag', places: ['CONNECT'] },
  ],
  [PROPERTY.reasonString, { name: 'Reason String', kind: 'string', places: ['ack', 'DISCONNECT'] }],
  [
    PROPERTY.receiveMaximum,
    { name: 'Receive Maximum', kind: 'uint16', places: ['CONNECT'], isPositive: true },
  ],
  [
    PROPERTY.topicAliasMaximum,
    { name: 'Topic Alias Maximum', kind: 'uint16', places: ['CONNECT'] },
  ],
  [PROPERTY.topicAlias, { name: 'Topic Alias', kind: 'uint16', places: ['PUBLISH'] }],
  [PROPERTY.userProperty, { name: 'User Property', kind: 'pair', places: EVERYWHERE }],
  [
    PROPERTY.maximumPacketSize,
    { name: 'Maximum Packet Size', kind: 'uint32', places: ['CONNECT'], isPositive: true },
  ],
])

/**
 * Told of each property in order: its number, or where its bytes stand (of a pair: from the length
 * of its name to the end of its value).
 */
export type OnProperty = (id: number, value: number, start: number, end: number) => void

const NOT_ONE = -1

/** Second answers of the two readers below: no object is made for them. */
let varintEnd = 0
let number = 0

/** NOT_ONE unless it has at most four bytes, and no more than it needs [MQTT-1.5.5-1]. */
function readVarint(bytes: Buffer, at: number, end: number): number {
  let value = 0
  for (let i = 0; i < 4 && at + i < end; i += 1) {
    const byte = bytes[at + i]!
    value |= (byte & 0x7f) << (7 * i)
    if (byte >= 0x80) continue
    if (byte === 0 && i > 0) return NOT_ONE
    varintEnd = at + i + 1
    return value
  }
  return NOT_ONE
}

/** Where a block of properties stands in its packet. */
interface PropertyBlock {
  /** Behind the length of the block. */
  readonly start: number
  readonly end: number
}

/**
 * The block of properties at `at`, which has to end at `end` or before it: its place, or what is
 * wrong with it. An empty one allocates nothing but the place.
 */
export function readProperties(
  bytes: Buffer,
  at: number,
  end: number,
  place: PropertyPlace,
  onProperty: OnProperty,
): PropertyBlock | PacketFault {
  const length = readVarint(bytes, at, end)
  if (length === NOT_ONE) return malformed('the property length is not a variable byte integer')
  const start = varintEnd
  if (start + length > end) return malformed('the property length is over the end of the packet')
  const fault = length === 0 ? null : walk(bytes, start, start + length, place, onProperty)
  return fault ?? { start, end: start + length }
}

/** Tells of properties without a length in front that were checked when they came. */
export function readForwarded(bytes: Buffer, onProperty: OnProperty): void {
  const fault = walk(bytes, 0, bytes.length, 'PUBLISH', onProperty)
  if (fault !== null) throw new Error(`not a block of properties: ${fault.detail}`)
}

export function isFault(result: object): result is PacketFault {
  return 'code' in result
}

function walk(
  bytes: Buffer,
  from: number,
  end: number,
  place: PropertyPlace,
  onProperty: OnProperty,
): PacketFault | null {
  // Identifiers are below 64: which of them came is two words of bits.
  let seenLow = 0
  let seenHigh = 0
  let at = from
  while (at < end) {
    const id = bytes[at]!
    const rule = RULES.get(id)
    if (rule === undefined) return malformed(`0x${id.toString(16)} is no property of a client`)
    // Of the properties of PUBLISH it is the one that servers alone send [MQTT-3.3.4-6].
    if (id === PROPERTY.subscriptionIdentifier && place === 'PUBLISH')
      return protocolError(`${rule.name} from a client`)
    if (!rule.places.includes(place)) return malformed(`${rule.name} in ${place}`)
    const bit = 1 << (id & 31)
    if (id !== PROPERTY.userProperty) {
      if (((id < 32 ? seenLow : seenHigh) & bit) !== 0) return protocolError(`${rule.name} twice`)
      if (id < 32) seenLow |= bit
      else seenHigh |= bit
    }
    const next = readValue(bytes, at + 1, end, rule.kind)
    if (next === BAD) return malformed(`${rule.name} is cut off or ill-formed`)
    if (rule.kind === 'flag' && number > 1) return protocolError(`${rule.name} ${number}`)
    if (rule.isPositive === true && number === 0) return protocolError(`${rule.name} 0`)
    onProperty(id, number, at + 1, next)
    at = next
  }
  return null
}

const BAD = -1

/** Where the value at `at` ends, or BAD. `number`: its value; 0 for strings. */
function readValue(bytes: Buffer, at: number, end: number, kind: Kind): number {
  number = 0
  switch (kind) {
    case 'flag':
      if (at + 1 > end) return BAD
      number = bytes[at]!
      return at + 1
    case 'uint16':
      if (at + 2 > end) return BAD
      number = bytes.readUInt16BE(at)
      return at + 2
    case 'uint32':
      if (at + 4 > end) return BAD
      number = bytes.readUInt32BE(at)
      return at + 4
    case 'varint':
      number = readVarint(bytes, at, end)
      return number === NOT_ONE ? BAD : varintEnd
    case 'binary':
      return endOfBinary(bytes, at, end)
    case 'string':
      return endOfString(bytes, at, end)
    case 'pair':
      return endOfPair(bytes, at, end)
    default:
      return BAD
  }
}

function endOfPair(bytes: Buffer, at: number, end: number): number {
  const middle = endOfString(bytes, at, end)
  return middle === BAD ? BAD : endOfString(bytes, middle, end)
}

function endOfBinary(bytes: Buffer, at: number, end: number): number {
  if (at + 2 > end) return BAD
  const next = at + 2 + bytes.readUInt16BE(at)
  return next > end ? BAD : next
}

/** [MQTT-1.5.4-1], [MQTT-1.5.4-2] */
function endOfString(bytes: Buffer, at: number, end: number): number {
  const next = endOfBinary(bytes, at, end)
  if (next === BAD) return BAD
  const text = bytes.subarray(at + 2, next)
  return isUtf8(text) && !text.includes(0) ? next : BAD
}

/** A string or binary value that {@link readProperties} told of. */
export function valueAt(bytes: Buffer, start: number, end: number): Buffer {
  return bytes.subarray(start + 2, end)
}

// Writing.

export function uint16Property(id: PropertyId, value: number): Buffer {
  return Buffer.of(id, value >> 8, value & 0xff)
}

export function uint32Property(id: PropertyId, value: number): Buffer {
  const bytes = Buffer.alloc(5)
  bytes[0] = id
  bytes.writeUInt32BE(value, 1)
  return bytes
}

export function stringProperty(id: PropertyId, text: string): Buffer {
  return Buffer.concat([Buffer.of(id), prefixed(text)])
}

export function subscriptionIdentifierProperty(identifier: number): Buffer {
  return Buffer.concat([Buffer.of(PROPERTY.subscriptionIdentifier), varint(identifier)])
}

/** A whole block: its length, then the properties. */
export function propertyBlock(properties: readonly Uint8Array[]): Buffer {
  const length = properties.reduce((sum, { length }) => sum + length, 0)
  return Buffer.concat([varint(length), ...properties])
}
