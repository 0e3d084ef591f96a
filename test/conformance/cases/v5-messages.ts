/** MQTT 5 alone: messages, flow control and subscriptions (sections 3.3 to 3.9, 4.3 to 4.9). */
import type { Properties } from '../../support/mqtt-properties.ts'
import { encodeFrame, packet, TYPE } from '../../support/raw-mqtt.ts'
import {
  alive,
  answer,
  type Case,
  cut,
  ended,
  entry,
  GRANT,
  get,
  type Kit,
  quiet,
  type Step,
  send,
} from '../script.ts'

const only = (numbers: string, what: string, steps: Case['steps'], mosquitto?: string): Case =>
  entry(['', numbers], what, steps, mosquitto)

const NO_LOCAL = 0x04
const RETAIN_AS_PUBLISHED = 0x08
const SEND_IF_NEW = 0x10
const SEND_NEVER = 0x20

const identified = (kit: Kit, filter: string, identifier: number): readonly Step[] => [
  send('s', packet.subscribe(1, [[filter, 0]], { subscriptionIdentifiers: [identifier] })),
  get('s', 'SUBACK 1 00'),
]

const MESSAGE: Properties = {
  payloadFormatIndicator: 1,
  contentType: 'text/plain; charset=utf-8',
  responseTopic: 'answers/17',
  correlationData: Buffer.of(0, 255, 1),
  userProperties: [
    ['z', '1'],
    ['a', ''],
    ['z', '1'],
  ],
}

const alias = (topic: string, payload: string, topicAlias: number): Buffer =>
  packet.publish(topic, payload, { properties: { topicAlias } })

const numbers = (count: number): string[] => Array.from({ length: count }, (_, i) => `m${i + 1}`)

