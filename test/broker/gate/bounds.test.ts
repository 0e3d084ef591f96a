/**
 * I6 at the gate: full streams, bounds of what is unacknowledged, hold-back, keepalive under a
 * stalled store.
 */
import { afterEach, expect, test, vi } from 'vitest'
import { MUST_WAIT } from '../../../gateway/ports/appender.ts'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const range = (from: number, to: number): number[] =>
  Array.from({ length: to - from + 1 }, (_, i) => from + i)

test('I6: a full stream does not keep other records of its connection from being committed; acks wait in order', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  rig.appender.setRoom('telemetry', 1)
  client.send(
    packet.publish('t/1', 'fits', { qos: 1, id: 1 }),
    packet.publish('t/1', 'waits', { qos: 1, id: 2 }),
    packet.publish('a/1', 'goes on', { qos: 1, id: 3 }),
    packet.publish('t/2', 'waits too', { qos: 2, id: 4 }),
    packet.publish('a/2', 'goes on too', { qos: 1, id: 5 }),
  )
  await eventually(
    () => rig.appender.payloads('alarms').length === 2,
    'the other stream has its records',
  )
  expect(await client.acks(1)).toEqual([1])
  await client.roundTrip()
  expect(client.inbox).toEqual([])
  expect(rig.broker.stats.waitingByStream.get('telemetry')).toBe(2)
  rig.appender.setRoom('telemetry', null)
  const frames = await client.take(4)
  expect(frames.map(({ body }) => body.readUInt16BE(0))).toEqual([2, 3, 4, 5])
  expect(rig.appender.payloads('telemetry')).toEqual(['fits', 'waits', 'waits too'])
  expect(rig.broker.stats.waitingMessages).toBe(0)
})

test('I2: a message that shares a stream with a waiting one waits behind it, and closes its own streams', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  rig.appender.setRoom('alarms', 0)
  client.send(
    packet.publish('a/1', 'first', { qos: 1, id: 1 }),
    packet.publish('both/1', 'second', { qos: 1, id: 2 }),
    packet.publish('u/1', 'third', { qos: 1, id: 3 }),
    packet.publish('t/1', 'free', { qos: 1, id: 4 }),
  )
  await eventually(() => rig.appender.payloads('telemetry').length === 1, 'the free one is stored')
  expect(rig.appender.payloads('audit')).toEqual([])
  rig.appender.setRoom('alarms', null)
  expect(await client.acks(4)).toEqual([1, 2, 3, 4])
  expect(rig.appender.payloads('alarms')).toEqual(['first', 'second'])
  expect(rig.appender.payloads('audit')).toEqual(['second', 'third'])
})

test('I6: QoS 0 for a full stream is dropped by the spool and does not wait', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  rig.appender.setRoom('telemetry', 0)
  client.send(packet.publish('t/1', 'lost'), packet.publish('a/1', 'kept', { qos: 1, id: 1 }))
  await client.acks(1)
  expect(rig.appender.droppedQos0).toBe(1)
})

test('a waiting message is discarded with its connection, and taken when the device sends it again', async () => {
  const rig = await startRig()
  const session = { clientId: 'd', clean: false }
  const first = await RawMqtt.connect(rig.port, session)
  rig.appender.setRoom('telemetry', 0)
  first.send(
    packet.publish('t/1', 'x', { qos: 2, id: 1 }),
    packet.publish('t/1', 'x', { qos: 2, id: 1, dup: true }),
  )
  await first.roundTrip()
  expect(rig.broker.stats).toMatchObject({
    waitingMessages: 1,
    unackedMessages: 2,
    openPacketIds: 1,
  })
  first.cut()
  await eventually(() => rig.broker.connections() === 0, 'it is gone')
  expect(rig.broker.stats).toMatchObject({
    waitingMessages: 0,
    unackedMessages: 0,
    unackedBytes: 0,
  })
  expect(rig.broker.stats.openPacketIds).toBe(0)
  const second = await RawMqtt.connect(rig.port, session)
  second.send(
    packet.publish('t/1', 'x', { qos: 2, id: 1, dup: true }),
    packet.publish('t/1', 'x', { qos: 2, id: 1, dup: true }),
  )
  await second.roundTrip()
  rig.appender.setRoom('telemetry', null)
  expect(await second.acks(2, TYPE.PUBREC)).toEqual([1, 1])
  expect(rig.appender.payloads('telemetry')).toEqual(['x'])
})

