/**
 * Properties of MQTT 5 as tests write and read them (section 2.2.2 of the standard). Writing takes
 * whatever it is told, reading takes nothing but what the standard allows: each property known,
 * allowed in its packet, once, of its type and range. Shares nothing with the gateway: what reads
 * the gateway's bytes must not be the gateway's own opinion of them. Pure.
 */

export interface Properties {
  readonly payloadFormatIndicator?: number
  readonly messageExpiryInterval?: number
  readonly contentType?: string
  readonly responseTopic?: string
  readonly correlationData?: Buffer
  readonly subscriptionIdentifiers?: readonly number[]
  readonly sessionExpiryInterval?: number
  readonly assignedClientIdentifier?: string
  readonly serverKeepAlive?: number
  readonly authenticationMethod?: string
  readonly authenticationData?: Buffer
  readonly requestProblemInformation?: number
  readonly willDelayInterval?: number
  readonly requestResponseInformation?: number
  readonly responseInformation?: string
  readonly serverReference?: string
  readonly reasonString?: string
  readonly receiveMaximum?: number
  readonly topicAliasMaximum?: number
  readonly topicAlias?: number
  readonly maximumQos?: number
  readonly retainAvailable?: number
  /** In their order, repeats included. */
  readonly userProperties?: readonly (readonly [string, string])[]
  readonly maximumPacketSize?: number
  readonly wildcardSubscriptionAvailable?: number
  readonly subscriptionIdentifierAvailable?: number
  readonly sharedSubscriptionAvailable?: number
}

type Kind = 'flag' | 'u16' | 'u32' | 'varint' | 'text' | 'binary' | 'pair'

/** What a server may send with properties. */
export type AnswerName =
  | 'CONNACK'
  | 'PUBLISH'
  | 'PUBACK'
  | 'PUBREC'
  | 'PUBREL'
  | 'PUBCOMP'
  | 'SUBACK'
  | 'UNSUBACK'
  | 'DISCONNECT'

interface Property {
  readonly id: number
  readonly name: keyof Properties
  readonly kind: Kind
  /** Packets of a server in which it may be (table 2-4). */
  readonly from: readonly AnswerName[]
  /** May be there more than once; kept as a list. */
  readonly repeats?: true
  /** 0 is a protocol error. */
  readonly positive?: true
}

const ANSWERS: readonly AnswerName[] = [
  'CONNACK',
  'PUBLISH',
  'PUBACK',
  'PUBREC',
  'PUBREL',
  'PUBCOMP',
  'SUBACK',
  'UNSUBACK',
  'DISCONNECT',
]
const REASONED = ANSWERS.filter((name) => name !== 'PUBLISH')

const PROPERTIES: readonly Property[] = [
  { id: 0x01, name: 'payloadFormatIndicator', kind: 'flag', from: ['PUBLISH'] },
  { id: 0x02, name: 'messageExpiryInterval', kind: 'u32', from: ['PUBLISH'] },
  { id: 0x03, name: 'contentType', kind: 'text', from: ['PUBLISH'] },
  { id: 0x08, name: 'responseTopic', kind: 'text', from: ['PUBLISH'] },
  { id: 0x09, name: 'correlationData', kind: 'binary', from: ['PUBLISH'] },
  {
    id: 0x0b,
    name: 'subscriptionIdentifiers',
    kind: 'varint',
    from: ['PUBLISH'],
    repeats: true,
    positive: true,
  },
  // A server that sends it in DISCONNECT breaks [MQTT-3.14.2-2].
  { id: 0x11, name: 'sessionExpiryInterval', kind: 'u32', from: ['CONNACK'] },
  { id: 0x12, name: 'assignedClientIdentifier', kind: 'text', from: ['CONNACK'] },
  { id: 0x13, name: 'serverKeepAlive', kind: 'u16', from: ['CONNACK'] },
  { id: 0x15, name: 'authenticationMethod', kind: 'text', from: ['CONNACK'] },
  { id: 0x16, name: 'authenticationData', kind: 'binary', from: ['CONNACK'] },
  { id: 0x17, name: 'requestProblemInformation', kind: 'flag', from: [] },
  { id: 0x18, name: 'willDelayInterval', kind: 'u32', from: [] },
  { id: 0x19, name: 'requestResponseInformation', kind: 'flag', from: [] },
  { id: 0x1a, name: 'responseInformation', kind: 'text', from: ['CONNACK'] },
  { id: 0x1c, name: 'serverReference', kind: 'text', from: ['CONNACK', 'DISCONNECT'] },
  { id: 0x1f, name: 'reasonString', kind: 'text', from: REASONED },
  { id: 0x21, name: 'receiveMaximum', kind: 'u16', from: ['CONNACK'], positive: true },
  { id: 0x22, name: 'topicAliasMaximum', kind: 'u16', from: ['CONNACK'] },
  { id: 0x23, name: 'topicAlias', kind: 'u16', from: ['PUBLISH'], positive: true },
  { id: 0x24, name: 'maximumQos', kind: 'flag', from: ['CONNACK'] },
  { id: 0x25, name: 'retainAvailable', kind: 'flag', from: ['CONNACK'] },
  { id: 0x26, name: 'userProperties', kind: 'pair', from: ANSWERS, repeats: true },
  { id: 0x27, name: 'maximumPacketSize', kind: 'u32', from: ['CONNACK'], positive: true },
  { id: 0x28, name: 'wildcardSubscriptionAvailable', kind: 'flag', from: ['CONNACK'] },
  { id: 0x29, name: 'subscriptionIdentifierAvailable', kind: 'flag', from: ['CONNACK'] },
  { id: 0x2a, name: 'sharedSubscriptionAvailable', kind: 'flag', from: ['CONNACK'] },
]

