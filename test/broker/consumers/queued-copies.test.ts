/**
 * Copies that wait for persistent sessions survive a stop and a kill, with the state of their QoS 2
 * exchanges.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { packet, type RawFrame, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const session = { clientId: 'hmi', clean: false }

describe.each(['stop', 'kill'] as const)('after a %s', (end) => {
  test('a session gets what was queued before, in order, and once', async () => {
    const rig = await startRig()
    const first = await RawMqtt.connect(rig.port, session)
    first.send(packet.subscribe(1, [['live/#', 2]]))
    await first.next(TYPE.SUBACK)
    const device = await RawMqtt.connect(rig.port)
    const say = async (port: RawMqtt, text: string, qos: 1 | 2, id: number): Promise<void> => {
      port.send(packet.publish('live/x', text, { qos, id }))
      await port.acks(1, qos === 1 ? TYPE.PUBACK : TYPE.PUBREC)
    }
    // One whose PUBREC came, one that was sent, two that were not.
    await say(device, 'received', 2, 1)
    const received = readPublish(await first.next(TYPE.PUBLISH))
    first.send(packet.ack(TYPE.PUBREC, received.id))
    await first.next(TYPE.PUBREL)
    await say(device, 'sent', 2, 2)
    const sent = readPublish(await first.next(TYPE.PUBLISH))
    first.cut()
    await say(device, 'queued ä', 1, 3)
    await say(device, 'queued at QoS 2', 2, 4)
    if (end === 'stop') await rig.stop()
    const state = rig.appender.crash()
    expect(state.keyed.copies.size).toBe(4)
    const again = await startRig({}, state)
    expect(again.broker.counts.kept.queuedMessages).toBe(4)
    const client = await RawMqtt.connect(again.port, session)
    expect(client.sessionPresent).toBe(true)
    const frames = await client.take(4)
    expect(frames[0]).toMatchObject({ type: TYPE.PUBREL })
    expect(frames[0]!.body.readUInt16BE(0)).toBe(received.id)
    expect(readPublish(frames[1]!)).toEqual({
      topic: 'live/x',
      payload: 'sent',
      qos: 2,
      id: sent.id,
    })
    const rest = frames.slice(2).map(readPublish)
    expect(rest.map(({ payload, qos }) => [payload, qos])).toEqual([
      ['queued ä', 1],
      ['queued at QoS 2', 2],
    ])
    // Each may have been sent before.
    expect(frames.slice(1).map(({ flags }) => flags & 8)).toEqual([8, 8, 8])
    expect(new Set([received.id, sent.id, ...rest.map(({ id }) => id)]).size).toBe(4)
    client.send(packet.ack(TYPE.PUBCOMP, received.id), packet.ack(TYPE.PUBACK, rest[0]!.id))
    await client.roundTrip()
    await eventually(
      () => again.appender.crash().keyed.copies.size === 2,
      'the acknowledged ones are removed',
    )
    const last = await startRig({}, again.appender.crash())
    expect(last.broker.counts.kept.queuedMessages).toBe(2)
  })
})

test('what was published just before a stop is among it', async () => {
  const rig = await startRig()
  const first = await RawMqtt.connect(rig.port, session)
  first.send(packet.subscribe(1, [['live/#', 1]]))
  await first.next(TYPE.SUBACK)
  await first.end()
  const device = await RawMqtt.connect(rig.port)
  device.send(
    ...Array.from({ length: 900 }, (_, i) =>
      packet.publish('live/x', `${i}`, { qos: 1, id: i + 1 }),
    ),
  )
  await device.acks(900)
  await rig.stop()
  const again = await startRig({}, rig.appender.crash())
  expect(again.broker.counts.kept.queuedMessages).toBe(900)
})

test('a stored queue that cannot be read is reported, and the start goes on (I7)', async () => {
  const rig = await startRig()
  await rig.stop()
  const state = rig.appender.crash()
  const copies = new Map([['hmi', Uint8Array.of(1, 7)]])
  const again = await startRig({}, { ...state, keyed: { ...state.keyed, copies } })
  expect(again.eventsOf('broker.stored-state-unreadable')).toMatchObject([
    { space: 'copies', key: 'hmi' },
  ])
  expect((await RawMqtt.connect(again.port, session)).isClosed).toBe(false)
})

async function subscribed(
  rig: Rig,
  filter: string,
  qos: 1 | 2,
  clientId = 'hmi',
): Promise<RawMqtt> {
  const client = await RawMqtt.connect(rig.port, { clientId, clean: false })
  client.send(packet.subscribe(1, [[filter, qos]]))
  await client.next(TYPE.SUBACK)
  return client
}

test.each(['t/x', 'live/x'])(
  'I1: the ack of a message on %s waits for the commit that has its copies',
  async (topic) => {
    const rig = await startRig()
    for (const id of ['hmi', 'wall']) await (await subscribed(rig, '#', 2, id)).end()
    const device = await RawMqtt.connect(rig.port)
    rig.appender.hold()
    device.send(
      packet.publish(topic, 'kept', { qos: 1, id: 1 }),
      packet.publish(topic, 'too', { qos: 2, id: 2 }),
    )
    await device.roundTrip()
    expect(device.inbox).toEqual([])
    expect(rig.appender.crash().keyed.copies.size).toBe(0)
    rig.appender.release()
    await device.acks(1)
    expect(rig.appender.crash().keyed.copies.size).toBe(4)
  },
)

test('what was published before a session came back, and became durable after it, comes once and in its place', async () => {
  const rig = await startRig()
  await (await subscribed(rig, 'live/#', 2)).end()
  const device = await RawMqtt.connect(rig.port)
  device.send(packet.publish('live/x', 'before', { qos: 1, id: 1 }))
  await device.acks(1)
  // CONNACK waits for no commit; the message does.
  rig.appender.hold()
  device.send(packet.publish('live/x', 'on its way', { qos: 1, id: 2 }))
  await device.roundTrip()
  const back = await RawMqtt.connect(rig.port, session)
  expect(readPublish(await back.next(TYPE.PUBLISH)).payload).toBe('before')
  rig.appender.release()
  await device.acks(1)
  expect(readPublish(await back.next(TYPE.PUBLISH)).payload).toBe('on its way')
  await back.roundTrip()
  expect(back.inbox).toEqual([])
})

test('[MQTT-4.6.0-6]: what is published while a session gets its queue comes behind it, once', async () => {
  const rig = await startRig()
  await (await subscribed(rig, 'live/#', 1)).end()
  const device = await RawMqtt.connect(rig.port)
  const say = (from: number, to: number): void => {
    for (let i = from; i <= to; i += 1)
      device.send(packet.publish('live/x', `${i}`, { qos: 1, id: i }))
  }
  say(1, 300)
  await device.acks(300)
  const back = await RawMqtt.open(rig.port)
  back.send(packet.connect(session))
  say(301, 600)
  await back.next(TYPE.CONNACK)
  say(601, 700)
  await device.acks(400)
  const got: string[] = []
  for (let i = 1; i <= 700; i += 1) {
    const { payload, id } = readPublish(await back.next(TYPE.PUBLISH))
    got.push(payload)
    back.send(packet.ack(TYPE.PUBACK, id))
  }
  expect(got).toEqual(Array.from({ length: 700 }, (_, i) => `${i + 1}`))
  await back.roundTrip()
  expect(back.inbox).toEqual([])
  expect(rig.broker.counts.kept.queuedMessages).toBe(0)
})

test('[MQTT-4.3.3-1]: PUBREL of a copy leaves when it is durable that PUBREC came', async () => {
  const rig = await startRig()
  const client = await subscribed(rig, 'live/#', 2)
  const device = await RawMqtt.connect(rig.port)
  device.send(packet.publish('live/x', 'once', { qos: 2, id: 1 }))
  const { id } = readPublish(await client.next(TYPE.PUBLISH))
  rig.appender.hold()
  client.send(packet.ack(TYPE.PUBREC, id))
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  // A kill now: the subscriber gets the message again, and knows it by its packet id.
  const early = await startRig({}, rig.appender.crash())
  const again = await RawMqtt.connect(early.port, session)
  const repeat = await again.next(TYPE.PUBLISH)
  expect([repeat.flags & 8, readPublish(repeat).id]).toEqual([8, id])
  rig.appender.release()
  await client.next(TYPE.PUBREL)
  // And now: not again.
  const late = await startRig({}, rig.appender.crash())
  const other = await RawMqtt.connect(late.port, session)
  expect((await other.next()).type).toBe(TYPE.PUBREL)
  await other.roundTrip()
  expect(other.inbox).toEqual([])
})

test('[MQTT-4.3.3-1]: PUBREL leaves no earlier on a new connection, nor what is behind it', async () => {
  const rig = await startRig()
  const client = await subscribed(rig, 'live/#', 2)
  const device = await RawMqtt.connect(rig.port)
  const payloads = ['first', 'second', 'third']
  device.send(...payloads.map((text, i) => packet.publish('live/x', text, { qos: 2, id: i + 1 })))
  const ids = (await client.take(3)).map((frame) => readPublish(frame).id)
  rig.appender.hold()
  client.send(packet.ack(TYPE.PUBREC, ids[0]!), packet.ack(TYPE.PUBREC, ids[1]!))
  await client.roundTrip()
  client.cut()
  const back = await RawMqtt.connect(rig.port, session)
  await back.roundTrip()
  expect(back.inbox).toEqual([])
  // A kill now: both are sent again, so the subscriber must not have forgotten their packet ids.
  const early = await startRig({}, rig.appender.crash())
  const again = await RawMqtt.connect(early.port, session)
  const repeats = await again.take(3)
  expect(repeats.map((frame) => readPublish(frame).id)).toEqual(ids)
  rig.appender.release()
  const frames = await back.take(3)
  expect(frames.map(({ type }) => type)).toEqual([TYPE.PUBREL, TYPE.PUBREL, TYPE.PUBLISH])
  const third = readPublish(frames[2]!)
  expect([third.payload, third.id]).toEqual(['third', ids[2]])
  back.send(packet.ack(TYPE.PUBREC, ids[2]!))
  back.send(...ids.map((id) => packet.ack(TYPE.PUBCOMP, id)).slice(0, 2))
  await back.next(TYPE.PUBREL)
  back.send(packet.ack(TYPE.PUBCOMP, ids[2]!))
  await back.roundTrip()
  expect(rig.broker.counts.kept.queuedMessages).toBe(0)
})

test('[MQTT-4.3.3-1]: a PUBREC for what is still to be sent gets no PUBREL', async () => {
  const rig = await startRig()
  const client = await subscribed(rig, 'live/#', 2)
  const device = await RawMqtt.connect(rig.port)
  device.send(packet.publish('live/x', 'one', { qos: 2, id: 1 }))
  device.send(packet.publish('live/x', 'two', { qos: 2, id: 2 }))
  const ids = (await client.take(2)).map((frame) => readPublish(frame).id)
  client.cut()
  // Of the window of one, the second copy waits; this client repeats both PUBRECs by itself.
  const properties = { receiveMaximum: 1 }
  const back = await RawMqtt.connect(rig.port, { ...session, level: 5, properties })
  // Version 5 has its properties, none here, in front of the payload.
  const read = (frame: RawFrame): [dup: number, id: number, payload: string] => {
    const { id, payload } = readPublish(frame)
    return [frame.flags & 8, id, payload]
  }
  expect(read(await back.next(TYPE.PUBLISH))).toEqual([8, ids[0], '\0one'])
  back.send(packet.ack(TYPE.PUBREC, ids[1]!))
  await back.roundTrip()
  expect(back.inbox).toEqual([])
  back.send(packet.ack(TYPE.PUBREC, ids[0]!))
  await back.next(TYPE.PUBREL)
  back.send(packet.ack(TYPE.PUBCOMP, ids[0]!))
  expect(read(await back.next(TYPE.PUBLISH))).toEqual([8, ids[1], '\0two'])
})

test('I6: what a bound drops is dropped in the store, too', async () => {
  const rig = await startRig({ maxSubscriberMessages: 3 })
  await (await subscribed(rig, 'live/#', 1)).end()
  const device = await RawMqtt.connect(rig.port)
  for (let i = 1; i <= 8; i += 1) device.send(packet.publish('live/x', `${i}`, { qos: 1, id: i }))
  await device.acks(8)
  await eventually(() => rig.appender.crash().keyed.copies.size === 3, 'the oldest are dropped')
  const lower = await startRig({ maxSubscriberMessages: 2 }, rig.appender.crash())
  expect(lower.broker.counts.kept).toMatchObject({ queuedMessages: 2, queuedDropped: 1 })
  const back = await RawMqtt.connect(lower.port, session)
  expect((await back.take(2)).map((frame) => readPublish(frame).payload)).toEqual(['7', '8'])
})

test.each(['clean session', 'eviction'])(
  'the stored copies of a session go with it: %s',
  async (how) => {
    const rig = await startRig({ maxSessions: 1 })
    await (await subscribed(rig, 'live/#', 1)).end()
    const device = await RawMqtt.connect(rig.port)
    device.send(packet.publish('live/x', '1', { qos: 1, id: 1 }))
    await device.acks(1)
    expect(rig.appender.crash().keyed.copies.size).toBe(1)
    // One more that is not durable, and not queued yet.
    rig.appender.hold()
    device.send(packet.publish('live/x', '2', { qos: 1, id: 2 }))
    await device.roundTrip()
    const next = await RawMqtt.open(rig.port)
    next.send(
      packet.connect(how === 'eviction' ? { clientId: 'next', clean: false } : { clientId: 'hmi' }),
    )
    await device.roundTrip()
    rig.appender.release()
    await next.next(TYPE.CONNACK)
    await eventually(() => rig.appender.crash().keyed.copies.size === 0, 'nothing is left')
    await device.acks(1)
    expect(rig.broker.counts.kept.queuedMessages).toBe(0)
    const again = await startRig({}, rig.appender.crash())
    expect(again.broker.counts.kept.queuedMessages).toBe(0)
  },
)