test('limit maxUnackedMessages: so many are taken, one more is held back', async () => {
  const rig = await startRig({ maxUnackedMessages: 10 })
  const client = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  const send = (id: number): void => client.send(packet.publish('t/1', 'x', { qos: 1, id }))
  for (const id of range(1, 10)) send(id)
  await client.roundTrip()
  expect(rig.broker.stats).toMatchObject({ unackedMessages: 10, holdBackBytes: 0 })
  send(11)
  await client.roundTrip()
  expect(rig.broker.stats.unackedMessages).toBe(10)
  expect(rig.broker.stats.holdBackBytes).toBeGreaterThan(0)
  rig.appender.release()
  expect(await client.acks(11)).toEqual(range(1, 11))
  expect(rig.broker.stats).toMatchObject({ unackedMessages: 0, unackedBytes: 0, holdBackBytes: 0 })
})

test('limit maxUnackedBytes: at the limit taken, one byte more held back', async () => {
  const rig = await startRig({ maxUnackedBytes: 1000 })
  const client = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  client.send(packet.publish('t/1', 'x'.repeat(600), { qos: 1, id: 1 }))
  client.send(packet.publish('t/1', 'x'.repeat(400), { qos: 1, id: 2 }))
  await client.roundTrip()
  expect(rig.broker.stats.unackedBytes).toBe(1000)
  client.send(packet.publish('t/1', 'x', { qos: 1, id: 3 }))
  await client.roundTrip()
  expect(rig.broker.stats.unackedMessages).toBe(2)
  rig.appender.release()
  await client.acks(3)
  // One message that is larger than the bound by itself still gets through.
  client.send(packet.publish('t/1', 'x'.repeat(5000), { qos: 1, id: 4 }))
  expect(await client.acks(1)).toEqual([4])
})

test('limits maxUnackedMessagesTotal and maxUnackedBytesTotal: over all connections, but each has room for one', async () => {
  for (const limits of [{ maxUnackedMessagesTotal: 10 }, { maxUnackedBytesTotal: 100 }]) {
    const rig = await startRig(limits)
    const greedy = await RawMqtt.connect(rig.port)
    const modest = await RawMqtt.connect(rig.port)
    rig.appender.hold()
    const message = (id: number): Buffer => packet.publish('t/1', 'x'.repeat(10), { qos: 1, id })
    greedy.send(...range(1, 12).map(message))
    await greedy.roundTrip()
    expect(rig.broker.stats.unackedMessages).toBe(10)
    modest.send(message(1), message(2))
    await modest.roundTrip()
    expect(rig.broker.stats.unackedMessages).toBe(11)
    rig.appender.release()
    expect(await greedy.acks(12)).toEqual(range(1, 12))
    expect(await modest.acks(2)).toEqual([1, 2])
    await rig.stop()
  }
})

test('waiting messages take only a share of the totals: a full stream does not shut out other devices', async () => {
  const rig = await startRig({ maxUnackedMessagesTotal: 20 })
  rig.appender.setRoom('telemetry', 0)
  const stuck = await RawMqtt.connect(rig.port)
  stuck.send(...range(1, 30).map((id) => packet.publish('t/1', 'x', { qos: 1, id })))
  await stuck.roundTrip()
  expect(rig.broker.stats.waitingMessages).toBe(10)
  const other = await RawMqtt.connect(rig.port)
  other.send(...range(1, 100).map((id) => packet.publish('a/1', 'x', { qos: 1, id })))
  expect(await other.acks(100)).toEqual(range(1, 100))
  rig.appender.setRoom('telemetry', null)
  expect(await stuck.acks(30)).toEqual(range(1, 30))
})

