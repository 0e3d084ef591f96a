/** Copies that wait for persistent sessions survive an orderly stop, with the state of their QoS 2 exchanges. */
import { afterEach, expect, test } from 'vitest'
import { packet, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { startRig, stopRigs } from './harness.ts'

afterEach(stopRigs)

const session = { clientId: 'hmi', clean: false }

test('a session that is away gets after a restart what was queued before, in order, and once', async () => {
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
  await rig.stop()

  const state = rig.appender.crash()
  expect([...state.keyed.copies.keys()]).toEqual(['hmi'])
  const again = await startRig({}, state)
  expect(again.broker.persistenceStats.queuedMessages).toBe(4)
  expect(again.appender.crash().keyed.copies.size).toBe(0)
  const client = await RawMqtt.connect(again.port, session)
  expect(client.sessionPresent).toBe(true)
  const frames = await client.take(4)
  expect(frames[0]).toMatchObject({ type: TYPE.PUBREL })
  expect(frames[0]!.body.readUInt16BE(0)).toBe(received.id)
  expect(readPublish(frames[1]!)).toEqual({ topic: 'live/x', payload: 'sent', qos: 2, id: sent.id })
  const rest = frames.slice(2).map(readPublish)
  expect(rest.map(({ payload, qos }) => [payload, qos])).toEqual([
    ['queued ä', 1],
    ['queued at QoS 2', 2],
  ])
  expect(frames.slice(1).map(({ flags }) => flags & 8)).toEqual([8, 0, 0])
  expect(new Set([received.id, sent.id, ...rest.map(({ id }) => id)]).size).toBe(4)
  client.send(packet.ack(TYPE.PUBCOMP, received.id), packet.ack(TYPE.PUBACK, rest[0]!.id))
  await client.roundTrip()
  await client.end()
  await again.stop()

  const last = await startRig({}, again.appender.crash())
  expect(last.broker.persistenceStats.queuedMessages).toBe(2)
})

test('what was published just before a stop is among it', async () => {
  const rig = await startRig()
  const first = await RawMqtt.connect(rig.port, session)
  first.send(packet.subscribe(1, [['live/#', 1]]))
  await first.next(TYPE.SUBACK)
  await first.end()
  const device = await RawMqtt.connect(rig.port)
  device.send(
    ...Array.from({ length: 900 }, (_, i) => packet.publish('live/x', `${i}`, { qos: 1, id: i + 1 })),
  )
  await device.acks(900)
  await rig.stop()
  const again = await startRig({}, rig.appender.crash())
  expect(again.broker.persistenceStats.queuedMessages).toBe(900)
})

test('a stored queue that cannot be read is reported, and the start goes on (I7)', async () => {
  const rig = await startRig()
  await rig.stop()
  const state = rig.appender.crash()
  const copies = new Map([['hmi', Uint8Array.of(1, 7)]])
  const again = await startRig({}, { ...state, keyed: { ...state.keyed, copies } })
  expect(again.eventsOf('broker.stored-state-unreadable')).toMatchObject([{ space: 'copies', key: 'hmi' }])
  expect((await RawMqtt.connect(again.port, session)).isClosed).toBe(false)
})
