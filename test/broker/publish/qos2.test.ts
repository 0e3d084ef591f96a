/**
 * I3 at the gate: QoS 2 exactly once into the spool, within a session, across connections and
 * kills.
 */
import { afterEach, expect, test } from 'vitest'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const session = { clientId: 'q2', clean: false }

test('I3: copies of one message in one chunk are stored once, and each gets its PUBREC', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, session)
  client.send(
    packet.publish('t/1', 'once', { qos: 2, id: 5 }),
    packet.publish('t/1', 'once', { qos: 2, id: 5, dup: true }),
    packet.publish('t/1', 'once', { qos: 2, id: 5, dup: true }),
  )
  expect(await client.acks(3, TYPE.PUBREC)).toEqual([5, 5, 5])
  expect(rig.appender.payloads('telemetry')).toEqual(['once'])
  expect(rig.broker.stats.duplicates).toBe(2)
})

test('I1, I3: the PUBREC of a repeat after a takeover waits for the commit of its original', async () => {
  const rig = await startRig()
  const first = await RawMqtt.connect(rig.port, session)
  rig.appender.hold()
  first.send(packet.publish('t/1', 'once', { qos: 2, id: 5 }))
  await first.roundTrip()
  const second = await RawMqtt.connect(rig.port, session)
  expect(second.sessionPresent).toBe(true)
  second.send(packet.publish('t/1', 'once', { qos: 2, id: 5, dup: true }))
  await second.roundTrip()
  expect(second.inbox).toEqual([])
  rig.appender.release()
  expect(await second.acks(1, TYPE.PUBREC)).toEqual([5])
  expect(rig.appender.payloads('telemetry')).toEqual(['once'])
})

test('a packet id in use with another message is a new message', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, session)
  client.send(
    packet.publish('t/1', 'old', { qos: 2, id: 5 }),
    packet.publish('t/1', 'new', { qos: 2, id: 5 }),
    packet.publish('t/2', 'new', { qos: 2, id: 5 }),
  )
  await client.acks(3, TYPE.PUBREC)
  expect(rig.appender.payloads('telemetry')).toEqual(['old', 'new', 'new'])
})

test('a byte that moves between topic and payload makes another message', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, session)
  client.send(
    packet.publish('t/ab', 'c', { qos: 2, id: 5 }),
    packet.publish('t/a', 'bc', { qos: 2, id: 5 }),
  )
  await client.acks(2, TYPE.PUBREC)
  expect(rig.appender.payloads('telemetry')).toEqual(['c', 'bc'])
})

test('PUBREL of an unknown id gets PUBCOMP at once', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, session)
  rig.appender.hold()
  client.send(packet.pubrel(77))
  expect(await client.acks(1, TYPE.PUBCOMP)).toEqual([77])
})

test('I3: PUBCOMP leaves after the removal of the id is durable, also when PUBREL is repeated', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, session)
  client.send(packet.publish('t/1', 'x', { qos: 2, id: 5 }))
  await client.acks(1, TYPE.PUBREC)
  rig.appender.hold()
  client.send(packet.pubrel(5), packet.pubrel(5))
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  rig.appender.release()
  expect(await client.acks(2, TYPE.PUBCOMP)).toEqual([5, 5])
  client.send(packet.publish('t/1', 'x', { qos: 2, id: 5 }))
  await client.acks(1, TYPE.PUBREC)
  expect(rig.appender.payloads('telemetry')).toEqual(['x', 'x'])
})

test('PUBREL before PUBREC of a message that waits for room is a protocol error', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, session)
  rig.appender.setRoom('telemetry', 0)
  client.send(packet.publish('t/1', 'x', { qos: 2, id: 5 }), packet.pubrel(5))
  await client.closed()
  expect(rig.broker.stats.connectionsClosed.malformed).toBe(1)
  expect(rig.broker.stats.openPacketIds).toBe(0)
})

