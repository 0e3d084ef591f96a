/** What a device of MQTT 5 is answered, one test for each row of the table event -> answer. */
import { afterEach, describe, expect, test } from 'vitest'
import type { Authenticate } from '../../../gateway/broker/auth/authenticator.ts'
import type { MqttConfig } from '../../../gateway/broker/config.ts'
import { readAck, readDisconnect, reasonText } from '../../support/mqtt-answers.ts'
import {
  type ConnectFields,
  encodeFrame,
  type PublishFields,
  packet,
  RawMqtt,
  TYPE,
} from '../../support/raw-mqtt.ts'
import { eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const LASTING = { sessionExpiryInterval: 60 }

async function device(
  rig: Rig,
  fields: ConnectFields = {},
): Promise<Awaited<ReturnType<typeof RawMqtt.connect>>> {
  return await RawMqtt.connect(rig.port, { level: 5, clientId: 'd', ...fields })
}

const publish = (topic: string, payload: string | Buffer, fields: PublishFields = {}): Buffer =>
  packet.publish(topic, payload, { properties: {}, ...fields })

const nextAck = async (client: RawMqtt): Promise<ReturnType<typeof readAck>> =>
  readAck(await client.next(), 5)

/** The code of the DISCONNECT with which the gateway ends the connection. */
async function endOf(client: RawMqtt): Promise<string> {
  const { code } = readDisconnect(await client.next(TYPE.DISCONNECT))
  await client.closed()
  expect(client.inbox, 'nothing behind DISCONNECT').toEqual([])
  return reasonText(code)
}

/** Topics with `forbidden` may not be published to. */
const authenticate: Authenticate = async () =>
  Promise.resolve({
    ok: true,
    principal: {
      user: null,
      version: 1,
      mayPublish: (topic) => !topic.includes('forbidden'),
      maySubscribe: () => true,
      mayReceiveAll: () => true,
      mayReceive: () => true,
    },
  })

const guarded = async (config: Partial<MqttConfig> = {}): Promise<Rig> =>
  await startRig(config, undefined, { authenticate })

describe('a message', () => {
  test('that is stored: four bytes, not before its commit is durable (I1)', async () => {
    const rig = await startRig()
    const client = await device(rig)
    rig.appender.hold()
    client.send(publish('t/1', 'a', { qos: 1, id: 1 }), publish('t/1', 'b', { qos: 2, id: 2 }))
    await client.roundTrip()
    expect(client.inbox).toEqual([])
    rig.appender.release()
    const frames = await client.take(2)
    expect(frames.map(({ bytes }) => bytes.toString('hex'))).toEqual(['40020001', '50020002'])
  })

  test('that no stream and no subscriber takes: 0x10, only then', async () => {
    const rig = await startRig()
    const client = await device(rig)
    client.send(publish('nowhere', 'x', { qos: 1, id: 1 }), publish('t/1', 'x', { qos: 1, id: 2 }))
    expect(await nextAck(client)).toMatchObject({ id: 1, code: 0x10 })
    expect(await nextAck(client)).toMatchObject({ id: 2, code: 0 })
    client.send(publish('nowhere', 'x', { qos: 2, id: 3 }))
    expect(await nextAck(client)).toMatchObject({ id: 3, code: 0x10 })
    client.send(packet.pubrel(3))
    expect(await nextAck(client)).toMatchObject({ id: 3, code: 0 })
  })

  test('under $ that no stream names: 0x10', async () => {
    const rig = await startRig()
    const client = await device(rig)
    client.send(publish('$SYS/x', 'x', { qos: 1, id: 1 }))
    expect(await nextAck(client)).toMatchObject({ code: 0x10 })
    expect(rig.broker.stats.unwanted['dollar-topic']).toBe(1)
  })

  test.each([
    ['t/forbidden', {}, '0x87'],
    ['nowhere', { unrouted: 'refuse' }, '0x90'],
  ] as const)(
    'on %s with refusals: close: DISCONNECT, nothing acknowledged',
    async (topic, config, code) => {
      const rig = await guarded(config)
      const client = await device(rig)
      client.send(publish(topic, 'x', { qos: 1, id: 1 }))
      expect(await endOf(client)).toBe(code)
    },
  )

  test.each([
    ['t/forbidden', {}, 0x87],
    ['nowhere', { unrouted: 'refuse' }, 0x90],
  ] as const)(
    'on %s with refusals: code: a final code, and the connection goes on',
    async (topic, config, code) => {
      const rig = await guarded({ ...config, refusals: 'code' })
      const client = await device(rig)
      client.send(
        publish(topic, 'x', { qos: 0 }),
        publish(topic, 'x', { qos: 1, id: 1 }),
        publish(topic, 'x', { qos: 2, id: 2 }),
        publish('t/1', 'kept', { qos: 2, id: 2 }),
      )
      for (const [type, id] of [
        [TYPE.PUBACK, 1],
        [TYPE.PUBREC, 2],
      ] as const) {
        const frame = await client.next(type)
        const ack = readAck(frame, 5)
        expect(ack).toMatchObject({ id, code })
        expect(ack.properties.reasonString).toMatch(/\w{3}/)
      }
      // Behind a PUBREC that refuses, the id is free: the same one is a new message [MQTT-4.3.3-9].
      expect(await nextAck(client)).toMatchObject({ id: 2, code: 0 })
      client.send(packet.pubrel(2))
      expect(await nextAck(client)).toMatchObject({ id: 2, code: 0 })
      expect(rig.appender.payloads('telemetry')).toEqual(['kept'])
    },
  )

  test('that is refused has no reason string where none is wanted [MQTT-3.1.2-29]', async () => {
    const rig = await guarded({ refusals: 'code' })
    const client = await device(rig, { properties: { requestProblemInformation: 0 } })
    client.send(publish('t/forbidden', 'x', { qos: 1, id: 1 }))
    expect((await client.next()).bytes.toString('hex')).toBe('4003000187')
  })

  test('that says UTF-8 and is not: 0x99', async () => {
    const rig = await startRig()
    const client = await device(rig)
    const properties = { payloadFormatIndicator: 1 }
    client.send(
      publish('t/1', Buffer.of(0xff), { qos: 1, id: 1, properties }),
      publish('t/1', Buffer.from('é'), { qos: 1, id: 2, properties }),
      publish('t/1', Buffer.of(0xff), { qos: 1, id: 3 }),
    )
    expect(await nextAck(client)).toMatchObject({ id: 1, code: 0x99 })
    expect(await nextAck(client)).toMatchObject({ id: 2, code: 0 })
    expect(await nextAck(client)).toMatchObject({ id: 3, code: 0 })
    expect(rig.appender.payloads('telemetry')).toHaveLength(2)
  })

  test('that has to wait is withheld, and not refused', async () => {
    const rig = await startRig()
    rig.appender.setRoom('telemetry', 0)
    const client = await device(rig)
    client.send(publish('t/1', 'x', { qos: 1, id: 1 }))
    await eventually(() => rig.appender.mustWaits > 0, 'it waits')
    await client.roundTrip()
    expect(client.inbox).toEqual([])
    rig.appender.setRoom('telemetry', 10)
    expect(await nextAck(client)).toMatchObject({ id: 1, code: 0 })
  })
})

describe('PUBREL', () => {
  test('for an unknown id: PUBCOMP 0x92; for a known one 0x00, once', async () => {
    const rig = await startRig()
    const client = await device(rig)
    client.send(packet.pubrel(9))
    expect(await nextAck(client)).toMatchObject({ id: 9, code: 0x92 })
    client.send(publish('t/1', 'x', { qos: 2, id: 9 }))
    await client.acks(1, TYPE.PUBREC)
    client.send(packet.pubrel(9, { code: 0x92, properties: { reasonString: 'lost' } }))
    expect(await nextAck(client)).toMatchObject({ id: 9, code: 0 })
    client.send(packet.pubrel(9))
    expect(await nextAck(client)).toMatchObject({ id: 9, code: 0x92 })
  })
})

describe('Receive Maximum', () => {
  test('holds: one more message than granted is DISCONNECT 0x93 [3.3.4]', async () => {
    const rig = await startRig({ maxUnackedMessages: 10 })
    const client = await device(rig)
    expect(client.granted.receiveMaximum).toBe(10)
    rig.appender.hold()
    for (let id = 1; id <= 10; id += 1) client.send(publish('t/1', 'x', { qos: 1, id }))
    client.send(publish('t/1', 'at QoS 0 there is no bound'))
    await client.roundTrip()
    client.send(publish('t/1', 'x', { qos: 1, id: 11 }))
    expect(await endOf(client)).toBe('0x93')
  })

  test('counts a QoS 2 message until PUBCOMP or a PUBREC that refuses [MQTT-4.9.0-2]', async () => {
    const rig = await guarded({ maxUnackedMessages: 10, refusals: 'code' })
    const client = await device(rig)
    for (let round = 0; round < 3; round += 1) {
      for (let id = 1; id <= 10; id += 1) client.send(publish('t/1', 'x', { qos: 2, id }))
      await client.acks(10, TYPE.PUBREC)
      for (let id = 1; id <= 10; id += 1) client.send(packet.pubrel(id))
      await client.acks(10, TYPE.PUBCOMP)
      for (let id = 1; id <= 10; id += 1) client.send(publish('t/forbidden', 'x', { qos: 2, id }))
      for (const frame of await client.take(10)) expect(readAck(frame, 5).code).toBe(0x87)
    }
    for (let id = 1; id <= 10; id += 1) client.send(publish('t/1', 'x', { qos: 2, id }))
    await client.acks(10, TYPE.PUBREC)
    client.send(publish('t/1', 'x', { qos: 2, id: 11 }))
    expect(await endOf(client)).toBe('0x93')
  })

  test('a PUBREL that is sent again gives quota back also for a PUBLISH behind it [4.9]', async () => {
    const rig = await startRig({ maxUnackedMessages: 20, maxUnackedMessagesTotal: 100 })
    const client = await device(rig)
    rig.appender.hold()
    client.send(packet.pubrel(77))
    await client.roundTrip()
    // The client sends this before it reads the PUBCOMP, which then counts.
    client.send(publish('t/1', 'x', { qos: 1, id: 1 }))
    await client.next(TYPE.PUBCOMP)
    for (let id = 2; id <= 11; id += 1) client.send(publish('t/1', 'x', { qos: 1, id }))
    await client.roundTrip()
    client.send(publish('t/1', 'x', { qos: 1, id: 12 }))
    expect(await endOf(client)).toBe('0x93')
  })

  test('a client that stays within it is never closed, whatever is resent after a reconnect', async () => {
    const rig = await startRig({ maxUnackedMessages: 10 })
    const first = await device(rig, { properties: LASTING })
    for (let id = 1; id <= 10; id += 1) first.send(publish('t/1', `${id}`, { qos: 2, id }))
    await first.acks(10, TYPE.PUBREC)
    first.cut()
    const again = await device(rig, { clean: false, properties: LASTING })
    for (let id = 1; id <= 10; id += 1)
      again.send(publish('t/1', `${id}`, { qos: 2, id, dup: true }))
    await again.acks(10, TYPE.PUBREC)
    for (let id = 1; id <= 10; id += 1) again.send(packet.pubrel(id))
    await again.acks(10, TYPE.PUBCOMP)
    for (let id = 11; id <= 20; id += 1) again.send(publish('t/1', `${id}`, { qos: 2, id }))
    await again.acks(10, TYPE.PUBREC)
    expect(rig.appender.payloads('telemetry')).toHaveLength(20)
  })
})

describe('a topic alias', () => {
  const aliased = (topic: string, topicAlias: number, payload = 'x'): Buffer =>
    publish(topic, payload, { properties: { topicAlias } })

  test('stands for its topic, can be given another, and ends with the connection', async () => {
    const rig = await startRig()
    const client = await device(rig, { properties: LASTING })
    client.send(aliased('t/1', 20, 'a'), aliased('', 20, 'b'), aliased('t/2', 20, 'c'))
    client.send(aliased('', 20, 'd'), publish('t/3', 'e', { qos: 1, id: 1 }))
    await client.acks(1)
    expect(rig.appender.records.map(({ topic, payload }) => `${topic} ${payload}`)).toEqual([
      't/1 a',
      't/1 b',
      't/2 c',
      't/2 d',
      't/3 e',
    ])
    client.cut()
    const again = await device(rig, { clean: false, properties: LASTING })
    expect(again.sessionPresent).toBe(true)
    again.send(aliased('', 20))
    expect(await endOf(again)).toBe('0x82')
  })

  test.each([
    ['0 [MQTT-3.3.2-8]', () => aliased('t/1', 0), '0x94'],
    ['above what was granted [MQTT-3.3.2-9]', () => aliased('t/1', 21), '0x94'],
    ['none, and no topic', () => publish('', 'x'), '0x82'],
    ['that was never given a topic', () => aliased('', 3), '0x82'],
  ])('%s', async (_name, bytes, code) => {
    const rig = await startRig()
    const client = await device(rig)
    client.send(bytes())
    expect(await endOf(client)).toBe(code)
  })

  test('is refused at all where none is granted', async () => {
    const rig = await startRig({ topicAliasMaximum: 0 })
    const client = await device(rig)
    expect(client.granted.topicAliasMaximum ?? 0).toBe(0)
    client.send(aliased('t/1', 1))
    expect(await endOf(client)).toBe('0x94')
  })

  test('of a QoS 2 repeat names the same message (I3)', async () => {
    const rig = await startRig()
    const first = await device(rig, { properties: LASTING })
    first.send(publish('t/1', 'once', { qos: 2, id: 5, properties: { topicAlias: 1 } }))
    await first.acks(1, TYPE.PUBREC)
    first.cut()
    const again = await device(rig, { clean: false, properties: LASTING })
    again.send(publish('t/1', 'once', { qos: 2, id: 5, dup: true }))
    await again.acks(1, TYPE.PUBREC)
    expect(rig.appender.payloads('telemetry')).toEqual(['once'])
  })
})

describe('the gateway ends a connection with its reason', () => {
  test.each<readonly [string, Buffer, string]>([
    ['QoS 3 [MQTT-3.3.1-4]', Buffer.from([0x36, 6, 0, 1, 0x74, 0, 1, 0]), '0x81'],
    ['no packet identifier', encodeFrame(0x32, Buffer.from([0, 1, 0x74, 0, 0, 0])), '0x82'],
    ['a topic with a wildcard [MQTT-3.3.2-2]', publish('t/#', 'x'), '0x81'],
    [
      'a topic that is no UTF-8 [MQTT-3.3.2-1]',
      encodeFrame(0x30, Buffer.from([0, 1, 0xff, 0])),
      '0x81',
    ],
    ['a topic with U+0000', encodeFrame(0x30, Buffer.from([0, 1, 0, 0])), '0x81'],
    [
      'a Subscription Identifier from a client [MQTT-3.3.4-6]',
      publish('t/1', 'x', { properties: { subscriptionIdentifiers: [1] } }),
      '0x82',
    ],
    [
      'a response topic with wildcards [MQTT-3.3.2-14]',
      publish('t/1', 'x', { properties: { responseTopic: 'a/+' } }),
      '0x82',
    ],
    [
      'two topic aliases',
      encodeFrame(0x30, Buffer.from('000174 06 230001 230001'.replaceAll(' ', ''), 'hex')),
      '0x82',
    ],
    [
      'a property of another packet',
      encodeFrame(0x30, Buffer.from('000174 03 210001'.replaceAll(' ', ''), 'hex')),
      '0x81',
    ],
    [
      'properties longer than the packet',
      encodeFrame(0x30, Buffer.from('000174 7f'.replaceAll(' ', ''), 'hex')),
      '0x81',
    ],
    ['no property length', encodeFrame(0x30, Buffer.from('000174', 'hex')), '0x81'],
    ['a second CONNECT [MQTT-3.1.0-2]', packet.connect({ level: 5, clientId: 'd' }), '0x82'],
    ['AUTH without a method [MQTT-4.12.0-6]', Buffer.from([0xf0, 0]), '0x82'],
    ['what only servers send', Buffer.from([0xd0, 0]), '0x82'],
    ['reserved flags of PINGREQ [MQTT-2.1.3-1]', Buffer.from([0xc1, 0]), '0x81'],
    ['reserved flags of DISCONNECT [MQTT-3.14.1-1]', Buffer.from([0xe1, 0]), '0x81'],
    ['PINGREQ with a body', Buffer.from([0xc0, 1, 0]), '0x81'],
    ['a remaining length in more bytes than it needs', Buffer.from([0xc0, 0x80, 0]), '0x81'],
    ['PUBREL without its flags [MQTT-3.6.1-1]', Buffer.from([0x60, 2, 0, 1]), '0x81'],
    ['PUBREL with bytes behind its properties', Buffer.from([0x62, 5, 0, 1, 0, 0, 0]), '0x81'],
    ['PUBREL of packet identifier 0', Buffer.from([0x62, 2, 0, 0]), '0x82'],
    ['PUBREL cut off', Buffer.from([0x62, 1, 0]), '0x81'],
    [
      'PUBREL with a property of another packet',
      Buffer.from([0x62, 7, 0, 1, 0, 3, 0x23, 0, 1]),
      '0x81',
    ],
  ])('%s', async (_name, bytes, code) => {
    const rig = await startRig()
    const client = await device(rig)
    client.send(bytes)
    expect(await endOf(client)).toBe(code)
  })

  test('too large: 0x95, as soon as the length is known [MQTT-3.2.2-15]', async () => {
    const rig = await startRig()
    const client = await device(rig)
    client.send(Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]))
    expect(await endOf(client)).toBe('0x95')
  })

  test('taken over: 0x8e [MQTT-3.1.4-3]', async () => {
    const rig = await startRig()
    const former = await device(rig)
    await device(rig)
    expect(await endOf(former)).toBe('0x8e')
  })

  test('nothing in 1.5 times the keepalive: 0x8d [MQTT-3.1.2-22]', async () => {
    let ms = 1_000
    const rig = await startRig({}, undefined, { monotonicMs: () => ms })
    const client = await device(rig, { keepAlive: 1 })
    await client.roundTrip()
    // Below the gap at which the gate takes itself for stopped.
    ms += 1_600
    expect(await endOf(client)).toBe('0x8d')
  })

  test('the gateway stops: 0x8b', async () => {
    const rig = await startRig()
    const client = await device(rig)
    const stopped = rig.stop()
    expect(await endOf(client)).toBe('0x8b')
    await stopped
  })
})

