/** MQTT 5 at the gate, in the large: what a connection is granted, told and refused. */
import mqtt from 'mqtt'
import { afterEach, describe, expect, test } from 'vitest'
import { readPublish5 } from '../../support/mqtt-answers.ts'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const { PUBACK, PUBCOMP, PUBREC, SUBACK, UNSUBACK } = TYPE

type Rig = Awaited<ReturnType<typeof startRig>>

async function open(rig: Rig, fields: Parameters<typeof packet.connect>[0] = {}) {
  const client = await RawMqtt.open(rig.port, 5)
  client.send(packet.connect({ level: 5, clientId: 'five', ...fields }))
  return { client, connack: await client.next(TYPE.CONNACK) }
}

const publish = (id: number, topic = 't/1', fields: object = {}): Buffer =>
  packet.publish(topic, `m${id}`, { qos: 1, id, properties: {}, ...fields })

test('success is four bytes, at QoS 1 and 2', async () => {
  const rig = await startRig()
  const { client } = await open(rig)
  client.send(publish(1), publish(2, 't/1', { qos: 2 }))
  expect((await client.next(PUBACK)).bytes.toString('hex')).toBe('40020001')
  expect((await client.next(PUBREC)).bytes.toString('hex')).toBe('50020002')
  client.send(packet.pubrel(2))
  expect((await client.next(PUBCOMP)).bytes.toString('hex')).toBe('70020002')
  expect(rig.appender.payloads('telemetry')).toEqual(['m1', 'm2'])
})

test('what nothing takes is acknowledged with 0x10', async () => {
  const rig = await startRig()
  const { client } = await open(rig)
  client.send(publish(1, 'nowhere/x'), publish(2, '$odd/x'))
  expect((await client.next(PUBACK)).bytes.toString('hex')).toBe('4003000110')
  expect((await client.next(PUBACK)).bytes.toString('hex')).toBe('4003000210')
})

test('[MQTT-4.3.3-7]: PUBREL of an unknown id is answered with 0x92', async () => {
  const rig = await startRig()
  const { client } = await open(rig)
  client.send(packet.pubrel(9))
  expect((await client.next(PUBCOMP)).bytes.toString('hex')).toBe('7003000992')
  expect(rig.broker.stats.reasonCodes.sent).toEqual({ 0x92: 1 })
})

describe('mqtt.refusals', () => {
  const authenticate = async () => ({
    ok: true as const,
    principal: {
      user: null,
      version: 0,
      mayPublish: (topic: string) => topic !== 't/forbidden',
      maySubscribe: () => true,
      mayReceive: () => true,
      mayReceiveAll: () => true,
    },
  })

  test('close: a forbidden topic ends the connection, with its reason', async () => {
    const rig = await startRig({}, undefined, { authenticate })
    const { client } = await open(rig)
    client.send(publish(1, 't/forbidden'))
    const goodbye = await client.next(TYPE.DISCONNECT)
    expect(goodbye.body[0]).toBe(0x87)
    await client.closed()
    expect(rig.appender.records).toEqual([])
  })

  test('code: it gets 0x87, what is forbidden at QoS 0 is dropped, and the rest goes on', async () => {
    const rig = await startRig({ refusals: 'code', unrouted: 'refuse' }, undefined, {
      authenticate,
    })
    const { client } = await open(rig)
    client.send(
      publish(1, 't/forbidden'),
      publish(2, 't/forbidden', { qos: 2 }),
      packet.publish('t/forbidden', 'x', { properties: {} }),
      publish(3, 'nowhere'),
      publish(4),
    )
    expect([...(await client.next(PUBACK)).body.subarray(0, 3)]).toEqual([0, 1, 0x87])
    expect([...(await client.next(PUBREC)).body.subarray(0, 3)]).toEqual([0, 2, 0x87])
    expect([...(await client.next(PUBACK)).body.subarray(0, 3)]).toEqual([0, 3, 0x90])
    expect((await client.next(PUBACK)).bytes.toString('hex')).toBe('40020004')
    expect(rig.broker.stats.messagesRefused).toEqual({ 'forbidden-topic': 3, unrouted: 1 })
    expect(rig.broker.stats.openPacketIds).toBe(0)
  })
})

