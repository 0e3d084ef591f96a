/** I1 and I2 at the gate: when acks leave, and in which order. */
import { afterEach, expect, test } from 'vitest'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

test('I1: no PUBACK and no PUBREC is on the wire before the commit of its record is durable', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'd1', clean: false })
  rig.appender.hold()
  const before = client.receivedBytes
  const { commits } = rig.appender
  client.send(
    packet.publish('t/1', 'one', { qos: 1, id: 1 }),
    packet.publish('t/2', 'two', { qos: 2, id: 2 }),
  )
  await client.roundTrip()
  await eventually(() => rig.appender.commits > commits, 'the commit is written')
  expect(client.receivedBytes - before).toBe(2) // the PINGRESP alone
  expect(rig.appender.records).toEqual([])
  rig.appender.release()
  const frames = await client.take(2)
  expect(frames.map(({ type }) => type)).toEqual([TYPE.PUBACK, TYPE.PUBREC])
  expect(rig.appender.payloads('telemetry')).toEqual(['one', 'two'])
})

test('I2: acks leave in the order of the PUBLISHes across streams, unrouted topics and QoS 1 and 2', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'd1' })
  const sent: Buffer[] = []
  const topics = ['t/x', 'nowhere/x', 'a/x', 'both/x', 'u/x']
  for (let id = 1; id <= 500; id += 1) {
    const qos = id % 3 === 0 ? 2 : 1
    sent.push(packet.publish(topics[id % topics.length]!, `m${id}`, { qos, id }))
  }
  client.send(...sent)
  const frames = await client.take(500)
  expect(frames.map(({ body }) => body.readUInt16BE(0))).toEqual(
    Array.from({ length: 500 }, (_, i) => i + 1),
  )
  expect(
    frames.every(({ type, body }) => (type === TYPE.PUBREC) === (body.readUInt16BE(0) % 3 === 0)),
  ).toBe(true)
})

test('I2: a message of no stream is not acknowledged before an earlier one that waits for its commit', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  client.send(
    packet.publish('t/1', 'x', { qos: 1, id: 7 }),
    packet.publish('nowhere', 'y', { qos: 1, id: 8 }),
  )
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  rig.appender.release()
  expect(await client.acks(2)).toEqual([7, 8])
})

test('acks of one commit leave in one write', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  client.send(
    ...Array.from({ length: 100 }, (_, i) => packet.publish('t/1', 'x', { qos: 1, id: i + 1 })),
  )
  await client.roundTrip()
  const chunks: number[] = []
  client.socket.on('data', (chunk: Buffer) => chunks.push(chunk.length))
  rig.appender.release()
  await client.acks(100)
  expect(chunks[0]).toBe(400)
})

test('PINGREQ is answered at once while acks are withheld', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  client.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
  for (let i = 0; i < 3; i += 1) await client.roundTrip()
  expect(client.inbox).toEqual([])
})

test('a packet may be cut at every byte', async () => {
  const rig = await startRig()
  const whole = Buffer.concat([
    packet.connect({ clientId: 'cut', clean: false, will: { topic: 't/w', payload: 'gone' } }),
    packet.publish('t/ä/1', 'x'.repeat(150), { qos: 1, id: 1 }),
    packet.publish('t/2', '', { qos: 2, id: 2 }),
    packet.pingreq(),
    packet.pubrel(2),
    packet.subscribe(3, [['live/#', 1]]),
    packet.publish('t/3', 'z', { qos: 1, id: 4 }),
  ])
  for (let at = 1; at < whole.length; at += 1) {
    const client = await RawMqtt.open(rig.port)
    client.send(whole.subarray(0, at))
    await new Promise((resolve) => {
      setImmediate(resolve)
    })
    client.send(whole.subarray(at))
    await client.until(() => client.inbox.length >= 7)
    expect(client.inbox.map(({ type }) => type).sort((a, b) => a - b)).toEqual(
      [
        TYPE.CONNACK,
        TYPE.PUBACK,
        TYPE.PUBREC,
        TYPE.PINGRESP,
        TYPE.PUBCOMP,
        TYPE.SUBACK,
        TYPE.PUBACK,
      ].sort((a, b) => a - b),
    )
    await client.end()
  }
  expect(rig.broker.stats.connectionsClosed.malformed).toBe(0)
}, 60_000)

test('packets pipelined behind CONNECT are processed in order after CONNACK', async () => {
  const rig = await startRig()
  const client = await RawMqtt.open(rig.port)
  client.send(
    packet.connect({ clientId: 'eager' }),
    ...Array.from({ length: 50 }, (_, i) => packet.publish('t/1', `m${i}`, { qos: 1, id: i + 1 })),
    packet.subscribe(99, [['live/1', 0]]),
    packet.pingreq(),
  )
  expect((await client.next()).type).toBe(TYPE.CONNACK)
  await client.until(() => client.inbox.length >= 52)
  const acks = client.inbox.filter(({ type }) => type === TYPE.PUBACK)
  expect(acks.map(({ body }) => body.readUInt16BE(0))).toEqual(
    Array.from({ length: 50 }, (_, i) => i + 1),
  )
})

test('a client that sends all at once and leaves without waiting for CONNACK is heard', async () => {
  const rig = await startRig()
  const client = await RawMqtt.open(rig.port)
  client.send(
    packet.connect({ clientId: 'hasty', will: { topic: 't/will', payload: 'gone' } }),
    packet.publish('t/1', 'bye'),
    packet.disconnect(),
  )
  client.socket.end()
  await eventually(() => rig.appender.payloads('telemetry').length > 0, 'the reading is stored')
  await eventually(() => rig.broker.connections() === 0, 'the connection is over')
  expect(rig.appender.payloads('telemetry')).toEqual(['bye'])
})

test('a record carries the flags of its message and the device of its stream', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'press-7' })
  client.send(packet.publish('t/1', '{"a":1}', { qos: 1, id: 1, dup: true, retain: true }))
  await client.acks(1)
  expect(rig.appender.records).toMatchObject([
    {
      device: 'press-7',
      topic: 't/1',
      payload: '{"a":1}',
      qos: 1,
      dup: true,
      retain: true,
      will: false,
    },
  ])
})

test('a message that several streams take is in all of them, with one ack', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port)
  client.send(packet.publish('both/1', 'x', { qos: 1, id: 1 }))
  await client.acks(1)
  expect(rig.appender.records.map(({ stream }) => stream)).toEqual(['alarms', 'audit'])
})
