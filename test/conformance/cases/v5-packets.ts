/** MQTT 5 alone: properties, CONNECT and CONNACK, AUTH, DISCONNECT (sections 2.2.2, 3.1, 3.2, 3.14). */
import { encodeProperties, encodeText, type Properties } from '../../support/mqtt-properties.ts'
import { encodeFrame, packet } from '../../support/raw-mqtt.ts'
import {
  type Case,
  cut,
  ended,
  entry,
  get,
  type Kit,
  LARGEST_PACKET,
  open,
  quiet,
  refused,
  send,
} from '../script.ts'

const only = (numbers: string, what: string, steps: Case['steps'], mosquitto?: string): Case =>
  entry(['', numbers], what, steps, mosquitto)

/** A PUBLISH at QoS 0 with these bytes between topic and payload. */
const publishWith = (topic: string, ...block: readonly Buffer[]): Buffer =>
  encodeFrame(0x30, encodeText(topic), ...block, Buffer.from('x'))

const publishIs = (
  numbers: string,
  what: string,
  block: Buffer,
  code: number,
  mosquitto?: string,
): Case =>
  only(
    numbers,
    what,
    (kit) => [...kit.join('a'), send('a', publishWith(kit.topic, block)), ended('a', code)],
    mosquitto,
  )

/** A block of properties with its length. */
const block = (...bytes: readonly number[]): Buffer => Buffer.of(bytes.length, ...bytes)

const text = (id: number, ...bytes: readonly number[]): readonly number[] => [
  id,
  0,
  bytes.length,
  ...bytes,
]

export const PROPERTY_CASES: readonly Case[] = [
  publishIs('2.2.2-1 4.13.1-1', 'no property length', Buffer.alloc(0), 0x81),
  publishIs('2.2.2-1', 'a property length over the end', Buffer.of(40, 0x01, 0x01), 0x81),
  publishIs(
    '1.5.5-1',
    'a property length of more bytes than it needs',
    Buffer.of(0x80, 0),
    0x81,
    'takes it',
  ),
  publishIs('4.13.1-1', 'an unknown property', block(0x7f, 1), 0x81),
  publishIs('4.13.1-1', 'a property of another packet', block(0x21, 0, 5), 0x81),
  publishIs('4.13.1-1', 'a property twice', block(0x01, 1, 0x01, 1), 0x82),
  publishIs('4.13.1-1', 'a property that is cut off', block(0x02, 0, 0), 0x81),
  publishIs('4.13.1-1', 'Payload Format Indicator 2', block(0x01, 2), 0x82, 'takes it'),
  publishIs('3.3.2-8', 'the topic alias 0', block(0x23, 0, 0), 0x94),
  publishIs('3.3.4-6', 'a subscription identifier of a client', block(0x0b, 1), 0x82, 'takes it'),
  publishIs(
    '3.3.2-14',
    'a response topic with a wildcard',
    block(...text(0x08, 0x23)),
    0x82,
    'takes it',
  ),
  publishIs('3.3.2-13 1.5.4-1', 'a response topic not UTF-8', block(...text(0x08, 0xff)), 0x81),
  publishIs('3.3.2-19 1.5.4-1', 'a content type not UTF-8', block(...text(0x03, 0xc0)), 0x81),
  publishIs('1.5.4-2', 'U+0000 in a content type', block(...text(0x03, 0)), 0x81),
  publishIs(
    '1.5.7-1',
    'a user property with a value not UTF-8',
    block(...text(0x26, 0x61), 0, 1, 0xff),
    0x81,
  ),
]

const connectWith = (kit: Kit, properties: Buffer): Buffer =>
  encodeFrame(
    0x10,
    encodeText('MQTT'),
    Buffer.of(5, 2, 0, 0),
    properties,
    encodeText(kit.idOf('a')),
  )

const connectIs = (
  numbers: string,
  what: string,
  properties: Buffer,
  code: number,
  mosquitto?: string,
): Case =>
  only(
    numbers,
    what,
    (kit) => [open('a'), send('a', connectWith(kit, properties)), refused('a', code)],
    mosquitto,
  )

const of = (properties: Properties): Buffer => encodeProperties(properties)

const lasting = (seconds: number): object => ({
  clean: false,
  properties: { sessionExpiryInterval: seconds },
})

