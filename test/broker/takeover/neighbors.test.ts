/**
 * Takeover between gateways: two brokers that tell each other of clients, over a bus that the test
 * holds back, loses and repeats as it likes. On real servers: test/sink/nats/notices.test.ts.
 */
import { afterEach, expect, test } from 'vitest'
import {
  clientIdHash,
  decodeNotice,
  encodeNotice,
} from '../../../gateway/broker/takeover/notice.ts'
import type { NoticeBus } from '../../../gateway/ports/notices.ts'
import { packet, RawMqtt, TYPE } from '../../support/raw-mqtt.ts'
import { eventually, type Rig, startRig, stopRigs } from '../harness.ts'

afterEach(stopRigs)

const SENDER = { tag: Buffer.from('8 bytes!'), name: 'edge-9' }
const will = { topic: 't/will', payload: 'gone', qos: 1 }

/** Every gateway hears what any of them sends, as on a subject; and the test, too. */
class Bus {
  readonly sent: Uint8Array[] = []
  /** What is sent waits here until it is delivered. */
  isHeld = false
  isCut = false
  readonly #listeners: ((bytes: Uint8Array) => void)[] = []

  member(): NoticeBus {
    const isConnected = (): boolean => !this.isCut
    return {
      get isConnected() {
        return isConnected()
      },
      get detail() {
        return isConnected() ? null : 'cut'
      },
      send: (bytes) => this.#send(bytes),
      onReceived: (listener) => void this.#listeners.push(listener),
      close: () => undefined,
    }
  }

  #send(bytes: Uint8Array): boolean {
    if (this.isCut) return false
    this.sent.push(bytes)
    if (!this.isHeld) this.deliver(bytes)
    return true
  }

  deliver(bytes: Uint8Array): void {
    for (const listener of this.#listeners) listener(bytes)
  }
}

interface Cluster {
  readonly bus: Bus
  readonly a: Rig
  readonly b: Rig
  /** For both gateways that much time passes at once. */
  readonly pass: (ms: number) => void
}

async function startTwo(): Promise<Cluster> {
  const bus = new Bus()
  let shiftMs = 0
  const start = async (name: string): Promise<Rig> =>
    await startRig({}, undefined, {
      monotonicMs: () => performance.now() + shiftMs,
      cluster: { bus: bus.member(), name },
    })
  const pass = (ms: number): void => {
    shiftMs += ms
  }
  return { bus, a: await start('edge-a'), b: await start('edge-b'), pass }
}

test('a notice is the same behind its bytes, and other bytes are none', () => {
  const arrivals = [
    { hash: clientIdHash('press-7'), ageMs: 12, goesOn: true },
    { hash: clientIdHash('preß-8'), ageMs: 0xffff_ffff, goesOn: false },
  ]
  const bytes = encodeNotice({ ...SENDER, name: 'größer' }, arrivals)
  expect(decodeNotice(bytes)).toEqual({ sender: { ...SENDER, name: 'größer' }, arrivals })
  expect(bytes.includes('press-7')).toBe(false)
  expect(decodeNotice(bytes.subarray(0, -1))).toBeNull()
  expect(decodeNotice(Buffer.concat([Buffer.of(2), bytes.subarray(1)]))).toBeNull()
  expect(decodeNotice(Buffer.alloc(0))).toBeNull()
  expect(decodeNotice(Buffer.from([1, ...Buffer.alloc(8), 200]))).toBeNull()
})

test.each([4, 5])(
  'a client of level %d ends the connection that it left at another gateway',
  async (level) => {
    const { a, b, pass } = await startTwo()
    const old = await RawMqtt.connect(a.port, { clientId: 'x', level, will })
    pass(1_000)
    const fresh = await RawMqtt.connect(b.port, { clientId: 'x', level })
    if (level === 5) expect((await old.next(TYPE.DISCONNECT)).body[0]).toBe(0x8e)
    await old.closed()
    await eventually(() => a.appender.records.length === 1, 'the will is stored')
    expect(a.appender.records).toMatchObject([{ topic: 't/will', will: true, device: 'x' }])
    await fresh.roundTrip()
    expect(a.eventsOf('broker.connection-closed')).toMatchObject([
      { reason: 'takeover', detail: 'the client id connected to gateway edge-b' },
    ])
    expect(a.broker.counts.neighbors).toMatchObject({ told: 1, heard: 1, ended: 1, malformed: 0 })
    expect(b.broker.counts.neighbors).toMatchObject({ told: 1, heard: 1, ended: 0 })
  },
)

