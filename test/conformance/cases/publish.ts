/** Sections 3.3 to 3.7 and 4.3: messages and their acknowledgements, in both versions. */
import { encodeText } from '../../support/mqtt-properties.ts'
import { encodeFrame, packet, TYPE } from '../../support/raw-mqtt.ts'
import { answer, type Case, cut, ended, entry, get, type Kit, quiet, send } from '../script.ts'

/** Ends a connection of its own. */
const malformed = (
  numbers: readonly [string, string],
  what: string,
  make: (kit: Kit) => Buffer,
  code = 0x81,
  mosquitto?: string,
): Case =>
  entry(
    numbers,
    what,
    (kit) => [...kit.join('a'), send('a', make(kit)), ended('a', code)],
    mosquitto,
  )

const none = (kit: Kit): Buffer => Buffer.alloc(kit.level === 5 ? 1 : 0)

const publishOf = (kit: Kit, first: number, topic: Buffer, ...more: readonly Buffer[]): Buffer =>
  encodeFrame(first, encodeText(topic), ...more, none(kit), Buffer.from('x'))

export const PUBLISH_CASES: readonly Case[] = [
  malformed(['3.3.1-4', '3.3.1-4'], 'QoS 3', (kit) =>
    publishOf(kit, 0x36, Buffer.from(kit.topic), Buffer.of(0, 1)),
  ),
  malformed(
    ['3.3.1-2', '3.3.1-2 4.3.1-1'],
    'DUP with QoS 0',
    (kit) => publishOf(kit, 0x38, Buffer.from(kit.topic)),
    0x81,
    'takes it',
  ),
  malformed(
    ['2.3.1-1', '2.2.1-3'],
    'QoS 1 with the packet id 0',
    (kit) => publishOf(kit, 0x32, Buffer.from(kit.topic), Buffer.of(0, 0)),
    0x82,
  ),
  malformed(['3.3.2-1 1.5.3-1', '3.3.2-1 1.5.4-1'], 'a topic that is not UTF-8', (kit) =>
    publishOf(kit, 0x30, Buffer.from([0x74, 0x2f, 0xff])),
  ),
  malformed(['1.5.3-1', '1.5.4-1'], 'a surrogate in a topic', (kit) =>
    publishOf(kit, 0x30, Buffer.from([0x74, 0x2f, 0xed, 0xa0, 0x80])),
  ),
  malformed(['1.5.3-2 4.7.3-2', '1.5.4-2 4.7.3-2'], 'U+0000 in a topic', (kit) =>
    publishOf(kit, 0x30, Buffer.from('t/\0')),
  ),
  malformed(['3.3.2-2 4.7.1-1', '3.3.2-2 4.7.0-1'], 'a wildcard in a topic', (kit) =>
    publishOf(kit, 0x30, Buffer.from(`${kit.topic}/+`)),
  ),
  malformed(['3.6.1-1', '3.6.1-1'], 'PUBREL with other flags', () =>
    Buffer.concat([Buffer.of(0x60), packet.pubrel(1).subarray(1)]),
  ),
  malformed(
    ['2.2.2-2', '2.1.3-1'],
    'PUBACK with flags',
    () => Buffer.concat([Buffer.of(0x41), packet.ack(TYPE.PUBACK, 1).subarray(1)]),
    0x81,
    'takes it',
  ),
  malformed(
    ['4.8.0-1', '4.13.1-1'],
    'a packet that only servers send',
    () => Buffer.of(0xd0, 0),
    0x82,
    'ignores it',
  ),
  malformed(['4.8.0-1', '4.13.1-1'], 'packet type 0', () => Buffer.of(0x00, 0), 0x82),
  malformed(['4.8.0-1', '4.13.1-1'], 'a Remaining Length of five bytes', () =>
    Buffer.of(0x30, 0xff, 0xff, 0xff, 0xff, 0x01),
  ),
  entry(['3.3.4-1 4.3.1-1', '3.3.4-1'], 'QoS 0 is answered by nothing', (kit) => [
    ...kit.join('a'),
    send('a', kit.publish(kit.topic, 'x')),
    quiet('a'),
  ]),
  entry(
    ['3.3.4-1 4.3.2-2 2.3.1-6', '3.3.4-1 4.3.2-4 2.2.1-5'],
    'QoS 1 is answered by PUBACK',
    (kit) => [
      ...kit.join('a'),
      send('a', kit.publish(kit.topic, 'x', { qos: 1, id: 65_535 })),
      get('a', 'PUBACK 65535'),
    ],
  ),
  entry(
    ['3.3.4-1 4.3.3-2', '3.3.4-1 4.3.3-8 4.3.3-11 2.2.1-5'],
    'QoS 2 is answered by PUBREC, PUBREL by PUBCOMP',
    (kit) => [
      ...kit.join('a'),
      send('a', kit.publish(kit.topic, 'x', { qos: 2, id: 3 })),
      get('a', 'PUBREC 3'),
      send('a', packet.pubrel(3)),
      get('a', 'PUBCOMP 3'),
    ],
  ),
  entry(
    ['4.3.2-2', '4.3.2-5'],
    'behind its PUBACK a packet id is of a new message, whatever DUP says',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic),
      ...kit.join('a'),
      send('a', kit.publish(kit.topic, 'x', { qos: 1, id: 1 })),
      get('a', 'PUBACK 1'),
      send('a', kit.publish(kit.topic, 'x', { qos: 1, id: 1, dup: true })),
      get('a', 'PUBACK 1'),
      get('s', `PUBLISH ${kit.topic} q0 x`, `PUBLISH ${kit.topic} q0 x`),
    ],
  ),
  entry(
    ['4.3.3-2', '4.3.3-10 4.3.3-12'],
    'until PUBREL a QoS 2 packet id is of one message, and then of another',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic),
      ...kit.join('a'),
      send('a', kit.publish(kit.topic, 'x', { qos: 2, id: 1 })),
      get('a', 'PUBREC 1'),
      send('a', kit.publish(kit.topic, 'x', { qos: 2, id: 1, dup: true })),
      get('a', 'PUBREC 1'),
      send('a', packet.pubrel(1)),
      get('a', 'PUBCOMP 1'),
      send('a', kit.publish(kit.topic, 'x', { qos: 2, id: 1 })),
      get('a', 'PUBREC 1'),
      send('a', packet.pubrel(1)),
      get('a', 'PUBCOMP 1'),
      send('a', kit.publish(kit.topic, 'end')),
      get('s', `PUBLISH ${kit.topic} q0 x`, `PUBLISH ${kit.topic} q0 x`),
      get('s', `PUBLISH ${kit.topic} q0 end`),
    ],
  ),
  entry(
    ['4.6.0-2 4.6.0-3', '4.6.0-2 4.6.0-3'],
    'acknowledgements leave in the order of their messages',
    (kit) => [
      ...kit.join('a'),
      send(
        'a',
        kit.publish(kit.topic, '1', { qos: 1, id: 9 }),
        kit.publish(kit.topic, '2', { qos: 1, id: 3 }),
        kit.publish(kit.topic, '3', { qos: 1, id: 5 }),
      ),
      get('a', 'PUBACK 9', 'PUBACK 3', 'PUBACK 5'),
      send(
        'a',
        kit.publish(kit.topic, '4', { qos: 2, id: 9 }),
        kit.publish(kit.topic, '5', { qos: 2, id: 3 }),
      ),
      get('a', 'PUBREC 9', 'PUBREC 3'),
      send('a', packet.pubrel(9), packet.pubrel(3)),
      get('a', 'PUBCOMP 9', 'PUBCOMP 3'),
    ],
  ),
]

