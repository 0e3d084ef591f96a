/**
 * What is kept for local consumers: over a restart, in its bounds, and durable before it is told.
 */
import { describe, expect, test } from 'vitest'
import { ConsumerState } from '../../../gateway/broker/consumers/consumer-state.ts'
import { DeliveryOrder } from '../../../gateway/broker/consumers/delivery-order.ts'
import type { BrokerEvent } from '../../../gateway/broker/events.ts'
import type { KeptCopy } from '../../../gateway/broker/sessions/session-queues.ts'
import { DEFAULTS } from '../harness.ts'
import { emptyContents, ManualCommits, storeOn } from '../sessions/keyed-store.ts'

const LIMITS = {
  maxSubscriberMessages: 3,
  maxSubscriberBytes: 10_000,
  maxSubscriberBytesTotal: 20_000,
}

async function load(
  store: Parameters<typeof ConsumerState.load>[0],
  limits: Partial<Parameters<typeof ConsumerState.load>[1]> = {},
  emit: (event: BrokerEvent) => void = () => undefined,
): Promise<ConsumerState> {
  return ConsumerState.load(store, { ...DEFAULTS, ...limits }, new DeliveryOrder(), emit)
}

/** Retained, and durable. */
function keep(state: ConsumerState, topic: string, payload: string | Buffer, qos: 0 | 1 = 0): void {
  const ticket = state.retained.stage(topic, Buffer.from(payload as string), qos)
  if (ticket !== null) state.retained.durable(ticket)
}

function texts(packets: readonly { readonly payload?: Uint8Array | string | undefined }[]) {
  return packets.map(({ payload }) => payload?.toString())
}

function retained(state: ConsumerState, ...filters: readonly string[]) {
  const { ready } = state.retained.asOf(filters.length > 0 ? filters : ['#'], Infinity)
  return texts(ready)
}

async function away(
  state: ConsumerState,
  id: string,
  topic = 'plant/#',
  qos: 0 | 1 | 2 = 1,
): Promise<void> {
  await state.subscriptions.add(id, [{ topic, qos }])
}

/** As the gate does it: staged at append, released when the message is handed over. */
function publish(state: ConsumerState, text: string, qos: 1 | 2 = 1, topic = 'plant/a') {
  const staged = state.copies.stage({
    topic,
    payload: Buffer.from(text),
    qos,
    retain: false,
    from: 'device',
    options: null,
  })
  if (staged === null) throw new Error('no session takes it')
  state.copies.release(staged, () => {})
  return staged.byClient
}

/** A connection resumes the session and is sent all that waits. */
function replay(state: ConsumerState, id: string): KeptCopy[] {
  const copies = state.copies.of(id)
  const before = copies.map((copy) => ({ ...copy }))
  for (const copy of copies) send(state, id, copy)
  return before
}

/** As the queue of a connection does it. */
function send(state: ConsumerState, id: string, copy: KeptCopy): void {
  if (copy.packetId === 0) copy.packetId = state.copies.takeId(id, () => false)
  copy.wasSent = true
}

