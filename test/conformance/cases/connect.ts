/** Sections 3.1 and 3.2: CONNECT and CONNACK, in both versions. */
import { encodeText } from '../../support/mqtt-properties.ts'
import { encodeFrame, packet, TYPE } from '../../support/raw-mqtt.ts'
import {
  answer,
  type Case,
  cut,
  ended,
  entry,
  get,
  type Kit,
  open,
  quiet,
  refused,
  send,
  WRONG_USER,
} from '../script.ts'

interface ConnectBytes {
  readonly protocol?: string
  readonly level?: number
  readonly flags?: number
  readonly first?: number
}

/** CONNECT whose fields behind the client id are written as they are. */
function raw(kit: Kit, bytes: ConnectBytes, ...fields: readonly (string | Buffer)[]): Buffer {
  const { protocol = 'MQTT', level = kit.level, flags = 2, first = 0x10 } = bytes
  return encodeFrame(
    first,
    encodeText(protocol),
    Buffer.of(level, flags, 0, 0),
    Buffer.alloc(kit.level === 5 ? 1 : 0),
    encodeText(kit.idOf('a')),
    ...fields.map((field) => (typeof field === 'string' ? encodeText(field) : field)),
  )
}

/** Refused as no CONNECT. */
const invalid = (
  numbers: readonly [string, string],
  what: string,
  make: (kit: Kit) => Buffer,
  mosquitto?: string,
): Case =>
  entry(numbers, what, (kit) => [open('a'), send('a', make(kit)), refused('a', 0x81)], mosquitto)

/** Properties of a will: none. */
const none = (kit: Kit): Buffer => Buffer.alloc(kit.level === 5 ? 1 : 0)