export const MESSAGE5_CASES: readonly Case[] = [
  only(
    '3.3.2-4 3.3.2-15 3.3.2-16 3.3.2-17 3.3.2-18 3.3.2-20',
    'properties go to subscribers unaltered, user properties in their order',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic),
      send('s', kit.publish(kit.topic, 'x', { properties: MESSAGE })),
      get('s', { text: `PUBLISH ${kit.topic} q0 x`, properties: MESSAGE }),
    ],
  ),
  only('3.3.2-6 3.3.2-5', 'a message expiry goes on, a message that is expired does not', (kit) => [
    ...kit.join('s', { clean: false, properties: { sessionExpiryInterval: 600 } }),
    ...kit.subscribe('s', kit.topic, 1),
    send('s', kit.publish(kit.topic, 'x', { properties: { messageExpiryInterval: 50 } })),
    get('s', {
      text: `PUBLISH ${kit.topic} q0 x`,
      properties: { messageExpiryInterval: 50 },
    }),
    cut('s'),
    ...kit.join('a'),
    send(
      'a',
      kit.publish(kit.topic, 'gone', { qos: 1, id: 1, properties: { messageExpiryInterval: 1 } }),
    ),
    get('a', 'PUBACK 1'),
    // Its silence takes longer than the message lives.
    ...kit.join('b', { keepAlive: 1, will: { topic: kit.topic, payload: 'later', qos: 1 } }),
    ended('b', 0x8d),
    ...kit.connect('s', { clean: false, properties: { sessionExpiryInterval: 600 } }),
    get('s', 'CONNACK 0x00 present', `PUBLISH ${kit.topic} q1 later`),
  ]),
  only('3.3.2-12', 'a topic alias stands for its topic, and can be given another', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', `${kit.topic}/#`),
    send('s', alias(`${kit.topic}/1`, 'a', 1), alias('', 'b', 1)),
    send('s', alias(`${kit.topic}/2`, 'c', 1), alias('', 'd', 1)),
    get('s', `PUBLISH ${kit.topic}/1 q0 a`, `PUBLISH ${kit.topic}/1 q0 b`),
    get('s', `PUBLISH ${kit.topic}/2 q0 c`, `PUBLISH ${kit.topic}/2 q0 d`),
  ]),
  only('3.3.2-7', 'a topic alias ends with its connection', (kit) => [
    ...kit.join('a', { properties: { sessionExpiryInterval: 600 } }),
    send('a', alias(kit.topic, 'x', 1)),
    quiet('a'),
    cut('a'),
    ...kit.connect('a', { clean: false, properties: { sessionExpiryInterval: 600 } }),
    get('a', 'CONNACK 0x00 present'),
    send('a', alias('', 'x', 1)),
    ended('a', 0x82),
  ]),
  only('3.3.2-9 3.2.2-17', 'a topic alias above the granted ones', (kit) => [
    ...kit.join('a'),
    send('a', alias(kit.topic, 'x', 1_000)),
    ended('a', 0x94),
  ]),
  only('3.3.2-1', 'no topic and no alias', (kit) => [
    ...kit.join('a'),
    send('a', kit.publish('', 'x')),
    ended('a', 0x82),
  ]),
  only('3.1.2-26 3.1.2-27 3.3.2-11', 'no alias is sent to a client that wants none', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    send('s', alias(kit.topic, '1', 2), alias('', '2', 2)),
    get('s', `PUBLISH ${kit.topic} q0 1`, `PUBLISH ${kit.topic} q0 2`),
  ]),
  only('3.4.2-1', 'a message that nobody takes: PUBACK 0x10', (kit) => [
    ...kit.join('a'),
    send('a', kit.publish(kit.lost, 'x', { qos: 1, id: 1 })),
    get('a', 'PUBACK 1 0x10'),
  ]),
  only('3.5.2-1', 'a message that nobody takes: PUBREC 0x10, and PUBREL is due', (kit) => [
    ...kit.join('a'),
    send('a', kit.publish(kit.lost, 'x', { qos: 2, id: 1 })),
    get('a', 'PUBREC 1 0x10'),
    send('a', packet.pubrel(1)),
    get('a', 'PUBCOMP 1'),
  ]),
  only(
    '3.7.2-1',
    'PUBREL for an unknown packet id: PUBCOMP 0x92',
    (kit) => [...kit.join('a'), send('a', packet.pubrel(9)), get('a', 'PUBCOMP 9 0x92')],
    'PUBCOMP 0x00',
  ),
  only(
    '4.3.3-9 3.5.2-1',
    'behind a PUBREC that refuses, the packet id is of a new message',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic),
      ...kit.join('a'),
      send(
        'a',
        packet.publish(kit.topic, Buffer.of(0xff), {
          qos: 2,
          id: 4,
          properties: { payloadFormatIndicator: 1 },
        }),
      ),
      get('a', 'PUBREC 4 0x99'),
      send('a', kit.publish(kit.topic, 'good', { qos: 2, id: 4 })),
      get('a', 'PUBREC 4'),
      send('a', packet.pubrel(4)),
      get('a', 'PUBCOMP 4'),
      get('s', `PUBLISH ${kit.topic} q0 good`),
    ],
    'does not look at payloads',
  ),
  only(
    '4.3.3-7',
    'a copy at QoS 2 that was sent comes again though its message has expired',
    (kit) => [
      ...kit.join('s', { clean: false, properties: { sessionExpiryInterval: 600 } }),
      ...kit.subscribe('s', kit.topic, 2),
      ...kit.join('a'),
      send(
        'a',
        kit.publish(kit.topic, 'x', { qos: 2, id: 1, properties: { messageExpiryInterval: 1 } }),
        packet.pubrel(1),
      ),
      get('s', { text: `PUBLISH ${kit.topic} q2 x`, properties: { messageExpiryInterval: 1 } }),
      cut('s'),
      // Its silence takes longer than the message lives.
      ...kit.join('b', { keepAlive: 1 }),
      ended('b', 0x8d),
      ...kit.connect('s', { clean: false, properties: { sessionExpiryInterval: 600 } }),
      get('s', 'CONNACK 0x00 present', {
        text: `PUBLISH ${kit.topic} q2 dup x`,
        properties: { messageExpiryInterval: 0 },
      }),
    ],
    'lets it expire',
  ),
  only('4.3.3-13', 'an exchange at QoS 2 is completed though the message has expired', (kit) => [
    ...kit.join('a'),
    send(
      'a',
      kit.publish(kit.topic, 'x', { qos: 2, id: 1, properties: { messageExpiryInterval: 1 } }),
    ),
    get('a', 'PUBREC 1'),
    // Its silence takes longer than the message lives.
    ...kit.join('b', { keepAlive: 1 }),
    ended('b', 0x8d),
    send('a', packet.pubrel(1)),
    get('a', 'PUBCOMP 1'),
  ]),
  only('3.4.2-1 3.6.2-1', 'acks of three and of more bytes are read', (kit) => [
    ...kit.join('a'),
    send('a', kit.publish(kit.topic, 'x', { qos: 2, id: 1 })),
    get('a', 'PUBREC 1'),
    send('a', packet.pubrel(1, { code: 0, properties: { reasonString: 'done' } })),
    get('a', 'PUBCOMP 1'),
    send('a', kit.publish(kit.topic, 'x', { qos: 2, id: 2 })),
    get('a', 'PUBREC 2'),
    send('a', packet.pubrel(2, { code: 0 })),
    get('a', 'PUBCOMP 2'),
  ]),
]

