/**
 * Local consumers: live readings, retained messages, persistent sessions; and that a slow one harms
 * nobody (I6).
 */
import mqtt from 'mqtt'
import { afterEach, expect, test } from 'vitest'
import { packet, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

async function subscriber(
  port: number,
  filters: readonly (readonly [string, number])[],
  fields: Parameters<typeof RawMqtt.connect>[1] = {},
): Promise<RawMqtt> {
  const client = await RawMqtt.connect(port, fields)
  client.send(packet.subscribe(1, filters))
  await client.next(TYPE.SUBACK)
  return client
}

test('a subscriber gets a reading after its commit, not before', async () => {
  const rig = await startRig()
  const watcher = await subscriber(rig.port, [['t/#', 1]])
  const device = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  device.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
  await device.roundTrip()
  await watcher.roundTrip()
  expect(watcher.inbox).toEqual([])
  rig.appender.release()
  expect(readPublish(await watcher.next(TYPE.PUBLISH))).toMatchObject({
    topic: 't/1',
    payload: 'x',
    qos: 1,
  })
  expect(rig.appender.payloads('telemetry')).toEqual(['x'])
})

test('copies keep the order of arrival across QoS 0, 1 and 2', async () => {
  const rig = await startRig()
  const watcher = await subscriber(rig.port, [['t/#', 2]])
  const device = await RawMqtt.connect(rig.port)
  const sent = Array.from({ length: 300 }, (_, i) => i)
  device.send(
    ...sent.map((i) => packet.publish('t/1', `${i}`, { qos: (i % 3) as 0 | 1 | 2, id: i + 1 })),
  )
  const got: string[] = []
  while (got.length < 300) {
    const frame = await watcher.next()
    if (frame.type === TYPE.PUBREL) watcher.send(packet.ack(0x70, frame.body.readUInt16BE(0)))
    if (frame.type !== TYPE.PUBLISH) continue
    const { payload, qos, id } = readPublish(frame)
    got.push(payload)
    if (qos > 0) watcher.send(packet.ack(qos === 1 ? 0x40 : 0x50, id))
  }
  expect(got).toEqual(sent.map(String))
})

test('a retained message is stored with its record, seen by later subscribers, and survives a restart', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port)
  const { commits } = rig.appender
  rig.appender.hold()
  device.send(packet.publish('t/1', 'kept', { qos: 1, id: 1, retain: true }))
  await device.roundTrip()
  await eventually(() => rig.appender.commits > commits, 'the commit is written')
  rig.appender.release()
  await device.acks(1)
  // One commit held both: the ack covers the retained value.
  const state = rig.appender.crash()
  expect([...state.keyed.retained.keys()]).toEqual(['t/1'])
  expect(rig.appender.records).toHaveLength(1)
  await rig.stop()
  const again = await startRig({}, state)
  expect(again.broker.counts.kept.retainedMessages).toBe(1)
  const watcher = await subscriber(again.port, [['t/+', 0]])
  const frame = await watcher.next(TYPE.PUBLISH)
  expect(readPublish(frame).payload).toBe('kept')
  expect(frame.flags & 1).toBe(1)
})

test('a retained message outside every stream is acknowledged when it is durable', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  device.send(packet.publish('state/1', 'kept', { qos: 1, id: 1, retain: true }))
  await device.roundTrip()
  expect(device.inbox).toEqual([])
  rig.appender.release()
  await device.acks(1)
  expect(rig.appender.crash().keyed.retained.size).toBe(1)
  expect(rig.broker.stats.unrouted.accepted).toBe(0)
})

test('a persistent session gets what was published while it was away, and its subscription survives a restart', async () => {
  const rig = await startRig()
  const session = { clientId: 'hmi', clean: false }
  const first = await subscriber(rig.port, [['live/#', 1]], session)
  await first.end()
  const device = await RawMqtt.connect(rig.port)
  device.send(...[1, 2, 3].map((id) => packet.publish('live/x', `m${id}`, { qos: 1, id })))
  await device.acks(3)
  expect(rig.broker.stats.unrouted.accepted).toBe(0)
  const back = await RawMqtt.connect(rig.port, session)
  expect(back.sessionPresent).toBe(true)
  const copies = await back.take(3)
  expect(copies.map((frame) => readPublish(frame).payload)).toEqual(['m1', 'm2', 'm3'])
  const state = rig.appender.crash()
  await rig.stop()

  const again = await startRig({}, state)
  const restored = await RawMqtt.connect(again.port, session)
  expect(restored.sessionPresent).toBe(true)
  const publisher = await RawMqtt.connect(again.port)
  publisher.send(packet.publish('live/y', 'after', { qos: 1, id: 1 }))
  const again4 = (await restored.take(4)).map((frame) => readPublish(frame).payload)
  expect(again4, 'nothing was acknowledged').toEqual(['m1', 'm2', 'm3', 'after'])
})