describe('a restart', () => {
  test('keeps retained messages, subscriptions and wills', async () => {
    const contents = emptyContents()
    const before = await load(storeOn(contents))
    keep(before, 'plant/a', 'warm', 1)
    keep(before, 'plant/ä', Buffer.of(0, 255))
    await before.subscriptions.add('dashboard', [{ topic: 'plant/#', qos: 1, rap: false }])
    await away(before, 'dashboard', 'office/+', 0)
    const will = {
      topic: 'wills/ä',
      payload: Buffer.from('gone'),
      qos: 2,
      retain: true,
      delaySeconds: 0,
      options: null,
    } as const
    await before.wills.put('press-7', will).durable

    const after = await load(storeOn(contents))
    expect(retained(after, 'plant/a')).toEqual(['warm'])
    expect(after.retained.asOf(['plant/ä'], 0).ready).toEqual([
      { topic: 'plant/ä', payload: Buffer.of(0, 255), qos: 0, options: null },
    ])
    expect(after.subscriptions.of('dashboard')).toEqual([
      { topic: 'plant/#', qos: 1, rap: false },
      { topic: 'office/+', qos: 0 },
    ])
    expect(after.subscriptions.takes('plant/x')).toBe(true)
    expect(after.subscriptions.takes('office/x')).toBe(false)
    expect(after.subscriptions.clientIds).toEqual(['dashboard'])
    expect(after.wills.recovered).toEqual([{ token: { clientId: 'press-7' }, ...will }])
  })

  test('does not bring back what was removed', async () => {
    const contents = emptyContents()
    const before = await load(storeOn(contents))
    keep(before, 'plant/a', 'warm')
    keep(before, 'plant/a', '')
    await away(before, 'dashboard')
    await before.subscriptions.remove('dashboard', ['plant/#'])
    await away(before, 'panel')
    publish(before, 'missed')
    await before.discardSession('panel')
    const gone = {
      topic: 'wills',
      payload: Buffer.from('gone'),
      qos: 0,
      retain: false,
      delaySeconds: 0,
      options: null,
    } as const
    const [old, fresh] = [before.wills.put('press-7', gone), before.wills.put('press-7', gone)]
    before.wills.delete(old.token)
    expect(contents.wills.size, 'a later will of the client stays').toBe(1)
    before.wills.delete(fresh.token)
    expect(Object.values(contents).flatMap((content) => [...content])).toEqual([])
  })

  test('I7: leaves what it cannot read in the store, reports it, and uses the rest', async () => {
    const contents = emptyContents()
    const before = await load(storeOn(contents))
    keep(before, 'plant/a', 'warm')
    await away(before, 'dashboard')
    contents.retained.set('plant/broken', Uint8Array.of(9, 9))
    contents.retained.set('plant/empty', new Uint8Array(0))
    contents.subscriptions.set('broken', Buffer.from('\u0001{nonsense'))
    contents.subscriptions.set('bad-filter', Buffer.from('\u0001[["a#",{"qos":1}]]'))
    contents.wills.set('broken', Uint8Array.of(1, 0, 0, 200, 65))
    contents.copies.set('broken', Uint8Array.of(1))
    const events: BrokerEvent[] = []
    const after = await load(storeOn(contents), {}, (event) => events.push(event))
    expect(retained(after)).toEqual(['warm'])
    expect(after.subscriptions.clientIds).toEqual(['dashboard'])
    expect(
      events.map((event) => event.type === 'broker.stored-state-unreadable' && event.key),
    ).toEqual(['plant/broken', 'plant/empty', 'broken', 'bad-filter', 'broken', 'broken'])
    expect(contents.retained.has('plant/broken')).toBe(true)
  })
})