const BY_ID = new Map(PROPERTIES.map((property) => [property.id, property]))

export function encodeText(text: string | Buffer): Buffer {
  const bytes = Buffer.from(text as string)
  return Buffer.concat([encodeU16(bytes.length), bytes])
}

export function encodeU16(value: number): Buffer {
  return Buffer.of(value >> 8, value & 255)
}

export function encodeVarint(value: number): Buffer {
  const bytes: number[] = []
  let rest = value
  do {
    const low = rest % 128
    rest = Math.floor(rest / 128)
    bytes.push(rest > 0 ? low | 128 : low)
  } while (rest > 0)
  return Buffer.from(bytes)
}

/** With their length in front; `{}` is one byte. */
export function encodeProperties(properties: Properties): Buffer {
  const parts = PROPERTIES.flatMap(({ id, name, kind, repeats }) => {
    const value = properties[name]
    if (value === undefined) return []
    const values: readonly unknown[] = repeats === true ? (value as readonly unknown[]) : [value]
    return values.map((one) => Buffer.concat([Buffer.of(id), encodeValue(kind, one)]))
  })
  const body = Buffer.concat(parts)
  return Buffer.concat([encodeVarint(body.length), body])
}

function encodeValue(kind: Kind, value: unknown): Buffer {
  switch (kind) {
    case 'flag':
      return Buffer.of(value as number)
    case 'u16':
      return encodeU16(value as number)
    case 'u32': {
      const bytes = Buffer.alloc(4)
      bytes.writeUInt32BE(value as number)
      return bytes
    }
    case 'varint':
      return encodeVarint(value as number)
    case 'text':
    case 'binary':
      return encodeText(value as string | Buffer)
    default:
      return Buffer.concat((value as readonly [string, string]).map((text) => encodeText(text)))
  }
}

/**
 * Properties that begin at `at`, and where they end.
 * @throws where the standard calls the packet malformed or the property a protocol error
 */
export function readProperties(
  packet: AnswerName,
  bytes: Buffer,
  at: number,
): { readonly properties: Properties; readonly end: number } {
  const reader = new Reader(bytes, at, bytes.length)
  const length = reader.varint()
  const end = reader.at + length
  if (end > bytes.length) throw new Error(`${packet}: properties end behind the packet`)
  const inner = new Reader(bytes, reader.at, end)
  const properties: Record<string, unknown> = {}
  while (inner.at < end) {
    const id = inner.varint()
    const property = BY_ID.get(id)
    if (property === undefined) throw new Error(`${packet}: unknown property ${id}`)
    const { name, kind, from, repeats, positive } = property
    if (!from.includes(packet)) throw new Error(`${packet}: ${name} does not belong there`)
    const value = inner.value(kind)
    if (positive === true && value === 0) throw new Error(`${packet}: ${name} is 0`)
    if (repeats === true) {
      properties[name] = [...((properties[name] as unknown[] | undefined) ?? []), value]
    } else if (name in properties) throw new Error(`${packet}: ${name} is there twice`)
    else properties[name] = value
  }
  return { properties, end }
}

const MAX_VARINT_BYTES = 4
const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

class Reader {
  at: number
  readonly #bytes: Buffer
  readonly #end: number

  constructor(bytes: Buffer, at: number, end: number) {
    this.#bytes = bytes
    this.at = at
    this.#end = end
  }

  value(kind: Kind): unknown {
    switch (kind) {
      case 'flag': {
        const value = this.#take(1).readUInt8(0)
        if (value > 1) throw new Error(`a flag is ${value}`)
        return value
      }
      case 'u16':
        return this.#take(2).readUInt16BE(0)
      case 'u32':
        return this.#take(4).readUInt32BE(0)
      case 'varint':
        return this.varint()
      case 'text':
        return this.#text()
      case 'binary':
        return Buffer.from(this.#take(this.#take(2).readUInt16BE(0)))
      default:
        return [this.#text(), this.#text()]
    }
  }

  /** In the fewest bytes [MQTT-1.5.5-1]. */
  varint(): number {
    let value = 0
    for (let count = 0; count < MAX_VARINT_BYTES; count += 1) {
      const byte = this.#take(1).readUInt8(0)
      value += (byte & 127) * 128 ** count
      if (byte >= 128) continue
      if (byte === 0 && count > 0) throw new Error('an integer is longer than it must be')
      return value
    }
    throw new Error('an integer has no end')
  }

  /** [MQTT-1.5.4-1, -2] */
  #text(): string {
    const text = UTF8.decode(this.#take(this.#take(2).readUInt16BE(0)))
    if (text.includes('\0')) throw new Error('a string has a U+0000')
    return text
  }

  #take(count: number): Buffer {
    const from = this.at
    if (from + count > this.#end) throw new Error('a property ends behind its length')
    this.at = from + count
    return this.#bytes.subarray(from, from + count)
  }
}