test('of two that connect at the same time both stay; a late notice leaves a younger one alone', async () => {
  const { a, b, bus, pass } = await startTwo()
  bus.isHeld = true
  const first = await RawMqtt.connect(a.port, { clientId: 'tie' })
  const second = await RawMqtt.connect(b.port, { clientId: 'tie' })
  await eventually(() => bus.sent.length === 2, 'both are told')
  for (const bytes of bus.sent) bus.deliver(bytes)
  await first.roundTrip()
  await second.roundTrip()
  expect(a.broker.counts.neighbors).toMatchObject({ heard: 1, ended: 0 })

  // Somebody else's, that says for how long it has been there.
  pass(10_000)
  const young = await RawMqtt.connect(a.port, { clientId: 'young' })
  const arrival = { hash: clientIdHash('young'), ageMs: 5_000, goesOn: false }
  bus.deliver(encodeNotice(SENDER, [arrival]))
  await young.roundTrip()
  pass(10_000)
  bus.deliver(encodeNotice(SENDER, [arrival]))
  await young.closed()
  expect(a.broker.stats.connectionsClosed.takeover).toBe(1)
})

test.each([
  { goesOn: true, published: 0 },
  { goesOn: false, published: 1 },
])(
  'a will with a delay: session goes on $goesOn, published $published',
  async ({ goesOn, published }) => {
    const { a, b, pass } = await startTwo()
    const old = await RawMqtt.connect(a.port, {
      clientId: 'x',
      level: 5,
      clean: false,
      properties: { sessionExpiryInterval: 3_600 },
      will: { ...will, properties: { willDelayInterval: 600 } },
    })
    pass(1_000)
    const fresh = await RawMqtt.connect(b.port, { clientId: 'x', level: 5, clean: !goesOn })
    await old.closed()
    await fresh.roundTrip()
    await eventually(() => a.broker.connections() === 0, 'nothing of it is left')
    // What comes behind it in the same stream is there: so would be the will.
    const other = await RawMqtt.connect(a.port, { clientId: 'other' })
    other.send(packet.publish('t/x', 'later', { qos: 1, id: 1 }))
    await eventually(() => a.appender.records.some(({ topic }) => topic === 't/x'), 'it is stored')
    expect(a.appender.records.filter((record) => record.will)).toHaveLength(published)
    await a.stop()
    expect(a.appender.records.filter((record) => record.will)).toHaveLength(published)
  },
)

test('a will that waits for its delay is settled, too, when its client comes to another gateway', async () => {
  const { a, b } = await startTwo()
  const old = await RawMqtt.connect(a.port, {
    clientId: 'x',
    level: 5,
    clean: false,
    properties: { sessionExpiryInterval: 3_600 },
    will: { ...will, properties: { willDelayInterval: 600 } },
  })
  old.cut()
  await eventually(() => a.broker.connections() === 0, 'it is gone')
  await RawMqtt.connect(b.port, { clientId: 'x', level: 5 })
  await eventually(() => a.appender.records.length === 1, 'the will is published')
})

test('what is no notice is counted; without a bus clients come and go, and that is counted', async () => {
  const { a, b, bus, pass } = await startTwo()
  bus.deliver(Buffer.from('{"not":"a notice"}'))
  expect(a.broker.counts.neighbors).toMatchObject({ malformed: 1, heard: 0 })
  bus.isCut = true
  const old = await RawMqtt.connect(a.port, { clientId: 'x' })
  pass(1_000)
  const fresh = await RawMqtt.connect(b.port, { clientId: 'x' })
  await eventually(() => b.broker.counts.neighbors?.untold === 1, 'nobody was told')
  await old.roundTrip()
  await fresh.roundTrip()
  expect(a.broker.counts.neighbors).toMatchObject({ isConnected: false, detail: 'cut', told: 0 })
})

test('two clients with one id at two gateways are told of in words', async () => {
  const { a, b, pass } = await startTwo()
  let former: RawMqtt | null = null
  for (let round = 0; round < 5; round += 1) {
    for (const rig of [a, b]) {
      const client = await RawMqtt.connect(rig.port, { clientId: 'both' })
      await former?.closed()
      former = client
      pass(1_000)
    }
  }
  expect(a.eventsOf('broker.client-id-shared')).toMatchObject([
    { clientId: 'both', addresses: ['127.0.0.1', 'gateway edge-b'], takeovers: 4 },
  ])
})

test('hundreds of connects make few messages', async () => {
  const { a, bus } = await startTwo()
  const count = 300
  await Promise.all(
    Array.from({ length: count }, (_, n) => RawMqtt.connect(a.port, { clientId: `c${n}` })),
  )
  // Nobody else knows an id that was made here.
  await RawMqtt.connect(a.port, {})
  await RawMqtt.connect(a.port, { clientId: 'last' })
  const hashesTold = (): string[] =>
    bus.sent.flatMap((bytes) => decodeNotice(bytes)?.arrivals ?? []).map(({ hash }) => hash)
  await eventually(() => hashesTold().includes(clientIdHash('last')), 'all are told')
  const told = hashesTold()
  expect(told).toHaveLength(count + 1)
  expect(bus.sent.length).toBeLessThan(count / 2)
})