export const CONNECT_CASES: readonly Case[] = [
  entry(['3.1.0-1', '3.1.0-1'], 'the first packet has to be CONNECT', (kit) => [
    open('a'),
    send('a', kit.publish(kit.topic, 'x', { qos: 1, id: 1 })),
    ended('a'),
  ]),
  entry(
    ['3.1.0-2', '3.1.0-2 3.14.4-1 3.14.4-2 4.13.1-1'],
    'a second CONNECT ends the connection',
    (kit) => [
      ...kit.join('a'),
      send('a', packet.connect({ level: kit.level, clientId: kit.idOf('a') })),
      ended('a', 0x82),
    ],
  ),
  entry(['3.1.2-1', '3.1.2-1'], 'another protocol name is refused', (kit) => [
    open('a'),
    send('a', raw(kit, { protocol: 'MQTx' })),
    refused('a', null),
  ]),
  entry(
    ['3.1.2-2', '3.1.2-2'],
    'an unknown protocol version is refused',
    (kit) => [open('a'), send('a', raw(kit, { level: 6 })), refused('a', 0x84, 0x84)],
    'the return code 1 of MQTT 3.1.1',
  ),
  invalid(['3.1.2-3', '3.1.2-3'], 'the reserved flag has to be 0', (kit) => raw(kit, { flags: 3 })),
  invalid(['2.2.2-1 2.2.2-2', '2.1.3-1'], 'flags of the fixed header have to be 0', (kit) =>
    raw(kit, { first: 0x11 }),
  ),
  invalid(['3.1.2-13', '3.1.2-11'], 'a will QoS without a will', (kit) =>
    raw(kit, { flags: 0x0a }),
  ),
  invalid(['3.1.2-14', '3.1.2-12'], 'will QoS 3', (kit) =>
    raw(kit, { flags: 0x1e }, none(kit), kit.topic, 'will'),
  ),
  invalid(['3.1.2-15', '3.1.2-13'], 'will retain without a will', (kit) =>
    raw(kit, { flags: 0x22 }),
  ),
  invalid(['3.1.2-9', '3.1.2-9'], 'a will flag without will topic and message', (kit) =>
    raw(kit, { flags: 0x06 }),
  ),
  invalid(['3.1.2-11', '3.1.4-1'], 'will fields without the flag', (kit) =>
    raw(kit, { flags: 0x02 }, none(kit), kit.topic, 'will'),
  ),
  invalid(['3.1.2-18', '3.1.2-16'], 'a user name without its flag', (kit) =>
    raw(kit, { flags: 0x02 }, 'user'),
  ),
  invalid(['3.1.2-19', '3.1.2-17'], 'a user flag without a user name', (kit) =>
    raw(kit, { flags: 0x82 }),
  ),
  invalid(['3.1.2-20', '3.1.2-18'], 'a password without its flag', (kit) =>
    raw(kit, { flags: 0x82 }, 'user', 'password'),
  ),
  invalid(['3.1.2-21', '3.1.2-19'], 'a password flag without a password', (kit) =>
    raw(kit, { flags: 0xc2 }, 'user'),
  ),
  invalid(['3.1.2-22', ''], 'a password flag without a user flag', (kit) =>
    raw(kit, { flags: 0x42 }, 'password'),
  ),
  invalid(['3.1.3-10', '3.1.3-11'], 'a will topic that is not UTF-8', (kit) =>
    raw(kit, { flags: 0x06 }, none(kit), encodeText(Buffer.of(0x74, 0xff)), 'will'),
  ),
  invalid(['3.1.3-11', '3.1.3-12'], 'a user name that is not UTF-8', (kit) =>
    raw(kit, { flags: 0x82 }, encodeText(Buffer.of(0x75, 0xc0, 0x80))),
  ),
  invalid(['3.1.3-4 1.5.3-1', '3.1.3-4 1.5.4-1'], 'a client id that is not UTF-8', (kit) =>
    encodeFrame(
      0x10,
      encodeText('MQTT'),
      Buffer.of(kit.level, 2, 0, 0),
      none(kit),
      encodeText(Buffer.of(0x61, 0xed, 0xa0, 0x80)),
    ),
  ),
  invalid(['3.1.3-3 3.1.4-1', '3.1.3-3 3.1.4-1'], 'a CONNECT without a client id', (kit) =>
    encodeFrame(0x10, encodeText('MQTT'), Buffer.of(kit.level, 2, 0, 0), none(kit)),
  ),
  entry(['3.1.3-5', '3.1.3-5'], 'a client id of 23 letters and digits is taken', (kit) => [
    ...kit.join('a', { clientId: `${kit.idOf('Z')}0123456789ABCDEFGHIJKLM`.slice(0, 23) }),
    quiet('a'),
  ]),
  entry(['3.1.3-6', '3.1.3-6 3.1.3-7 3.2.2-16'], 'an empty client id is given a name', (kit) => [
    ...kit.connect('a', { clientId: '' }),
    get('a', {
      text: 'CONNACK 0x00',
      ...(kit.level === 5 ? { has: ['assignedClientIdentifier' as const] } : {}),
    }),
  ]),
  entry(['3.1.3-7 3.1.3-8 3.2.2-5', ''], 'an empty client id with clean session 0', (kit) => [
    ...kit.connect('a', { clientId: '', clean: false }),
    refused('a', null, 2),
  ]),
  entry(
    ['3.1.3-9', '3.1.3-8'],
    'a client id that the server does not take',
    (kit) => [...kit.connect('a', { clientId: 'x'.repeat(1_100) }), refused('a', 0x85, 2)],
    'takes it',
  ),
  entry(['3.1.4-2', '3.1.4-3'], 'a connection with the same client id takes over', (kit) => [
    ...kit.join('a'),
    ...kit.connect('b', { clientId: kit.idOf('a') }),
    get('b', 'CONNACK 0x00'),
    ended('a', 0x8e),
  ]),
  entry(
    ['3.1.4-4 3.2.0-1 3.2.0-2', '3.1.4-5 3.2.0-1 3.2.0-2'],
    'CONNACK is the first answer and comes once, also with packets behind CONNECT',
    (kit) => [
      open('a'),
      send(
        'a',
        packet.connect({ level: kit.level, clientId: kit.idOf('a') }),
        kit.publish(kit.topic, 'x', { qos: 1, id: 1 }),
      ),
      get('a', 'CONNACK 0x00', 'PUBACK 1'),
      quiet('a'),
    ],
  ),
  entry(
    ['3.1.4-5', '3.1.4-6 3.14.0-1 3.2.2-7'],
    'what comes behind a refused CONNECT has no effect',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic),
      open('a'),
      send('a', raw(kit, { flags: 3 }), kit.publish(kit.topic, 'refused')),
      refused('a', 0x81),
      ...kit.join('b'),
      send('b', kit.publish(kit.topic, 'taken')),
      get('s', `PUBLISH ${kit.topic} q0 taken`),
    ],
  ),
  entry(
    ['3.1.4-3 3.2.2-4', '3.1.4-2'],
    'a wrong password',
    (kit) => [...kit.connect('a', { username: WRONG_USER, password: 'x' }), refused('a', 0x86, 4)],
    'lets everybody in here',
  ),
  entry(['3.1.2-24', '3.1.2-22 3.2.2-22'], 'silence for 1.5 times the keepalive', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    ...kit.join('a', { keepAlive: 1, will: { topic: kit.topic, payload: 'silent' } }),
    ended('a', 0x8d),
    get('s', `PUBLISH ${kit.topic} q0 silent`),
  ]),
  entry(['3.12.4-1', '3.12.4-1'], 'PINGREQ is answered', (kit) => [
    ...kit.join('a'),
    send('a', packet.pingreq(), packet.pingreq()),
    get('a', 'PINGRESP', 'PINGRESP'),
  ]),
]

