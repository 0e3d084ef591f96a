/** Sections 3.8 to 3.11, 4.7 and the retained messages of 3.3.1, in both versions. */
import { encodeText } from '../../support/mqtt-properties.ts'
import { encodeFrame, packet, TYPE } from '../../support/raw-mqtt.ts'
import { answer, type Case, ended, entry, get, type Kit, quiet, send } from '../script.ts'

const own = (kit: Kit): object | undefined => (kit.level === 5 ? {} : undefined)
const none = (kit: Kit): Buffer => Buffer.alloc(kit.level === 5 ? 1 : 0)

const subscribe = (kit: Kit, id: number, ...filters: readonly (readonly [string, number])[]) =>
  packet.subscribe(id, filters, own(kit))

const unsubscribe = (kit: Kit, id: number, ...filters: readonly string[]) =>
  packet.unsubscribe(id, filters, own(kit))

/** UNSUBACK has no codes in 3.1.1. */
const unsuback = (kit: Kit, id: number, codes: string): string =>
  kit.level === 5 ? `UNSUBACK ${id} ${codes}` : `UNSUBACK ${id}`

const malformed = (
  numbers: readonly [string, string],
  what: string,
  make: (kit: Kit) => Buffer,
  code = 0x81,
): Case => entry(numbers, what, (kit) => [...kit.join('a'), send('a', make(kit)), ended('a', code)])

const body = (kit: Kit, first: number, ...fields: readonly Buffer[]): Buffer =>
  encodeFrame(first, Buffer.of(0, 1), none(kit), ...fields)

export const SUBSCRIBE_CASES: readonly Case[] = [
  malformed(['3.8.1-1', '3.8.1-1'], 'SUBSCRIBE with other flags', (kit) =>
    body(kit, 0x80, encodeText(kit.topic), Buffer.of(0)),
  ),
  malformed(['3.10.1-1', '3.10.1-1'], 'UNSUBSCRIBE with other flags', (kit) =>
    body(kit, 0xa0, encodeText(kit.topic)),
  ),
  malformed(['3.8.3-1', '3.8.3-1'], 'a filter that is not UTF-8', (kit) =>
    body(kit, 0x82, encodeText(Buffer.of(0xc3, 0x28)), Buffer.of(0)),
  ),
  malformed(['3.10.3-1', '3.10.3-1'], 'a filter of UNSUBSCRIBE that is not UTF-8', (kit) =>
    body(kit, 0xa2, encodeText(Buffer.of(0xc3, 0x28))),
  ),
  malformed(['3.8.3-3', '3.8.3-2'], 'SUBSCRIBE without a filter', (kit) => body(kit, 0x82), 0x82),
  malformed(
    ['3.10.3-2', '3.10.3-2'],
    'UNSUBSCRIBE without a filter',
    (kit) => body(kit, 0xa2),
    0x82,
  ),
  malformed(['3.8.3-4', ''], 'reserved bits of the requested QoS', (kit) =>
    subscribe(kit, 1, [kit.topic, 0x04]),
  ),
  malformed(
    ['3.8.3-4', '3.8.3-5'],
    'requested QoS 3',
    (kit) => subscribe(kit, 1, [kit.topic, 3]),
    0x82,
  ),
  malformed(
    ['2.3.1-1', '2.2.1-3'],
    'SUBSCRIBE with the packet id 0',
    (kit) => subscribe(kit, 0, [kit.topic, 0]),
    0x82,
  ),
  entry(
    [
      '3.8.4-1 3.8.4-2 3.8.4-5 2.3.1-7',
      '3.8.4-1 3.8.4-2 3.8.4-5 3.8.4-6 3.8.4-7 3.9.3-1 3.9.3-2 2.2.1-6',
    ],
    'SUBACK has a code for each filter, in their order',
    (kit) => [
      ...kit.join('a'),
      send(
        'a',
        subscribe(kit, 40_000, [kit.topic, 2], [`${kit.topic}/+`, 0], [`${kit.topic}/#`, 1]),
      ),
      get('a', 'SUBACK 40000 02 00 01'),
    ],
  ),
  entry(
    ['3.8.4-4 3.9.3-1', '3.8.4-5 3.9.3-1'],
    'the same filter twice is answered as two SUBSCRIBEs would be',
    (kit) => [
      ...kit.join('a'),
      send('a', subscribe(kit, 9, [kit.topic, 2], [kit.topic, 0])),
      get('a', 'SUBACK 9 02 00'),
      send('a', kit.publish(kit.topic, 'x')),
      get('a', `PUBLISH ${kit.topic} q0 x`),
      quiet('a'),
    ],
  ),
  entry(['3.8.4-3', '3.8.4-3'], 'the same filter again replaces the subscription', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic, 1),
    ...kit.subscribe('s', kit.topic, 0),
    ...kit.join('a'),
    send('a', kit.publish(kit.topic, 'x', { qos: 1, id: 1 })),
    get('s', `PUBLISH ${kit.topic} q0 x`),
    quiet('s'),
  ]),
  entry(
    ['3.10.4-4 3.10.4-5', '3.10.4-4 3.10.4-5 3.11.3-1 3.11.3-2 2.2.1-6'],
    'UNSUBSCRIBE is answered, also where there is no subscription',
    (kit) => [
      ...kit.join('a'),
      ...kit.subscribe('a', kit.topic),
      send('a', unsubscribe(kit, 77, `${kit.topic}/no`, kit.topic)),
      get('a', unsuback(kit, 77, '11 00')),
    ],
  ),
  entry(
    ['3.10.4-1 3.10.4-2 3.10.4-6', '3.10.4-1 3.10.4-2 3.10.4-6'],
    'UNSUBSCRIBE ends each subscription that it names, to the letter',
    (kit) => [
      ...kit.join('a'),
      ...kit.subscribe('a', `${kit.topic}/#`),
      ...kit.subscribe('a', `${kit.topic}/x`),
      send('a', unsubscribe(kit, 2, `${kit.topic}/+`, `${kit.topic}/x`)),
      get('a', unsuback(kit, 2, '11 00')),
      send('a', kit.publish(`${kit.topic}/x`, 'still')),
      get('a', `PUBLISH ${kit.topic}/x q0 still`),
      send('a', unsubscribe(kit, 3, `${kit.topic}/#`)),
      get('a', unsuback(kit, 3, '00')),
      send('a', kit.publish(`${kit.topic}/x`, 'no more')),
      quiet('a'),
    ],
  ),
  entry(['3.10.4-3', '3.10.4-3'], 'what is on its way is completed behind UNSUBSCRIBE', (kit) => [
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic, 2),
    ...kit.join('a'),
    send('a', kit.publish(kit.topic, 'x', { qos: 2, id: 1 }), packet.pubrel(1)),
    get('s', `PUBLISH ${kit.topic} q2 x`),
    send('s', unsubscribe(kit, 2, kit.topic)),
    get('s', unsuback(kit, 2, '00')),
    answer('s', 'x', TYPE.PUBREC),
    get('s', 'PUBREL 1'),
    answer('s', 'x', TYPE.PUBCOMP),
    quiet('s'),
  ]),
]

