/**
 * Retained messages between their PUBLISH and their commit [MQTT-3.3.1-6]: whoever subscribes
 * meanwhile gets the newest one, once, as soon as it is durable; SUBACK and everybody else do not
 * wait for it.
 */
import { afterEach, expect, test, vi } from 'vitest'
import { packet, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(async () => {
  vi.useRealTimers()
  await stopRigs()
})

async function seen(client: RawMqtt): Promise<string[]> {
  await client.roundTrip()
  const frames = client.inbox.splice(0)
  return frames.map(
    (frame) => (frame.flags & 1 ? 'retained ' : 'live ') + readPublish(frame).payload,
  )
}

/** Publishes and waits until the gateway has taken it; its commit is held. */
async function say(device: RawMqtt, topic: string, payload: string, retain = true): Promise<void> {
  device.send(packet.publish(topic, payload, { retain }))
  await device.roundTrip()
}

async function subscribed(client: RawMqtt, filter: string, qos = 0): Promise<void> {
  client.send(packet.subscribe(1, [[filter, qos]]))
  await client.next(TYPE.SUBACK)
}

/** Until copies are through: one that comes after them is there. */
async function settled(rig: Rig, ...clients: RawMqtt[]): Promise<void> {
  await eventually(() => rig.broker.stats.subscriberBytes === 0, 'no copy waits')
  for (const client of clients) await client.roundTrip()
}

test('PUBLISH and SUBSCRIBE in one segment: SUBACK, then the retained message', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  client.send(packet.publish('ret/a0', 'v', { retain: true }), packet.subscribe(6, [['ret/a0', 1]]))
  await client.next(TYPE.SUBACK)
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  rig.appender.release()
  expect(readPublish(await client.next(TYPE.PUBLISH))).toMatchObject({
    topic: 'ret/a0',
    payload: 'v',
  })
  expect(await seen(client)).toEqual([])
})

test.each(['t/1', 'state/1'])(
  'a newer value that waits for its commit comes instead of the old one, once (%s)',
  async (topic) => {
    const rig = await startRig()
    const device = await RawMqtt.connect(rig.port)
    const before = await RawMqtt.connect(rig.port)
    await subscribed(before, '#')
    await say(device, topic, 'old')
    expect(readPublish(await before.next(TYPE.PUBLISH)).payload).toBe('old')
    rig.appender.hold()
    await say(device, topic, 'newer')
    const after = await RawMqtt.connect(rig.port)
    await subscribed(after, '#')
    await say(device, topic, 'newest')
    expect([await seen(before), await seen(after)]).toEqual([[], []])
    rig.appender.release()
    await after.until(() => after.inbox.length === 2)
    await settled(rig, before)
    expect(await seen(after)).toEqual(['retained newer', 'live newest'])
    expect(await seen(before)).toEqual(['live newer', 'live newest'])
  },
)

test('nobody listened before: each subscriber gets what stood when it came, and what came behind', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  const clients: RawMqtt[] = []
  for (let i = 0; i < 4; i += 1) {
    await say(device, 'state/1', `v${i}`)
    const client = await RawMqtt.connect(rig.port)
    await subscribed(client, 'state/+', i % 3)
    clients.push(client)
  }
  await say(device, 'state/1', 'not retained', false)
  rig.appender.release()
  for (const [i, client] of clients.entries()) {
    await client.until(() => client.inbox.length === 5 - i)
    const later = [1, 2, 3].filter((n) => n > i).map((n) => `live v${n}`)
    expect(await seen(client)).toEqual([`retained v${i}`, ...later, 'live not retained'])
  }
})

test('a live copy that needs no commit stays behind the retained message before it', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  await say(device, 'state/1', 'on')
  const client = await RawMqtt.connect(rig.port)
  await subscribed(client, 'state/1')
  await say(device, 'state/1', 'off', false)
  expect(await seen(client)).toEqual([])
  rig.appender.release()
  await client.until(() => client.inbox.length === 2)
  expect(await seen(client)).toEqual(['retained on', 'live off'])
})

test('a value that was deleted and is not committed yet is not sent', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port)
  await say(device, 'state/1', 'on')
  rig.appender.hold()
  await say(device, 'state/1', '')
  const client = await RawMqtt.connect(rig.port)
  await subscribed(client, 'state/1')
  rig.appender.release()
  await say(device, 'state/1', 'next', false)
  await client.until(() => client.inbox.length > 0)
  expect(await seen(client)).toEqual(['live next'])
})

test('a commit that takes longer than 5 s: the durable value, and live copies go on', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port)
  await say(device, 'state/1', 'old')
  rig.appender.hold()
  await say(device, 'state/1', 'newer')
  const client = await RawMqtt.connect(rig.port)
  await subscribed(client, 'state/1')
  await say(device, 'state/1', 'live', false)
  expect(await seen(client)).toEqual([])
  vi.advanceTimersByTime(4_999)
  expect(await seen(client)).toEqual([])
  vi.advanceTimersByTime(1)
  vi.useRealTimers()
  await client.until(() => client.inbox.length === 2)
  expect(await seen(client)).toEqual(['retained old', 'live live'])
  rig.appender.release()
  await settled(rig, client)
  expect(await seen(client)).toEqual([])
})

test('a large set of retained messages is complete, and no live copy comes before them', async () => {
  const rig = await startRig({ maxSubscriberMessages: 40 })
  const device = await RawMqtt.connect(rig.port)
  const topics = Array.from({ length: 300 }, (_, i) => `state/${i}`)
  device.send(...topics.map((topic) => packet.publish(topic, 'old', { retain: true })))
  await device.roundTrip()
  await eventually(() => rig.broker.counts.kept.retainedMessages === 300, 'all are kept')
  const client = await RawMqtt.connect(rig.port)
  client.send(packet.subscribe(1, [['state/#', 1]]))
  await client.next(TYPE.SUBACK)
  device.send(...topics.slice(0, 20).map((topic) => packet.publish(topic, 'new')))
  const got = new Map<string, string[]>()
  for (let count = 0; count < 320; count += 1) {
    const frame = await client.next(TYPE.PUBLISH)
    const { topic, payload, qos, id } = readPublish(frame)
    if (qos > 0) client.send(packet.ack(TYPE.PUBACK, id))
    got.set(topic, [...(got.get(topic) ?? []), payload])
  }
  expect(got.size).toBe(300)
  for (const [i, topic] of topics.entries())
    expect(got.get(topic)).toEqual(i < 20 ? ['old', 'new'] : ['old'])
})

test('a retained message at QoS 2 does not end the connection of a persistent session', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port)
  await say(device, 'state/1', 'kept')
  const session = await RawMqtt.connect(rig.port, { clientId: 'hmi', clean: false })
  device.send(packet.publish('state/2', 'kept', { qos: 2, id: 1, retain: true }))
  await device.next(TYPE.PUBREC)
  await subscribed(session, 'state/+', 2)
  const { id, qos } = readPublish((await session.take(2)).at(-1)!)
  expect(qos).toBe(2)
  session.send(packet.ack(TYPE.PUBREC, id))
  await session.next(TYPE.PUBREL)
  session.send(packet.ack(TYPE.PUBCOMP, id))
  await say(device, 'state/3', 'live', false)
  expect(readPublish(await session.next(TYPE.PUBLISH)).payload).toBe('live')
})
