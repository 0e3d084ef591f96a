/**
 * A client that speaks another version of MQTT on its next connection: its session is one, whatever
 * version made it, and ends by what the last CONNECT said.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { type Level, readAck, readPublish5 } from '../../support/mqtt-answers.ts'
import { lastingSession, packet, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

/** From each version to the other. */
const CHANGES = [
  { from: 4, to: 5 },
  { from: 5, to: 4 },
] as const

type Client = Awaited<ReturnType<typeof RawMqtt.connect>>

async function connect(rig: Rig, level: Level, seconds = 3_600): Promise<Client> {
  return await RawMqtt.connect(rig.port, { clientId: 'd', ...lastingSession(level, seconds) })
}

async function cut(rig: Rig, client: RawMqtt): Promise<void> {
  const before = rig.broker.connections()
  client.cut()
  await eventually(() => rig.broker.connections() < before, 'the connection is gone')
}

async function subscribe(client: RawMqtt, ...args: Parameters<typeof packet.subscribe>) {
  const [id, filters, properties] = args
  client.send(packet.subscribe(id, filters, client.level === 5 ? (properties ?? {}) : undefined))
  await client.next(TYPE.SUBACK)
}

/** By a client of MQTT 5. */
async function publish(rig: Rig, topic: string, payload: string, fields = {}): Promise<void> {
  const other = await RawMqtt.connect(rig.port, { clientId: 'other', level: 5 })
  other.send(packet.publish(topic, payload, { qos: 2, id: 1, level: 5, ...fields }))
  await other.acks(1, TYPE.PUBREC)
  await cut(rig, other)
}

async function nextCopy(client: RawMqtt): Promise<Pick<ReturnType<typeof readPublish>, 'id'>> {
  const frame = await client.next(TYPE.PUBLISH)
  return client.level === 5 ? readPublish5(frame) : readPublish(frame)
}

describe.each(CHANGES)('from level $from to level $to', ({ from, to }) => {
  test('I3: what was published at QoS 2 is known under its packet id, with DUP and without', async () => {
    const rig = await startRig()
    const first = await connect(rig, from)
    const described = { contentType: 'text/plain' }
    const fields = (level: Level) => (level === 5 ? { level, properties: described } : { level })
    for (const id of [1, 2])
      first.send(packet.publish('t/d', `${id}`, { qos: 2, id, ...fields(from) }))
    await first.acks(2, TYPE.PUBREC)
    await cut(rig, first)

    const second = await connect(rig, to)
    expect(second.sessionPresent).toBe(true)
    second.send(packet.publish('t/d', '1', { qos: 2, id: 1, dup: true, ...fields(to) }))
    await second.acks(1, TYPE.PUBREC)
    second.send(packet.pubrel(1), packet.pubrel(2))
    for (const id of [1, 2])
      expect(readAck(await second.next(TYPE.PUBCOMP), to)).toMatchObject({ id, code: 0 })
    expect(rig.appender.records.map(({ payload }) => payload)).toEqual(['1', '2'])
    await cut(rig, second)

    const third = await connect(rig, from)
    expect(third.sessionPresent).toBe(true)
    third.send(packet.publish('t/d', '1', { qos: 2, id: 1, ...fields(from) }))
    await third.acks(1, TYPE.PUBREC)
    expect(rig.appender.records.map(({ payload }) => payload)).toEqual(['1', '2', '1'])
  })

  test('subscriptions hold, and copies that were kept come in the version that is spoken now', async () => {
    const rig = await startRig()
    const first = await connect(rig, from)
    await subscribe(first, 1, [['a/#', 1]], { subscriptionIdentifiers: [7] })
    await cut(rig, first)
    await publish(rig, 'a/1', 'kept', { properties: { contentType: 'text/plain' } })

    const second = await connect(rig, to)
    const frame = await second.next(TYPE.PUBLISH)
    if (to === 4) expect(readPublish(frame)).toMatchObject({ topic: 'a/1', payload: 'kept' })
    else {
      const copy = readPublish5(frame)
      expect(copy).toMatchObject({ topic: 'a/1', properties: { contentType: 'text/plain' } })
      expect(copy.payload.toString()).toBe('kept')
    }
    await cut(rig, second)

    // Again with DUP and under its packet id, in the other version.
    const third = await connect(rig, from)
    const again = await third.next(TYPE.PUBLISH)
    expect(again.flags & 8).toBe(8)
    const known = from === 5 ? { subscriptionIdentifiers: [7], contentType: 'text/plain' } : null
    if (known !== null) expect(readPublish5(again).properties).toEqual(known)
    third.send(packet.ack(TYPE.PUBACK, 1))
    await third.roundTrip()
    await cut(rig, third)
    const fourth = await connect(rig, to)
    await fourth.roundTrip()
    expect(fourth.inbox).toEqual([])
  })

  test('I3: a copy at QoS 2 goes on where it was [MQTT-4.3.3-4]', async () => {
    const rig = await startRig()
    const first = await connect(rig, from)
    await subscribe(first, 1, [['a/#', 2]])
    await publish(rig, 'a/1', 'once')
    const { id } = await nextCopy(first)
    first.send(packet.ack(TYPE.PUBREC, id))
    await first.next(TYPE.PUBREL)
    await cut(rig, first)

    const second = await connect(rig, to)
    expect(readAck(await second.next(TYPE.PUBREL), to).id).toBe(id)
    second.send(packet.ack(TYPE.PUBCOMP, id))
    await second.roundTrip()
    await cut(rig, second)
    const third = await connect(rig, from)
    await third.roundTrip()
    expect(third.inbox).toEqual([])
  })

  test('its session goes on over a start of the gateway', async () => {
    const rig = await startRig()
    const first = await connect(rig, from)
    await subscribe(first, 1, [['a/#', 1]])
    first.send(packet.publish('t/d', '1', { qos: 2, id: 1, level: from }))
    await first.acks(1, TYPE.PUBREC)
    const later = await startRig({}, rig.appender.crash())
    const second = await connect(later, to)
    expect(second.sessionPresent).toBe(true)
    second.send(packet.pubrel(1))
    expect(readAck(await second.next(TYPE.PUBCOMP), to).code).toBe(0)
    await publish(later, 'a/1', 'after the start')
    await nextCopy(second)
  })

  test('a connection that is taken over by the other version ends, and its session goes on', async () => {
    const rig = await startRig()
    const first = await connect(rig, from)
    first.send(packet.publish('t/d', '1', { qos: 2, id: 1, level: from }))
    await first.acks(1, TYPE.PUBREC)
    const second = await connect(rig, to)
    await first.closed()
    expect(first.inbox.map(({ type }) => type)).toEqual(from === 5 ? [TYPE.DISCONNECT] : [])
    expect(second.sessionPresent).toBe(true)
    second.send(packet.pubrel(1))
    expect(readAck(await second.next(TYPE.PUBCOMP), to).code).toBe(0)
  })

  test('a clean start of the other version ends it', async () => {
    const rig = await startRig()
    await cut(rig, await connect(rig, from))
    const second = await RawMqtt.connect(rig.port, { clientId: 'd', clean: true, level: to })
    expect(second.sessionPresent).toBe(false)
    await cut(rig, second)
    expect((await connect(rig, from)).sessionPresent).toBe(false)
  })
})

