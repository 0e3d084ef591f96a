/** MQTT 5 alone: shared subscriptions (section 4.8.2). */
import { packet, TYPE } from '../../support/raw-mqtt.ts'
import { answer, type Case, cut, ended, entry, get, oneOf, quiet, send } from '../script.ts'

const only = (numbers: string, what: string, steps: Case['steps'], mosquitto?: string): Case =>
  entry(['', numbers], what, steps, mosquitto)

const NO_LOCAL = 0x04

export const SHARED_CASES: readonly Case[] = [
  only(
    '3.8.3-4',
    'No Local on a shared subscription',
    (kit) => [
      ...kit.join('a'),
      send('a', packet.subscribe(1, [[`$share/g/${kit.topic}`, NO_LOCAL]], {})),
      ended('a', 0x82),
    ],
    'grants it',
  ),
  ...['$share/g', '$share//x', '$share/+/x', '$share/g#/x', '$share/g/'].map((filter) =>
    only(
      filter.startsWith('$share/g') && !filter.includes('#') ? '4.8.2-2' : '4.8.2-1 4.8.2-2',
      `the shared filter ${filter}`,
      (kit) => [
        ...kit.join('a'),
        send('a', packet.subscribe(1, [[filter, 0]], {})),
        ended('a', 0x81),
      ],
      filter.includes('#') ? undefined : 'grants it',
    ),
  ),
  only('4.8.2-3', 'a shared subscription brings each message to one member', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', `$share/g/${kit.topic}`, 1),
    ...kit.join('t'),
    ...kit.subscribe('t', `$share/g/${kit.topic}`, 1),
    ...kit.join('a'),
    ...['m1', 'm2', 'm3'].flatMap((payload) => [
      send('a', kit.publish(kit.topic, payload, { qos: 1, id: 1 })),
      get('a', 'PUBACK 1'),
      oneOf(['s', 't'], `PUBLISH ${kit.topic} q1 ${payload}`),
    ]),
  ]),
  only('4.8.2-6', 'a message that a member refuses goes to no other', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', `$share/g/${kit.topic}`, 1),
    ...kit.join('a'),
    send('a', kit.publish(kit.topic, 'x', { qos: 1, id: 1 })),
    get('s', `PUBLISH ${kit.topic} q1 x`),
    ...kit.join('t'),
    ...kit.subscribe('t', `$share/g/${kit.topic}`, 1),
    answer('s', 'x', TYPE.PUBACK, 0x80),
    quiet('s'),
    quiet('t'),
    cut('s'),
    quiet('t'),
  ]),
  only('4.8.2-4', 'what a member left unacknowledged at QoS 2 comes when it is back', (kit) => [
    ...kit.join('s', { properties: { sessionExpiryInterval: 600 } }),
    ...kit.subscribe('s', `$share/g/${kit.topic}`, 2),
    ...kit.join('a'),
    send('a', kit.publish(kit.topic, 'x', { qos: 2, id: 1 }), packet.pubrel(1)),
    get('s', `PUBLISH ${kit.topic} q2 x`),
    ...kit.join('t'),
    ...kit.subscribe('t', `$share/g/${kit.topic}`, 2),
    cut('s'),
    ...kit.connect('s', { clean: false, properties: { sessionExpiryInterval: 600 } }),
    get('s', 'CONNACK 0x00 present', `PUBLISH ${kit.topic} q2 dup x`),
    quiet('t'),
  ]),
  only('4.8.2-5', 'what was left unacknowledged at QoS 2 ends with the session', (kit) => [
    ...kit.join('s', { properties: { sessionExpiryInterval: 600 } }),
    ...kit.subscribe('s', `$share/g/${kit.topic}`, 2),
    ...kit.join('a'),
    send('a', kit.publish(kit.topic, 'x', { qos: 2, id: 1 }), packet.pubrel(1)),
    get('s', `PUBLISH ${kit.topic} q2 x`),
    ...kit.join('t'),
    ...kit.subscribe('t', `$share/g/${kit.topic}`, 2),
    cut('s'),
    ...kit.join('s'),
    quiet('s'),
    quiet('t'),
  ]),
  only('3.10.4-1', 'a shared subscription ends by its whole name', (kit) => [
    ...kit.join('a'),
    ...kit.subscribe('a', `$share/g/${kit.topic}`),
    send('a', packet.unsubscribe(2, [kit.topic, `$share/g/${kit.topic}`], {})),
    get('a', 'UNSUBACK 2 11 00'),
  ]),
]