test('SUBACK answers every filter: refused ones with 0x80, one that is named twice as if alone each time', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'hmi', clean: false })
  client.send(
    packet.subscribe(7, [
      ['live/a', 0],
      ['live/b', 1],
      ['live/a', 2],
    ]),
  )
  const { body } = await client.next(TYPE.SUBACK)
  expect([...body]).toEqual([0, 7, 0, 1, 2])
})

test('limit of subscriptions per client: 1,000 are granted, one more is answered 0x80', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port)
  for (let from = 0; from < 1_000; from += 100) {
    const filters = Array.from({ length: 100 }, (_, i) => [`f/${from + i}`, 0] as const)
    client.send(packet.subscribe(from + 1, filters))
    const { body } = await client.next(TYPE.SUBACK)
    expect(body.subarray(2).every((granted) => granted === 0)).toBe(true)
  }
  client.send(
    packet.subscribe(2000, [
      ['f/one-more', 0],
      ['f/5', 1],
    ]),
  )
  expect([...(await client.next(TYPE.SUBACK)).body.subarray(2)]).toEqual([0x80, 1])
})

/** Subscribes again; the next frame is its SUBACK. */
async function resubscribe(
  client: RawMqtt,
  filters: readonly (readonly [string, number])[],
): Promise<void> {
  client.send(packet.subscribe(9, filters))
  await client.next(TYPE.SUBACK)
}

test('[MQTT-3.3.5-1]: of overlapping filters there is one copy, at the highest QoS granted, now and after changes', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port)
  const watcher = await RawMqtt.connect(rig.port)
  const copyOf = async (topic: string): Promise<number> => {
    device.send(packet.publish(topic, topic, { qos: 2, id: 1 }), packet.pubrel(1))
    const { qos, id } = readPublish(await watcher.next(TYPE.PUBLISH))
    if (qos === 1) watcher.send(packet.ack(0x40, id))
    if (qos === 2) {
      watcher.send(packet.ack(0x50, id))
      await watcher.next(TYPE.PUBREL)
      watcher.send(packet.ack(0x70, id))
    }
    // One copy and no more.
    await watcher.roundTrip()
    expect(watcher.inbox).toEqual([])
    return qos
  }
  await resubscribe(watcher, [
    ['live/#', 0],
    ['live/a/+', 1],
    ['live/a/x', 2],
    ['live/b/x', 0],
  ])
  expect(await copyOf('live/a/x')).toBe(2)
  expect(await copyOf('live/a/y')).toBe(1)
  expect(await copyOf('live/b/x')).toBe(0)
  await resubscribe(watcher, [['live/a/x', 0]])
  expect(await copyOf('live/a/x')).toBe(1)
  await resubscribe(watcher, [['live/#', 2]])
  expect(await copyOf('live/a/x')).toBe(2)
  expect(await copyOf('live/b/x')).toBe(2)
  await resubscribe(watcher, [['live/b/x', 2]])
  await resubscribe(watcher, [['live/#', 1]])
  expect(await copyOf('live/b/x')).toBe(2)
  watcher.send(packet.unsubscribe(3, ['live/b/x', 'live/a/+', 'live/#']))
  await watcher.next(TYPE.UNSUBACK)
  expect(await copyOf('live/a/x')).toBe(0)
})

test('[MQTT-3.3.5-1]: a persistent session is owed nothing once it has acknowledged the one copy of overlapping filters', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port)
  const session = { clientId: 'watcher', clean: false }
  const filters = [
    ['live/x', 0],
    ['live/#', 1],
  ] as const
  const watcher = await subscriber(rig.port, filters, session)
  device.send(packet.publish('live/x', 'first', { qos: 1, id: 1 }))
  const first = readPublish(await watcher.next(TYPE.PUBLISH))
  expect(first).toMatchObject({ payload: 'first', qos: 1 })
  watcher.send(packet.ack(0x40, first.id))
  await watcher.roundTrip()
  watcher.cut()
  await eventually(() => rig.broker.connections() === 1, 'the watcher is away')
  device.send(packet.publish('live/x', 'second', { qos: 1, id: 2 }))
  await device.acks(2)
  const back = await RawMqtt.connect(rig.port, session)
  expect(back.sessionPresent).toBe(true)
  expect(readPublish(await back.next(TYPE.PUBLISH))).toMatchObject({ payload: 'second', qos: 1 })
  await back.roundTrip()
  expect(back.inbox).toEqual([])
})