describe('the expiry of a session', () => {
  const away = async (levels: readonly Level[], seconds: number): Promise<boolean> => {
    let ms = 1_000
    const rig = await startRig({ sessionExpiry: 60_000 }, undefined, { monotonicMs: () => ms })
    for (const level of levels) {
      const client = await connect(rig, level, seconds)
      client.send(packet.publish('t/d', 'x', { qos: 2, id: 1, level }))
      await client.acks(1, TYPE.PUBREC)
      await cut(rig, client)
    }
    ms += 30_000
    const { sessionPresent } = await connect(rig, levels.at(-1)!, seconds)
    return sessionPresent
  }

  test('is that of the last CONNECT: 3.1.1 has no word for one and gets the configured one', async () => {
    expect(await away([5, 4], 10)).toBe(true)
    expect(await away([4, 5], 10)).toBe(false)
    expect(await away([4, 5], 40)).toBe(true)
  })

  test('of 0 seconds ends a session of 3.1.1 with the connection', async () => {
    const rig = await startRig()
    await cut(rig, await connect(rig, 4))
    const second = await connect(rig, 5, 0)
    expect(second.sessionPresent).toBe(true)
    await cut(rig, second)
    expect((await connect(rig, 4)).sessionPresent).toBe(false)
  })
})

test('3.1.1 is a member of the shared subscriptions that its session has, and can end them', async () => {
  const rig = await startRig()
  const first = await connect(rig, 5)
  await subscribe(first, 1, [['$share/g/a/#', 1]])
  await cut(rig, first)
  const second = await connect(rig, 4)
  await publish(rig, 'a/1', 'for the group')
  const { id } = await nextCopy(second)
  second.send(packet.ack(TYPE.PUBACK, id), packet.unsubscribe(2, ['$share/g/a/#']))
  await second.next(TYPE.UNSUBACK)
  await publish(rig, 'a/1', 'for nobody')
  await second.roundTrip()
  expect(second.inbox).toEqual([])
})

test('a kept copy that has expired is not sent in 3.1.1 either [MQTT-3.3.2-5]', async () => {
  let ms = Date.UTC(2026, 10, 23)
  const rig = await startRig({}, undefined, { nowMs: () => ms })
  const first = await connect(rig, 4)
  await subscribe(first, 1, [['a/#', 1]])
  await cut(rig, first)
  await publish(rig, 'a/1', 'short', { properties: { messageExpiryInterval: 5 } })
  await publish(rig, 'a/1', 'long', { properties: { messageExpiryInterval: 50 } })
  ms += 10_000
  const second = await connect(rig, 4)
  expect(readPublish(await second.next(TYPE.PUBLISH)).payload).toBe('long')
})