export const FLOW_CASES: readonly Case[] = [
  only(
    '3.3.4-7 4.9.0-2 4.13.2-1',
    'more messages on their way than granted',
    (kit) => [
      ...kit.connect('a'),
      get('a', { text: 'CONNACK 0x00', properties: { receiveMaximum: GRANT } }),
      ...numbers(GRANT).flatMap((payload, i) => [
        send('a', kit.publish(kit.topic, payload, { qos: 2, id: i + 1 })),
        get('a', `PUBREC ${i + 1}`),
      ]),
      alive('a'),
      send('a', kit.publish(kit.topic, 'one more', { qos: 2, id: 500 })),
      ended('a', 0x93),
    ],
    'takes more than it granted',
  ),
  only('3.3.4-9 4.9.0-1 4.9.0-2', 'no more copies than the client grants', (kit) => [
    ...kit.join('s', { properties: { receiveMaximum: 2 } }),
    ...kit.subscribe('s', kit.topic, 1),
    ...kit.join('a'),
    ...numbers(3).flatMap((payload) => [
      send('a', kit.publish(kit.topic, payload, { qos: 1, id: 1 })),
      get('a', 'PUBACK 1'),
    ]),
    get('s', `PUBLISH ${kit.topic} q1 m1`, `PUBLISH ${kit.topic} q1 m2`),
    quiet('s'),
    answer('s', 'm1', TYPE.PUBACK),
    get('s', `PUBLISH ${kit.topic} q1 m3`),
  ]),
  only('3.3.4-10 4.9.0-3', 'a spent quota holds nothing but PUBLISH', (kit) => [
    ...kit.join('s', { properties: { receiveMaximum: 1 } }),
    ...kit.subscribe('s', kit.topic, 2),
    ...kit.join('a'),
    ...numbers(2).flatMap((payload) => [
      send('a', kit.publish(kit.topic, payload, { qos: 2, id: 1 }), packet.pubrel(1)),
      get('a', 'PUBREC 1', 'PUBCOMP 1'),
    ]),
    get('s', `PUBLISH ${kit.topic} q2 m1`),
    send('s', kit.publish(`${kit.topic}/own`, 'x', { qos: 1, id: 5 })),
    get('s', 'PUBACK 5'),
    send('s', packet.subscribe(6, [[`${kit.topic}/x`, 0]], {})),
    get('s', 'SUBACK 6 00'),
    answer('s', 'm1', TYPE.PUBREC),
    get('s', 'PUBREL 1'),
    answer('s', 'm1', TYPE.PUBCOMP),
    get('s', `PUBLISH ${kit.topic} q2 m2`),
  ]),
  only('4.4.0-2 3.3.4-9', 'a copy that is refused is done', (kit) => [
    ...kit.join('s', {
      clean: false,
      properties: { receiveMaximum: 1, sessionExpiryInterval: 600 },
    }),
    ...kit.subscribe('s', kit.topic, 2),
    ...kit.join('a'),
    ...numbers(2).flatMap((payload) => [
      send('a', kit.publish(kit.topic, payload, { qos: 2, id: 1 }), packet.pubrel(1)),
      get('a', 'PUBREC 1', 'PUBCOMP 1'),
    ]),
    get('s', `PUBLISH ${kit.topic} q2 m1`),
    answer('s', 'm1', TYPE.PUBREC, 0x97),
    get('s', `PUBLISH ${kit.topic} q2 m2`),
    answer('s', 'm2', TYPE.PUBREC, 0x80),
    quiet('s'),
    cut('s'),
    ...kit.connect('s', { clean: false, properties: { sessionExpiryInterval: 600 } }),
    get('s', 'CONNACK 0x00 present'),
    quiet('s'),
  ]),
]

