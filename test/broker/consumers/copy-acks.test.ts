/**
 * Acks of copies: only the kind that is due counts; another one closes the connection and keeps the
 * copy [MQTT-4.8.0-1].
 */
import { afterEach, expect, test } from 'vitest'
import { packet, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const { PUBACK, PUBREC, PUBCOMP, PUBREL, PUBLISH } = TYPE
const NAMES: Record<number, string> = {
  [PUBACK]: 'PUBACK',
  [PUBREC]: 'PUBREC',
  [PUBCOMP]: 'PUBCOMP',
}

test.each([
  [1, [PUBREC]],
  [1, [PUBCOMP]],
  [2, [PUBACK]],
  [2, [PUBCOMP]],
  [2, [PUBREC, PUBACK]],
] as const)(
  'a QoS %i copy answered with %j: closed, and the copy comes again',
  async (qos, acks) => {
    const rig = await startRig()
    const session = { clientId: 'hmi', clean: false }
    const first = await RawMqtt.connect(rig.port, session)
    first.send(packet.subscribe(1, [['live/#', qos]]))
    await first.next(TYPE.SUBACK)
    const device = await RawMqtt.connect(rig.port)
    device.send(packet.publish('live/x', 'kept', { qos, id: 1 }))
    await device.acks(1, qos === 1 ? PUBACK : PUBREC)
    const { id } = readPublish(await first.next(PUBLISH))
    for (const ack of acks) {
      if (first.inbox.length > 0) await first.next()
      first.send(packet.ack(ack, id))
      if (ack !== acks.at(-1)) await first.next(PUBREL)
    }
    await first.closed()
    const wrong = NAMES[acks.at(-1)!]!
    expect(rig.eventsOf('broker.connection-closed')).toMatchObject([
      { reason: 'malformed', clientId: 'hmi' },
    ])
    expect(rig.eventsOf('broker.connection-closed')[0]!.detail).toContain(`${wrong} is not`)

    const again = await RawMqtt.connect(rig.port, session)
    const frame = await again.next()
    if (acks.length > 1) {
      expect([frame.type, frame.body.readUInt16BE(0)]).toEqual([PUBREL, id])
      again.send(packet.ack(PUBCOMP, id))
    } else {
      expect(readPublish(frame)).toEqual({ topic: 'live/x', payload: 'kept', id, qos })
      again.send(packet.ack(qos === 1 ? PUBACK : PUBREC, id))
      if (qos === 2) {
        await again.next(PUBREL)
        again.send(packet.ack(PUBCOMP, id))
      }
    }
    await again.roundTrip()
    await again.end()
    const last = await RawMqtt.connect(rig.port, session)
    await last.roundTrip()
    expect(last.inbox).toEqual([])
  },
)

test('an ack of a connection before, for a copy that has not come again, ends nothing', async () => {
  const rig = await startRig()
  const session = { clientId: 'hmi', clean: false }
  const first = await RawMqtt.connect(rig.port, session)
  first.send(packet.subscribe(1, [['live/#', 1]]))
  await first.next(TYPE.SUBACK)
  const device = await RawMqtt.connect(rig.port)
  device.send(packet.publish('live/x', 'kept', { qos: 1, id: 1 }))
  const { id } = readPublish(await first.next(PUBLISH))
  first.cut()
  const again = await RawMqtt.open(rig.port)
  // Behind CONNECT, so before anything was sent on this connection.
  again.send(packet.connect(session), packet.ack(PUBCOMP, id))
  await again.next(TYPE.CONNACK)
  expect(readPublish(await again.next(PUBLISH)).id).toBe(id)
})

test('a PUBREC that nobody knows is answered, so that the client can finish, and leaves nothing behind', async () => {
  const rig = await startRig()
  const session = { clientId: 'hmi', clean: false }
  const client = await RawMqtt.connect(rig.port, session)
  client.send(packet.ack(PUBREC, 77))
  expect((await client.next(PUBREL)).body.readUInt16BE(0)).toBe(77)
  client.send(packet.ack(PUBCOMP, 77))
  await client.roundTrip()
  await client.end()
  const again = await RawMqtt.connect(rig.port, session)
  await again.roundTrip()
  expect(again.inbox).toEqual([])
})

test('packet ids of copies begin at 1 for a new session, and go on behind the last one for an old one', async () => {
  const rig = await startRig()
  const session = { clientId: 'hmi', clean: false }
  const device = await RawMqtt.connect(rig.port)
  const first = await RawMqtt.connect(rig.port, session)
  first.send(packet.subscribe(1, [['live/#', 1]]))
  await first.next(TYPE.SUBACK)
  const say = (payload: string): void =>
    device.send(packet.publish('live/x', payload, { qos: 1, id: 1 }))
  say('a')
  say('b')
  expect((await first.take(2)).map((frame) => readPublish(frame).id)).toEqual([1, 2])
  first.cut()
  const again = await RawMqtt.connect(rig.port, session)
  expect(again.sessionPresent).toBe(true)
  expect((await again.take(2)).map((frame) => readPublish(frame).id)).toEqual([1, 2])
  say('c')
  expect(readPublish(await again.next(PUBLISH)).id).toBe(3)
  again.send(...[1, 2, 3].map((id) => packet.ack(PUBACK, id)))
  await again.roundTrip()
  await again.end()
  const third = await RawMqtt.connect(rig.port, session)
  say('queue is empty')
  expect(readPublish(await third.next(PUBLISH)).id).toBe(4)

  const clean = await RawMqtt.connect(rig.port, { clientId: 'other' })
  clean.send(packet.subscribe(1, [['live/#', 1]]))
  await clean.next(TYPE.SUBACK)
  say('d')
  expect(readPublish(await clean.next(PUBLISH)).id).toBe(1)
})