const filterIsInvalid = (numbers: readonly [string, string], filter: string): Case =>
  malformed(numbers, `the filter ${JSON.stringify(filter)}`, (kit) =>
    subscribe(kit, 1, [filter, 0]),
  )

const named = (ends: readonly string[]): string => ends.map((end) => `t${end}`).join(', ')

/** `takes`: of topics below the case's own. */
const matches = (
  numbers: readonly [string, string],
  filter: string,
  takes: readonly string[],
  leaves: readonly string[],
): Case =>
  entry(numbers, `t${filter} takes ${named(takes)}, not ${named(leaves)}`, (kit) => [
    ...kit.join('a'),
    ...kit.subscribe('a', `${kit.topic}${filter}`),
    send('a', ...[...leaves, ...takes].map((topic) => kit.publish(`${kit.topic}${topic}`, topic))),
    get('a', ...takes.map((topic) => `PUBLISH ${kit.topic}${topic} q0 ${topic}`)),
    quiet('a'),
  ])

export const TOPIC_CASES: readonly Case[] = [
  filterIsInvalid(['4.7.1-2', '4.7.1-1'], 't/#/x'),
  filterIsInvalid(['4.7.1-2', '4.7.1-1'], 't/x#'),
  filterIsInvalid(['4.7.1-3', '4.7.1-2'], 't/x+'),
  filterIsInvalid(['4.7.1-3', '4.7.1-2'], 't+/x'),
  filterIsInvalid(['4.7.3-1', '4.7.3-1'], ''),
  malformed(['4.7.3-2', '4.7.3-2'], 'U+0000 in a filter', (kit) =>
    body(kit, 0x82, encodeText('t/\0'), Buffer.of(0)),
  ),
  matches(['4.7.1-2', '4.7.1-1'], '/#', ['', '/', '/x', '/x/y'], ['x']),
  matches(['4.7.1-3', '4.7.1-2'], '/+', ['/', '/x'], ['', '/x/y']),
  matches(['4.7.1-3', '4.7.1-2'], '/+/y', ['/x/y', '//y'], ['/y', '/x/y/z', '/x/Y']),
  matches(['4.7.3-4', '4.7.3-4'], '/x', ['/x'], ['/X', '/x/', '//x', '/ x']),
  entry(['4.7.2-1', '4.7.2-1'], 'wildcards at the beginning take no topic with $', (kit) => [
    ...kit.join('a'),
    ...kit.subscribe('a', '+/probe'),
    send('a', kit.publish(`$${kit.idOf('x')}/probe`, 'hidden', { qos: 1, id: 1 })),
    get('a', kit.level === 5 ? 'PUBACK 1 0x10' : 'PUBACK 1'),
    send('a', packet.unsubscribe(3, ['+/probe'], own(kit))),
    get('a', unsuback(kit, 3, '00')),
  ]),
]