test('[MQTT-3.3.5-1]: a session that comes back has what was granted before', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port)
  const session = { clientId: 'watcher', clean: false }
  const filters = [
    ['live/#', 1],
    ['live/x', 0],
  ] as const
  const watcher = await subscriber(rig.port, filters, session)
  watcher.cut()
  await eventually(() => rig.broker.connections() === 1, 'the watcher is away')
  const back = await RawMqtt.connect(rig.port, session)
  for (const topic of ['live/x', 'live/y']) {
    device.send(packet.publish(topic, topic, { qos: 2, id: 1 }), packet.pubrel(1))
    expect(readPublish(await back.next(TYPE.PUBLISH))).toMatchObject({ topic, qos: 1 })
  }
})

test('UNSUBSCRIBE ends deliveries', async () => {
  const rig = await startRig()
  const watcher = await subscriber(rig.port, [['live/#', 0]])
  watcher.send(packet.unsubscribe(2, ['live/#']))
  await watcher.next(TYPE.UNSUBACK)
  const device = await RawMqtt.connect(rig.port)
  device.send(packet.publish('live/x', 'x', { qos: 1, id: 1 }))
  await device.acks(1)
  await watcher.roundTrip()
  expect(watcher.inbox).toEqual([])
  expect(rig.broker.stats.unrouted.accepted).toBe(1)
})

test('I6: a QoS 0 consumer that stops reading harms no device: oldest copies dropped, counted, memory bounded', async () => {
  const rig = await startRig({
    maxSubscriberMessages: 100,
    maxSubscriberBytes: 200_000,
    maxSubscriberBytesTotal: 1_000_000,
  })
  rig.appender.isDiscarding = true
  const stuck = await subscriber(rig.port, [['t/#', 0]], { clientId: 'stuck' })
  const healthy = await subscriber(rig.port, [['t/last', 0]])
  stuck.socket.pause()
  const device = await RawMqtt.connect(rig.port)
  const payload = 'x'.repeat(1000)
  let peak = 0
  for (let round = 0; round < 200; round += 1) {
    device.send(
      ...Array.from({ length: 100 }, (_, i) =>
        packet.publish('t/1', payload, { qos: 1, id: i + 1 }),
      ),
    )
    await device.acks(100)
    peak = Math.max(peak, rig.broker.stats.subscriberBytes)
  }
  expect(rig.broker.stats.localCopies.dropped).toBeGreaterThan(1_000)
  expect(peak).toBeLessThanOrEqual(1_000_000)
  expect(stuck.isClosed).toBe(false)
  device.send(packet.publish('t/last', 'end'))
  expect(readPublish(await healthy.next(TYPE.PUBLISH)).payload).toBe('end')
  expect(rig.eventsOf('broker.copies-dropped').length).toBeGreaterThan(0)
  // It reads again: frames are whole, the newest copies are there.
  stuck.socket.resume()
  await stuck.until(() => stuck.inbox.some((frame) => readPublish(frame).payload === 'end'), 20_000)
  expect(stuck.inbox.every(({ type }) => type === TYPE.PUBLISH)).toBe(true)
}, 60_000)

test('I6: a consumer that blocks QoS 1 copies is disconnected; devices and other consumers go on', async () => {
  const rig = await startRig({ maxSubscriberMessages: 100, maxSubscriberBytesTotal: 300_000 })
  rig.appender.isDiscarding = true
  // It reads, and never acknowledges.
  const stuck = await subscriber(rig.port, [['t/#', 1]], { clientId: 'stuck' })
  const device = await RawMqtt.connect(rig.port)
  for (let round = 0; round < 50; round += 1) {
    device.send(
      ...Array.from({ length: 100 }, (_, i) =>
        packet.publish('t/1', 'x'.repeat(100), { qos: 1, id: i + 1 }),
      ),
    )
    await device.acks(100)
  }
  await stuck.closed(15_000)
  expect(rig.broker.stats.connectionsClosed['slow-subscriber']).toBe(1)
  await eventually(() => rig.broker.stats.subscriberBytes === 0, 'its copies are gone')
  const healthy = await subscriber(rig.port, [['t/#', 1]])
  device.send(packet.publish('t/1', 'after', { qos: 1, id: 1 }))
  expect(readPublish(await healthy.next(TYPE.PUBLISH)).payload).toBe('after')
}, 60_000)

test('a burst of one commit does not look like a slow consumer: every QoS 1 copy arrives', async () => {
  const rig = await startRig({ maxSubscriberMessages: 100 })
  const watcher = await mqtt.connectAsync(`mqtt://127.0.0.1:${rig.port}`, { clientId: 'hmi' })
  const got: string[] = []
  watcher.on('message', (_topic, payload) => got.push(payload.toString()))
  await watcher.subscribeAsync('t/#', { qos: 1 })
  const device = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  device.send(
    ...Array.from({ length: 1_000 }, (_, i) =>
      packet.publish('t/1', `${i}`, { qos: 1, id: i + 1 }),
    ),
  )
  await eventually(() => rig.broker.stats.unackedMessages === 1_000, 'all are in one commit')
  rig.appender.release()
  await eventually(() => got.length === 1_000, 'all copies arrive')
  expect(got).toEqual(Array.from({ length: 1_000 }, (_, i) => `${i}`))
  expect(rig.broker.stats.localCopies).toEqual({ delivered: 1_000, dropped: 0 })
  await watcher.endAsync()
}, 60_000)