describe('DISCONNECT of a client', () => {
  const will = { topic: 't/will', payload: 'gone', qos: 1 }

  test.each([
    ['0x00, or nothing: no will [MQTT-3.14.4-3]', undefined, 0],
    ['0x00 with properties: no will', { code: 0, properties: { reasonString: 'bye' } }, 0],
    ['0x04: with the will [3.14.2.1]', { code: 0x04 }, 1],
    ['0x82: with the will', { code: 0x82 }, 1],
  ] as const)('%s', async (_name, reason, wills) => {
    const rig = await startRig()
    const client = await device(rig, { will })
    client.send(packet.disconnect(reason))
    await client.closed()
    expect(client.inbox).toEqual([])
    await eventually(() => rig.broker.connections() === 0, 'it is gone')
    await eventually(() => rig.broker.stats.willsPublished === wills, 'the will')
    const marker = await device(rig, { clientId: 'marker' })
    marker.send(publish('t/1', 'x', { qos: 1, id: 1 }))
    await marker.acks(1)
    expect(rig.appender.records.filter((record) => record.will)).toHaveLength(wills)
  })
})

test('MQTT 3.1.1 and 5 share client ids, sessions and streams', async () => {
  const rig = await startRig()
  const old = await RawMqtt.connect(rig.port, { clientId: 'd', clean: false })
  old.send(packet.publish('t/1', 'once', { qos: 2, id: 7 }))
  await old.acks(1, TYPE.PUBREC)
  const modern = await device(rig, { clean: false, properties: LASTING })
  await old.closed()
  expect(modern.sessionPresent).toBe(true)
  modern.send(publish('t/1', 'once', { qos: 2, id: 7, dup: true }))
  await modern.acks(1, TYPE.PUBREC)
  modern.send(packet.disconnect())
  await modern.closed()
  const back = await RawMqtt.connect(rig.port, { clientId: 'd', clean: false })
  expect(back.sessionPresent).toBe(true)
  back.send(packet.pubrel(7))
  await back.acks(1, TYPE.PUBCOMP)
  expect(rig.appender.payloads('telemetry')).toEqual(['once'])
})

test('cut off at every byte, no packet is taken for another one, and nobody else notices', async () => {
  const rig = await startRig()
  const honest = await device(rig, { clientId: 'honest' })
  const properties = {
    topicAlias: 1,
    messageExpiryInterval: 5,
    payloadFormatIndicator: 1,
    contentType: 'text',
    correlationData: Buffer.of(1, 2),
    userProperties: [['a', 'b']] as const,
  }
  const whole = publish('t/cut', '', { qos: 1, id: 1, properties })
  for (let length = 2; length < whole.length; length += 1) {
    const client = await device(rig, { clientId: 'cut' })
    client.send(encodeFrame(0x32, whole.subarray(2, length)))
    expect(['0x81', '0x82']).toContain(await endOf(client))
  }
  honest.send(publish('t/1', 'x', { qos: 1, id: 1 }))
  await honest.acks(1)
  expect(rig.appender.records.map(({ topic }) => topic)).toEqual(['t/1'])
})
