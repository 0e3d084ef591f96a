/** Who holds a client id, wills, and the end of connections. */
import { afterEach, expect, test } from 'vitest'
import { packet, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const will = { topic: 't/will', payload: 'gone', qos: 1 }

test('of three connects with one client id that race, one stays and works, and none is registered twice', async () => {
  const rig = await startRig()
  for (let round = 0; round < 10; round += 1) {
    const clients = await Promise.all([1, 2, 3].map(() => RawMqtt.open(rig.port)))
    for (const client of clients) {
      client.send(packet.connect({ clientId: 'racer', clean: round % 2 === 0 }))
    }
    await eventually(
      () => clients.filter(({ isClosed }) => isClosed).length === 2,
      'two are closed',
    )
    const winner = clients.find(({ isClosed }) => !isClosed)!
    expect((await winner.next(TYPE.CONNACK)).body[1]).toBe(0)
    winner.send(packet.subscribe(1, [[`live/${round}`, 0]]))
    await winner.next(TYPE.SUBACK)
    winner.send(packet.publish(`live/${round}`, 'x'))
    expect(readPublish(await winner.next(TYPE.PUBLISH)).payload).toBe('x')
    winner.cut()
    await eventually(() => rig.broker.connections() === 0, 'the winner is gone')
  }
})

test('two clients with one id are told of in words, once; a device that comes back is not', async () => {
  const rig = await startRig()
  for (const clientId of ['once', 'both', 'both', 'both', 'both', 'once', 'both', 'both']) {
    await RawMqtt.connect(rig.port, { clientId })
  }
  await eventually(() => rig.broker.stats.connectionsClosed.takeover === 6, 'all are taken over')
  expect(rig.eventsOf('broker.client-id-shared')).toEqual([
    {
      type: 'broker.client-id-shared',
      clientId: 'both',
      addresses: ['127.0.0.1'],
      takeovers: 4,
      suppressed: 0,
    },
  ])
})

test('a takeover publishes the will of the old connection before the new CONNACK', async () => {
  const rig = await startRig()
  const old = await RawMqtt.connect(rig.port, { clientId: 'x', will })
  const fresh = await RawMqtt.connect(rig.port, { clientId: 'x' })
  await old.closed()
  await eventually(() => rig.appender.records.length === 1, 'the will is stored')
  expect(rig.appender.records).toMatchObject([
    { topic: 't/will', payload: 'gone', qos: 1, will: true, device: 'x' },
  ])
  expect(rig.broker.stats.connectionsClosed.takeover).toBe(1)
  await fresh.roundTrip()
})

test('the late end of an old connection leaves the subscriptions of the new one alone', async () => {
  const rig = await startRig()
  const clients: RawMqtt[] = []
  for (let i = 0; i < 20; i += 1) {
    const client = await RawMqtt.connect(rig.port, { clientId: 'same' })
    client.send(packet.subscribe(1, [['live/#', 0]]))
    clients.push(client)
  }
  const last = clients.at(-1)!
  await last.next(TYPE.SUBACK)
  await Promise.all(clients.slice(0, -1).map((client) => client.closed()))
  await new Promise((resolve) => {
    setTimeout(resolve, 50)
  })
  last.send(packet.publish('live/x', 'still here'))
  expect(readPublish(await last.next(TYPE.PUBLISH)).payload).toBe('still here')
})

test('DISCONNECT publishes no will, also right behind messages that are held back', async () => {
  const rig = await startRig({ maxUnackedMessages: 2 })
  const polite = await RawMqtt.connect(rig.port, { clientId: 'polite', will })
  await polite.end()
  const held = await RawMqtt.connect(rig.port, { clientId: 'held', will })
  rig.appender.hold()
  held.send(
    ...[1, 2, 3, 4].map((id) => packet.publish('t/1', `m${id}`, { qos: 1, id })),
    packet.disconnect(),
  )
  await eventually(() => rig.broker.stats.unackedMessages === 2, 'two are taken')
  held.cut()
  await eventually(() => rig.broker.connections() === 0, 'both are gone')
  rig.appender.release()
  await eventually(() => rig.appender.records.length === 2, 'what was taken is stored')
  expect(rig.appender.records.every((record) => !record.will)).toBe(true)
  expect(rig.broker.stats.willsPublished).toBe(0)
  expect(rig.broker.stats.connectionsClosed['client-disconnect']).toBe(2)
})

test('a DISCONNECT that is held back counts, also with a length of more bytes than it needs', async () => {
  const rig = await startRig({ maxUnackedMessages: 1 })
  const held = await RawMqtt.connect(rig.port, { clientId: 'held', will })
  rig.appender.hold()
  held.send(
    packet.publish('t/1', 'm1', { qos: 1, id: 1 }),
    packet.publish('t/1', 'm2', { qos: 1, id: 2 }),
  )
  held.send(Buffer.of(0xe0, 0x80, 0x00))
  await eventually(
    () => rig.broker.stats.holdBackBytes === 14,
    'the second message and DISCONNECT are held',
  )
  held.cut()
  await eventually(() => rig.broker.connections() === 0, 'it is gone')
  rig.appender.release()
  await eventually(() => rig.appender.records.length === 1, 'what was taken is stored')
  expect(rig.broker.stats.willsPublished).toBe(0)
  expect(rig.broker.stats.connectionsClosed['client-disconnect']).toBe(1)
})

test('a cut connection publishes its will into its stream and to local subscribers', async () => {
  const rig = await startRig()
  const watcher = await RawMqtt.connect(rig.port, { clientId: 'watcher' })
  watcher.send(packet.subscribe(1, [['t/will', 1]]))
  await watcher.next(TYPE.SUBACK)
  const device = await RawMqtt.connect(rig.port, {
    clientId: 'dev',
    will: { ...will, retain: true },
  })
  device.cut()
  expect(readPublish(await watcher.next(TYPE.PUBLISH))).toMatchObject({ payload: 'gone', qos: 1 })
  expect(rig.appender.records).toMatchObject([
    { topic: 't/will', will: true, retain: true, device: 'dev' },
  ])
  const late = await RawMqtt.connect(rig.port, { clientId: 'late' })
  late.send(packet.subscribe(1, [['t/#', 0]]))
  await late.next(TYPE.SUBACK)
  expect((await late.next(TYPE.PUBLISH)).flags & 1).toBe(1)
})

test('a will for a full stream waits for room', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port, { clientId: 'dev', will })
  rig.appender.setRoom('telemetry', 0)
  device.cut()
  await eventually(() => rig.broker.stats.waitingByStream.get('telemetry') === 1, 'the will waits')
  rig.appender.setRoom('telemetry', null)
  await eventually(() => rig.appender.records.length === 1, 'the will is stored')
  expect(rig.broker.stats.waitingMessages).toBe(0)
})

