/**
 * What breaks a session of MQTT 5: by structure, so that each says whether the connection has to
 * end, and by bits, where that cannot be told.
 */
import type { Random } from '../../../../device-sim/random.ts'
import { encodeText, encodeU16, encodeVarint } from '../../../support/mqtt-properties.ts'
import { encodeFrame } from '../../../support/raw-mqtt.ts'
import { pick } from '../sessions.ts'
import {
  encode,
  makeConnect,
  makeDisconnect,
  type Packet,
  type Part,
  type Place,
  propertyOf,
  RULES,
  rulesAt,
  type Session,
} from './grammar.ts'

export const MUTATIONS = [
  'none',
  'property repeated',
  'property misplaced',
  'property unknown',
  'property cut off',
  'properties longer than their length',
  'length of properties lies',
  'length in more bytes than it needs',
  'text that is not UTF-8',
  'value out of range',
  'topic alias out of range',
  'packet id 0',
  'flags of the header',
  'subscription options',
  'packet out of place',
  'packet cut off',
  'bits',
] as const

export type Mutation = (typeof MUTATIONS)[number]

export interface Broken {
  readonly bytes: readonly Buffer[]
  /** It has to end, has to live, or cannot be told. */
  readonly verdict: 'ends' | 'lives' | 'open'
}

type List = Extract<Part, { readonly place: Place }>

/** Bytes that break the rules wherever their packet comes. */
function broken(random: Random, session: Session, mutation: Mutation): Buffer {
  switch (mutation) {
    case 'property repeated': {
      const place = pick(random, ['CONNECT', 'will', 'PUBLISH', 'SUBSCRIBE', 'ack'] as const)
      const rule = pick(random, rulesAt(place))
      const [one, two] = [propertyOf(random, rule), propertyOf(random, rule)]
      return withProperties(session, place, [one, two])
    }
    case 'property misplaced': {
      const place = pick(random, PLACES)
      const rule = pick(
        random,
        RULES.filter(({ places }) => !places.includes(place)),
      )
      // A client's DISCONNECT may have this one.
      if (place === 'DISCONNECT' && rule.id === 0x11)
        return withProperties(session, 'PUBLISH', [propertyOf(random, rule)])
      return withProperties(session, place, [propertyOf(random, rule)])
    }
    case 'property unknown':
      return withProperties(session, pick(random, PLACES), [
        Buffer.of(pick(random, [0x00, 0x04, 0x10, 0x14, 0x20, 0x2b, 0x7f, 0xff]), 0),
      ])
    case 'property cut off': {
      const place = pick(random, ['CONNECT', 'will', 'PUBLISH', 'SUBSCRIBE', 'ack'] as const)
      const property = propertyOf(random, pick(random, rulesAt(place)))
      return withProperties(session, place, [property.subarray(0, property.length - 1)])
    }
    case 'properties longer than their length':
      return encodeFrame(0xa2, encodeU16(9), Buffer.of(40), encodeText('x'))
    case 'length in more bytes than it needs':
      return encodeFrame(0x82, encodeU16(9), Buffer.of(0x80, 0x00), encodeText('x'), Buffer.of(0))
    case 'text that is not UTF-8': {
      const text = pick(random, BAD_TEXTS)
      if (random.chance(0.3)) return publish(text, [])
      const id = pick(random, [0x03, 0x08])
      return publish(Buffer.from('t/1'), [Buffer.concat([Buffer.of(id), encodeText(text)])])
    }
    case 'value out of range':
      return pick(random, [
        withProperties(session, 'CONNECT', [Buffer.of(0x21, 0, 0)]),
        withProperties(session, 'CONNECT', [Buffer.of(0x27, 0, 0, 0, 0)]),
        withProperties(session, 'CONNECT', [Buffer.of(0x17, 2)]),
        withProperties(session, 'PUBLISH', [Buffer.of(0x01, 2 + random.below(254))]),
        withProperties(session, 'SUBSCRIBE', [Buffer.of(0x0b, 0)]),
        withProperties(session, 'SUBSCRIBE', [Buffer.of(0x0b, 255, 255, 255, 255, 1)]),
      ])
    case 'topic alias out of range':
      return pick(random, [
        publish(Buffer.from('t/1'), [Buffer.of(0x23, 0, 0)]),
        publish(Buffer.from('t/1'), [Buffer.of(0x23, 200, random.below(256))]),
        publish(Buffer.alloc(0), []),
      ])
    case 'packet id 0':
      return pick(random, [
        encodeFrame(0x32, encodeText('t/1'), Buffer.of(0, 0, 0)),
        encodeFrame(0x34, encodeText('t/1'), Buffer.of(0, 0, 0)),
        encodeFrame(0x82, Buffer.of(0, 0, 0), encodeText('x'), Buffer.of(0)),
        encodeFrame(0xa2, Buffer.of(0, 0, 0), encodeText('x')),
        encodeFrame(pick(random, [0x40, 0x50, 0x62, 0x70]), Buffer.of(0, 0)),
      ])
    case 'flags of the header': {
      const first = pick(random, [0x41, 0x58, 0x60, 0x63, 0x72, 0x80, 0x83, 0xa0, 0xc1, 0xe4, 0x36])
      return encodeFrame(first, encodeU16(9), Buffer.of(0), encodeText('x'), Buffer.of(0))
    }
    case 'subscription options':
      return encodeFrame(
        0x82,
        encodeU16(9),
        Buffer.of(0),
        encodeText(random.chance(0.3) ? '$share/g/x' : 'x'),
        Buffer.of(pick(random, [0x03, 0x30, 0x40, 0x80, 0xff])),
      )
    default:
      return pick(random, [
        encode(makeConnect(random, session.clientId)),
        encodeFrame(0xf0, Buffer.of(0x18, 0)),
        encodeFrame(0xf0),
        encodeFrame(0x20, Buffer.of(0, 0, 0)),
        encodeFrame(0xd0),
        encodeFrame(0x00),
        encodeFrame(0x90, encodeU16(9), Buffer.of(0, 0)),
      ])
  }
}