test('Receive Maximum is granted, and one message beyond it ends the connection with 0x93', async () => {
  const rig = await startRig({ maxUnackedMessagesTotal: 120 })
  const { client } = await open(rig)
  expect(rig.broker.stats.grantedReceiveMaximum).toBe(12)
  rig.appender.hold()
  client.send(...Array.from({ length: 12 }, (_, i) => publish(i + 1)))
  await client.roundTrip()
  client.send(publish(13))
  expect((await client.next(TYPE.DISCONNECT)).body[0]).toBe(0x93)
  await client.closed()
  await eventually(() => rig.broker.stats.grantedReceiveMaximum === 0, 'the grant is given back')
  expect(rig.broker.stats.connectionsClosed['receive-maximum']).toBe(1)
})

test('a topic alias stands for its topic until the connection ends; another one is 0x94', async () => {
  const rig = await startRig()
  const { client } = await open(rig)
  const aliased = (topic: string, id: number, topicAlias: number): Buffer =>
    packet.publish(topic, `m${id}`, { qos: 2, id, properties: { topicAlias } })
  client.send(aliased('t/1', 1, 20), aliased('', 2, 20), aliased('t/2', 3, 20), aliased('', 4, 20))
  for (let n = 0; n < 4; n += 1) await client.next(PUBREC)
  expect(rig.appender.records.map(({ topic }) => topic)).toEqual(['t/1', 't/1', 't/2', 't/2'])
  client.send(aliased('', 5, 21))
  expect((await client.next(TYPE.DISCONNECT)).body[0]).toBe(0x94)
})

test('a session outlives its connection as long as it asks, and DISCONNECT may end it', async () => {
  const rig = await startRig({}, undefined, {})
  const fields = { clean: false, properties: { sessionExpiryInterval: 3600 } }
  const first = await open(rig, fields)
  first.client.send(packet.subscribe(1, [['live/#', 1]], {}))
  await first.client.next(SUBACK)
  first.client.send(packet.disconnect())
  await first.client.closed()
  const again = await open(rig, fields)
  expect(again.connack.body[0]).toBe(1)
  again.client.send(packet.disconnect({ code: 0, properties: { sessionExpiryInterval: 0 } }))
  await again.client.closed()
  await eventually(() => rig.broker.stats.sessions === 0, 'the session is over')
  expect((await open(rig, fields)).connack.body[0]).toBe(0)
})

test('a takeover, and a stop, are told to the client', async () => {
  const rig = await startRig()
  const first = await open(rig)
  const second = await open(rig)
  expect((await first.client.next(TYPE.DISCONNECT)).body[0]).toBe(0x8e)
  await rig.stop()
  expect((await second.client.next(TYPE.DISCONNECT)).body[0]).toBe(0x8b)
})

test('a will waits for its delay, goes with a session that resumes, and is due when that ends', async () => {
  const rig = await startRig()
  const will = { topic: 't/will', payload: 'gone', properties: { willDelayInterval: 60 } }
  const stored = { will, properties: { sessionExpiryInterval: 3600 } }
  const first = await open(rig, stored)
  first.client.cut()
  await eventually(() => rig.broker.connections() === 0, 'it is gone')
  const again = await open(rig, { ...stored, clean: false })
  again.client.cut()
  await eventually(() => rig.broker.connections() === 0, 'it is gone again')
  expect(rig.appender.records).toEqual([])
  await open(rig, { clean: true })
  await eventually(() => rig.appender.records.length === 1, 'the session ended')
  expect(rig.appender.records[0]).toMatchObject({ topic: 't/will', payload: 'gone', will: true })
})