const lasting = (kit: Kit): object =>
  kit.level === 5 ? { clean: false, properties: { sessionExpiryInterval: 600 } } : { clean: false }

export const SESSION_CASES: readonly Case[] = [
  entry(
    [
      '3.1.2-4 3.1.2-5 3.1.3-2 3.2.2-2 3.2.2-3 4.1.0-1',
      '3.1.2-5 3.1.2-6 3.1.2-23 3.1.3-2 3.2.2-3 4.1.0-1',
    ],
    'a session goes on with its subscriptions and its messages',
    (kit) => [
      ...kit.join('s', lasting(kit)),
      ...kit.subscribe('s', kit.topic, 1),
      cut('s'),
      ...kit.join('p'),
      send('p', kit.publish(kit.topic, 'away', { qos: 1, id: 1 })),
      get('p', 'PUBACK 1'),
      ...kit.connect('s', lasting(kit)),
      get('s', 'CONNACK 0x00 present', `PUBLISH ${kit.topic} q1 away`),
    ],
  ),
  entry(
    ['3.1.2-6 3.2.2-1', '3.1.2-4 3.1.4-4 3.2.2-2'],
    'a clean start discards the session',
    (kit) => [
      ...kit.join('s', lasting(kit)),
      ...kit.subscribe('s', kit.topic, 1),
      cut('s'),
      ...kit.join('s'),
      send('s', kit.publish(kit.topic, 'x', { qos: 1, id: 1 })),
      get('s', 'PUBACK 1'),
      quiet('s'),
    ],
  ),
  entry(
    ['4.4.0-1 3.3.1-1', '4.4.0-1 3.3.1-1 4.3.2-3'],
    'what was not acknowledged comes again with DUP and its packet id when the session goes on',
    (kit) => [
      ...kit.join('s', lasting(kit)),
      ...kit.subscribe('s', kit.topic, 1),
      ...kit.join('p'),
      send('p', kit.publish(kit.topic, 'again', { qos: 1, id: 1 })),
      get('p', 'PUBACK 1'),
      get('s', `PUBLISH ${kit.topic} q1 again`),
      cut('s'),
      ...kit.connect('s', lasting(kit)),
      get('s', 'CONNACK 0x00 present', `PUBLISH ${kit.topic} q1 dup again`),
    ],
  ),
  entry(
    ['4.3.3-1 4.4.0-1', '4.3.3-3 4.3.3-5 4.3.3-6 4.4.0-1'],
    'a copy whose PUBREC came goes on with PUBREL when the session goes on',
    (kit) => [
      ...kit.join('s', lasting(kit)),
      ...kit.subscribe('s', kit.topic, 2),
      ...kit.join('p'),
      send('p', kit.publish(kit.topic, 'x', { qos: 2, id: 1 }), packet.pubrel(1)),
      get('s', `PUBLISH ${kit.topic} q2 x`),
      answer('s', 'x', TYPE.PUBREC),
      get('s', 'PUBREL 1'),
      cut('s'),
      ...kit.connect('s', lasting(kit)),
      get('s', 'CONNACK 0x00 present', 'PUBREL 1'),
      send('s', packet.ack(TYPE.PUBCOMP, 1)),
      quiet('s'),
    ],
  ),
  entry(
    ['4.3.3-2', '4.3.3-10 4.1.0-1'],
    'an open QoS 2 packet id is known when the session goes on',
    (kit) => [
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic),
      ...kit.join('p', lasting(kit)),
      send('p', kit.publish(kit.topic, 'once', { qos: 2, id: 7 })),
      get('p', 'PUBREC 7'),
      cut('p'),
      ...kit.connect('p', lasting(kit)),
      get('p', 'CONNACK 0x00 present'),
      send('p', kit.publish(kit.topic, 'once', { qos: 2, id: 7, dup: true })),
      get('p', 'PUBREC 7'),
      send('p', packet.pubrel(7)),
      get('p', 'PUBCOMP 7'),
      send('p', kit.publish(kit.topic, 'next')),
      get('s', `PUBLISH ${kit.topic} q0 once`, `PUBLISH ${kit.topic} q0 next`),
    ],
  ),
]