const PLACES: readonly Place[] = [
  'CONNECT',
  'will',
  'PUBLISH',
  'SUBSCRIBE',
  'UNSUBSCRIBE',
  'ack',
  'DISCONNECT',
]

const BAD_TEXTS: readonly Buffer[] = [
  Buffer.of(0xff),
  Buffer.of(0xc0, 0x80),
  Buffer.of(0xed, 0xa0, 0x80),
  Buffer.of(0x61, 0xe2, 0x82),
  Buffer.of(0x61, 0x00),
  Buffer.of(0xf4, 0x90, 0x80, 0x80),
]

function publish(topic: Buffer, properties: readonly Buffer[]): Buffer {
  const part: List = { place: 'PUBLISH', properties }
  return encode({ first: 0x30, parts: [encodeText(topic), part] })
}

/** A packet that has these properties in that place, and nothing else that is wrong. */
function withProperties(session: Session, place: Place, properties: readonly Buffer[]): Buffer {
  const part: List = { place, properties }
  const connect = (flags: number, ...more: readonly Part[]): Buffer =>
    encode({
      first: 0x10,
      parts: [Buffer.concat([encodeText('MQTT'), Buffer.of(5, flags, 0, 0)]), ...more],
    })
  switch (place) {
    case 'CONNECT':
      return connect(2, part, encodeText(session.clientId))
    case 'will': {
      const none: List = { place: 'CONNECT', properties: [] }
      const will = [part, encodeText('live/will'), encodeText('will')]
      return connect(6, none, encodeText(session.clientId), ...will)
    }
    case 'PUBLISH':
      return publish(Buffer.from('t/1'), properties)
    case 'ack':
      return encode({ first: 0x40, parts: [encodeU16(60_000), Buffer.of(0), part] })
    case 'SUBSCRIBE':
      return encode({
        first: 0x82,
        parts: [encodeU16(9), part, encodeText('live/x'), Buffer.of(0)],
      })
    case 'UNSUBSCRIBE':
      return encode({ first: 0xa2, parts: [encodeU16(9), part, encodeText('live/x')] })
    default:
      return encode({ first: 0xe0, parts: [Buffer.of(0), part] })
  }
}

/** Of a CONNECT only flags and keepalive: it stays the same client's. */
const CONNECT_FLAGS = { at: 9, bytes: 3 }

export function mutate(random: Random, session: Session, mutation: Mutation): Broken {
  const { packets, isLeft } = session
  const valid = packets.map(encode)
  const at = 1 + random.below(valid.length)
  switch (mutation) {
    case 'none': {
      const left = isLeft ? [encode(makeDisconnect(random))] : []
      return { bytes: [...valid, ...left], verdict: isLeft ? 'ends' : 'lives' }
    }
    case 'packet cut off': {
      const last = valid.at(-1)!
      const cut = last.subarray(0, 1 + random.below(Math.max(1, last.length - 1)))
      return { bytes: [...valid.slice(0, -1), cut], verdict: 'open' }
    }
    case 'bits': {
      const one = Buffer.from(pick(random, valid))
      const { at: from, bytes } = one[0] === 0x10 ? CONNECT_FLAGS : { at: 0, bytes: 40 }
      for (let left = 1 + random.below(4); left > 0; left -= 1)
        one[from + random.below(Math.min(one.length - from, bytes))]! ^= 1 << random.below(8)
      const isFirst = one[0] === 0x10 && at === 1
      return {
        bytes: isFirst
          ? [one, ...valid.slice(1)]
          : [...valid.slice(0, at), one, ...valid.slice(at)],
        verdict: 'open',
      }
    }
    case 'length of properties lies': {
      const { first, parts } = pick(random, packets.slice(1))
      const lying: Packet = { first, parts: parts.map((part) => lie(random, part)) }
      return { bytes: [...valid.slice(0, at), encode(lying), ...valid.slice(at)], verdict: 'open' }
    }
    default: {
      const packet = broken(random, session, mutation)
      // A CONNECT that is broken comes first: a second one would break the rules by itself.
      const isFirst = packet[0] === 0x10 && mutation !== 'packet out of place'
      const before = isFirst ? [] : valid.slice(0, at)
      return { bytes: [...before, packet, ...valid.slice(at)], verdict: 'ends' }
    }
  }
}

function lie(random: Random, part: Part): Part {
  if (Buffer.isBuffer(part)) return part
  const bytes = Buffer.concat(part.properties)
  const length = Math.max(0, bytes.length + pick(random, [-2, -1, 1, 2, 100, 20_000]))
  return Buffer.concat([encodeVarint(length), bytes])
}
