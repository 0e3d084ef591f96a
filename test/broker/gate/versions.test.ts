/** What MQTT 3.1 allows and 3.1.1 does not, and how other versions are refused. */
import { afterEach, expect, test } from 'vitest'
import { encodeFrame, packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const str = (text: string): Buffer => Buffer.concat([Buffer.of(0, text.length), Buffer.from(text)])

const old = (first: number, flags: number, ...fields: string[]): Buffer =>
  encodeFrame(first, str('MQIsdp'), Buffer.of(3, flags, 0, 10), ...fields.map(str))

const mqtt5 = (level: number, properties: Buffer): Buffer =>
  encodeFrame(
    0x10,
    str('MQTT'),
    Buffer.of(level, 2, 0, 10, properties.length),
    properties,
    str('modern'),
  )

test.each([
  ['the reserved connect flag', old(0x10, 0x03, 'p')],
  ['reserved bits of the header', old(0x1c, 0x02, 'p')],
  ['a user flag without a user name', old(0x10, 0x82, 'p')],
  ['user and password flags without either', old(0x10, 0xc2, 'p')],
  ['a password flag without a password', old(0x10, 0xc2, 'p', 'user')],
  ['will flags without a will', old(0x10, 0x3a & ~0x18, 'p')],
])('MQTT 3.1 allows %s', async (_name, connect) => {
  const rig = await startRig()
  const client = await RawMqtt.open(rig.port)
  client.send(connect)
  expect((await client.next(TYPE.CONNACK)).bytes.toString('hex')).toBe('20020000')
})

test('MQTT 3.1: SUBSCRIBE, PUBREL and UNSUBSCRIBE may be marked as duplicates', async () => {
  const rig = await startRig()
  const client = await RawMqtt.open(rig.port)
  client.send(old(0x10, 0x02, 'p'))
  await client.next(TYPE.CONNACK)
  const marked = (frame: Buffer): Buffer =>
    Buffer.concat([Buffer.of(frame[0]! | 8), frame.subarray(1)])
  client.send(marked(packet.subscribe(1, [['live/x', 1]])))
  await client.next(TYPE.SUBACK)
  client.send(packet.publish('t/1', 'x', { qos: 2, id: 7 }))
  await client.next(TYPE.PUBREC)
  client.send(marked(packet.pubrel(7)))
  await client.next(TYPE.PUBCOMP)
  client.send(marked(packet.unsubscribe(2, ['live/x'])))
  await client.next(TYPE.UNSUBACK)
})

test('MQTT 3.1 has no empty client id: 0x02', async () => {
  const rig = await startRig()
  const client = await RawMqtt.open(rig.port)
  client.send(old(0x10, 0x02, ''))
  expect((await client.next(TYPE.CONNACK)).bytes.toString('hex')).toBe('20020002')
  await client.closed()
  expect(rig.broker.stats.connectionsRefused['identifier-rejected']).toBe(1)
})

test.each([
  ['MQTT 5 with a mark of bridges', mqtt5(0x85, Buffer.from('1100000e10', 'hex')), 'modern'],
  ['level 2', packet.connect({ level: 2, clientId: 'odd' }), 'odd'],
  ['level 6', packet.connect({ level: 6, clientId: 'odd' }), 'odd'],
  ['level 6 that nobody can read', encodeFrame(0x10, str('MQTT'), Buffer.of(6, 0)), null],
  [
    'the name of MQTT 3.1 with level 5, and no client id where 5 has it',
    encodeFrame(0x10, str('MQIsdp'), Buffer.of(5, 2, 0, 10), str('odd')),
    null,
  ],
  [
    'the same with properties that are none',
    encodeFrame(0x10, str('MQIsdp'), Buffer.of(5, 2, 0, 10), Buffer.of(1, 0xff), str('odd')),
    null,
  ],
])(
  '%s is refused with the reason code of MQTT 5, its client id in the log',
  async (_name, bytes, clientId) => {
    const rig = await startRig()
    const client = await RawMqtt.open(rig.port)
    client.send(bytes)
    await client.closed()
    expect(client.receivedBytes).toBe(5)
    expect(client.inbox.map((frame) => frame.bytes.toString('hex'))).toEqual(['2003008400'])
    expect(rig.broker.stats.connectionsRefused['protocol-version']).toBe(1)
    expect(rig.eventsOf('broker.client-refused')).toMatchObject([
      { reason: 'protocol-version', clientId },
    ])
  },
)