const retain = (kit: Kit, payload: string, topic = kit.topic): Buffer =>
  kit.publish(topic, payload, { retain: true, qos: 1, id: 1 })

/** Leaves nothing for other cases. */
const forget = (kit: Kit): ReturnType<typeof send> =>
  send('a', kit.publish(kit.topic, '', { retain: true }))

export const RETAINED_CASES: readonly Case[] = [
  entry(
    ['3.3.1-5 3.3.1-6 3.3.1-8', '3.3.1-5 3.3.1-9'],
    'the last retained message goes to a new subscriber, with RETAIN',
    (kit) => [
      ...kit.join('a'),
      send('a', retain(kit, 'old')),
      get('a', 'PUBACK 1'),
      send('a', retain(kit, 'new')),
      get('a', 'PUBACK 1'),
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic, 1),
      get('s', `PUBLISH ${kit.topic} q1 retain new`),
      forget(kit),
    ],
  ),
  entry(['3.1.2-7', ''], 'a retained message outlives the session of its publisher', (kit) => [
    ...kit.join('a'),
    send('a', retain(kit, 'kept')),
    get('a', 'PUBACK 1'),
    send('a', packet.disconnect()),
    ended('a'),
    ...kit.join('a'),
    ...kit.subscribe('a', kit.topic),
    get('a', `PUBLISH ${kit.topic} q0 retain kept`),
    forget(kit),
  ]),
  entry(['3.3.1-9', '3.3.1-12'], 'a subscriber that is there gets it without RETAIN', (kit) => [
    ...kit.join('a'),
    ...kit.subscribe('a', kit.topic, 0),
    send('a', kit.publish(kit.topic, 'live', { retain: true })),
    get('a', `PUBLISH ${kit.topic} q0 live`),
    forget(kit),
  ]),
  entry(
    ['3.3.1-10 3.3.1-11', '3.3.1-6 3.3.1-7'],
    'an empty one removes it, and is delivered to who is there',
    (kit) => [
      ...kit.join('a'),
      send('a', retain(kit, 'x')),
      get('a', 'PUBACK 1'),
      ...kit.subscribe('a', kit.topic),
      get('a', `PUBLISH ${kit.topic} q0 retain x`),
      send('a', kit.publish(kit.topic, '', { retain: true })),
      get('a', `PUBLISH ${kit.topic} q0 `),
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic),
      quiet('s'),
    ],
  ),
  entry(
    ['3.3.1-12', '3.3.1-8'],
    'a message without RETAIN is not kept and leaves the kept one',
    (kit) => [
      ...kit.join('a'),
      send('a', retain(kit, 'kept')),
      get('a', 'PUBACK 1'),
      send('a', kit.publish(kit.topic, 'passing', { qos: 1, id: 1 })),
      get('a', 'PUBACK 1'),
      ...kit.join('s'),
      ...kit.subscribe('s', kit.topic),
      get('s', `PUBLISH ${kit.topic} q0 retain kept`),
      forget(kit),
    ],
  ),
  entry(['3.3.1-7', '3.3.1-5'], 'at QoS 0 it replaces the earlier one, too', (kit) => [
    ...kit.join('a'),
    send('a', retain(kit, 'old'), kit.publish(kit.topic, 'new', { retain: true })),
    get('a', 'PUBACK 1'),
    send('a', kit.publish(`${kit.topic}/end`, 'end', { qos: 1, id: 2 })),
    get('a', 'PUBACK 2'),
    ...kit.join('s'),
    ...kit.subscribe('s', kit.topic),
    get('s', `PUBLISH ${kit.topic} q0 retain new`),
    forget(kit),
  ]),
  entry(
    ['3.3.1-6', '3.3.1-9'],
    'a retained message is seen by the SUBSCRIBE behind it, in one segment',
    (kit) => [
      ...kit.join('a'),
      send(
        'a',
        kit.publish(kit.topic, 'v', { retain: true }),
        packet.subscribe(6, [[kit.topic, 1]], own(kit)),
      ),
      get('a', 'SUBACK 6 01', `PUBLISH ${kit.topic} q0 retain v`),
      forget(kit),
    ],
  ),
  entry(
    ['3.8.4-3', '3.8.4-4'],
    'a filter that is subscribed again brings the retained message again',
    (kit) => [
      ...kit.join('a'),
      send('a', retain(kit, 'x')),
      get('a', 'PUBACK 1'),
      ...kit.subscribe('a', kit.topic),
      get('a', `PUBLISH ${kit.topic} q0 retain x`),
      ...kit.subscribe('a', kit.topic, 1),
      get('a', `PUBLISH ${kit.topic} q1 retain x`),
      forget(kit),
    ],
  ),
]