test('a will that a kill left behind is published at the next start, once', async () => {
  const rig = await startRig()
  await RawMqtt.connect(rig.port, { clientId: 'dev', clean: false, will })
  const state = rig.appender.crash()
  await rig.stop()
  const again = await startRig({}, { ...state, records: [] })
  await eventually(() => again.appender.records.length === 1, 'the will is stored')
  expect(again.appender.records).toMatchObject([{ payload: 'gone', will: true, device: 'dev' }])
  await eventually(() => again.appender.crash().keyed.wills.size === 0, 'its stored copy is gone')
})

test('stop: wills of connected clients are published before the last commit, or suppressed', async () => {
  for (const [willsOnStop, expected] of [
    ['publish', 1],
    ['suppress', 0],
  ] as const) {
    const rig = await startRig({ willsOnStop })
    await RawMqtt.connect(rig.port, { clientId: 'dev', will })
    await rig.stop()
    expect(rig.appender.records).toHaveLength(expected)
    expect(rig.appender.crash().keyed.wills.size).toBe(0)
  }
})

test('stop: acks of what was taken leave after their commit, and nothing more is read', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'dev' })
  rig.appender.hold()
  client.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
  await client.roundTrip()
  const stopping = rig.broker.stop(5_000)
  client.send(packet.publish('t/1', 'late', { qos: 1, id: 2 }))
  setTimeout(() => rig.appender.release(), 50)
  expect(await client.acks(1)).toEqual([1])
  await stopping
  await client.closed()
  expect(client.inbox).toEqual([])
  expect(rig.appender.payloads('telemetry')).toEqual(['x'])
  await expect(RawMqtt.open(rig.port)).rejects.toThrow(/ECONNREFUSED/)
})

test('stop: a store that never commits does not hold it beyond the deadline', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'dev', will })
  rig.appender.hold()
  client.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
  await client.roundTrip()
  const began = performance.now()
  await rig.broker.stop(500)
  expect(performance.now() - began).toBeLessThan(2_500)
  expect(client.inbox).toEqual([])
})