const delayed = (kit: Kit, seconds: number, expiry: number): object => ({
  clean: false,
  properties: { sessionExpiryInterval: expiry },
  will: {
    topic: kit.topic,
    payload: 'will',
    properties: { willDelayInterval: seconds, contentType: 'a', userProperties: WILL_PAIRS },
  },
})

const WILL_PAIRS = [
  ['b', '1'],
  ['a', '2'],
  ['b', '1'],
] as const

const willCopy = (kit: Kit): ReturnType<typeof get> =>
  get('s', {
    text: `PUBLISH ${kit.topic} q0 will`,
    properties: { contentType: 'a', userProperties: WILL_PAIRS },
  })

/** Says that it is UTF-8, and is not. */
const publishOfNoText = ({ topic }: Kit): Buffer =>
  packet.publish(topic, Buffer.of(0xff), {
    qos: 1,
    id: 7,
    properties: { payloadFormatIndicator: 1 },
  })

export const CONNECT5_CASES: readonly Case[] = [
  connectIs('3.1.4-1 2.2.2-1', 'CONNECT without a property length', Buffer.alloc(0), 0x81),
  connectIs('3.1.4-1', 'Receive Maximum 0', of({ receiveMaximum: 0 }), 0x82),
  connectIs('3.1.4-1', 'Maximum Packet Size 0', of({ maximumPacketSize: 0 }), 0x82),
  connectIs(
    '3.1.4-1',
    'Session Expiry Interval twice',
    block(0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1),
    0x82,
  ),
  connectIs('3.1.4-1', 'Request Problem Information 2', block(0x17, 2), 0x82),
  connectIs('3.1.4-1', 'a property of PUBLISH', of({ topicAlias: 1 }), 0x81),
  connectIs(
    '4.12.0-1',
    'an authentication method that is not known',
    of({ authenticationMethod: 'x' }),
    0x8c,
  ),
  connectIs(
    '3.1.4-1',
    'authentication data without a method',
    of({ authenticationData: Buffer.from('x') }),
    0x82,
    'takes it',
  ),
  only('3.1.2-28 4.12.0-6 3.2.2-6', 'CONNACK grants nothing that was not asked for', (kit) => [
    ...kit.connect('a', { properties: { requestResponseInformation: 0 } }),
    get('a', {
      text: 'CONNACK 0x00',
      lacks: ['responseInformation', 'authenticationMethod', 'assignedClientIdentifier'],
    }),
  ]),
  only('3.2.2-16', 'two clients without a name get different ones', (kit) => [
    ...kit.connect('a', { clientId: '' }),
    get('a', { text: 'CONNACK 0x00', has: ['assignedClientIdentifier'] }),
    ...kit.connect('b', { clientId: '', clean: false }),
    get('b', { text: 'CONNACK 0x00', has: ['assignedClientIdentifier'] }),
    quiet('a'),
  ]),
  only('3.15.1-1 4.12.0-7', 'AUTH without an authentication method', (kit) => [
    ...kit.join('a'),
    send('a', encodeFrame(0xf0, Buffer.of(0x19, 0))),
    ended('a', 0x82),
  ]),
  only('3.15.1-1', 'AUTH with flags', (kit) => [
    ...kit.join('a'),
    send('a', encodeFrame(0xf1, Buffer.of(0x19, 0))),
    ended('a', 0x81),
  ]),
  only('3.1.2-23', 'a session of expiry 0 ends with its connection', (kit) => [
    ...kit.join('a', lasting(0)),
    cut('a'),
    ...kit.join('a', lasting(0)),
  ]),
  only('4.1.0-2', 'a session ends when its expiry has passed', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    // A will with a longer delay tells of the end.
    ...kit.join('a', delayed(kit, 600, 1)),
    cut('a'),
    willCopy(kit),
    ...kit.join('a', lasting(600)),
  ]),
  only('4.13.1-1', 'a client whose session ends with it cannot change that', (kit) => [
    ...kit.join('a'),
    send('a', packet.disconnect({ code: 0, properties: { sessionExpiryInterval: 10 } })),
    ended('a', 0x82),
  ]),
  only('4.1.0-2', 'DISCONNECT can end the session', (kit) => [
    ...kit.join('a', lasting(600)),
    send('a', packet.disconnect({ code: 0, properties: { sessionExpiryInterval: 0 } })),
    ended('a'),
    ...kit.join('a', lasting(600)),
  ]),
  only('3.14.2-1 4.13.1-1', 'DISCONNECT with a property twice', (kit) => [
    ...kit.join('a', lasting(600)),
    send('a', encodeFrame(0xe0, Buffer.of(0), block(0x11, 0, 0, 0, 1, 0x11, 0, 0, 0, 1))),
    ended('a', 0x82),
  ]),
  only('3.2.2-6 3.2.2-7 3.2.2-8', 'a refusal says nothing of the session', (kit) => [
    ...kit.join('a', lasting(600)),
    cut('a'),
    ...kit.connect('a', { clean: false, properties: { receiveMaximum: 0 } }),
    refused('a', 0x82),
    ...kit.connect('a', lasting(600)),
    get('a', 'CONNACK 0x00 present'),
  ]),
  only(
    '3.2.2-15',
    'a packet larger than what the server takes',
    (kit) => [
      ...kit.connect('a'),
      get('a', { text: 'CONNACK 0x00', properties: { maximumPacketSize: LARGEST_PACKET } }),
      send('a', kit.publish(kit.topic, 'x'.repeat(LARGEST_PACKET))),
      ended('a', 0x95),
    ],
    'takes any',
  ),
  only(
    '3.1.2-29',
    'reason strings are for those who want them',
    (kit) => [
      ...kit.join('a'),
      send('a', publishOfNoText(kit)),
      get('a', { text: 'PUBACK 7 0x99', has: ['reasonString'] }),
      ...kit.join('b', { properties: { requestProblemInformation: 0 } }),
      send('b', publishOfNoText(kit)),
      get('b', { text: 'PUBACK 7 0x99', lacks: ['reasonString', 'userProperties'] }),
    ],
    'does not look at payloads',
  ),
  only(
    '3.4.2-2 3.4.2-3',
    'a reason string that makes the packet too large is left out',
    (kit) => [
      ...kit.join('a', { properties: { maximumPacketSize: 24 } }),
      send('a', publishOfNoText(kit)),
      get('a', { text: 'PUBACK 7 0x99', lacks: ['reasonString', 'userProperties'] }),
    ],
    'does not look at payloads',
  ),
  only('3.1.2-24 3.1.2-25', 'what is too large for a client is not sent to it', (kit) => [
    ...kit.join('s', { properties: { maximumPacketSize: 80 } }),
    ...kit.subscribe('s', kit.topic, 1),
    ...kit.join('a'),
    send('a', kit.publish(kit.topic, 'x'.repeat(80), { qos: 1, id: 1 })),
    get('a', 'PUBACK 1'),
    send('a', kit.publish(kit.topic, 'small', { qos: 1, id: 1 })),
    get('s', `PUBLISH ${kit.topic} q1 small`),
  ]),
]

