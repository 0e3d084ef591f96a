/** Limits of packets, topics, connections, time and sessions: at the limit, and one above. */
import { afterEach, expect, test } from 'vitest'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const code = async (client: RawMqtt): Promise<number> => (await client.next(TYPE.CONNACK)).body[1]!

test('limit maxPacketBytes: at the limit taken; one above closed as soon as the length is known', async () => {
  const rig = await startRig({ maxPacketBytes: 1000 })
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  const fits = packet.publish('t/1', 'x'.repeat(990), { qos: 1, id: 1 })
  expect(fits.length).toBe(1000)
  client.send(fits)
  await client.acks(1)
  // The fixed header alone: 998 bytes more are announced than the limit's 997.
  client.send(packet.publish('t/1', 'x'.repeat(991), { qos: 1, id: 2 }).subarray(0, 3))
  await client.closed()
  expect(rig.broker.stats.connectionsClosed['packet-too-large']).toBe(1)
})

test('limit maxPacketBytes holds for packets that are held back, too', async () => {
  const rig = await startRig({ maxPacketBytes: 1000, maxUnackedMessages: 1 })
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  rig.appender.hold()
  client.send(
    packet.publish('t/1', 'x', { qos: 1, id: 1 }),
    packet.publish('t/1', 'x', { qos: 1, id: 2 }),
  )
  await client.roundTrip()
  client.send(Buffer.of(0x30, 0xff, 0xff, 0x7f))
  await client.closed()
  expect(rig.broker.stats.connectionsClosed['packet-too-large']).toBe(1)
})

test('limit maxConnectPacketBytes: small before CONNECT', async () => {
  const rig = await startRig({ maxConnectPacketBytes: 100 })
  const fits = await RawMqtt.open(rig.port)
  const connect = packet.connect({ clientId: 'x'.repeat(86) })
  expect(connect.length).toBe(100)
  fits.send(connect)
  expect(await code(fits)).toBe(0)
  const above = await RawMqtt.open(rig.port)
  above.send(packet.connect({ clientId: 'x'.repeat(87) }).subarray(0, 2))
  await above.closed()
  expect(rig.broker.stats.connectionsClosed['packet-too-large']).toBe(1)
})

test('limits maxTopicBytes and maxTopicLevels: at the limit taken; above a PUBLISH is a dead letter, a filter is answered 0x80', async () => {
  const rig = await startRig({ maxTopicBytes: 20, maxTopicLevels: 5 })
  for (const [fits, above] of [
    [`t/${'x'.repeat(18)}`, `t/${'x'.repeat(19)}`],
    [`t/${'ä'.repeat(9)}`, `t/${'ä'.repeat(9)}x`],
    ['t/a/b/c/d', 't/a/b/c/d/e'],
  ] as const) {
    const client = await RawMqtt.connect(rig.port)
    client.send(packet.publish(fits, 'x', { qos: 1, id: 1 }))
    await client.acks(1)
    client.send(packet.subscribe(2, [[above, 1]]))
    expect([...(await client.next(TYPE.SUBACK)).body]).toEqual([0, 2, 0x80])
    client.send(
      packet.subscribe(3, [
        [above, 1],
        [fits, 1],
        [above, 0],
      ]),
    )
    expect([...(await client.next(TYPE.SUBACK)).body]).toEqual([0, 3, 0x80, 1, 0x80])
    // Nobody can have it; and what is named beside it ends.
    client.send(packet.unsubscribe(4, [above]), packet.unsubscribe(5, [above, fits]))
    expect((await client.take(2)).map(({ type }) => type)).toEqual([TYPE.UNSUBACK, TYPE.UNSUBACK])
    client.send(packet.publish(fits, 'x', { qos: 1, id: 6 }))
    await client.acks(1)
    await client.roundTrip()
    expect(client.inbox).toEqual([])
    client.send(packet.publish(above, 'x', { qos: 1, id: 7 }))
    await client.acks(1)
  }
  expect(rig.appender.deadLetters).toHaveLength(3)
})

test('a filter of 65,535 bytes and as many levels is answered, and the connection goes on', async () => {
  const rig = await startRig({ maxTopicLevels: 100 })
  const client = await RawMqtt.connect(rig.port)
  const [deep, deepest] = [`t${'/x'.repeat(100)}`, '/'.repeat(65_535)]
  client.send(packet.subscribe(1, [[`t${'/x'.repeat(99)}`, 0]]), packet.subscribe(2, [[deep, 0]]))
  client.send(packet.subscribe(3, [[deepest, 0]]), packet.unsubscribe(4, [deep, deepest]))
  const answers = await client.take(4)
  expect(answers.map(({ type, body }) => [type, ...body])).toEqual([
    [TYPE.SUBACK, 0, 1, 0],
    [TYPE.SUBACK, 0, 2, 0x80],
    [TYPE.SUBACK, 0, 3, 0x80],
    [TYPE.UNSUBACK, 0, 4],
  ])
  await client.roundTrip()
})

