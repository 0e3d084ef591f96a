/**
 * Valid sessions of MQTT 5, packet by packet, with their properties as a list: what breaks them
 * (mutations.ts) can add, repeat and cut single ones.
 */
import type { Random } from '../../../../device-sim/random.ts'
import { encodeText, encodeU16, encodeVarint } from '../../../support/mqtt-properties.ts'
import { encodeFrame } from '../../../support/raw-mqtt.ts'
import { makeClientId, pick } from '../sessions.ts'

/** Where properties of a client stand. */
export type Place =
  | 'CONNECT'
  | 'will'
  | 'PUBLISH'
  | 'ack'
  | 'SUBSCRIBE'
  | 'UNSUBSCRIBE'
  | 'DISCONNECT'

/** A list of properties, or bytes as they are. */
export type Part = Buffer | { readonly place: Place; readonly properties: readonly Buffer[] }

export interface Packet {
  /** First byte. */
  readonly first: number
  readonly parts: readonly Part[]
}

export interface Session {
  readonly clientId: string
  readonly packets: readonly Packet[]
  /** Acks of messages in order: `PUBACK 7`. */
  readonly acks: readonly string[]
  /** PUBCOMPs, SUBACKs and UNSUBACKs that are due. */
  readonly answers: number
  /** Messages in the spool. */
  readonly records: number
  /** Behind it the client says DISCONNECT. */
  readonly isLeft: boolean
}

type Kind = 'flag' | 'u16' | 'u32' | 'varint' | 'text' | 'binary' | 'pair'

interface Rule {
  readonly id: number
  readonly kind: Kind
  readonly places: readonly Place[]
}

const MESSAGE: readonly Place[] = ['PUBLISH', 'will']

/** Table 2-4 as far as clients go; those of a server alone have no place. */
export const RULES: readonly Rule[] = [
  { id: 0x01, kind: 'flag', places: MESSAGE },
  { id: 0x02, kind: 'u32', places: MESSAGE },
  { id: 0x03, kind: 'text', places: MESSAGE },
  { id: 0x08, kind: 'text', places: MESSAGE },
  { id: 0x09, kind: 'binary', places: MESSAGE },
  { id: 0x0b, kind: 'varint', places: ['SUBSCRIBE'] },
  { id: 0x11, kind: 'u32', places: ['CONNECT'] },
  { id: 0x12, kind: 'text', places: [] },
  { id: 0x13, kind: 'u16', places: [] },
  { id: 0x17, kind: 'flag', places: ['CONNECT'] },
  { id: 0x18, kind: 'u32', places: ['will'] },
  { id: 0x19, kind: 'flag', places: ['CONNECT'] },
  { id: 0x1a, kind: 'text', places: [] },
  { id: 0x1c, kind: 'text', places: [] },
  { id: 0x1f, kind: 'text', places: ['ack', 'DISCONNECT'] },
  { id: 0x21, kind: 'u16', places: ['CONNECT'] },
  { id: 0x22, kind: 'u16', places: ['CONNECT'] },
  { id: 0x24, kind: 'flag', places: [] },
  { id: 0x25, kind: 'flag', places: [] },
  { id: 0x27, kind: 'u32', places: ['CONNECT'] },
  { id: 0x2a, kind: 'flag', places: [] },
]

const USER_PROPERTY = 0x26
const TOPIC_ALIAS = 0x23
/** Within what the gateway and Mosquitto grant. */
const MAX_ALIAS = 10
const MAX_OPEN_IDS = 8
/** The copies have none of these. */
const UNUSED_ID = 60_000

const TEXTS = ['', 'a', 'é', '\uFEFFx', 'text/plain', '日本', 'x'.repeat(140)]
const TOPICS = ['t/1', 't/2/é', 'a/1', 'both/x', 'live/1', 'nobody']
const FILTERS = ['live/#', 'live/+', '+/1', 'nobody', 't/2/#', 'é/ü', '$share/g/live/#']

export function valueOf(random: Random, { id, kind }: Rule): Buffer {
  switch (kind) {
    case 'flag':
      return Buffer.of(random.below(2))
    case 'u16':
      return encodeU16(1 + random.below(65_535))
    case 'u32': {
      const bytes = Buffer.alloc(4)
      // Maximum Packet Size: nothing that is due is larger.
      bytes.writeUInt32BE(id === 0x27 ? 100_000 + random.below(1_000) : random.below(100))
      return bytes
    }
    case 'varint':
      return encodeVarint(1 + random.below(random.chance(0.5) ? 100 : 268_435_455))
    case 'pair':
      return Buffer.concat([encodeText(pick(random, TEXTS)), encodeText(pick(random, TEXTS))])
    default:
      return encodeText(pick(random, TEXTS))
  }
}

/** A property that is allowed there, once. */
export function propertyOf(random: Random, rule: Rule): Buffer {
  return Buffer.concat([Buffer.of(rule.id), valueOf(random, rule)])
}

