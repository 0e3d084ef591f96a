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

/** Of one gateway: it hears what any of them sends while it is there, as on a subject. */
class Member implements NoticeBus {
  isConnected = true
  hear: (bytes: Uint8Array) => void = () => undefined
  readonly #send: (bytes: Uint8Array) => void
  #whenConnected: () => void = () => undefined

  constructor(send: (bytes: Uint8Array) => void) {
    this.#send = send
  }

  get detail(): string | null {
    return this.isConnected ? null : 'cut'
  }

  send(bytes: Uint8Array): boolean {
    if (this.isConnected) this.#send(bytes)
    return this.isConnected
  }

  onReceived(listener: (bytes: Uint8Array) => void): void {
    this.hear = listener
  }

  onConnected(listener: () => void): void {
    this.#whenConnected = listener
  }

  close(): void {
    this.isConnected = false
  }

  reconnect(): void {
    this.isConnected = true
    this.#whenConnected()
  }
}

/** Every gateway hears what any of them sends, as on a subject; and the test, too. */
class Bus {
  readonly sent: Uint8Array[] = []
  /** What is sent waits here until it is delivered. */
  isHeld = false
  readonly #members: Member[] = []

  member(): Member {
    const member = new Member((bytes) => this.#take(bytes))
    this.#members.push(member)
    return member
  }

  /** The engine is away, and each of them has noticed. */
  cut(): void {
    for (const member of this.#members) member.close()
  }

  deliver(bytes: Uint8Array): void {
    for (const { hear, isConnected } of this.#members) if (isConnected) hear(bytes)
  }

  #take(bytes: Uint8Array): void {
    this.sent.push(bytes)
    if (!this.isHeld) this.deliver(bytes)
  }
}

interface Cluster {
  readonly bus: Bus
  /** Of a, and of b. */
  readonly members: readonly [Member, Member]
  readonly a: Rig
  readonly b: Rig
  /** For both gateways that much time passes at once. */
  readonly pass: (ms: number) => void
}

async function startTwo(): Promise<Cluster> {
  const bus = new Bus()
  let shiftMs = 0
  const members = [bus.member(), bus.member()] as const
  const start = async (member: Member, name: string): Promise<Rig> =>
    await startRig({}, undefined, {
      monotonicMs: () => performance.now() + shiftMs,
      cluster: { bus: member, name },
    })
  const pass = (ms: number): void => {
    shiftMs += ms
  }
  const [a, b] = [await start(members[0], 'edge-a'), await start(members[1], 'edge-b')]
  return { bus, members, a, b, pass }
}

test('a notice is the same behind its bytes, and other bytes are none', () => {
  const entries = [
    { hash: clientIdHash('press-7'), ageMs: 12, goesOn: true },
    { hash: clientIdHash('preß-8'), ageMs: 0xffff_ffff, goesOn: false },
  ]
  const bytes = encodeNotice({ ...SENDER, name: 'größer' }, entries)
  expect(decodeNotice(bytes)).toEqual({ sender: { ...SENDER, name: 'größer' }, entries })
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
    await eventually(() => a.broker.counts.neighbors?.told === 1, 'it is told before the other')
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
  bus.cut()
  const old = await RawMqtt.connect(a.port, { clientId: 'x' })
  pass(1_000)
  const fresh = await RawMqtt.connect(b.port, { clientId: 'x' })
  await eventually(() => b.broker.counts.neighbors?.untold === 1, 'nobody was told')
  await old.roundTrip()
  await fresh.roundTrip()
  expect(a.broker.counts.neighbors).toMatchObject({ isConnected: false, detail: 'cut', told: 0 })
})

test('two gateways with one id are told of in words, and clients move between them all the same', async () => {
  const { a, bus, pass } = await startTwo()
  const old = await RawMqtt.connect(a.port, { clientId: 'x' })
  pass(1_000)
  const arrival = { hash: clientIdHash('x'), ageMs: 0, goesOn: false }
  bus.deliver(encodeNotice(SENDER, []))
  expect(a.eventsOf('broker.gateway-id-shared')).toEqual([])
  bus.deliver(encodeNotice({ ...SENDER, name: 'edge-a' }, [arrival]))
  await old.closed()
  bus.deliver(encodeNotice({ ...SENDER, name: 'edge-a' }, [arrival]))
  expect(a.eventsOf('broker.gateway-id-shared')).toEqual([
    { type: 'broker.gateway-id-shared', gateway: 'edge-a', suppressed: 0 },
  ])
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
    bus.sent.flatMap((bytes) => decodeNotice(bytes)?.entries ?? []).map(({ hash }) => hash)
  await eventually(() => hashesTold().includes(clientIdHash('last')), 'all are told')
  const told = hashesTold()
  expect(told).toHaveLength(count + 1)
  expect(bus.sent.length).toBeLessThan(count / 2)
})

const delayed = {
  level: 5,
  clean: false,
  properties: { sessionExpiryInterval: 3_600 },
  will: { ...will, properties: { willDelayInterval: 600 } },
} as const

/** While nobody is told: `stays` moves from a to b, `comes` from b to a, `gone` left a will at a. */
async function moveUntold({ a, b, pass }: Cluster) {
  const left = await RawMqtt.connect(a.port, { clientId: 'stays' })
  const leftToo = await RawMqtt.connect(b.port, { clientId: 'comes' })
  const gone = await RawMqtt.connect(a.port, { clientId: 'gone', ...delayed })
  gone.cut()
  await eventually(() => a.broker.connections() === 1, 'its will waits')
  pass(1_000)
  const stays = await RawMqtt.connect(b.port, { clientId: 'stays' })
  const comes = await RawMqtt.connect(a.port, { clientId: 'comes' })
  await RawMqtt.connect(b.port, { clientId: 'gone', level: 5 })
  const untold = (): number =>
    (a.broker.counts.neighbors?.untold ?? 0) + (b.broker.counts.neighbors?.untold ?? 0)
  await eventually(() => untold() === 6, 'nobody was told')
  pass(60_000)
  return { left, leftToo, stays, comes }
}

// Whoever is back first tells it to nobody: it is answered when the other one is there.
test.each([
  { first: 0, second: 1 },
  { first: 1, second: 0 },
] as const)(
  'what moved while none of them was told ends once both are back, gateway $first before the other',
  async ({ first, second }) => {
    const cluster = await startTwo()
    const { a, b, bus, members } = cluster
    bus.cut()
    const { left, leftToo, stays, comes } = await moveUntold(cluster)
    members[first].reconnect()
    await left.roundTrip()
    await leftToo.roundTrip()
    members[second].reconnect()
    await left.closed()
    await leftToo.closed()
    await eventually(() => a.appender.records.length === 1, 'the will that waited is published')
    await stays.roundTrip()
    await comes.roundTrip()
    expect(a.broker.counts.neighbors).toMatchObject({ ended: 1 })
    expect(b.broker.counts.neighbors).toMatchObject({ ended: 1 })
  },
)

test.each([0, 1] as const)(
  'one of them alone was away: what moved is made up for when it is back, member %d',
  async (away) => {
    const cluster = await startTwo()
    const { a, b, members, pass } = cluster
    const left = await RawMqtt.connect(a.port, { clientId: 'x' })
    pass(1_000)
    members[away].close()
    const fresh = await RawMqtt.connect(b.port, { clientId: 'x' })
    const there = away === 0 ? 'told' : 'untold'
    await eventually(() => b.broker.counts.neighbors?.[there] === 1, 'it was not heard')
    pass(60_000)
    await left.roundTrip()
    members[away].reconnect()
    await left.closed()
    await fresh.roundTrip()
    expect(a.broker.counts.neighbors).toMatchObject({ ended: 1 })
  },
)

test('connects that cannot be told apart both stay, also when they are told again', async () => {
  const { a, b, bus, members, pass } = await startTwo()
  bus.cut()
  const first = await RawMqtt.connect(a.port, { clientId: 'tie' })
  const second = await RawMqtt.connect(b.port, { clientId: 'tie' })
  pass(60_000)
  for (const member of members) member.reconnect()
  await eventually(() => a.broker.counts.neighbors?.heard === 1, 'a heard of it')
  await first.roundTrip()
  await second.roundTrip()
  expect(a.broker.counts.neighbors).toMatchObject({ ended: 0, again: 1 })
  expect(b.broker.counts.neighbors).toMatchObject({ ended: 0, again: 1 })
})

test('a will is settled by a client that came elsewhere later, not by one that had gone on to here', async () => {
  const { a, b, bus, members, pass } = await startTwo()
  bus.cut()
  const left = await RawMqtt.connect(b.port, { clientId: 'x' })
  pass(1_000)
  const gone = await RawMqtt.connect(a.port, { clientId: 'x', ...delayed })
  gone.cut()
  await eventually(() => a.broker.connections() === 0, 'its will waits')
  pass(1_000)
  for (const member of members) member.reconnect()
  // It connected to a behind that: what it left at b is dead.
  await left.closed()
  expect(b.broker.counts.neighbors).toMatchObject({ ended: 1 })
  expect(a.appender.records).toEqual([])
})
