/**
 * What an outsider may send: it costs the connection, is counted and told once per client and
 * minute.
 */
import { afterEach, expect, test } from 'vitest'
import { encodeFrame, packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const str = (bytes: Buffer | string): Buffer => {
  const body = Buffer.from(bytes as string)
  return Buffer.concat([Buffer.of(body.length >> 8, body.length & 255), body])
}

const AFTER_CONNECT: readonly (readonly [string, Buffer])[] = [
  ['QoS 3', encodeFrame(0x36, str('t/1'), Buffer.of(0, 1))],
  ['DUP at QoS 0', encodeFrame(0x38, str('t/1'))],
  ['packet id 0', packet.publish('t/1', 'x', { qos: 1, id: 0 })],
  ['PUBLISH without a topic length', encodeFrame(0x30, Buffer.of(0))],
  ['topic longer than the packet', encodeFrame(0x30, Buffer.of(0, 9, 65))],
  ['PUBLISH that ends before its packet id', encodeFrame(0x32, str('t/1'), Buffer.of(1))],
  ['empty topic', packet.publish('', 'x')],
  ['# in a topic name', packet.publish('t/#', 'x')],
  ['+ in a topic name', packet.publish('t/+/x', 'x')],
  ['U+0000 in a topic', packet.publish('t/\u0000', 'x')],
  ['ill-formed UTF-8', packet.publish(Buffer.of(0x74, 0x2f, 0xc3, 0x28), 'x')],
  ['a surrogate in UTF-8', packet.publish(Buffer.of(0x74, 0xed, 0xa0, 0x80), 'x')],
  ['an overlong encoding', packet.publish(Buffer.of(0x74, 0xc0, 0xaf), 'x')],
  ['PUBREL with flags 0', encodeFrame(0x60, Buffer.of(0, 1))],
  ['PUBREL of one byte', encodeFrame(0x62, Buffer.of(1))],
  ['PUBREL of id 0', packet.pubrel(0)],
  ['PUBACK of three bytes', encodeFrame(0x40, Buffer.of(0, 1, 2))],
  ['PUBACK of id 0', packet.ack(0x40, 0)],
  ['SUBSCRIBE with flags 0', encodeFrame(0x80, Buffer.of(0, 1), str('a'), Buffer.of(0))],
  ['SUBSCRIBE without filters', encodeFrame(0x82, Buffer.of(0, 1))],
  ['SUBSCRIBE of id 0', packet.subscribe(0, [['a', 0]])],
  ['SUBSCRIBE at QoS 3', packet.subscribe(1, [['a', 3]])],
  ['SUBSCRIBE to a/#/b', packet.subscribe(1, [['a/#/b', 0]])],
  ['SUBSCRIBE to a+', packet.subscribe(1, [['a+', 0]])],
  ['SUBSCRIBE to nothing', packet.subscribe(1, [['', 0]])],
  ['SUBSCRIBE that ends in a filter', encodeFrame(0x82, Buffer.of(0, 1, 0, 5, 65))],
  ['UNSUBSCRIBE without filters', encodeFrame(0xa2, Buffer.of(0, 1))],
  ['PINGREQ with a body', encodeFrame(0xc0, Buffer.of(1))],
  ['DISCONNECT with a body', encodeFrame(0xe0, Buffer.of(1))],
  ['DISCONNECT with flags', encodeFrame(0xe1)],
  ['a second CONNECT', packet.connect({ clientId: 'again' })],
  ['CONNACK from a client', encodeFrame(0x20, Buffer.of(0, 0))],
  ['SUBACK from a client', encodeFrame(0x90, Buffer.of(0, 1, 0))],
  ['packet type 0', encodeFrame(0x00)],
  ['packet type 15', encodeFrame(0xf0)],
  ['a length of five bytes', Buffer.of(0x30, 0xff, 0xff, 0xff, 0xff, 0x01)],
]

test.each(AFTER_CONNECT)(
  'malformed: %s closes the connection, and its will is published',
  async (_name, bytes) => {
    const rig = await startRig()
    const client = await RawMqtt.connect(rig.port, {
      clientId: 'bad',
      will: { topic: 't/w', payload: 'gone' },
    })
    client.send(bytes)
    await client.closed()
    expect(client.inbox).toEqual([])
    expect(rig.broker.stats.connectionsClosed.malformed).toBe(1)
    await eventually(() => rig.appender.records.length === 1, 'the will is stored')
    const told = rig.eventsOf('broker.connection-closed')
    expect(told).toMatchObject([
      { reason: 'malformed', clientId: 'bad', remoteAddress: '127.0.0.1' },
    ])
    expect(told[0]!.detail).not.toBe('')
  },
)

const connectWith = (flags: number, ...parts: Buffer[]): Buffer =>
  encodeFrame(0x10, str('MQTT'), Buffer.of(4, flags, 0, 0), ...parts)

const INSTEAD_OF_CONNECT: readonly (readonly [string, Buffer])[] = [
  ['PUBLISH first', packet.publish('t/1', 'x')],
  ['PINGREQ first', packet.pingreq()],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
  ['a TLS hello', Buffer.from('160301', 'hex')],
  ['an unknown protocol', packet.connect({ protocol: 'AMQP' })],
  [
    'reserved bits of its header',
    Buffer.concat([Buffer.of(0x14), packet.connect({ clientId: 'a' }).subarray(1)]),
  ],
  ['the reserved connect flag', connectWith(3, str('a'))],
  ['will QoS 3', connectWith(2 | 4 | 0x18, str('a'), str('t'), str('x'))],
  ['will QoS without a will', connectWith(2 | 8, str('a'))],
  ['will retain without a will', connectWith(2 | 0x20, str('a'))],
  ['a password without a user name', connectWith(2 | 0x40, str('a'), str('p'))],
  ['bytes behind the last field', connectWith(2, str('a'), Buffer.of(1))],
  ['a client id that is not there', connectWith(2)],
  ['a client id that is not UTF-8', connectWith(2, str(Buffer.of(0xff)))],
  [
    'a will topic with a wildcard',
    packet.connect({ clientId: 'a', will: { topic: 'a/#', payload: '' } }),
  ],
]

test.each(INSTEAD_OF_CONNECT)(
  'malformed before CONNACK: %s is closed without a byte',
  async (_name, bytes) => {
    const rig = await startRig()
    const client = await RawMqtt.open(rig.port)
    client.send(bytes)
    await client.closed()
    expect(client.receivedBytes).toBe(0)
    expect(rig.broker.stats.connectionsClosed.malformed).toBe(1)
  },
)

test.each([
  ['TLS', Buffer.from('16030100', 'hex'), /the client speaks TLS, and this port speaks plain MQTT/],
  ['HTTP', Buffer.from('GET / HTTP/1.1\r\n\r\n'), /the client speaks HTTP or WebSocket/],
  ['nothing that is known', Buffer.from('SSH-2.0'), /the first packet is not CONNECT/],
])(
  'a client that speaks %s on a port of plain MQTT is told of in words',
  async (_name, bytes, words) => {
    const rig = await startRig()
    const client = await RawMqtt.open(rig.port)
    client.send(bytes)
    await client.closed()
    expect(rig.eventsOf('broker.connection-closed')[0]?.detail).toMatch(words)
  },
)

test.each([
  ['level 3 under the name MQTT', packet.connect({ level: 3 }), 1, 'protocol-version'],
  [
    'level 3 with the bridge mark under the name MQTT',
    packet.connect({ level: 0x83 }),
    1,
    'protocol-version',
  ],
  [
    'an empty client id with clean session 0',
    packet.connect({ clean: false }),
    2,
    'identifier-rejected',
  ],
  [
    'a client id of 1,025 bytes',
    packet.connect({ clientId: 'x'.repeat(1025) }),
    2,
    'identifier-rejected',
  ],
] as const)(
  '%s is answered with its return code and closed',
  async (_name, bytes, code, reason) => {
    const rig = await startRig()
    const client = await RawMqtt.open(rig.port)
    client.send(bytes)
    const { body } = await client.next(TYPE.CONNACK)
    expect([...body]).toEqual([0, code])
    await client.closed()
    expect(rig.broker.stats.connectionsRefused[reason]).toBe(1)
    expect(rig.eventsOf('broker.client-refused')).toMatchObject([{ reason }])
  },
)

test('MQTT 3.1 connects, publishes and gets no Session Present', async () => {
  const rig = await startRig()
  for (let round = 0; round < 2; round += 1) {
    const client = await RawMqtt.connect(rig.port, {
      clientId: 'a-client-with-more-than-23-bytes',
      clean: false,
      protocol: 'MQIsdp',
      level: 3,
    })
    expect(client.sessionPresent).toBe(false)
    client.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
    await client.acks(1)
    await client.end()
  }
})

test('clients with empty ids get ids of their own', async () => {
  const rig = await startRig()
  const clients = await Promise.all([1, 2, 3].map(() => RawMqtt.connect(rig.port)))
  for (const client of clients) {
    client.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
    await client.acks(1)
  }
  const devices = new Set(rig.appender.records.map(({ device }) => device))
  expect(devices.size).toBe(3)
  expect([...devices].every((device) => device.startsWith('sluice-'))).toBe(true)
})

test('the reason is told once per client and minute, with the number of those left out', async () => {
  const rig = await startRig()
  for (let i = 0; i < 5; i += 1) {
    const client = await RawMqtt.connect(rig.port, { clientId: 'bad' })
    client.send(encodeFrame(0xf0))
    await client.closed()
  }
  expect(rig.eventsOf('broker.connection-closed')).toHaveLength(1)
  expect(rig.broker.stats.connectionsClosed.malformed).toBe(5)
})

test('I9: unrouted messages are acknowledged, counted and told; or refused by configuration', async () => {
  const accepting = await startRig()
  const client = await RawMqtt.connect(accepting.port, { clientId: 'd' })
  client.send(...[1, 2, 3].map((id) => packet.publish('nowhere', 'x', { qos: 1, id })))
  expect(await client.acks(3)).toEqual([1, 2, 3])
  expect(accepting.broker.stats.unrouted).toEqual({ accepted: 3, refused: 0 })
  expect(accepting.broker.stats.lastUnrouted).toEqual({ topic: 'nowhere', clientId: 'd' })
  expect(accepting.eventsOf('broker.message-unrouted')).toMatchObject([
    { topic: 'nowhere', policy: 'accept' },
  ])

  const refusing = await startRig({ unrouted: 'refuse' })
  const refused = await RawMqtt.connect(refusing.port, { clientId: 'd' })
  refused.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
  await refused.acks(1)
  refused.send(packet.publish('nowhere', 'x', { qos: 1, id: 2 }))
  await refused.closed()
  expect(refusing.broker.stats.unrouted).toEqual({ accepted: 0, refused: 1 })
  expect(refusing.broker.stats.connectionsClosed.unrouted).toBe(1)
})

test('an unrouted message that is held back is counted once', async () => {
  const rig = await startRig({ maxUnackedMessages: 1 })
  const client = await RawMqtt.connect(rig.port)
  client.send(...[1, 2, 3, 4].map((id) => packet.publish('nowhere', 'x', { qos: 1, id })))
  expect(await client.acks(4)).toEqual([1, 2, 3, 4])
  expect(rig.broker.stats.unrouted.accepted).toBe(4)
})