test('a message that waits for room keeps both times of its arrival, though the wall clock is set meanwhile', async () => {
  const now = { wallMs: 60_000, monotonicMs: 1_000 }
  const clocks = { nowMs: () => now.wallMs, monotonicMs: () => now.monotonicMs }
  const rig = await startRig({}, undefined, clocks)
  const taken: unknown[] = []
  const { appender } = rig
  const append = appender.append.bind(appender)
  vi.spyOn(appender, 'append').mockImplementation((lanes, message) => {
    const ticket = append(lanes, message)
    const { receivedAtMs, arrivedMs } = message
    if (ticket !== MUST_WAIT) taken.push({ receivedAtMs, arrivedMs })
    return ticket
  })
  appender.setRoom('telemetry', 0)
  const client = await RawMqtt.connect(rig.port)
  client.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
  await client.roundTrip()
  expect(appender.mustWaits).toBe(1)
  now.wallMs = Date.UTC(2026, 10, 26)
  now.monotonicMs = 9_000
  appender.setRoom('telemetry', null)
  expect(await client.acks(1)).toEqual([1])
  expect(taken).toEqual([{ receivedAtMs: 60_000, arrivedMs: 1_000 }])
})

test('limit maxHoldBackBytes: PINGREQ is answered up to it; then nothing is read, and all of it is taken later', async () => {
  const rig = await startRig({ maxUnackedMessages: 1, maxHoldBackBytes: 4096 })
  const client = await RawMqtt.connect(rig.port)
  rig.appender.hold()
  client.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
  await client.roundTrip()
  const message = packet.publish('t/1', 'x'.repeat(93), { qos: 1, id: 2 })
  expect(message.length).toBe(102)
  for (let sent = 0; sent + message.length < 4096; sent += message.length) client.send(message)
  await client.roundTrip()
  expect(rig.broker.stats.holdBackBytes).toBeLessThan(4096)
  client.send(message)
  await eventually(() => rig.broker.stats.holdBackBytes >= 4096, 'the buffer is full')
  const held = rig.broker.stats.holdBackBytes
  // What follows stays in the kernel: a megabyte and a PINGREQ.
  client.send(...Array.from({ length: 10_000 }, () => message), packet.pingreq())
  await new Promise((resolve) => {
    setTimeout(resolve, 300)
  })
  expect(rig.broker.stats.holdBackBytes).toBeLessThan(held + 70_000)
  expect(client.inbox).toEqual([])
  rig.appender.release()
  await client.until(() => client.inbox.some(({ type }) => type === TYPE.PINGRESP), 20_000)
  await eventually(() => rig.broker.stats.holdBackBytes === 0, 'all of it is taken')
}, 60_000)

test('I6: a held PINGREQ is answered once, also with a length of more bytes than it needs', async () => {
  const rig = await startRig({ maxUnackedMessages: 1 })
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  rig.appender.hold()
  // 3.1.1 does not ask for the shortest encoding of the remaining length (section 2.2.3).
  const padded = Buffer.of(0xc0, 0x80, 0x00)
  client.send(
    packet.publish('t/1', '1', { qos: 1, id: 1 }),
    packet.publish('t/1', '2', { qos: 1, id: 2 }),
  )
  client.send(padded)
  expect((await client.next()).type).toBe(TYPE.PINGRESP)
  rig.appender.release()
  expect(await client.acks(2)).toEqual([1, 2])
  await client.roundTrip()
  expect(client.inbox).toEqual([])
})

test('limit maxHoldBackBytesTotal: over all connections; a small device keeps its floor', async () => {
  const rig = await startRig({ maxUnackedMessages: 1, maxHoldBackBytesTotal: 20_000 })
  rig.appender.hold()
  const big = await RawMqtt.connect(rig.port)
  const message = packet.publish('t/1', 'x'.repeat(5000), { qos: 1, id: 2 })
  big.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }), message, message, message, message)
  await eventually(() => rig.broker.stats.holdBackBytes > 20_000, 'the total is used up')
  const small = await RawMqtt.connect(rig.port)
  small.send(...range(1, 5).map((id) => packet.publish('t/1', 'x', { qos: 1, id })))
  await small.roundTrip()
  rig.appender.release()
  expect(await small.acks(5)).toEqual(range(1, 5))
  await big.acks(5)
})

