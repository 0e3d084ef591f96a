/**
 * MQTT 5 alone: what answers tell, and what is left out where it would make them too large for the
 * client (sections 3.2.2, 3.4.2 to 3.7.2, 3.9.2, 3.11.2 and 3.14.2).
 */
import { encodeText } from '../../support/mqtt-properties.ts'
import { encodeFrame, packet } from '../../support/raw-mqtt.ts'
import {
  type Case,
  type Expected,
  ended,
  entry,
  get,
  type Kit,
  LARGEST_PACKET,
  type Step,
  send,
  WRONG_USER,
} from '../script.ts'

const only = (numbers: string, what: string, steps: Case['steps'], mosquitto?: string): Case =>
  entry(['', numbers], what, steps, mosquitto)

/** Too small for any reason string that says something. */
const SMALL = { properties: { maximumPacketSize: 24 } }

const bare = (text: string): Expected => ({ text, lacks: ['reasonString', 'userProperties'] })

/** Says that it is UTF-8, and is not. */
const noText = ({ topic }: Kit, qos: 1 | 2): Buffer =>
  packet.publish(topic, Buffer.of(0xff), { qos, id: 7, properties: { payloadFormatIndicator: 1 } })

/** Asked by a client that takes small packets only. */
const asked = (bytes: (kit: Kit) => Buffer, ...answers: readonly string[]) => {
  const steps = (kit: Kit): readonly Step[] => [
    ...kit.join('a', SMALL),
    send('a', bytes(kit)),
    get('a', ...answers.map(bare)),
  ]
  return steps
}

const wrongUser = { username: WRONG_USER, password: 'x' }

export const ANSWER_CASES: readonly Case[] = [
  only(
    '3.2.2-9 3.2.2-10 3.2.2-13 3.2.2-18 3.2.2-21',
    'CONNACK tells the limits that there are, and no others',
    (kit) => [
      ...kit.connect('a'),
      get('a', {
        text: 'CONNACK 0x00',
        properties: { maximumPacketSize: LARGEST_PACKET },
        has: ['receiveMaximum', 'topicAliasMaximum'],
        lacks: [
          'maximumQos',
          'retainAvailable',
          'serverKeepAlive',
          'wildcardSubscriptionAvailable',
          'subscriptionIdentifierAvailable',
          'sharedSubscriptionAvailable',
        ],
      }),
    ],
    'tells no Maximum Packet Size where it has none',
  ),
  only(
    '3.2.2-19 3.2.2-20',
    'CONNACK that refuses: a reason string that makes it too large is left out',
    (kit) => [
      ...kit.connect('a', wrongUser),
      get('a', { text: 'CONNACK 0x86', has: ['reasonString'] }),
      ...kit.connect('b', { ...wrongUser, ...SMALL }),
      get('b', bare('CONNACK 0x86')),
      ended('b'),
    ],
    'lets everybody in here',
  ),
  only(
    '3.5.2-2 3.5.2-3',
    'PUBREC: the same',
    asked((kit) => noText(kit, 2), 'PUBREC 7 0x99'),
    'does not look at payloads',
  ),
  only(
    '3.6.2-2 3.6.2-3',
    'PUBREL for nothing: the same',
    asked(() => packet.ack(0x50, 9), 'PUBREL 9 0x92'),
    'PUBREL 0x00',
  ),
  only(
    '3.7.2-2 3.7.2-3',
    'PUBCOMP for nothing: the same',
    asked(() => packet.pubrel(9), 'PUBCOMP 9 0x92'),
    'PUBCOMP 0x00',
  ),
  only(
    '3.9.2-1 3.9.2-2',
    'SUBACK that refuses: the same',
    asked(() => packet.subscribe(3, [['$queue/x', 0]], {}), 'SUBACK 3 8f'),
    'grants it',
  ),
  only(
    '3.11.2-1 3.11.2-2',
    'UNSUBACK of no subscription: the same',
    asked((kit) => packet.unsubscribe(3, [kit.topic], {}), 'UNSUBACK 3 11'),
  ),
  only(
    '3.14.2-1 3.14.2-2 3.14.2-3 3.14.2-4',
    'DISCONNECT: the same, and it has no Session Expiry Interval',
    (kit) => [
      ...kit.join('b', { properties: { sessionExpiryInterval: 600 } }),
      send('b', packet.connect({ level: 5, clientId: kit.idOf('b') })),
      get('b', {
        text: 'DISCONNECT 0x82',
        has: ['reasonString'],
        lacks: ['sessionExpiryInterval', 'userProperties'],
      }),
      ended('b'),
      ...kit.join('a', SMALL),
      send('a', packet.connect({ level: 5, clientId: kit.idOf('a') })),
      get('a', bare('DISCONNECT 0x82')),
      ended('a'),
    ],
    'closes, or gives no reason string',
  ),
  only('3.1.3-1 3.1.2-1 3.1.2-16 3.1.2-18', 'a CONNECT with each of its fields is taken', (kit) => [
    ...kit.join('a', {
      keepAlive: 60,
      username: 'user',
      password: 'password',
      properties: {
        sessionExpiryInterval: 10,
        receiveMaximum: 5,
        maximumPacketSize: 1_000,
        topicAliasMaximum: 2,
        requestResponseInformation: 1,
        requestProblemInformation: 1,
        userProperties: [['a', 'b']],
      },
      will: {
        topic: kit.topic,
        payload: 'will',
        qos: 2,
        properties: { willDelayInterval: 5, payloadFormatIndicator: 1, contentType: 'a' },
      },
    }),
  ]),
  only('3.3.2-7 3.3.2-12', 'each topic alias up to the granted one is taken', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    ...[1, 2, 10].flatMap((topicAlias) => [
      send(
        's',
        encodeFrame(0x30, encodeText(kit.topic), Buffer.of(3, 0x23, 0, topicAlias)),
        encodeFrame(0x30, encodeText(''), Buffer.of(3, 0x23, 0, topicAlias), Buffer.from('x')),
      ),
      get('s', `PUBLISH ${kit.topic} q0 `, `PUBLISH ${kit.topic} q0 x`),
    ]),
  ]),
]