test('a session keeps its deep filters when maxTopicLevels is lowered, and can still unsubscribe them', async () => {
  const session = { clientId: 'watcher', clean: false }
  const before = await startRig({ maxTopicLevels: 6 })
  const first = await RawMqtt.connect(before.port, session)
  first.send(packet.subscribe(1, [['live/b/c/d/e/f', 1]]))
  await first.next(TYPE.SUBACK)
  await before.stop()
  const after = await startRig({ maxTopicLevels: 3 }, before.appender.crash())
  const back = await RawMqtt.connect(after.port, session)
  expect(back.sessionPresent).toBe(true)
  await back.roundTrip()
  back.send(packet.unsubscribe(2, ['live/b/c/d/e/f']))
  await back.next(TYPE.UNSUBACK)
  await back.end()
  expect(await after.appender.keyed('subscriptions').entries()).toEqual([])
})

test('limit maxConnections: one above is closed at accept, and there is room again when one leaves', async () => {
  const rig = await startRig({ maxConnections: 2 })
  const first = await RawMqtt.connect(rig.port)
  await RawMqtt.connect(rig.port)
  const third = await RawMqtt.open(rig.port)
  await third.closed()
  await first.end()
  await eventually(() => rig.broker.connections() === 1, 'one has left')
  await RawMqtt.connect(rig.port)
  expect(rig.broker.counts.sockets.refusedAtLimit).toBe(1)
})

test('limit connectTimeout: a connection that sends no whole CONNECT in time is closed', async () => {
  const rig = await startRig({ connectTimeout: 500 })
  const silent = await RawMqtt.open(rig.port)
  const slow = await RawMqtt.open(rig.port)
  const connect = packet.connect({ clientId: 'slow' })
  let at = 0
  const trickle = setInterval(() => slow.send(connect.subarray(at, ++at)), 100)
  await Promise.all([silent.closed(), slow.closed()])
  clearInterval(trickle)
  expect(rig.broker.stats.connectionsClosed['connect-timeout']).toBe(2)
})

test('limit maxSessions: the longest dead gives way, but none with open ids; then clients are closed without a CONNACK', async () => {
  const rig = await startRig({ maxSessions: 3 })
  const stored = async (clientId: string): Promise<RawMqtt> => {
    const client = await RawMqtt.open(rig.port)
    client.send(packet.connect({ clientId, clean: false }))
    return client
  }
  const qos2 = await stored('has-ids')
  expect(await code(qos2)).toBe(0)
  qos2.send(packet.publish('t/1', 'x', { qos: 2, id: 1 }))
  await qos2.acks(1, TYPE.PUBREC)
  await qos2.end()
  const subscriber = await stored('subscribes')
  expect(await code(subscriber)).toBe(0)
  subscriber.send(packet.subscribe(1, [['live/#', 1]]))
  await subscriber.next(TYPE.SUBACK)
  await subscriber.end()
  const idle = await stored('idle')
  expect(await code(idle)).toBe(0)
  const lives = await stored('lives')
  expect(await code(lives)).toBe(0)
  const above = await stored('above')
  await above.closed()
  expect(above.receivedBytes).toBe(0)
  expect(rig.broker.stats.connectionsRefused['sessions-full']).toBe(1)
  await idle.end()
  await eventually(() => rig.broker.connections() === 1, 'it is gone')
  const takes = await stored('takes-the-place')
  expect(await code(takes)).toBe(0)
  expect(rig.eventsOf('broker.session-ended')).toMatchObject([
    { clientId: 'subscribes', why: 'evicted' },
    { clientId: 'idle', why: 'evicted' },
  ])
  expect(rig.broker.stats.sessionsEnded).toEqual({ expired: 0, evicted: 2 })
  expect(rig.broker.stats).toMatchObject({ sessions: 3, openPacketIds: 1 })
  // Clean session 1 needs no place.
  await RawMqtt.connect(rig.port, { clientId: 'clean' })
  // Whoever is known comes back.
  const back = await stored('has-ids')
  expect((await back.next(TYPE.CONNACK)).body[0]).toBe(1)
})