/** Messages on their way to a subscriber. */
export const COPY_CASES: readonly Case[] = [
  entry(
    ['3.8.4-6', '3.8.4-8'],
    'the QoS of a copy is the smaller one of message and subscription',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic, 1),
      ...kit.join('a'),
      send('a', kit.publish(kit.topic, 'of 0')),
      send('a', kit.publish(kit.topic, 'of 2', { qos: 2, id: 1 })),
      get('a', 'PUBREC 1'),
      send('a', packet.pubrel(1)),
      get('a', 'PUBCOMP 1'),
      get('s', `PUBLISH ${kit.topic} q0 of 0`, `PUBLISH ${kit.topic} q1 of 2`),
    ],
  ),
  entry(
    ['3.3.5-1', '3.3.4-2'],
    'overlapping subscriptions bring the largest QoS',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', `${kit.topic}/#`, 1),
      ...kit.subscribe('s', `${kit.topic}/+`, 0),
      ...kit.join('a'),
      send('a', kit.publish(`${kit.topic}/x`, 'once', { qos: 1, id: 1 })),
      get('a', 'PUBACK 1'),
      get('s', `PUBLISH ${kit.topic}/x q1 once`),
      answer('s', 'once', TYPE.PUBACK),
      quiet('s'),
    ],
    'a copy for each subscription, at its own QoS',
  ),
  entry(
    ['3.3.1-3', '3.3.1-3 4.3.2-2'],
    'DUP of a publisher does not go on to subscribers',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic, 1),
      ...kit.join('a'),
      send('a', kit.publish(kit.topic, 'x', { qos: 1, id: 1, dup: true })),
      get('s', `PUBLISH ${kit.topic} q1 x`),
    ],
  ),
  entry(
    ['4.3.3-1', '4.3.3-2 4.3.3-4 2.2.1-4'],
    'a copy at QoS 2 goes by PUBLISH, PUBREC, PUBREL and PUBCOMP',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic, 2),
      ...kit.join('a'),
      send('a', kit.publish(kit.topic, 'x', { qos: 2, id: 200 }), packet.pubrel(200)),
      get('a', 'PUBREC 200', 'PUBCOMP 200'),
      get('s', `PUBLISH ${kit.topic} q2 x`),
      answer('s', 'x', TYPE.PUBREC),
      get('s', 'PUBREL 1'),
      answer('s', 'x', TYPE.PUBCOMP),
      quiet('s'),
    ],
  ),
  entry(
    ['4.6.0-5 4.6.0-6 4.3.2-1 2.3.1-4', '4.6.0-5 4.6.0-6 4.3.2-1 4.3.3-1 2.2.1-4'],
    'messages of one client come in its order',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', `${kit.topic}/#`, 1),
      ...kit.join('a'),
      send(
        'a',
        ...['1', '2', '3', '4'].map((n) =>
          kit.publish(`${kit.topic}/${n}`, n, { qos: 1, id: Number(n) }),
        ),
      ),
      get('s', ...['1', '2', '3', '4'].map((n) => `PUBLISH ${kit.topic}/${n} q1 ${n}`)),
    ],
  ),
  ...(
    [
      ['QoS 1 with PUBREC', 1, TYPE.PUBREC],
      ['QoS 1 with PUBCOMP', 1, TYPE.PUBCOMP],
      ['QoS 2 with PUBACK', 2, TYPE.PUBACK],
      ['QoS 2 with PUBCOMP before PUBREC', 2, TYPE.PUBCOMP],
    ] as const
  ).map(([what, qos, ack]) =>
    entry(['4.8.0-1', '4.13.1-1'], `a copy at ${what}`, (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic, qos),
      ...kit.join('a'),
      send('a', kit.publish(kit.topic, 'x', { qos, id: 1 })),
      ...(qos === 2 ? [send('a', packet.pubrel(1))] : []),
      get('s', `PUBLISH ${kit.topic} q${qos} x`),
      answer('s', 'x', ack),
      ended('s', 0x82),
    ]),
  ),
  entry(
    ['3.8.4-3 4.5.0-1', '4.5.0-1 3.8.4-3'],
    'a message behind a SUBSCRIBE in one segment is for it, one before it is not',
    (kit) => [
      ...kit.join('a'),
      send(
        'a',
        kit.publish(kit.topic, 'before'),
        packet.subscribe(1, [[kit.topic, 0]], kit.level === 5 ? {} : undefined),
        kit.publish(kit.topic, 'behind'),
      ),
      get('a', 'SUBACK 1 00', `PUBLISH ${kit.topic} q0 behind`),
    ],
  ),
  entry(['4.5.0-1 3.3.2-3', '4.5.0-1 3.3.2-3'], 'every subscriber gets a message', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic, 1),
    ...kit.join('q'),
    ...kit.subscribe('q', `${kit.topic}/#`, 0),
    ...kit.join('a'),
    send('a', kit.publish(kit.topic, 'x', { qos: 1, id: 1 })),
    get('s', `PUBLISH ${kit.topic} q1 x`),
    get('q', `PUBLISH ${kit.topic} q0 x`),
  ]),
  entry(
    ['1.5.3-3', '1.5.4-3 4.7.3-4'],
    'U+FEFF at the beginning of a topic is part of it, and nothing is normalized',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', `${kit.topic}/\uFEFFx`),
      ...kit.subscribe('s', `${kit.topic}/A\u030A`),
      send('s', kit.publish(`${kit.topic}/x`, 'without')),
      send('s', kit.publish(`${kit.topic}/\u00C5`, 'composed')),
      send('s', kit.publish(`${kit.topic}/\uFEFFx`, 'with')),
      get('s', `PUBLISH ${kit.topic}/\uFEFFx q0 with`),
    ],
  ),
]

