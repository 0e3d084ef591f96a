/** A gateway that leaves: who is told what, what is still acknowledged, and when. */
import { afterEach, expect, test } from 'vitest'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

async function left(rig: Rig): Promise<void> {
  await eventually(() => rig.eventsOf('broker.left').length === 1, 'everybody is gone')
}

test('MQTT 5 is told where to go, 3.1.1 is closed; nobody else gets in', async () => {
  const rig = await startRig({ serverReference: 'b.example:8883' })
  const v5 = await RawMqtt.connect(rig.port, { clientId: 'v5', level: 5 })
  const v3 = await RawMqtt.connect(rig.port, { clientId: 'v3' })
  const waiting = await RawMqtt.open(rig.port)
  rig.broker.leave()
  expect(rig.broker.stats).toMatchObject({ accepting: false, leaving: true })
  await expect(RawMqtt.open(rig.port)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  const { body } = await v5.next(TYPE.DISCONNECT)
  expect(body[0]).toBe(0x9c)
  expect(body.toString('latin1')).toContain('\x1c\0\x0eb.example:8883')
  await Promise.all([v5.closed(), v3.closed(), waiting.closed()])
  expect(v3.inbox).toEqual([])
  await left(rig)
  expect(rig.broker.stats.connectionsClosed.leaving).toBe(3)
  expect(rig.eventsOf('broker.leaving')).toMatchObject([{ connections: 3 }])
  // Told once for all.
  expect(rig.eventsOf('broker.connection-closed')).toEqual([])
})

test('without a reference the code stands alone; a client that takes little gets little', async () => {
  const rig = await startRig({ serverReference: 'a'.repeat(100) })
  const small = await RawMqtt.connect(rig.port, {
    clientId: 'small',
    level: 5,
    properties: { maximumPacketSize: 40 },
  })
  rig.broker.leave()
  expect((await small.next(TYPE.DISCONNECT)).bytes.toString('hex')).toBe('e0019c')
})

test('I1: what was taken is acknowledged before its connection is closed', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  rig.appender.hold()
  client.send(packet.publish('t/1', 'a', { qos: 1, id: 1 }))
  await eventually(() => rig.broker.stats.unackedMessages === 1, 'it is taken')
  rig.broker.leave()
  await new Promise((resolve) => void setImmediate(resolve))
  expect(client.isClosed).toBe(false)
  rig.appender.release()
  expect(await client.acks(1)).toEqual([1])
  await client.closed()
})

test('a disk that hangs keeps nobody', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  rig.appender.hold()
  client.send(packet.publish('t/1', 'a', { qos: 1, id: 1 }))
  await eventually(() => rig.broker.stats.unackedMessages === 1, 'it is taken')
  rig.broker.leave()
  await client.closed()
  expect(client.inbox).toEqual([])
})

test('they go in waves of 50, and a stop in between ends the rest', async () => {
  const rig = await startRig()
  const clients = await Promise.all(
    Array.from({ length: 120 }, (_, n) => RawMqtt.connect(rig.port, { clientId: `d${n}` })),
  )
  rig.broker.leave()
  rig.broker.leave()
  await eventually(() => rig.broker.connections() < 120, 'the first wave')
  expect(rig.broker.connections()).toBe(70)
  await eventually(() => rig.broker.connections() < 70, 'the second wave')
  expect(rig.broker.connections()).toBe(20)
  await rig.stop()
  await Promise.all(clients.map((client) => client.closed()))
  expect(rig.broker.stats.connectionsClosed).toMatchObject({ leaving: 100, stopping: 20 })
  expect(rig.eventsOf('broker.leaving')).toHaveLength(1)
})

test.each([
  ['publish', 1],
  ['suppress', 0],
] as const)('willsOnStop %s holds for a leave, too', async (willsOnStop, wills) => {
  const rig = await startRig({ willsOnStop })
  const client = await RawMqtt.connect(rig.port, {
    clientId: 'd',
    will: { topic: 't/will', payload: 'gone', qos: 1 },
  })
  rig.broker.leave()
  await client.closed()
  await left(rig)
  expect(rig.broker.stats.willsPublished).toBe(wills)
})
