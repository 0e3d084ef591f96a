/**
 * SUBSCRIBE, UNSUBSCRIBE and PUBLISH of one connection take effect in the order in which they were
 * sent.
 */
import mqtt from 'mqtt'
import { afterEach, describe, expect, test } from 'vitest'
import { packet, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

test.each([true, false])(
  'what is subscribed last stays, however fast one follows the other (clean %s)',
  async (clean) => {
    const rig = await startRig()
    const client = await RawMqtt.connect(rig.port, { clientId: 'changeable', clean })
    const [on, off] = [packet.subscribe(1, [['live/x', 1]]), packet.unsubscribe(2, ['live/x'])]
    for (const [frames, copies] of [
      [[on, off, on], 1],
      [[off, on, off], 0],
      [[on, off, off, on, on, off], 0],
      [[on, on, off, on], 1],
    ] as const) {
      client.send(...frames)
      const answers = await client.take(frames.length)
      expect(answers.map(({ type }) => type)).toEqual(
        frames.map((frame) => (frame === on ? TYPE.SUBACK : TYPE.UNSUBACK)),
      )
      client.send(packet.publish('live/x', 'copy', { qos: 1, id: 7 }))
      const frame = await client.take(1 + copies)
      expect(frame.map(({ type }) => type).toSorted((a, b) => a - b)).toEqual(
        [TYPE.PUBLISH, TYPE.PUBACK].slice(1 - copies),
      )
      for (const copy of frame.filter(({ type }) => type === TYPE.PUBLISH)) {
        client.send(packet.ack(TYPE.PUBACK, readPublish(copy).id))
      }
      await client.roundTrip()
      expect(client.inbox).toEqual([])
    }
  },
)

test('two SUBSCRIBEs under one packet id, with a filter twice, are answered for each filter', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'hasty' })
  const frame = packet.subscribe(7, [
    ['live/x', 0],
    ['live/x', 1],
    ['live/y', 0],
  ])
  client.send(frame, frame)
  const answers = await client.take(2)
  expect(answers.map(({ type, body }) => [type, body.readUInt16BE(0), body.length])).toEqual([
    [TYPE.SUBACK, 7, 5],
    [TYPE.SUBACK, 7, 5],
  ])
})