describe('local subscribers', () => {
  test('properties go on unaltered, with the identifiers of the subscriptions and the rest of the expiry', async () => {
    const rig = await startRig()
    const { client } = await open(rig, { clientId: 'hmi' })
    client.send(packet.subscribe(1, [['live/#', 1]], { subscriptionIdentifiers: [7] }))
    client.send(packet.subscribe(2, [['live/+', 0]], { subscriptionIdentifiers: [300] }))
    await client.take(2)
    const device = await open(rig)
    const properties = {
      contentType: 'text/plain',
      responseTopic: 'answers/x',
      correlationData: Buffer.of(1, 2),
      messageExpiryInterval: 60,
      userProperties: [
        ['b', '1'],
        ['a', '2'],
        ['b', '3'],
      ] as [string, string][],
    }
    device.client.send(publish(1, 'live/x', { properties }))
    const { topic, payload, properties: got } = readPublish5(await client.next(TYPE.PUBLISH))
    expect([topic, String(payload)]).toEqual(['live/x', 'm1'])
    expect(got).toMatchObject({ ...properties, subscriptionIdentifiers: [7, 300] })
  })

  test('the identifiers come with a copy that is kept for a session, too [MQTT-3.3.4-3]', async () => {
    const rig = await startRig()
    const stored = { clientId: 'hmi', properties: { sessionExpiryInterval: 60 } }
    const { client } = await open(rig, stored)
    client.send(packet.subscribe(1, [['live/+', 0]], { subscriptionIdentifiers: [300] }))
    client.send(packet.subscribe(2, [['live/#', 1]], { subscriptionIdentifiers: [7] }))
    client.send(packet.subscribe(3, [['other/#', 0]], { subscriptionIdentifiers: [9] }))
    await client.take(3)
    const device = await open(rig)
    device.client.send(publish(1, 'live/x', {}))
    const identifiers = async (from: RawMqtt): Promise<unknown> =>
      readPublish5(await from.next(TYPE.PUBLISH)).properties.subscriptionIdentifiers
    expect(await identifiers(client), 'connected').toEqual([7, 300])
    client.cut()
    await eventually(() => rig.broker.connections() === 1, 'it is gone')
    device.client.send(publish(2, 'live/y', {}))
    await device.client.acks(2)
    const again = await open(rig, { ...stored, clean: false })
    expect(await identifiers(again.client), 'again').toEqual([7, 300])
    expect(await identifiers(again.client), 'away').toEqual([7, 300])
  })

  test('UNSUBACK says what was not subscribed, SUBACK why a filter is refused', async () => {
    const rig = await startRig({ sysInterval: null })
    const { client } = await open(rig)
    client.send(packet.unsubscribe(1, ['live/x'], {}))
    expect([...(await client.next(UNSUBACK)).body]).toEqual([0, 1, 0, 0x11])
    client.send(packet.subscribe(2, [['$SYS/#', 0]], {}))
    expect([...(await client.next(SUBACK)).body]).toEqual([0, 2, 0, 0x8f])
  })

  test('a shared subscription gives each message to one member, in turn; what one leaves goes to another', async () => {
    const rig = await startRig()
    const members = await Promise.all(
      ['a', 'b'].map(async (clientId) => {
        const { client } = await open(rig, { clientId })
        client.send(packet.subscribe(1, [['$share/g/live/#', 1]], {}))
        await client.next(SUBACK)
        return client
      }),
    )
    const device = await open(rig)
    for (let id = 1; id <= 6; id += 1) device.client.send(publish(id, 'live/x'))
    const [a, b] = members as [RawMqtt, RawMqtt]
    const [ofA, ofB] = [await a.take(3), await b.take(3)]
    const texts = (frames: typeof ofA) => frames.map((frame) => String(readPublish5(frame).payload))
    expect([...texts(ofA), ...texts(ofB)].toSorted()).toEqual(['m1', 'm2', 'm3', 'm4', 'm5', 'm6'])
    for (const frame of ofB) b.send(packet.ack(PUBACK, readPublish5(frame).id))
    await b.roundTrip()
    a.cut()
    expect(texts(await b.take(3)).toSorted()).toEqual(texts(ofA).toSorted())
  })
})

test('mqtt.js at level 5 publishes, subscribes and gets what it sent', async () => {
  const rig = await startRig()
  const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${rig.port}`, {
    protocolVersion: 5,
    properties: { sessionExpiryInterval: 60, receiveMaximum: 5 },
  })
  const came: string[] = []
  client.on('message', (_topic, payload, { properties }) =>
    came.push(`${String(payload)} ${String(properties?.userProperties?.['unit'])}`),
  )
  await client.subscribeAsync('live/#', { qos: 2 })
  for (let n = 0; n < 40; n += 1) {
    const properties = { userProperties: { unit: 'C' } }
    await client.publishAsync('live/x', `${n}`, { qos: (n % 3) as 0 | 1 | 2, properties })
  }
  await eventually(() => came.length === 40, 'all came')
  expect(came).toEqual(Array.from({ length: 40 }, (_, n) => `${n} C`))
  await client.endAsync()
})