test('I3: open ids survive a kill; a message that was not committed does not', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, session)
  client.send(
    packet.publish('t/1', 'one', { qos: 2, id: 1 }),
    packet.publish('t/1', 'two', { qos: 2, id: 2 }),
  )
  await client.acks(2, TYPE.PUBREC)
  client.send(packet.pubrel(1))
  await client.acks(1, TYPE.PUBCOMP)
  rig.appender.hold()
  client.send(packet.publish('t/1', 'three', { qos: 2, id: 3 }))
  await client.roundTrip()
  const state = rig.appender.crash()
  await rig.stop()

  const again = await startRig({}, state)
  expect(again.eventsOf('broker.sessions-recovered')).toMatchObject([{ sessions: 1, packetIds: 1 }])
  const back = await RawMqtt.connect(again.port, session)
  expect(back.sessionPresent).toBe(true)
  back.send(
    packet.publish('t/1', 'two', { qos: 2, id: 2, dup: true }),
    packet.publish('t/1', 'three', { qos: 2, id: 3, dup: true }),
  )
  expect(await back.acks(2, TYPE.PUBREC)).toEqual([2, 3])
  expect(again.appender.payloads('telemetry')).toEqual(['one', 'two', 'three'])
})

test('I3: a checkpoint of the journal and the changes behind it give the same state', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, session)
  for (let id = 1; id <= 20; id += 1) client.send(packet.publish('t/1', `m${id}`, { qos: 2, id }))
  await client.acks(20, TYPE.PUBREC)
  rig.appender.checkpoint()
  for (let id = 1; id <= 10; id += 1) client.send(packet.pubrel(id))
  client.send(packet.publish('t/1', 'm21', { qos: 2, id: 21 }))
  await client.until(() => client.inbox.length >= 11)
  const state = rig.appender.crash()
  await rig.stop()

  const again = await startRig({}, state)
  expect(again.broker.stats.openPacketIds).toBe(11)
  const back = await RawMqtt.connect(again.port, session)
  for (let id = 11; id <= 21; id += 1)
    back.send(packet.publish('t/1', `m${id}`, { qos: 2, id, dup: true }))
  await back.acks(11, TYPE.PUBREC)
  expect(again.appender.records).toHaveLength(21)
})

test('I3: exactly once when the connection is cut at every step of the exchange', async () => {
  const rig = await startRig()
  for (let step = 0; step < 4; step += 1) {
    const payload = `step${step}`
    let client = await RawMqtt.connect(rig.port, session)
    client.send(packet.publish('t/1', payload, { qos: 2, id: 9 }))
    if (step >= 1) await client.acks(1, TYPE.PUBREC)
    if (step >= 2) client.send(packet.pubrel(9))
    if (step >= 3) await client.acks(1, TYPE.PUBCOMP)
    if (step === 0) await client.roundTrip()
    client.cut()
    client = await RawMqtt.connect(rig.port, session)
    if (step < 2) {
      client.send(packet.publish('t/1', payload, { qos: 2, id: 9, dup: true }))
      await client.acks(1, TYPE.PUBREC)
    }
    client.send(packet.pubrel(9))
    expect(await client.acks(1, TYPE.PUBCOMP)).toEqual([9])
    await client.end()
  }
  expect(rig.appender.payloads('telemetry')).toEqual(['step0', 'step1', 'step2', 'step3'])
  expect(rig.broker.stats.openPacketIds).toBe(0)
})

test('clean session 1 removes the stored state durably before CONNACK', async () => {
  const rig = await startRig()
  const first = await RawMqtt.connect(rig.port, session)
  first.send(packet.publish('t/1', 'x', { qos: 2, id: 5 }))
  await first.acks(1, TYPE.PUBREC)
  await first.end()
  rig.appender.hold()
  const clean = await RawMqtt.open(rig.port)
  clean.send(packet.connect({ clientId: 'q2', clean: true }), packet.pingreq())
  const { commits } = rig.appender
  await eventually(() => rig.appender.commits > commits, 'the removal is written')
  expect(clean.receivedBytes).toBe(0)
  expect(rig.appender.crash().journals.get('sessions')!.changes.length).toBeGreaterThan(0)
  rig.appender.release()
  expect((await clean.next(TYPE.CONNACK)).body[0]).toBe(0)
  const state = rig.appender.crash()
  await rig.stop()
  const again = await startRig({}, state)
  expect(again.broker.stats.sessions).toBe(0)
})

