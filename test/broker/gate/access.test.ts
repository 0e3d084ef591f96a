/**
 * Who may connect, publish and subscribe; and that a verdict which fails, hangs or throws harms
 * nobody else.
 */
import { afterEach, expect, test } from 'vitest'
import type { Authenticate } from '../../../gateway/broker/auth/authenticator.ts'
import { packet, type RawFrame, RawMqtt, readPublish, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

/**
 * Everything is allowed but what contains `forbidden`; the version rises with each call of
 * `change`.
 */
function rules() {
  const asked: string[] = []
  let word = 'forbidden'
  let version = 1
  const allows = (text: string): boolean => {
    if (text.includes('throws')) throw new Error('the rule broke')
    return !text.includes(word)
  }
  const authenticate: Authenticate = async () =>
    Promise.resolve({
      ok: true,
      principal: {
        user: null,
        get version() {
          return version
        },
        mayPublish: (topic) => given.publishes || allows(topic),
        maySubscribe: (filter) => filter === '#' || allows(filter),
        mayReceiveAll: (filter) => filter !== '#' && allows(filter),
        mayReceive: (topic) => {
          asked.push(topic)
          return allows(topic)
        },
      },
    })
  const given = {
    authenticate,
    /** Topics of copies that were looked at. */
    asked,
    /** True: everybody may publish anything. */
    publishes: false,
    change: (forbidden: string) => {
      word = forbidden
      version += 1
    },
  }
  return given
}

const codeOf = async (client: RawMqtt): Promise<number> =>
  (await client.next(TYPE.CONNACK)).body[1]!

test('a forbidden topic closes the connection; it is not acknowledged, not stored, counted', async () => {
  const rig = await startRig({}, undefined, rules())
  const client = await RawMqtt.connect(rig.port, { clientId: 'd' })
  client.send(packet.publish('t/1', 'fine', { qos: 1, id: 1 }))
  await client.acks(1)
  client.send(
    packet.publish('t/forbidden', 'x', { qos: 1, id: 2 }),
    packet.publish('t/1', 'y', { qos: 1, id: 3 }),
  )
  await client.closed()
  expect(client.inbox).toEqual([])
  expect(rig.appender.payloads('telemetry')).toEqual(['fine'])
  expect(rig.broker.stats.connectionsClosed['forbidden-topic']).toBe(1)
  expect(rig.eventsOf('broker.connection-closed')).toMatchObject([
    { reason: 'forbidden-topic', clientId: 'd' },
  ])
})

test('changed access rules apply to topics that a connection has used before', async () => {
  const access = rules()
  const rig = await startRig({}, undefined, access)
  const client = await RawMqtt.connect(rig.port)
  client.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
  await client.acks(1)
  access.change('t/1')
  client.send(packet.publish('t/1', 'x', { qos: 1, id: 2 }))
  await client.closed()
  expect(rig.appender.records).toHaveLength(1)
})

test('forbidden filters are answered with 0x80, and nothing is queued for them', async () => {
  const rig = await startRig({}, undefined, rules())
  const session = { clientId: 'hmi', clean: false }
  const client = await RawMqtt.connect(rig.port, session)
  client.send(
    packet.subscribe(1, [
      ['live/forbidden', 1],
      ['live/a', 1],
      ['live/forbidden/too', 0],
    ]),
    packet.subscribe(2, [['forbidden/#', 2]]),
  )
  const codes = (await client.take(2)).map(({ body }) => [...body]).sort((a, b) => a[1]! - b[1]!)
  expect(codes).toEqual([
    [0, 1, 0x80, 1, 0x80],
    [0, 2, 0x80],
  ])
  await client.end()
  const other = await RawMqtt.connect(rig.port)
  other.send(packet.publish('live/a', 'for it', { qos: 1, id: 1 }))
  await other.acks(1)
  const back = await RawMqtt.connect(rig.port, session)
  expect(readPublish(await back.next(TYPE.PUBLISH)).payload).toBe('for it')
  expect(rig.broker.stats.localCopies.delivered).toBe(1)
})

test.each([0, 1, 2] as const)(
  'a subscription of which a part is forbidden gets the rest, retained and live, granted QoS %i, connected and away',
  async (qos) => {
    const access = rules()
    const rig = await startRig({}, undefined, access)
    const device = await RawMqtt.connect(rig.port)
    const topics = ['live/forbidden', 'live/a', 'live/forbidden/b', 'live/c']
    const publish = async (retain: boolean): Promise<void> => {
      device.send(
        // The device may publish what the subscriber may not receive: the rules know no direction
        // here.
        ...topics.map((topic, i) => packet.publish(topic, 'x', { qos: 1, id: i + 1, retain })),
      )
      await device.acks(topics.length)
    }
    access.change('nothing')
    await publish(true)
    const session = { clientId: 'hmi', clean: false }
    const client = await RawMqtt.connect(rig.port, session)
    access.change('forbidden')
    client.send(packet.subscribe(1, [['#', qos]]))
    const got = (frames: readonly RawFrame[]): string[] =>
      frames.filter(({ type }) => type === TYPE.PUBLISH).map((frame) => readPublish(frame).topic)
    await client.until(() => got(client.inbox).length === 2)
    await client.roundTrip()
    expect(got(client.inbox).toSorted()).toEqual(['live/a', 'live/c'])
    client.inbox.splice(0)
    // Only copies for this subscriber are held to its rules while the device publishes.
    access.publishes = true
    await publish(false)
    await client.until(() => got(client.inbox).length === 2)
    await client.roundTrip()
    expect(got(client.inbox)).toEqual(['live/a', 'live/c'])
    if (qos === 0) return
    for (const frame of client.inbox.splice(0)) {
      if (frame.type === TYPE.PUBLISH) client.send(packet.ack(TYPE.PUBACK, readPublish(frame).id))
    }
    await client.roundTrip()
    client.cut()
    await eventually(() => rig.broker.connections() === 1, 'it is away')
    await publish(false)
    const back = await RawMqtt.connect(rig.port, session)
    await back.until(() => got(back.inbox).length >= 2)
    await back.roundTrip()
    expect(new Set(got(back.inbox))).toEqual(new Set(['live/a', 'live/c']))
  },
)

test('copies of a subscription that is allowed as a whole are not looked at; after a change of rules they are', async () => {
  const access = rules()
  const rig = await startRig({}, undefined, access)
  const client = await RawMqtt.connect(rig.port)
  client.send(packet.subscribe(1, [['live/+', 1]]))
  await client.next(TYPE.SUBACK)
  const device = await RawMqtt.connect(rig.port)
  device.send(packet.publish('live/a', 'x', { qos: 1, id: 1 }))
  await client.next(TYPE.PUBLISH)
  expect(access.asked).toEqual([])
  access.change('live/b')
  access.publishes = true
  device.send(
    packet.publish('live/b', 'x', { qos: 1, id: 2 }),
    packet.publish('live/c', 'x', { qos: 1, id: 3 }),
  )
  expect(readPublish(await client.next(TYPE.PUBLISH)).topic).toBe('live/c')
  expect(access.asked).toEqual(['live/b', 'live/c'])
})

test('a will to a forbidden topic is refused at CONNECT', async () => {
  const rig = await startRig({}, undefined, rules())
  const client = await RawMqtt.open(rig.port)
  client.send(packet.connect({ clientId: 'd', will: { topic: 'forbidden', payload: 'x' } }))
  expect(await codeOf(client)).toBe(5)
  await client.closed()
})

test('a will whose topic was forbidden meanwhile is dropped and told', async () => {
  const access = rules()
  const rig = await startRig({}, undefined, access)
  const client = await RawMqtt.connect(rig.port, {
    clientId: 'd',
    will: { topic: 't/will', payload: 'x' },
  })
  access.change('will')
  client.cut()
  await eventually(() => rig.eventsOf('broker.will-dropped').length === 1, 'it is told')
  expect(rig.appender.records).toEqual([])
})

test.each([
  [4, 'bad-credentials', 'bad-credentials'],
  [5, 'no-credentials', 'not-authorized'],
] as const)(
  'a refused client gets CONNACK %d: %s, counted as %s',
  async (returnCode, why, reason) => {
    const rig = await startRig({}, undefined, {
      authenticate: async () => Promise.resolve({ ok: false, returnCode, reason: why }),
    })
    const client = await RawMqtt.open(rig.port)
    client.send(
      packet.connect({ clientId: 'd', username: 'u', password: 'p' }),
      packet.publish('t/1', 'x'),
    )
    expect(await codeOf(client)).toBe(returnCode)
    await client.closed()
    expect(rig.broker.stats.connectionsRefused[reason]).toBe(1)
    expect(rig.appender.records).toEqual([])
  },
)

test.each(['login-busy', 'login-damped'] as const)(
  'a client that may come again is closed without a CONNACK, which libraries take for final: %s',
  async (why) => {
    const rig = await startRig({}, undefined, {
      authenticate: async () => Promise.resolve({ ok: false, returnCode: null, reason: why }),
    })
    const client = await RawMqtt.open(rig.port)
    client.send(packet.connect({ clientId: 'd', username: 'u', password: 'p' }))
    await client.closed()
    expect(client.receivedBytes).toBe(0)
    expect(rig.broker.stats.connectionsRefused[why]).toBe(1)
    const [told] = rig.eventsOf('broker.client-refused')
    expect(told?.detail).toMatch(/may come again/)
  },
)

test('limit authTimeout: a verdict that does not come closes without a CONNACK; one in time is given', async () => {
  const verdicts: (() => void)[] = []
  const { authenticate } = rules()
  const rig = await startRig({ authTimeout: 600 }, undefined, {
    authenticate: async (request) => {
      await new Promise<void>((resolve) => verdicts.push(resolve))
      return authenticate(request)
    },
  })
  const late = await RawMqtt.open(rig.port)
  late.send(packet.connect({ clientId: 'late' }))
  await eventually(() => verdicts.length === 1, 'it is asked')
  await late.closed()
  expect(late.receivedBytes).toBe(0)
  expect(rig.broker.stats.connectionsRefused['auth-timeout']).toBe(1)
  verdicts[0]!()
  const timely = await RawMqtt.open(rig.port)
  timely.send(packet.connect({ clientId: 'timely' }))
  await eventually(() => verdicts.length === 2, 'it is asked')
  setTimeout(verdicts[1]!, 300)
  expect(await codeOf(timely)).toBe(0)
})

test('frames behind CONNECT wait bounded while the verdict is out', async () => {
  let decide: () => void = () => {}
  const { authenticate } = rules()
  const rig = await startRig({ maxHoldBackBytes: 4096 }, undefined, {
    authenticate: async (request) => {
      await new Promise<void>((resolve) => {
        decide = resolve
      })
      return authenticate(request)
    },
  })
  const client = await RawMqtt.open(rig.port)
  const message = packet.publish('t/1', 'x'.repeat(1000), { qos: 1, id: 1 })
  client.send(packet.connect({ clientId: 'd' }), ...Array.from({ length: 500 }, () => message))
  await eventually(() => rig.broker.stats.holdBackBytes > 4096, 'the buffer is full')
  await new Promise((resolve) => {
    setTimeout(resolve, 100)
  })
  expect(rig.broker.stats.holdBackBytes).toBeLessThan(4096 + 2 * 65_536)
  decide()
  expect(await codeOf(client)).toBe(0)
  await client.acks(500)
})

test('rules that throw cost the connection that met them, and nothing else', async () => {
  const rig = await startRig({}, undefined, {
    authenticate: async (request) => {
      if (request.clientId === 'throws') throw new Error('the check broke')
      return rules().authenticate(request)
    },
  })
  const bystander = await RawMqtt.connect(rig.port)
  const connects = await RawMqtt.open(rig.port)
  connects.send(packet.connect({ clientId: 'throws' }))
  await connects.closed()
  expect(connects.receivedBytes).toBe(0)
  const publishes = await RawMqtt.connect(rig.port)
  publishes.send(packet.publish('t/throws', 'x', { qos: 1, id: 1 }))
  const subscribes = await RawMqtt.connect(rig.port)
  subscribes.send(packet.subscribe(1, [['throws/#', 0]]))
  await Promise.all([publishes.closed(), subscribes.closed()])
  bystander.send(packet.publish('t/1', 'x', { qos: 1, id: 1 }))
  await bystander.acks(1)
  expect(rig.eventsOf('broker.internal-error').length).toBe(2)
  rig.events.length = 0
})