describe('packets of one connection take effect in the order in which they came, in one segment, too', () => {
  const held = { clientId: 'one', clean: true }

  test.each([
    [0, true],
    [1, true],
    [2, true],
    [1, false],
  ] as const)(
    'SUBSCRIBE, PUBLISH: the client gets its own message (QoS %i, clean %s)',
    async (qos, clean) => {
      const rig = await startRig()
      const client = await RawMqtt.connect(rig.port, { ...held, clean })
      client.send(
        packet.subscribe(1, [['live/x', qos]]),
        packet.publish('live/x', 'm', { qos, id: 1 }),
      )
      await client.next(TYPE.SUBACK)
      await client.until(() => client.inbox.some(({ type }) => type === TYPE.PUBLISH))
      const copies = client.inbox.filter(({ type }) => type === TYPE.PUBLISH)
      expect(copies.map((copy) => readPublish(copy).payload)).toEqual(['m'])
    },
  )

  test.each([true, false])(
    'PUBLISH, SUBSCRIBE: it does not get the earlier message, which another client listens to (clean %s)',
    async (clean) => {
      const rig = await startRig()
      const other = await RawMqtt.connect(rig.port, { clientId: 'other' })
      other.send(packet.subscribe(1, [['t/#', 1]]))
      await other.next(TYPE.SUBACK)
      const client = await RawMqtt.connect(rig.port, { ...held, clean })
      client.send(
        packet.publish('t/x', 'before', { qos: 1, id: 1 }),
        packet.subscribe(2, [['t/x', 1]]),
        packet.publish('t/x', 'behind', { qos: 1, id: 3 }),
      )
      await other.take(2)
      await client.until(() => client.inbox.some(({ type }) => type === TYPE.PUBLISH))
      const [copy] = client.inbox.filter(({ type }) => type === TYPE.PUBLISH)
      expect(readPublish(copy!).payload).toBe('behind')
      client.cut()
      if (clean) return
      const again = await RawMqtt.connect(rig.port, { ...held, clean })
      expect(readPublish(await again.next(TYPE.PUBLISH)).payload).toBe('behind')
      await again.roundTrip()
      expect(again.inbox).toEqual([])
    },
  )

  test('PUBLISH, UNSUBSCRIBE, PUBLISH: it gets the first message and not the second', async () => {
    const rig = await startRig()
    const client = await RawMqtt.connect(rig.port, held)
    client.send(packet.subscribe(1, [['t/x', 0]]))
    await client.next(TYPE.SUBACK)
    client.send(
      packet.publish('t/x', 'before', { qos: 1, id: 1 }),
      packet.unsubscribe(2, ['t/x']),
      packet.publish('t/x', 'behind', { qos: 1, id: 3 }),
    )
    const frames = await client.take(4)
    await client.roundTrip()
    expect(client.inbox).toEqual([])
    expect(
      frames.filter(({ type }) => type === TYPE.PUBLISH).map((f) => readPublish(f).payload),
    ).toEqual(['before'])
  })

  test('an UNSUBSCRIBE that waits for copies does not keep a client that is gone', async () => {
    const rig = await startRig()
    const client = await RawMqtt.connect(rig.port, held)
    client.send(packet.subscribe(1, [['t/x', 0]]))
    await client.next(TYPE.SUBACK)
    rig.appender.hold()
    client.send(packet.publish('t/x', 'held', { qos: 1, id: 1 }), packet.unsubscribe(2, ['t/x']))
    await eventually(
      () => rig.broker.stats.unackedMessages === 1,
      'the message waits for its commit',
    )
    client.cut()
    await eventually(
      () => rig.broker.stats.connections === 0,
      'the connection is gone before the commit',
    )
  })

  test('a subscription that is made again goes on: what was on its way still comes, once', async () => {
    const rig = await startRig()
    const client = await RawMqtt.connect(rig.port, held)
    client.send(packet.subscribe(1, [['t/x', 0]]))
    await client.next(TYPE.SUBACK)
    client.send(
      packet.publish('t/x', 'm'),
      packet.subscribe(2, [['t/x', 1]]),
      packet.publish('t/x', 'n'),
    )
    await client.next(TYPE.SUBACK)
    const frames = await client.take(2)
    expect(frames.map((frame) => readPublish(frame).payload)).toEqual(['m', 'n'])
  })

  test('mqtt.js: subscribe(); publish() without a wait', async () => {
    const rig = await startRig()
    for (let round = 0; round < 20; round += 1) {
      const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${rig.port}`)
      const came = new Promise<unknown>((resolve) =>
        client.once('message', (_topic, payload) => resolve(payload)),
      )
      void client.subscribe('p/a')
      void client.publish('p/a', 'm')
      expect(String(await came)).toBe('m')
      await client.endAsync()
    }
  })
})

test('a message that is published while a persistent subscription is on its way to disk does not lie in its queue', async () => {
  const rig = await startRig()
  const device = await RawMqtt.connect(rig.port, { clientId: 'device' })
  const client = await RawMqtt.connect(rig.port, { clientId: 'one', clean: false })
  rig.appender.hold()
  client.send(packet.subscribe(1, [['live/#', 1]]))
  await client.roundTrip()
  device.send(packet.publish('live/x', 'meanwhile', { qos: 1, id: 1 }))
  await device.acks(1)
  rig.appender.release()
  await client.next(TYPE.SUBACK)
  device.send(packet.publish('live/x', 'behind', { qos: 1, id: 2 }))
  const copy = readPublish(await client.next(TYPE.PUBLISH))
  expect(copy.payload).toBe('behind')
  client.send(packet.ack(TYPE.PUBACK, copy.id))
  await client.roundTrip()
  await client.end()
  const again = await RawMqtt.connect(rig.port, { clientId: 'one', clean: false })
  await again.roundTrip()
  expect(again.inbox).toEqual([])
})

test('what stands behind a SUBSCRIBE is taken, though the client is gone by then', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'one', clean: false })
  rig.appender.hold()
  client.send(
    packet.subscribe(1, [['live/#', 1]]),
    packet.publish('t/1', 'last word'),
    packet.disconnect(),
  )
  client.socket.end()
  client.socket.resetAndDestroy()
  await eventually(() => rig.broker.stats.holdBackBytes > 0, 'the message is held')
  rig.appender.release()
  await eventually(() => rig.appender.payloads('telemetry').length === 1, 'it is stored')
  await eventually(
    () => rig.broker.stats.connectionsClosed['client-disconnect'] === 1,
    'it said goodbye',
  )
})