test('Session Present: first 0, then 1, and 0 again after clean session 1', async () => {
  const rig = await startRig()
  const present: boolean[] = []
  for (const clean of [false, false, true, false]) {
    const client = await RawMqtt.connect(rig.port, { clientId: 'sp', clean })
    present.push(client.sessionPresent)
    await client.end()
  }
  expect(present).toEqual([false, true, false, false])
})

test('QoS 2 within clean session 1 is exactly once per connection and leaves nothing behind', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'q2' })
  client.send(
    packet.publish('t/1', 'x', { qos: 2, id: 1 }),
    packet.publish('t/1', 'x', { qos: 2, id: 1, dup: true }),
  )
  await client.acks(2, TYPE.PUBREC)
  expect(rig.appender.payloads('telemetry')).toEqual(['x'])
  client.cut()
  await eventually(() => rig.broker.stats.openPacketIds === 0, 'its ids are forgotten')
  expect(rig.broker.stats.sessions).toBe(0)
})

test('QoS 2 outside every stream is exactly once, too', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, session)
  const watcher = await RawMqtt.connect(rig.port)
  watcher.send(packet.subscribe(1, [['live/#', 0]]))
  await watcher.next(TYPE.SUBACK)
  client.send(
    packet.publish('live/1', 'x', { qos: 2, id: 1 }),
    packet.publish('live/1', 'x', { qos: 2, id: 1, dup: true }),
    packet.publish('live/1', 'last', { qos: 2, id: 2 }),
  )
  await client.acks(3, TYPE.PUBREC)
  const copies = await watcher.take(2)
  expect(copies.map(({ body }) => body.subarray(8).toString())).toEqual(['x', 'last'])
  const state = rig.appender.crash()
  await rig.stop()
  expect((await startRig({}, state)).broker.stats.openPacketIds).toBe(2)
})

test.each([true, false])(
  'a client that does not wait for PUBREC gets it before PUBCOMP (clean %s)',
  async (clean) => {
    const rig = await startRig()
    const client = await RawMqtt.connect(rig.port, { clientId: 'hasty', clean })
    rig.appender.hold()
    client.send(
      packet.publish('t/1', 'x', { qos: 2, id: 7 }),
      packet.pubrel(7),
      packet.publish('live/x', 'y', { qos: 2, id: 8 }),
      packet.pubrel(8),
      packet.pubrel(9),
    )
    await client.roundTrip()
    rig.appender.release()
    const got = (await client.take(5)).map(
      ({ type, body }) => `${type.toString(16)} ${body.readUInt16BE(0)}`,
    )
    expect(got.indexOf('50 7')).toBeLessThan(got.indexOf('70 7'))
    expect(got.indexOf('50 8')).toBeLessThan(got.indexOf('70 8'))
    expect(got.filter((frame) => frame.startsWith('70'))).toEqual(['70 7', '70 8', '70 9'])
    expect(rig.appender.payloads('telemetry')).toEqual(['x'])
    expect(rig.broker.stats.openPacketIds).toBe(0)
  },
)

test('PUBREC stays before PUBCOMP where the acks wait for a message without room', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'hasty' })
  rig.appender.setRoom('alarms', 0)
  client.send(packet.publish('a/1', 'waits', { qos: 1, id: 1 }))
  client.send(packet.publish('t/1', 'x', { qos: 2, id: 7 }), packet.pubrel(7))
  await client.roundTrip()
  await eventually(() => rig.appender.payloads('telemetry').length === 1, 'the message is stored')
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  rig.appender.setRoom('alarms', null)
  expect((await client.take(3)).map(({ type }) => type)).toEqual([
    TYPE.PUBACK,
    TYPE.PUBREC,
    TYPE.PUBCOMP,
  ])
})