const will = (kit: Kit, fields: { qos?: number; retain?: boolean } = {}): object => ({
  will: { topic: kit.topic, payload: 'will', ...fields },
})

export const WILL_CASES: readonly Case[] = [
  entry(
    ['3.1.2-8 3.1.2-16', '3.1.2-7 3.1.2-8 3.1.2-14'],
    'a will is published when the connection is lost, not retained',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic, 1),
      ...kit.join('a', will(kit, { qos: 1 })),
      cut('a'),
      get('s', `PUBLISH ${kit.topic} q1 will`),
      ...kit.join('t'),
      ...kit.subscribe('t', kit.topic),
      quiet('t'),
    ],
  ),
  entry(['3.1.2-17', '3.1.2-15'], 'a will with retain is retained', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    ...kit.join('a', will(kit, { retain: true })),
    cut('a'),
    get('s', `PUBLISH ${kit.topic} q0 will`),
    ...kit.join('t'),
    ...kit.subscribe('t', kit.topic),
    get('t', `PUBLISH ${kit.topic} q0 retain will`),
    send('t', kit.publish(kit.topic, '', { retain: true })),
  ]),
  entry(
    ['3.1.2-10 3.14.4-3', '3.1.2-8 3.1.2-10 3.14.4-3'],
    'DISCONNECT takes the will away',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic),
      ...kit.join('a', will(kit)),
      send('a', packet.disconnect()),
      ended('a'),
      ...kit.join('b'),
      send('b', kit.publish(kit.topic, 'behind')),
      get('s', `PUBLISH ${kit.topic} q0 behind`),
    ],
  ),
  entry(['3.1.2-12', '3.1.2-8'], 'no will, nothing published', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', `${kit.topic}/#`),
    ...kit.join('a'),
    cut('a'),
    ...kit.join('b'),
    send('b', kit.publish(kit.topic, 'behind')),
    get('s', `PUBLISH ${kit.topic} q0 behind`),
  ]),
  entry(['3.1.2-8', '3.1.2-8 4.13.1-1'], 'the will of a client that breaks the rules', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    ...kit.join('a', will(kit)),
    send('a', Buffer.of(0x00, 0)),
    ended('a', 0x82),
    get('s', `PUBLISH ${kit.topic} q0 will`),
  ]),
  entry(['3.14.1-1', '3.14.1-1'], 'DISCONNECT with flags is malformed', (kit) => [
    ...kit.join('a'),
    send('a', Buffer.of(0xe1, 0)),
    ended('a', 0x81),
  ]),
  entry(['3.14.4-1', '3.14.4-1'], 'what comes behind DISCONNECT has no effect', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    ...kit.join('a'),
    send('a', packet.disconnect(), kit.publish(kit.topic, 'late')),
    ended('a'),
    ...kit.join('b'),
    send('b', kit.publish(kit.topic, 'behind')),
    get('s', `PUBLISH ${kit.topic} q0 behind`),
  ]),
]