test('limit maxHoldBackBytesTotal: parts of frames alone use it up, and every frame is finished in its turn', async () => {
  const rig = await startRig({ maxHoldBackBytesTotal: 20_000 })
  const message = packet.publish('t/1', 'x'.repeat(20_000), { qos: 1, id: 1 })
  const clients = await Promise.all(
    range(1, 12).map((id) => RawMqtt.connect(rig.port, { clientId: `d${id}` })),
  )
  for (const client of clients) client.send(message.subarray(0, 12_000))
  await eventually(() => rig.broker.stats.holdBackBytes > 40_000, 'the total is more than used up')
  // The first ones never send the rest: their turn ends.
  const [, , , , , , ...rest] = clients
  for (const client of rest) client.send(message.subarray(12_000))
  for (const client of rest) expect(await client.acks(1)).toEqual([1])
  expect(rig.broker.stats.holdBackBytes).toBeLessThanOrEqual(20_000 + 6 * message.length)
})

test('I6: with the store stalled for three keepalive intervals nobody is disconnected', async () => {
  const rig = await startRig({ maxUnackedMessages: 5, maxHoldBackBytes: 1024 })
  const idle = await RawMqtt.connect(rig.port, { clientId: 'pings', keepAlive: 1 })
  const busy = await RawMqtt.connect(rig.port, { clientId: 'floods', keepAlive: 1 })
  rig.appender.hold()
  idle.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
  // Beyond all bounds: it is not read from any more, so its keepalive is suspended.
  const flood = range(1, 200).map((id) => packet.publish('t/1', 'x'.repeat(1000), { qos: 1, id }))
  busy.send(...flood)
  const pings = setInterval(() => idle.send(packet.pingreq()), 500)
  await new Promise((resolve) => {
    setTimeout(resolve, 4_500)
  })
  clearInterval(pings)
  expect([idle.isClosed, busy.isClosed]).toEqual([false, false])
  expect(idle.inbox.every(({ type }) => type === TYPE.PINGRESP)).toBe(true)
  expect(idle.inbox.length).toBeGreaterThan(6)
  rig.appender.release()
  expect(await busy.acks(200)).toEqual(range(1, 200))
})

test('a client that says nothing for 1.5 keepalive intervals is disconnected, and one byte counts as something', async () => {
  const rig = await startRig()
  const silent = await RawMqtt.connect(rig.port, { clientId: 'silent', keepAlive: 1 })
  const slow = await RawMqtt.connect(rig.port, { clientId: 'slow', keepAlive: 1 })
  const bytes = packet.publish('t/1', 'slowly', { qos: 1, id: 1 })
  let at = 0
  const trickle = setInterval(() => slow.send(bytes.subarray(at, ++at)), 200)
  const began = performance.now()
  await silent.closed()
  const took = performance.now() - began
  expect(took).toBeGreaterThan(1_400)
  expect(took).toBeLessThan(2_600)
  expect(slow.isClosed).toBe(false)
  await slow.until(() => slow.inbox.length === 1)
  clearInterval(trickle)
  expect(rig.broker.stats.connectionsClosed.keepalive).toBe(1)
})

test('one packet per TCP segment does not grow memory: no byte is kept behind a whole packet', async () => {
  const rig = await startRig()
  rig.appender.isDiscarding = true
  const client = await RawMqtt.connect(rig.port)
  const message = packet.publish('t/1', 'x'.repeat(200))
  for (let i = 0; i < 2_000; i += 1) {
    client.send(message)
    if (i % 100 === 0) await client.roundTrip()
  }
  await client.roundTrip()
  expect(rig.broker.stats.messages.qos0).toBe(2_000)
  expect(rig.broker.stats).toMatchObject({ holdBackBytes: 0, subscriberBytes: 0, unackedBytes: 0 })
  // While acks are withheld, held packets cost their bytes and nothing per segment.
  rig.appender.hold()
  for (let i = 0; i < 1_200; i += 1) {
    client.send(packet.publish('t/1', 'x', { qos: 1, id: i + 1 }))
    if (i % 20 === 0) await client.roundTrip()
  }
  await client.roundTrip()
  expect(rig.broker.stats.unackedMessages).toBe(1_000)
  expect(rig.broker.stats.holdBackBytes).toBeLessThanOrEqual(200 * 10 + 200)
})
