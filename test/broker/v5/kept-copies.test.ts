/** What a copy carries that a session of MQTT 5 is kept, through an absence and through a kill. */
import { afterEach, describe, expect, test } from 'vitest'
import { readPublish5 } from '../../support/mqtt-answers.ts'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const NO_LOCAL = 0x04
const RETAIN_AS_PUBLISHED = 0x08

const SESSION = {
  clientId: 'hmi',
  level: 5,
  clean: false,
  properties: { sessionExpiryInterval: 600 },
}

async function subscribe(client: RawMqtt, filter: string, options: number, identifier?: number) {
  const own = identifier === undefined ? {} : { subscriptionIdentifiers: [identifier] }
  client.send(packet.subscribe(1, [[filter, options]], own))
  await client.next(TYPE.SUBACK)
}

async function publish(rig: Rig, qos: 1 | 2 = 1): Promise<void> {
  const device = await RawMqtt.connect(rig.port, { level: 5, clientId: 'device' })
  const fields = { qos, id: 1, retain: true, properties: {} } as const
  device.send(packet.publish('live/x', 'm', fields))
  await device.acks(1, qos === 1 ? TYPE.PUBACK : TYPE.PUBREC)
}

async function received(client: RawMqtt): Promise<object> {
  const frame = await client.next(TYPE.PUBLISH)
  const { properties, qos } = readPublish5(frame)
  const { subscriptionIdentifiers } = properties
  return { qos, isRetained: (frame.flags & 1) === 1, subscriptionIdentifiers }
}

describe.each(['connected', 'away', 'away, and the gateway was killed'] as const)(
  'of a session that is %s, a copy',
  (where) => {
    /** What its client gets, and the client. */
    async function gets(rig: Rig, first: RawMqtt): Promise<object> {
      if (where === 'connected') {
        await publish(rig)
        return received(first)
      }
      first.cut()
      await publish(rig)
      const at = where === 'away' ? rig : await startRig({}, rig.appender.crash())
      const again = await RawMqtt.connect(at.port, SESSION)
      expect(again.sessionPresent).toBe(true)
      return received(again)
    }

    test('names every subscription that takes it, one at QoS 0 too [MQTT-3.3.4-3] [MQTT-3.3.4-4]', async () => {
      const rig = await startRig()
      const client = await RawMqtt.connect(rig.port, SESSION)
      await subscribe(client, 'live/#', 1, 7)
      await subscribe(client, 'live/+', 0, 300)
      await subscribe(client, '+/x', 2, 70_000)
      await subscribe(client, 'live/x', 0)
      await subscribe(client, 'other/#', 0, 8)
      expect(await gets(rig, client)).toEqual({
        qos: 1,
        isRetained: false,
        subscriptionIdentifiers: expect.toSatisfy(
          (all: number[]) => all.toSorted((a, b) => a - b).join() === '7,300,70000',
        ),
      })
    })

    test('has RETAIN as it came if one of them says so [MQTT-3.3.1-13]', async () => {
      const rig = await startRig()
      const client = await RawMqtt.connect(rig.port, SESSION)
      await subscribe(client, 'live/#', 1)
      await subscribe(client, 'live/+', RETAIN_AS_PUBLISHED)
      expect(await gets(rig, client)).toMatchObject({ qos: 1, isRetained: true })
    })

    test('has the new identifier of a filter that was subscribed again [MQTT-3.8.4-3]', async () => {
      const rig = await startRig()
      const client = await RawMqtt.connect(rig.port, SESSION)
      await subscribe(client, 'live/#', 1, 1)
      await subscribe(client, 'live/+', 0, 2)
      await subscribe(client, 'live/+', 0, 3)
      await subscribe(client, 'live/#', 1)
      expect(await gets(rig, client)).toMatchObject({ subscriptionIdentifiers: [3] })
    })
  },
)

test('a copy at QoS 2 of a shared subscription that a session keeps names it [MQTT-3.3.4-3]', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, SESSION)
  await subscribe(client, '$share/g/live/#', 2 | RETAIN_AS_PUBLISHED, 9)
  await publish(rig, 2)
  const wanted = { qos: 2, isRetained: true, subscriptionIdentifiers: [9] }
  expect(await received(client)).toEqual(wanted)
  client.cut()
  const again = await RawMqtt.connect(rig.port, SESSION)
  expect(await received(again)).toEqual(wanted)
})

test('a client that gets its own message by a filter at QoS 0 alone is kept nothing [MQTT-3.8.3-3]', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, SESSION)
  await subscribe(client, 'live/#', 1 | NO_LOCAL, 7)
  await subscribe(client, 'live/+', 0, 8)
  client.send(packet.publish('live/x', 'own', { qos: 1, id: 1, properties: {} }))
  expect(await client.acks(1)).toEqual([1])
  expect(await received(client)).toMatchObject({ qos: 0, subscriptionIdentifiers: [8] })
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  expect(rig.broker.counts.kept.queuedMessages).toBe(0)
})
