/**
 * A connection whose protocol level carries the bridge mark: another broker, which takes and gives
 * messages for others.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { packet, type RawFrame, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const MARKED = [
  ['MQTT', 0x84],
  ['MQIsdp', 0x83],
] as const

async function subscribed(
  rig: Rig,
  fields: Parameters<typeof RawMqtt.connect>[1],
  qos = 1,
): Promise<RawMqtt> {
  const client = await RawMqtt.connect(rig.port, fields)
  client.send(packet.subscribe(1, [['t/#', qos]]))
  await client.next(TYPE.SUBACK)
  return client
}

/** `payload`, `qos`, RETAIN of the copies that came. */
function copies(frames: readonly RawFrame[]): string[] {
  return frames
    .filter(({ type }) => type === TYPE.PUBLISH)
    .map((frame) => `${readPublish(frame).payload} ${readPublish(frame).qos} ${frame.flags & 1}`)
}

describe.each(MARKED)('%s with level 0x%s', (protocol, level) => {
  const bridge = { clientId: 'hall-2', protocol, level }

  test('connects, and does not get back what it published itself', async () => {
    const rig = await startRig()
    const client = await subscribed(rig, bridge)
    const other = await subscribed(rig, { clientId: 'other' })
    client.send(
      packet.publish('t/own', 'own-0'),
      packet.publish('t/own', 'own-1', { qos: 1, id: 5 }),
    )
    await client.acks(1)
    other.send(packet.publish('t/other', 'other', { qos: 1, id: 6 }))
    await client.until(() => copies(client.inbox).length > 0)
    await other.until(() => copies(other.inbox).length === 3)
    await client.roundTrip()
    expect(copies(client.inbox)).toEqual(['other 1 0'])
    expect(copies(other.inbox)).toEqual(['own-0 0 0', 'own-1 1 0', 'other 1 0'])
  })
})

test.each([0, 1, 2] as const)(
  'a bridge gets RETAIN as it was published, at QoS %i, and others never for a live message [MQTT-3.3.1-9]',
  async (qos) => {
    const rig = await startRig()
    const bridge = await subscribed(rig, { clientId: 'b', level: 0x84, clean: false }, 2)
    const other = await subscribed(rig, { clientId: 'o' }, 2)
    const device = await RawMqtt.connect(rig.port)
    device.send(
      packet.publish('t/1', 'kept', { qos, id: 1, retain: true }),
      packet.publish('t/1', 'live', { qos, id: 2 }),
    )
    await bridge.until(() => copies(bridge.inbox).length === 2)
    await other.until(() => copies(other.inbox).length === 2)
    expect(copies(bridge.inbox)).toEqual([`kept ${qos} 1`, `live ${qos} 0`])
    expect(copies(other.inbox)).toEqual([`kept ${qos} 0`, `live ${qos} 0`])
  },
)

test('what was acknowledged is not sent again to a bridge that comes back, retained or not', async () => {
  const rig = await startRig()
  const session = { clientId: 'b', level: 0x84, clean: false }
  const bridge = await subscribed(rig, session)
  const device = await RawMqtt.connect(rig.port)
  device.send(packet.publish('t/1', 'kept', { qos: 1, id: 1, retain: true }))
  const copy = readPublish(await bridge.next(TYPE.PUBLISH))
  bridge.send(packet.ack(TYPE.PUBACK, copy.id))
  await bridge.roundTrip()
  await bridge.end()
  device.send(packet.publish('t/2', 'missed', { qos: 1, id: 2, retain: true }))
  await device.acks(2)
  await eventually(
    () => rig.broker.counts.kept.queuedMessages === 1,
    'the copy waits for the bridge',
  )
  const again = await RawMqtt.connect(rig.port, session)
  await again.until(() => copies(again.inbox).length > 0)
  await again.roundTrip()
  expect(copies(again.inbox)).toEqual(['missed 1 1'])
})

test('what a bridge published just before it went is not queued for it', async () => {
  const rig = await startRig()
  const session = { clientId: 'b', level: 0x84, clean: false }
  const bridge = await subscribed(rig, session)
  const other = await subscribed(rig, { clientId: 'o' })
  rig.appender.hold()
  bridge.send(packet.publish('t/1', 'own', { qos: 1, id: 1 }))
  await bridge.roundTrip()
  await bridge.end()
  rig.appender.release()
  await other.until(() => copies(other.inbox).length === 1)
  expect(rig.broker.counts.kept.queuedMessages).toBe(0)
})

test('two bridges give each other their messages, and no message goes round', async () => {
  const rig = await startRig()
  const one = await subscribed(rig, { clientId: 'one', level: 0x84 })
  const two = await subscribed(rig, { clientId: 'two', level: 0x84 })
  one.send(packet.publish('t/1', 'from one', { qos: 1, id: 1 }))
  two.send(packet.publish('t/2', 'from two', { qos: 1, id: 1 }))
  await one.until(() => copies(one.inbox).length === 1)
  await two.until(() => copies(two.inbox).length === 1)
  await one.roundTrip()
  await two.roundTrip()
  expect(copies(one.inbox)).toEqual(['from two 1 0'])
  expect(copies(two.inbox)).toEqual(['from one 1 0'])
})