export const SUBSCRIBE5_CASES: readonly Case[] = [
  only('3.8.3-3', 'No Local: nothing comes back to who published it', (kit) => [
    ...kit.join('a'),
    ...kit.subscribe('a', kit.topic, NO_LOCAL),
    ...kit.join('b'),
    send('a', kit.publish(kit.topic, 'own', { qos: 1, id: 1 })),
    get('a', 'PUBACK 1'),
    send('b', kit.publish(kit.topic, 'of another')),
    get('a', `PUBLISH ${kit.topic} q0 of another`),
  ]),
  only('3.8.3-5', 'reserved bits of the options', (kit) => [
    ...kit.join('a'),
    send('a', packet.subscribe(1, [[kit.topic, 0x40]], {})),
    ended('a', 0x81),
  ]),
  only('3.8.3-5 4.13.1-1', 'Retain Handling 3', (kit) => [
    ...kit.join('a'),
    send('a', packet.subscribe(1, [[kit.topic, 0x30]], {})),
    ended('a', 0x82),
  ]),
  only('3.3.1-12 3.3.1-13', 'Retain As Published keeps RETAIN as it came', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic, RETAIN_AS_PUBLISHED),
    send('s', kit.publish(kit.topic, 'kept', { retain: true }), kit.publish(kit.topic, 'live')),
    get('s', `PUBLISH ${kit.topic} q0 retain kept`, `PUBLISH ${kit.topic} q0 live`),
    send('s', kit.publish(kit.topic, '', { retain: true })),
  ]),
  only('3.3.1-10 3.3.1-11 3.8.4-4', 'Retain Handling 1 and 2', (kit) => [
    ...kit.join('a'),
    send('a', kit.publish(kit.topic, 'kept', { retain: true, qos: 1, id: 1 })),
    get('a', 'PUBACK 1'),
    ...kit.subscribe('a', kit.topic, SEND_NEVER),
    quiet('a'),
    ...kit.subscribe('a', kit.topic, SEND_IF_NEW),
    quiet('a'),
    ...kit.subscribe('a', `${kit.topic}/#`, SEND_IF_NEW),
    get('a', `PUBLISH ${kit.topic} q0 retain kept`),
    ...kit.join('b'),
    send('b', kit.publish(kit.topic, '', { retain: true })),
  ]),
  only(
    '3.3.4-3 3.3.4-4',
    'the identifiers of all subscriptions come with a message',
    (kit) => [
      ...kit.join('s'),
      ...identified(kit, `${kit.topic}/#`, 7),
      ...identified(kit, `${kit.topic}/+`, 268_435_455),
      send('s', kit.publish(`${kit.topic}/x`, 'x')),
      get('s', {
        text: `PUBLISH ${kit.topic}/x q0 x`,
        properties: { subscriptionIdentifiers: [7, 268_435_455] },
      }),
    ],
    'a copy for each subscription [MQTT-3.3.4-5]',
  ),
  only('3.8.4-3', 'a filter that is subscribed again has its new identifier', (kit) => [
    ...kit.join('s'),
    ...identified(kit, kit.topic, 1),
    ...identified(kit, kit.topic, 2),
    send('s', kit.publish(kit.topic, 'x')),
    get('s', {
      text: `PUBLISH ${kit.topic} q0 x`,
      properties: { subscriptionIdentifiers: [2] },
    }),
  ]),
  only('4.13.1-1', 'the subscription identifier 0', (kit) => [
    ...kit.join('a'),
    send('a', packet.subscribe(1, [[kit.topic, 0]], { subscriptionIdentifiers: [0] })),
    ended('a', 0x82),
  ]),
  only('3.8.1-1 4.13.1-1', 'a SUBSCRIBE whose properties are missing', (kit) => [
    ...kit.join('a'),
    send('a', encodeFrame(0x82, Buffer.of(0, 1))),
    ended('a', 0x81),
  ]),
]
