/**
 * Topics that are well-formed and unwanted never shut a device out: what is behind them comes
 * through, and nothing goes uncounted (I9). Closing is for what is malformed or not authorized.
 */
import { afterEach, describe, expect, test } from 'vitest'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const DEEP = `t/${'x/'.repeat(31)}x`
const LONG = `t/${'x'.repeat(1_023)}`

describe.each([1, 2] as const)('at QoS %i', (qos) => {
  test.each([
    ['of 33 levels', DEEP, 'topic-too-deep'],
    ['of 1,025 bytes', LONG, 'topic-too-long'],
    ['of 65,535 bytes', `t/${'x'.repeat(65_533)}`, 'topic-too-long'],
    ['of 65,536 levels', `t/${'/'.repeat(65_533)}`, 'topic-too-long'],
  ] as const)(
    'a topic %s is a dead letter, acknowledged in order, and never a record',
    async (_name, topic, reason) => {
      const rig = await startRig()
      const client = await RawMqtt.connect(rig.port, { clientId: 'poison', clean: false })
      client.send(
        packet.publish(topic, '1', { qos, id: 1 }),
        packet.publish('t/1', '2', { qos, id: 2 }),
      )
      expect(await client.acks(2, qos === 1 ? TYPE.PUBACK : TYPE.PUBREC)).toEqual([1, 2])
      expect(rig.appender.deadLetters).toMatchObject([{ stream: 'telemetry', topic }])
      expect(rig.appender.payloads('telemetry')).toEqual(['2'])
      expect(rig.broker.stats.unwanted[reason]).toBe(1)
      expect(rig.eventsOf('broker.message-unwanted')).toMatchObject([
        { reason, streams: ['telemetry'] },
      ])
      await client.end()
    },
  )

  test('a $ topic that no stream names is acknowledged in order, counted and not stored', async () => {
    const rig = await startRig({ unrouted: 'refuse' })
    const client = await RawMqtt.connect(rig.port, { clientId: 'shadow', clean: false })
    const topics = ['$aws/things/press-7/shadow/update', '$SYS/broker/connection/x/state', '$']
    client.send(
      ...topics.map((topic, index) =>
        packet.publish(topic, '1', { qos, id: index + 1, retain: true }),
      ),
      packet.publish('t/1', '2', { qos, id: 9 }),
    )
    expect(await client.acks(4, qos === 1 ? TYPE.PUBACK : TYPE.PUBREC)).toEqual([1, 2, 3, 9])
    expect(rig.appender.payloads('telemetry')).toEqual(['2'])
    expect(rig.appender.deadLetters).toEqual([])
    expect(rig.broker.stats.unwanted['dollar-topic']).toBe(3)
    expect(rig.broker.stats.unrouted).toEqual({ accepted: 0, refused: 0 })
    expect(rig.broker.counts.kept.retainedMessages).toBe(0)
    await client.end()
  })
})

test('a $ topic that a stream names literally is stored like any other, not retained and not delivered locally', async () => {
  const streams = [
    { name: 'shadow', topics: ['$aws/#'] },
    { name: 'rest', topics: ['#'] },
  ]
  const rig = await startRig({}, undefined, {}, streams)
  const watcher = await RawMqtt.connect(rig.port, { clientId: 'watcher' })
  watcher.send(packet.subscribe(1, [['#', 1]]))
  await watcher.next(TYPE.SUBACK)
  const client = await RawMqtt.connect(rig.port, { clientId: 'press-7' })
  client.send(
    packet.publish('$aws/things/press-7/shadow/update', '1', { qos: 1, id: 1, retain: true }),
    packet.publish('t/1', '2', { qos: 1, id: 2 }),
  )
  expect(await client.acks(2)).toEqual([1, 2])
  expect(rig.appender.payloads('shadow')).toEqual(['1'])
  expect(rig.appender.payloads('rest')).toEqual(['2'])
  expect(rig.broker.stats.unwanted['dollar-topic']).toBe(0)
  expect(rig.broker.counts.kept.retainedMessages).toBe(0)
  const copy = await watcher.next(TYPE.PUBLISH)
  expect(copy.body.includes('t/1')).toBe(true)
})

test('a topic over a limit that no stream takes goes by `unrouted`', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  client.send(packet.publish(`nowhere/${'x/'.repeat(40)}`, '1', { qos: 1, id: 1, retain: true }))
  expect(await client.acks(1)).toEqual([1])
  expect(rig.broker.stats.unrouted).toEqual({ accepted: 1, refused: 0 })
  expect(rig.broker.stats.unwanted['topic-too-deep']).toBe(1)
  expect(rig.broker.counts.kept.retainedMessages).toBe(0)
})

test('of a topic of 64 KiB that nobody takes, the beginning is shown', async () => {
  const rig = await startRig()
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  client.send(packet.publish(`nowhere/${'x'.repeat(65_000)}`, '1', { qos: 1, id: 1 }))
  expect(await client.acks(1)).toEqual([1])
  expect(rig.broker.stats.lastUnrouted.topic).toBe(`nowhere/${'x'.repeat(1_016)}`)
})

test.each([
  ['under $SYS', '$SYS/broker/connection/hall-2/state', 'dollar-topic', 0],
  ['over a limit', DEEP, 'topic-too-deep', 1],
] as const)(
  'a will %s is taken, and counted when it is due',
  async (_name, topic, reason, deadLetters) => {
    const rig = await startRig()
    const will = { topic, payload: '0', qos: 1, retain: true }
    const client = await RawMqtt.connect(rig.port, { clientId: 'hall-2', will })
    client.socket.destroy()
    await eventually(() => rig.broker.stats.unwanted[reason] === 1, 'the will is counted')
    expect(rig.appender.deadLetters).toHaveLength(deadLetters)
    expect(rig.appender.records).toEqual([])
    expect(rig.broker.counts.kept.retainedMessages).toBe(0)
  },
)

test('a message that waits for its ack is counted once, however often it is offered', async () => {
  const rig = await startRig({ maxUnackedMessages: 1 })
  const client = await RawMqtt.connect(rig.port)
  client.send(...[1, 2, 3, 4].map((id) => packet.publish('$x/y', '1', { qos: 1, id })))
  expect(await client.acks(4)).toEqual([1, 2, 3, 4])
  expect(rig.broker.stats.unwanted['dollar-topic']).toBe(4)
})

test.each(['$share/group/t/#', '$queue/t/#', '$SYS/broker/uptime', '$SYS/#', '$aws/#'])(
  'a subscription to %s is answered 0x80, not granted and silent',
  async (filter) => {
    const rig = await startRig()
    const client = await RawMqtt.connect(rig.port)
    client.send(
      packet.subscribe(7, [
        [filter, 1],
        ['t/#', 1],
      ]),
    )
    const { body } = await client.next(TYPE.SUBACK)
    expect([...body]).toEqual([0, 7, 0x80, 1])
  },
)