test('outbound frames are whole with a slow reader under load: acks and copies never cut into each other', async () => {
  const rig = await startRig()
  const both = await subscriber(rig.port, [['t/#', 0]], { clientId: 'both' })
  let acks = 0
  const payload = 'x'.repeat(3_000)
  // It publishes and subscribes, and reads in fits; RawMqtt throws on the first byte that begins no
  // server frame.
  const fits = setInterval(() => {
    if (both.socket.isPaused()) both.socket.resume()
    else both.socket.pause()
  }, 5)
  for (let round = 0; round < 100; round += 1) {
    both.send(
      ...Array.from({ length: 20 }, (_, i) =>
        packet.publish('t/1', payload, { qos: 1, id: i + 1 }),
      ),
    )
    both.send(packet.pingreq())
    await both.until(() => both.inbox.some(({ type }) => type === TYPE.PINGRESP))
    await both.until(() => both.inbox.filter(({ type }) => type === TYPE.PUBACK).length >= 20)
    acks += both.inbox.filter(({ type }) => type === TYPE.PUBACK).length
    both.inbox.length = 0
  }
  clearInterval(fits)
  both.socket.resume()
  await both.roundTrip()
  expect(acks).toBe(2_000)
  const { delivered, dropped } = rig.broker.stats.localCopies
  await eventually(
    () => rig.broker.stats.localCopies.delivered + rig.broker.stats.localCopies.dropped === 2_000,
    `all copies: ${delivered} and ${dropped}`,
  )
}, 60_000)

test('mqtt.js: publish and subscribe at QoS 0, 1 and 2, retained, will', async () => {
  const rig = await startRig()
  const watcher = await mqtt.connectAsync(`mqtt://127.0.0.1:${rig.port}`, {
    clientId: 'w',
    clean: false,
  })
  const got: [string, string, number, boolean][] = []
  watcher.on('message', (topic, payload, { qos, retain }) =>
    got.push([topic, payload.toString(), qos, retain]),
  )
  await watcher.subscribeAsync('#', { qos: 2 })
  const device = await mqtt.connectAsync(`mqtt://127.0.0.1:${rig.port}`, {
    clientId: 'd',
    will: { topic: 't/will', payload: Buffer.from('gone'), qos: 1, retain: false },
  })
  await device.publishAsync('t/0', 'a', { qos: 0 })
  await device.publishAsync('t/1', 'b', { qos: 1, retain: true })
  await device.publishAsync('t/2', 'c', { qos: 2 })
  device.stream.destroy()
  await eventually(() => got.length === 4, 'all copies arrive')
  device.end(true)
  expect(got).toEqual([
    ['t/0', 'a', 0, false],
    ['t/1', 'b', 1, false],
    ['t/2', 'c', 2, false],
    ['t/will', 'gone', 1, false],
  ])
  await watcher.endAsync()
  await eventually(
    () => rig.broker.connections() === 0 || rig.broker.stats.openPacketIds === 0,
    'all is settled',
  )
})

test('a retained message as large as a packet may be is kept; the limits of retained messages are keys', async () => {
  const rig = await startRig({
    maxRetainedMessages: 2,
    maxRetainedBytes: 2 * 1024 * 1024,
    maxSubscriptions: 2,
  })
  const device = await RawMqtt.connect(rig.port)
  const large = 'x'.repeat(1024 * 1024 - 20)
  device.send(packet.publish('state/list', large, { qos: 1, id: 1, retain: true }))
  device.send(
    ...[2, 3].map((id) => packet.publish(`state/${id}`, 'on', { qos: 1, id, retain: true })),
  )
  await device.acks(3)
  expect(rig.broker.counts.kept.retainedMessages).toBe(2)
  expect(rig.broker.counts.kept.retainedRefused).toBe(1)
  expect(rig.eventsOf('broker.retained-refused')).toMatchObject([
    { reason: 'too-many', topic: 'state/3' },
  ])
  const client = await RawMqtt.connect(rig.port)
  client.send(
    packet.subscribe(1, [
      ['state/list', 0],
      ['state/2', 0],
      ['one/more', 0],
    ]),
  )
  expect([...(await client.next(TYPE.SUBACK)).body.subarray(2)]).toEqual([0, 0, 0x80])
  const copies = await client.take(2)
  expect(copies.map((copy) => readPublish(copy).payload.length)).toEqual([large.length, 2])
})