export const WILL5_CASES: readonly Case[] = [
  only('3.1.2-8 3.1.3-10', 'a will waits for its delay, and keeps its properties', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    ...kit.join('a', delayed(kit, 1, 600)),
    cut('a'),
    ...kit.join('b'),
    send('b', kit.publish(kit.topic, 'before')),
    get('s', `PUBLISH ${kit.topic} q0 before`),
    willCopy(kit),
  ]),
  only('3.1.2-8', 'a will comes when the session ends, before its delay has passed', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    ...kit.join('a', delayed(kit, 600, 1)),
    cut('a'),
    willCopy(kit),
  ]),
  only('3.1.3-9', 'a will is not sent if the client is back before', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    ...kit.join('a', delayed(kit, 1, 600)),
    cut('a'),
    ...kit.connect('a', { clean: false, properties: { sessionExpiryInterval: 600 } }),
    get('a', 'CONNACK 0x00 present'),
    // Its silence takes longer than the delay.
    ...kit.join('b', { keepAlive: 1, will: { topic: kit.topic, payload: 'later' } }),
    ended('b', 0x8d),
    get('s', `PUBLISH ${kit.topic} q0 later`),
  ]),
  only('3.1.2-8 3.14.2-1', 'DISCONNECT 0x04 publishes the will', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    ...kit.join('a', { will: { topic: kit.topic, payload: 'will' } }),
    send('a', packet.disconnect({ code: 4 })),
    ended('a'),
    get('s', `PUBLISH ${kit.topic} q0 will`),
  ]),
]
