/** What outlives a connection of MQTT 5, for how long: sessions and delayed wills. */
import { afterEach, describe, expect, test } from 'vitest'
import { readDisconnect } from '../../support/mqtt-answers.ts'
import { type ConnectFields, packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const WILL = { topic: 't/will', payload: 'gone', qos: 1 }

async function device(
  rig: Rig,
  fields: ConnectFields = {},
): Promise<Awaited<ReturnType<typeof RawMqtt.connect>>> {
  return await RawMqtt.connect(rig.port, { level: 5, clientId: 'd', ...fields })
}

const wills = (rig: Rig): number => rig.appender.records.filter(({ will }) => will).length

async function cut(rig: Rig, client: RawMqtt): Promise<void> {
  const before = rig.broker.connections()
  client.cut()
  await eventually(() => rig.broker.connections() < before, 'the connection is gone')
}

/** Whatever was due before has happened. */
async function settle(rig: Rig): Promise<void> {
  const marker = await device(rig, { clientId: 'marker' })
  marker.send(packet.publish('t/marker', 'x', { qos: 1, id: 1, properties: {} }))
  await marker.acks(1)
  await cut(rig, marker)
}

describe('a session', () => {
  test('is gone as soon as its expiry has passed [MQTT-4.1.0-2]', async () => {
    let ms = 1_000
    const rig = await startRig({}, undefined, { monotonicMs: () => ms })
    for (const [waitedMs, isPresent] of [
      [900, true],
      [1_100, false],
    ] as const) {
      const client = await device(rig, { properties: { sessionExpiryInterval: 1 } })
      client.send(packet.publish('t/1', 'x', { qos: 2, id: 7, properties: {} }))
      await client.acks(1, TYPE.PUBREC)
      await cut(rig, client)
      ms += waitedMs
      const again = await device(rig, { clean: false, properties: { sessionExpiryInterval: 1 } })
      expect(again.sessionPresent, `${waitedMs} ms`).toBe(isPresent)
      again.send(packet.pubrel(7))
      const { body } = await again.next(TYPE.PUBCOMP)
      expect(body[2] ?? 0).toBe(isPresent ? 0 : 0x92)
      await cut(rig, again)
    }
  })
})

describe('a will with a delay', () => {
  const delayed = { ...WILL, properties: { willDelayInterval: 1 } }
  const lasting = { sessionExpiryInterval: 60 }

  test('is published when the delay has passed [MQTT-3.1.3-9]', async () => {
    const rig = await startRig()
    await cut(rig, await device(rig, { will: delayed, properties: lasting }))
    await settle(rig)
    expect(wills(rig)).toBe(0)
    await eventually(() => wills(rig) === 1, 'the will is published')
  })

  test('is published at once where the session ends with the connection', async () => {
    const rig = await startRig()
    const late = { ...WILL, properties: { willDelayInterval: 3_600 } }
    await cut(rig, await device(rig, { will: late }))
    await eventually(() => wills(rig) === 1, 'the will is published')
  })

  test('is published at the end of the session, if that comes first', async () => {
    const rig = await startRig()
    const late = { ...WILL, properties: { willDelayInterval: 3_600 } }
    await cut(rig, await device(rig, { will: late, properties: { sessionExpiryInterval: 1 } }))
    await eventually(() => wills(rig) === 1, 'the will is published')
  })

  test('is published if Clean Start ends the session', async () => {
    const rig = await startRig()
    const late = { ...WILL, properties: { willDelayInterval: 3_600 } }
    await cut(rig, await device(rig, { will: late, properties: lasting }))
    await device(rig, { properties: lasting })
    await eventually(() => wills(rig) === 1, 'the will is published')
  })

  test('is never published if the session goes on before, not by a later start either', async () => {
    const rig = await startRig()
    await cut(rig, await device(rig, { will: delayed, properties: lasting }))
    const again = await device(rig, { clean: false, properties: lasting })
    expect(again.sessionPresent).toBe(true)
    again.send(packet.disconnect())
    await again.closed()
    await settle(rig)
    expect(wills(rig)).toBe(0)
    expect(rig.appender.crash().keyed.wills.size, 'none is left for a start').toBe(0)
  })

  test('of a connection that is taken over with its session is not published', async () => {
    const rig = await startRig()
    const former = await device(rig, { will: delayed, properties: lasting })
    await device(rig, { clean: false, properties: lasting })
    expect(readDisconnect(await former.next(TYPE.DISCONNECT)).code).toBe(0x8e)
    await settle(rig)
    expect(wills(rig)).toBe(0)
  })

  test('is published once by the next start, if the gateway is killed meanwhile', async () => {
    const rig = await startRig()
    await cut(rig, await device(rig, { will: delayed, properties: lasting }))
    await settle(rig)
    const later = await startRig({}, rig.appender.crash())
    await eventually(() => wills(later) === 1, 'the will is published')
  })
})

describe('a client that takes small packets only', () => {
  test('gets its code without the words that would make it too large [MQTT-3.4.2-2]', async () => {
    const rig = await startRig()
    const client = await device(rig, { properties: { maximumPacketSize: 20 } })
    client.send(packet.publish('', 'x', { properties: {} }))
    const frame = await client.next(TYPE.DISCONNECT)
    expect(frame.bytes.length).toBeLessThanOrEqual(20)
    expect(readDisconnect(frame).code).toBe(0x82)
  })

  test('is not let in where CONNACK is too large for it [MQTT-3.1.2-24]', async () => {
    const rig = await startRig()
    const client = await RawMqtt.open(rig.port, 5)
    client.send(packet.connect({ level: 5, clientId: 'd', properties: { maximumPacketSize: 8 } }))
    await client.closed()
    expect(client.inbox).toEqual([])
    await eventually(() => rig.broker.connections() === 0, 'it is gone')
  })
})