export function rulesAt(place: Place): readonly Rule[] {
  return RULES.filter(({ places }) => places.includes(place))
}

function list(random: Random, place: Place, ...more: readonly Buffer[]): Part {
  const chosen = rulesAt(place).filter(() => random.chance(0.25))
  const properties = [...more, ...chosen.map((rule) => propertyOf(random, rule))]
  for (let left = random.below(4); left > 0 && random.chance(0.5); left -= 1) {
    const pair = valueOf(random, { id: USER_PROPERTY, kind: 'pair', places: [] })
    properties.push(Buffer.concat([Buffer.of(USER_PROPERTY), pair]))
  }
  // Any order is allowed.
  return { place, properties: properties.toSorted(() => random.below(3) - 1) }
}

export function encode({ first, parts }: Packet): Buffer {
  return encodeFrame(
    first,
    ...parts.map((part) => {
      if (Buffer.isBuffer(part)) return part
      const bytes = Buffer.concat(part.properties)
      return Buffer.concat([encodeVarint(bytes.length), bytes])
    }),
  )
}

export function makeConnect(random: Random, clientId: string): Packet {
  const hasWill = random.chance(0.3)
  const qos = random.below(3)
  const flags = (random.chance(0.5) ? 2 : 0) | (hasWill ? 4 | (qos << 3) : 0)
  const will = [list(random, 'will'), encodeText('live/will'), encodeText('will')]
  return {
    first: 0x10,
    parts: [
      Buffer.concat([encodeText('MQTT'), Buffer.of(5, flags, 0, 0)]),
      list(random, 'CONNECT'),
      encodeText(clientId),
      ...(hasWill ? will : []),
    ],
  }
}

/** One connection. `maxPackets`: behind CONNECT. */
export function makeSession(random: Random, maxPackets: number): Session {
  const clientId = makeClientId(random)
  const packets = [makeConnect(random, clientId)]
  const acks: string[] = []
  const open: number[] = []
  const aliases = new Map<number, string>()
  let [records, answers, nextId] = [0, 0, 1]
  const publish = (): Packet => {
    const qos = open.length < MAX_OPEN_IDS ? random.below(3) : random.below(2)
    let topic = pick(random, TOPICS)
    let written = topic
    const own: Buffer[] = []
    if (random.chance(0.3)) {
      const alias = 1 + random.below(MAX_ALIAS)
      const known = aliases.get(alias)
      if (known !== undefined && random.chance(0.6)) [topic, written] = [known, '']
      else aliases.set(alias, topic)
      own.push(Buffer.concat([Buffer.of(TOPIC_ALIAS), encodeU16(alias)]))
    }
    const id = nextId++
    if (qos === 2) open.push(id)
    if (qos > 0) acks.push(`${qos === 1 ? 'PUBACK' : 'PUBREC'} ${id}`)
    records += topic.startsWith('both/') ? 2 : /^[ta]\//.test(topic) ? 1 : 0
    return {
      first: 0x30 | (qos << 1) | (random.chance(0.05) ? 1 : 0),
      parts: [
        encodeText(written),
        ...(qos > 0 ? [encodeU16(id)] : []),
        list(random, 'PUBLISH', ...own),
        Buffer.from(`{"n":${id}}`),
      ],
    }
  }
  const ack = (first: number, id: number): Packet => ({
    first,
    parts: random.chance(0.5)
      ? [encodeU16(id)]
      : [encodeU16(id), Buffer.of(0), list(random, 'ack')],
  })
  const others: readonly (() => Packet)[] = [
    () => ack(pick(random, [0x40, 0x70]), UNUSED_ID + random.below(100)),
    () => ({ first: 0xc0, parts: [] }),
    () => {
      answers += 1
      const filter = pick(random, FILTERS)
      const options = random.below(3) | (filter.startsWith('$') ? 0 : random.below(2) << 2)
      return {
        first: 0x82,
        parts: [
          encodeU16(1 + random.below(65_535)),
          list(random, 'SUBSCRIBE'),
          encodeText(filter),
          Buffer.of(options | (random.below(2) << 3) | (random.below(3) << 4)),
        ],
      }
    },
    () => {
      answers += 1
      return {
        first: 0xa2,
        parts: [encodeU16(9), list(random, 'UNSUBSCRIBE'), encodeText(pick(random, FILTERS))],
      }
    },
  ]
  for (let left = 1 + random.below(maxPackets); left > 0; left -= 1) {
    if (open.length > 0 && random.chance(0.3)) {
      answers += 1
      packets.push(ack(0x62, open.shift()!))
    } else packets.push(random.chance(0.6) ? publish() : pick(random, others)())
  }
  const isLeft = random.chance(0.2)
  return { clientId, packets, acks, answers, records, isLeft }
}

export function makeDisconnect(random: Random): Packet {
  return {
    first: 0xe0,
    parts: random.chance(0.5)
      ? []
      : [Buffer.of(pick(random, [0, 4, 0x80])), list(random, 'DISCONNECT')],
  }
}