describe('durability', () => {
  async function withCommits() {
    const contents = emptyContents()
    const commits = new ManualCommits()
    return { contents, commits, state: await load(storeOn(contents, commits)) }
  }

  const stage = (state: ConsumerState, payload: string): number | null =>
    state.retained.stage('plant/a', Buffer.from(payload), 1)

  test('I1: a retained message is not seen before its commit, and not at all if the power goes first', async () => {
    const { commits, contents, state } = await withCommits()
    expect(stage(state, 'warm')).toBe(1)
    expect(retained(state)).toEqual([])
    commits.commit()
    expect(retained(state)).toEqual(['warm'])
    stage(state, 'hot')
    expect(texts(state.retained.durableOf(['plant/a'], Infinity))).toEqual(['warm'])
    commits.crash()
    expect(retained(await load(storeOn(contents)))).toEqual(['warm'])
  })

  test('a topic that changes with every commit shows each committed value', async () => {
    const { commits, state } = await withCommits()
    for (let i = 1; i <= 3; i += 1) {
      stage(state, `${i}a`)
      stage(state, `${i}b`)
      const closing = commits.openTicket
      commits.openTicket += 1
      stage(state, `${i} later`)
      commits.openTicket = closing
      commits.commit()
      expect(texts(state.retained.durableOf(['plant/a'], Infinity))).toEqual([`${i}b`])
    }
  })

  test('the payload is copied: the read buffer may be reused', async () => {
    const { commits, state } = await withCommits()
    const buffer = Buffer.from('warm')
    state.retained.stage('plant/a', buffer, 0)
    buffer.fill('x')
    commits.commit()
    expect(retained(state)).toEqual(['warm'])
  })

  test('I1: SUBACK, UNSUBACK and the CONNACK of a client with a will wait for the commit', async () => {
    const { commits, state } = await withCommits()
    const will = {
      topic: 'w',
      payload: Buffer.from('x'),
      qos: 0,
      retain: false,
      delaySeconds: 0,
      options: null,
    } as const
    const steps = [
      async () => state.subscriptions.add('d', [{ topic: 'a', qos: 1 }]),
      async () => state.subscriptions.remove('d', ['a']),
      async () => state.wills.put('d', will).durable,
    ]
    for (const step of steps) {
      let done = false
      const running = step().then(() => {
        done = true
      })
      await new Promise((resolve) => setImmediate(resolve))
      expect(done).toBe(false)
      commits.commit()
      await running
    }
  })

  test('a SUBSCRIBE that is repeated is one write, and each repeat waits for it', async () => {
    const { commits, state } = await withCommits()
    const subscriptions = [
      { topic: 'a', qos: 1 },
      { topic: 'b', qos: 1 },
    ] as const
    let done = 0
    const all = [1, 2].map(async () => {
      await state.subscriptions.add('d', subscriptions)
      done += 1
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect([done, commits.pending]).toEqual([0, 1])
    commits.commit()
    await Promise.all(all)
  })
})

describe('retained messages', () => {
  const BOUNDED = { maxRetainedMessages: 2, maxRetainedMessageBytes: 10, maxRetainedBytes: 15 }

  async function bounded(limits = BOUNDED) {
    const events: BrokerEvent[] = []
    const contents = emptyContents()
    const state = await load(storeOn(contents), limits, (event) => events.push(event))
    return { contents, events, state }
  }

  test('I6: at each limit one is kept, above it is refused, counted and reported', async () => {
    const { events, state } = await bounded()
    keep(state, 'a', '123456789')
    keep(state, 'b', '1234567890')
    expect(state.stats).toMatchObject({
      retainedMessages: 1,
      retainedBytes: 10,
      retainedRefused: 1,
    })
    keep(state, 'b', '12345')
    expect(state.stats).toMatchObject({ retainedMessages: 1, retainedRefused: 2 })
    keep(state, 'b', '1234')
    expect(state.stats).toMatchObject({ retainedMessages: 2, retainedBytes: 15 })
    keep(state, 'c', '')
    keep(state, 'c', '1')
    expect(state.stats).toMatchObject({ retainedMessages: 2, retainedRefused: 3 })
    expect(events.map((event) => event.type === 'broker.retained-refused' && event.reason)).toEqual(
      ['too-large', 'store-full', 'too-many'],
    )
    keep(state, 'a', '')
    keep(state, 'c', '1')
    expect(retained(state)).toEqual(['1234', '1'])
  })

  test('a value that does not fit removes the one it would have replaced: a stale reading is worse than none', async () => {
    const { contents, state } = await bounded()
    keep(state, 'a', 'old')
    keep(state, 'a', 'much too large')
    expect(retained(state)).toEqual([])
    expect(contents.retained.size).toBe(0)
    expect(state.stats).toMatchObject({ retainedMessages: 0, retainedBytes: 0 })
  })

  test('limits that were lowered hold at the next start', async () => {
    const { contents, state } = await bounded({
      ...BOUNDED,
      maxRetainedMessages: 9,
      maxRetainedBytes: 99,
    })
    for (const topic of ['a', 'b', 'c']) keep(state, topic, topic)
    const after = await load(storeOn(contents), BOUNDED)
    expect(retained(after)).toEqual(['a', 'b'])
    expect(contents.retained.size).toBe(2)
    expect(after.stats.retainedRefused).toBe(1)
  })

  test('several filters give each message once, and a leading wildcard no $ topic', async () => {
    const { state } = await bounded()
    keep(state, 'a', 'a')
    keep(state, '$SYS/x', 's')
    expect(retained(state, 'a', '#', '+')).toEqual(['a'])
    expect(retained(state, '$SYS/#')).toEqual(['s'])
  })
})

describe('copies for sessions that are away', () => {
  async function queues(limits = LIMITS) {
    const events: BrokerEvent[] = []
    const state = await load(storeOn(emptyContents()), limits, (event) => events.push(event))
    return { events, state }
  }

  test('I6, I9: the queue at its limit is kept whole; one more drops the oldest, counted', async () => {
    const { events, state } = await queues()
    await away(state, 'd')
    for (const text of ['1', '2', '3']) publish(state, text)
    expect(state.stats).toMatchObject({ queuedMessages: 3, queuedDropped: 0 })
    publish(state, '4')
    expect(texts(replay(state, 'd'))).toEqual(['2', '3', '4'])
    expect(state.stats).toMatchObject({ queuedMessages: 3, queuedDropped: 1 })
    expect(events).toEqual([
      {
        type: 'broker.queued-copies-dropped',
        clientId: 'd',
        reason: 'session-full',
        suppressed: 0,
      },
    ])
  })

  test('a QoS 2 exchange that has begun outlives copies that were not sent', async () => {
    const { state } = await queues()
    await away(state, 'd', 'plant/#', 2)
    const begun = publish(state, 'begun', 2).get('d')!
    send(state, 'd', begun)
    await state.copies.received('d', begun.packetId)
    for (const text of ['1', '2', '3']) publish(state, text)
    const left = replay(state, 'd')
    expect(
      left.map(({ isRelease, packetId, payload }) => [isRelease, packetId, payload.toString()]),
    ).toEqual([
      [true, begun.packetId, ''],
      [false, expect.any(Number), '2'],
      [false, expect.any(Number), '3'],
    ])
  })

  test('I6: bytes are bounded per session, at the limit and one above', async () => {
    const { state } = await queues({ ...LIMITS, maxSubscriberMessages: 100 })
    await away(state, 'd')
    const overhead = 200 + 'plant/a'.length
    publish(state, 'x'.repeat(10_000 - overhead))
    expect(state.stats).toMatchObject({ queuedMessages: 1, queuedBytes: 10_000 })
    publish(state, 'y'.repeat(10_000 - overhead + 1))
    expect(state.stats).toMatchObject({ queuedMessages: 1, queuedDropped: 1 })
    publish(state, 'z')
    expect(texts(replay(state, 'd'))).toEqual(['z'])
  })

  test('I6: bytes are bounded in total: the queue that waited longest pays, and the new session gets its copy', async () => {
    const { events, state } = await queues({ ...LIMITS, maxSubscriberMessages: 100 })
    const large = 'x'.repeat(4_500)
    for (const id of ['first', 'second']) {
      await away(state, id, `${id}/#`)
      for (let i = 0; i < 2; i += 1) publish(state, large, 1, `${id}/a`)
    }
    await away(state, 'third', 'third/#')
    publish(state, large, 1, 'third/a')
    expect(state.stats.queuedBytes).toBeLessThanOrEqual(LIMITS.maxSubscriberBytesTotal)
    expect(replay(state, 'first')).toHaveLength(1)
    expect(replay(state, 'second')).toHaveLength(2)
    expect(replay(state, 'third')).toHaveLength(1)
    expect(events).toMatchObject([{ clientId: 'first', reason: 'all-full' }])
  })

  test('[MQTT-3.3.5-1]: overlapping subscriptions queue one copy, at the highest QoS granted', async () => {
    const { state } = await queues()
    await away(state, 'd', 'plant/#', 1)
    await away(state, 'd', 'plant/+', 2)
    publish(state, 'once', 2)
    expect(replay(state, 'd')).toMatchObject([{ qos: 2 }])
  })

  test('a copy has no more than the QoS of the subscription', async () => {
    const { state } = await queues()
    await away(state, 'd', 'plant/#', 1)
    publish(state, 'x', 2)
    expect(replay(state, 'd')).toMatchObject([{ qos: 1, wasSent: false }])
  })

  test('a copy that was sent before is known as such, and keeps its packet id', async () => {
    const { state } = await queues()
    await away(state, 'd')
    const sent = publish(state, 'sent').get('d')!
    const waiting = publish(state, 'waiting').get('d')!
    send(state, 'd', sent)
    expect(replay(state, 'd')).toMatchObject([
      { wasSent: true, packetId: sent.packetId },
      { wasSent: false, packetId: waiting.packetId },
    ])
  })

  test('an acknowledgement removes its copy; an unknown one does no harm', async () => {
    const { state } = await queues()
    await away(state, 'd')
    const { packetId } = publish(state, 'sent').get('d')!
    state.copies.acknowledge('d', (packetId % 65_535) + 1)
    expect(state.stats.queuedMessages).toBe(1)
    state.copies.acknowledge('d', packetId)
    expect(state.stats).toMatchObject({ queuedMessages: 0, queuedBytes: 0, queuedDropped: 0 })
  })

  test('a copy that is not to be sent goes before it is sent, and no other in its place', async () => {
    const { state } = await queues()
    await away(state, 'd')
    publish(state, 'first')
    const withheld = publish(state, 'withheld').get('d')!
    state.copies.withdraw('d', withheld)
    state.copies.withdraw('d', withheld)
    expect(withheld.isGone).toBe(true)
    expect(texts(replay(state, 'd'))).toEqual(['first'])
    expect(state.stats.queuedMessages).toBe(1)
  })

  test('a PUBREC for a copy that is not queued (retained, or dropped) is answered, and its PUBREL kept', async () => {
    const { state } = await queues()
    await state.copies.received('d', 9)
    expect(replay(state, 'd')).toMatchObject([{ isRelease: true, packetId: 9 }])
    state.copies.acknowledge('d', 9)
    expect(state.stats).toMatchObject({ queuedMessages: 0, queuedBytes: 0 })
  })

  test('a discarded session loses its queue', async () => {
    const { state } = await queues()
    await away(state, 'd')
    publish(state, 'x')
    await state.discardSession('d')
    expect(replay(state, 'd')).toEqual([])
    expect(state.stats).toMatchObject({ queuedMessages: 0, queuedBytes: 0 })
    expect(state.subscriptions.clientIds).toEqual([])
  })
})

describe('subscriptions', () => {
  test('I6: a session at its limit of filters keeps them, one more is refused and changes nothing', async () => {
    const { subscriptions } = await load(storeOn(emptyContents()), { maxSubscriptions: 100 })
    const filters = Array.from({ length: 100 }, (_, i) => ({ topic: `t/${i}`, qos: 1 }) as const)
    await subscriptions.add('d', filters)
    await expect(subscriptions.add('d', [{ topic: 'more', qos: 1 }])).rejects.toThrow('more than')
    await subscriptions.add('d', [{ topic: 't/0', qos: 2 }])
    expect(subscriptions.of('d')).toHaveLength(100)
    expect(subscriptions.takes('more')).toBe(false)
  })

  test('the version rises with each change and only then', async () => {
    const { subscriptions } = await load(storeOn(emptyContents()))
    const versions: number[] = [subscriptions.version]
    const step = async (change: Promise<void>): Promise<void> => {
      await change
      versions.push(subscriptions.version)
    }
    await step(subscriptions.add('d', [{ topic: 'a', qos: 1 }]))
    await step(subscriptions.add('d', [{ topic: 'a', qos: 1 }]))
    await step(subscriptions.add('d', [{ topic: 'a', qos: 0 }]))
    await step(subscriptions.remove('d', ['a', 'b']))
    await step(subscriptions.remove('d', ['a']))
    expect(versions).toEqual([0, 1, 1, 2, 3, 3])
  })
})
