/** Properties of MQTT 5 on their way to the streams that name them, and what they take (I6). */
import { afterEach, expect, test } from 'vitest'
import type { MessageProperties } from '../../../gateway/ports/appender.ts'
import { packet, RawMqtt } from '../../support/raw-mqtt.ts'
import { eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const STREAMS = [
  { name: 'telemetry', topics: ['t/#', 'both/#'] },
  { name: 'named', topics: ['n/#', 'both/#'], wantsProperties: true },
]

const properties = {
  payloadFormatIndicator: 1,
  messageExpiryInterval: 60,
  contentType: 'text/plain',
  responseTopic: 'replies/7',
  correlationData: Buffer.of(0, 255),
  topicAlias: 1,
  userProperties: [
    ['b', '1'],
    ['a', 'é'],
    ['b', ''],
  ],
} as const

/** What the spool gets of those. */
const EXPECTED: MessageProperties = {
  expirySeconds: 60,
  payloadFormat: 1,
  contentType: 'text/plain',
  responseTopic: 'replies/7',
  correlationData: Buffer.of(0, 255),
  userProperties: properties.userProperties,
}

async function device(rig: Rig, fields: object = {}): Promise<RawMqtt> {
  return await RawMqtt.connect(rig.port, { level: 5, clientId: 'd', ...fields })
}

const startNaming = async (config: object = {}): Promise<Rig> =>
  await startRig(config, undefined, {}, STREAMS)

test('they come with the message at every QoS, through an alias, and only to who names them', async () => {
  const rig = await startNaming()
  const client = await device(rig)
  client.send(
    packet.publish('both/1', '"x"', { properties }),
    packet.publish('', '"y"', { qos: 1, id: 1, properties }),
    packet.publish('', '"z"', { qos: 2, id: 2, properties }),
    packet.publish('both/2', 'bare', { qos: 1, id: 3, properties: {} }),
    packet.publish('t/1', 'elsewhere', { qos: 1, id: 4, properties: { contentType: 'x' } }),
  )
  await client.take(4)
  const records = rig.appender.records.filter(({ stream }) => stream === 'named')
  expect(records.map(({ topic, payload, properties: got }) => [topic, payload, got])).toEqual([
    ['both/1', '"x"', EXPECTED],
    ['both/1', '"y"', EXPECTED],
    ['both/1', '"z"', EXPECTED],
    ['both/2', 'bare', undefined],
  ])
  for (const record of rig.appender.records)
    if (record.stream === 'telemetry') expect(record).not.toHaveProperty('properties')
})

test('they come with a message that had to wait, and with a will', async () => {
  const rig = await startNaming()
  rig.appender.setRoom('named', 0)
  const { topicAlias: _, ...ofWill } = properties
  const client = await device(rig, {
    will: { topic: 'n/will', payload: 'gone', properties: ofWill },
  })
  client.send(packet.publish('n/1', 'x', { qos: 1, id: 1, properties }))
  await eventually(() => rig.broker.stats.waitingMessages === 1, 'it waits')
  rig.appender.setRoom('named', 10)
  await client.acks(1)
  client.cut()
  await eventually(() => rig.appender.records.length === 2, 'the will is stored')
  expect(rig.appender.records).toMatchObject([
    { topic: 'n/1', properties: EXPECTED },
    { topic: 'n/will', will: true, properties: EXPECTED },
  ])
})

test('a message of 3.1.1 behind one of 5 has none', async () => {
  const rig = await startNaming()
  const modern = await device(rig)
  const old = await RawMqtt.connect(rig.port, { clientId: 'old' })
  modern.send(packet.publish('n/1', 'x', { qos: 1, id: 1, properties }))
  await modern.acks(1)
  old.send(packet.publish('n/1', 'y', { qos: 1, id: 1 }))
  await old.acks(1)
  expect(rig.appender.records.map((record) => record.properties)).toEqual([EXPECTED, undefined])
})

test('I6: they count against the bounds of what is unacknowledged and of what waits', async () => {
  const rig = await startNaming({ maxUnackedBytes: 100_000 })
  const { stats } = rig.broker
  rig.appender.setRoom('telemetry', 0)
  const client = await device(rig)
  const heavy = { userProperties: [['k', 'v'.repeat(60_000)]] as const }
  client.send(packet.publish('t/1', 'x', { qos: 1, id: 1, properties: heavy }))
  await eventually(() => stats.waitingMessages === 1, 'it waits')
  expect(stats.waitingBytes).toBeGreaterThan(60_000)
  expect(stats.unackedBytes).toBe(stats.waitingBytes)
  client.send(packet.publish('t/1', 'y', { qos: 1, id: 2, properties: heavy }))
  await client.roundTrip()
  expect(stats.waitingMessages, 'the second one is held back').toBe(1)
  rig.appender.setRoom('telemetry', 10)
  await client.acks(2)
  expect(stats).toMatchObject({ waitingBytes: 0, unackedBytes: 0, unackedMessages: 0 })
})

test('I6: they count against the bounds of retained messages', async () => {
  const rig = await startNaming({ maxRetainedMessageBytes: 2_000 })
  const client = await device(rig)
  const retain = (id: number, length: number): Buffer => {
    const userProperties = [['k', 'v'.repeat(length)]] as const
    return packet.publish(`t/${id}`, 'x', {
      qos: 1,
      id,
      retain: true,
      properties: { userProperties },
    })
  }
  client.send(retain(1, 1_000), retain(2, 3_000))
  await client.acks(2)
  expect(rig.broker.counts.kept).toMatchObject({ retainedMessages: 1, retainedRefused: 1 })
  expect(rig.broker.counts.kept.retainedBytes).toBeGreaterThan(1_000)
})
