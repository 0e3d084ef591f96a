import type { Readable } from 'node:stream'
import { describe, expect, test } from 'vitest'
import {
  type AedesPersistence,
  createPersistence,
  type PersistenceOptions,
} from '../../../gateway/broker/aedes/persistence.ts'
import type { BrokerEvent } from '../../../gateway/broker/events.ts'
import type { QueuedPacket } from '../../../gateway/broker/sessions/session-queues.ts'
import { DEFAULT_MAX_SUBSCRIPTIONS } from '../../../gateway/broker/sessions/stored-subscriptions.ts'
import { emptyContents, ManualCommits, storeOn } from '../sessions/keyed-store.ts'

const LIMITS = {
  maxSubscriberMessages: 3,
  maxSubscriberBytes: 10_000,
  maxSubscriberBytesTotal: 20_000,
}
const BROKER = { id: 'broker-1' }

let counter = 0

function packet(text: string, qos = 1, topic = 'plant/a'): QueuedPacket {
  counter += 1
  return {
    cmd: 'publish',
    brokerId: BROKER.id,
    brokerCounter: counter,
    topic,
    payload: Buffer.from(text),
    qos,
  }
}

async function list<T>(stream: Readable): Promise<T[]> {
  return (await stream.toArray()) as T[]
}

async function texts(stream: Readable): Promise<string[]> {
  return (await list<{ payload: Buffer }>(stream)).map(({ payload }) => payload.toString())
}

async function retained(persistence: AedesPersistence, filter = '#'): Promise<string[]> {
  return texts(persistence.createRetainedStream(filter))
}

async function away(
  persistence: AedesPersistence,
  id: string,
  topic = 'plant/#',
  qos: 1 | 2 = 1,
): Promise<void> {
  await persistence.addSubscriptions({ id }, [{ topic, qos }])
}

/** As aedes does it: to all sessions that subscribed, connected or away. */
async function publish(persistence: AedesPersistence, message: QueuedPacket): Promise<void> {
  const subscribers = await persistence.subscriptionsByTopic(message.topic ?? '')
  await persistence.outgoingEnqueueCombi(subscribers, message)
}

describe('a restart', () => {
  test('keeps retained messages, subscriptions and wills', async () => {
    const contents = emptyContents()
    const before = await createPersistence(storeOn(contents))
    await before.setup(BROKER)
    await before.storeRetained({ topic: 'plant/a', payload: 'warm', qos: 1 })
    await before.storeRetained({ topic: 'plant/ä', payload: Buffer.of(0, 255), qos: 0 })
    await before.addSubscriptions({ id: 'dashboard' }, [{ topic: 'plant/#', qos: 1, rap: false }])
    await before.addSubscriptions({ id: 'dashboard' }, [{ topic: 'office/+', qos: 0 }])
    await before.putWill(
      { id: 'press-7' },
      { topic: 'wills/ä', payload: Buffer.from('gone'), qos: 2, retain: true },
    )

    const after = await createPersistence(storeOn(contents))
    expect(await retained(after, 'plant/a')).toEqual(['warm'])
    expect(await list(after.createRetainedStream('plant/ä'))).toMatchObject([
      { cmd: 'publish', topic: 'plant/ä', payload: Buffer.of(0, 255), qos: 0, retain: true },
    ])
    expect(await after.subscriptionsByClient({ id: 'dashboard' })).toEqual([
      { topic: 'plant/#', qos: 1, rap: false },
      { topic: 'office/+', qos: 0 },
    ])
    expect(after.takes('plant/x')).toBe(true)
    expect(after.takes('office/x')).toBe(false)
    expect(after.subscribedClientIds).toEqual(['dashboard'])
    expect(after.recoveredWills).toEqual([
      { clientId: 'press-7', topic: 'wills/ä', payload: Buffer.from('gone'), qos: 2, retain: true },
    ])
    expect(await list(after.streamWill({ [BROKER.id]: 1 }))).toMatchObject([
      { clientId: 'press-7' },
    ])
  })

  test('does not bring back what was removed', async () => {
    const contents = emptyContents()
    const before = await createPersistence(storeOn(contents))
    await before.setup(BROKER)
    await before.storeRetained({ topic: 'plant/a', payload: 'warm' })
    await before.storeRetained({ topic: 'plant/a', payload: '' })
    await away(before, 'dashboard')
    await before.removeSubscriptions({ id: 'dashboard' }, ['plant/#'])
    await away(before, 'panel')
    await before.cleanSubscriptions({ id: 'panel' })
    await before.putWill({ id: 'press-7' }, { topic: 'wills', payload: 'gone' })
    await before.delWill({ id: 'press-7' })
    expect([...contents.retained, ...contents.subscriptions, ...contents.wills]).toEqual([])
  })

  test('I7: leaves what it cannot read in the store, reports it, and uses the rest', async () => {
    const contents = emptyContents()
    const before = await createPersistence(storeOn(contents))
    await before.setup(BROKER)
    await before.storeRetained({ topic: 'plant/a', payload: 'warm' })
    await away(before, 'dashboard')
    contents.retained.set('plant/broken', Uint8Array.of(9, 9))
    contents.retained.set('plant/empty', new Uint8Array(0))
    contents.subscriptions.set('broken', Buffer.from('\u0001{nonsense'))
    contents.subscriptions.set('bad-filter', Buffer.from('\u0001[["a#",{"qos":1}]]'))
    contents.wills.set('broken', Uint8Array.of(1, 0, 0, 200, 65))
    const events: BrokerEvent[] = []
    const after = await createPersistence(storeOn(contents), {
      emit: (event) => events.push(event),
    })
    expect(await retained(after)).toEqual(['warm'])
    expect(after.subscribedClientIds).toEqual(['dashboard'])
    expect(
      events.map((event) => event.type === 'broker.stored-state-unreadable' && event.key),
    ).toEqual(['plant/broken', 'plant/empty', 'broken', 'bad-filter', 'broken'])
    expect(contents.retained.has('plant/broken')).toBe(true)
  })
})

describe('durability', () => {
  async function withCommits(options: PersistenceOptions = {}) {
    const contents = emptyContents()
    const commits = new ManualCommits()
    const store = storeOn(contents, commits)
    const persistence = await createPersistence(store, { durability: commits, ...options })
    await persistence.setup(BROKER)
    return { contents, commits, persistence }
  }

  test('I1: a retained message is not seen before its commit, and not at all if the power goes first', async () => {
    const { commits, contents, persistence } = await withCommits()
    expect(persistence.stageRetained('plant/a', Buffer.from('warm'), 1)).toBe(1)
    expect(await retained(persistence)).toEqual([])
    commits.commit()
    expect(await retained(persistence)).toEqual(['warm'])
    persistence.stageRetained('plant/a', Buffer.from('hot'), 1)
    expect(await retained(persistence)).toEqual(['warm'])
    commits.crash()
    expect(await retained(await createPersistence(storeOn(contents)))).toEqual(['warm'])
  })

  test('a topic that changes with every commit shows each committed value', async () => {
    const { commits, persistence } = await withCommits()
    for (let i = 1; i <= 3; i += 1) {
      persistence.stageRetained('plant/a', Buffer.from(`${i}a`), 0)
      persistence.stageRetained('plant/a', Buffer.from(`${i}b`), 0)
      const closing = commits.openTicket
      commits.openTicket += 1
      persistence.stageRetained('plant/a', Buffer.from(`${i} later`), 0)
      commits.openTicket = closing
      commits.commit()
      expect(await retained(persistence)).toEqual([`${i}b`])
    }
  })

  test('the payload is copied: the read buffer may be reused', async () => {
    const { commits, persistence } = await withCommits()
    const buffer = Buffer.from('warm')
    persistence.stageRetained('plant/a', buffer, 0)
    buffer.fill('x')
    commits.commit()
    expect(await retained(persistence)).toEqual(['warm'])
  })

  test('I1: SUBACK, UNSUBACK and the CONNACK of a client with a will wait for the commit', async () => {
    const { commits, persistence } = await withCommits()
    const steps = [
      async () => persistence.addSubscriptions({ id: 'd' }, [{ topic: 'a', qos: 1 }]),
      async () => persistence.removeSubscriptions({ id: 'd' }, ['a']),
      async () => persistence.putWill({ id: 'd' }, { topic: 'w', payload: 'x' }),
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

  test('aedes repeats a SUBSCRIBE once per filter: one write, and each repeat waits for it', async () => {
    const { commits, persistence } = await withCommits()
    const subscriptions = [
      { topic: 'a', qos: 1 },
      { topic: 'b', qos: 1 },
    ] as const
    let done = 0
    const all = [1, 2].map(async () => {
      await persistence.addSubscriptions({ id: 'd' }, subscriptions)
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

  async function bounded(retainedLimits = BOUNDED) {
    const events: BrokerEvent[] = []
    const contents = emptyContents()
    const options = {
      retained: retainedLimits,
      emit: (event: BrokerEvent) => void events.push(event),
    }
    return { contents, events, persistence: await createPersistence(storeOn(contents), options) }
  }

  test('I6: at each limit one is kept, above it is refused, counted and reported', async () => {
    const { events, persistence } = await bounded()
    await persistence.storeRetained({ topic: 'a', payload: '123456789' })
    await persistence.storeRetained({ topic: 'b', payload: '1234567890' })
    expect(persistence.stats).toMatchObject({
      retainedMessages: 1,
      retainedBytes: 10,
      retainedRefused: 1,
    })
    await persistence.storeRetained({ topic: 'b', payload: '12345' })
    expect(persistence.stats).toMatchObject({ retainedMessages: 1, retainedRefused: 2 })
    await persistence.storeRetained({ topic: 'b', payload: '1234' })
    expect(persistence.stats).toMatchObject({ retainedMessages: 2, retainedBytes: 15 })
    await persistence.storeRetained({ topic: 'c', payload: '' })
    await persistence.storeRetained({ topic: 'c', payload: '1' })
    expect(persistence.stats).toMatchObject({ retainedMessages: 2, retainedRefused: 3 })
    expect(events.map((event) => event.type === 'broker.retained-refused' && event.reason)).toEqual(
      ['too-large', 'store-full', 'too-many'],
    )
    await persistence.storeRetained({ topic: 'a', payload: '' })
    await persistence.storeRetained({ topic: 'c', payload: '1' })
    expect(await retained(persistence)).toEqual(['1234', '1'])
  })

  test('a value that does not fit removes the one it would have replaced: a stale reading is worse than none', async () => {
    const { contents, persistence } = await bounded()
    await persistence.storeRetained({ topic: 'a', payload: 'old' })
    await persistence.storeRetained({ topic: 'a', payload: 'much too large' })
    expect(await retained(persistence)).toEqual([])
    expect(contents.retained.size).toBe(0)
    expect(persistence.stats).toMatchObject({ retainedMessages: 0, retainedBytes: 0 })
  })

  test('limits that were lowered hold at the next start', async () => {
    const { contents, persistence } = await bounded({
      ...BOUNDED,
      maxRetainedMessages: 9,
      maxRetainedBytes: 99,
    })
    for (const topic of ['a', 'b', 'c']) await persistence.storeRetained({ topic, payload: topic })
    const after = await createPersistence(storeOn(contents), { retained: BOUNDED })
    expect(await retained(after)).toEqual(['a', 'b'])
    expect(contents.retained.size).toBe(2)
    expect(after.stats.retainedRefused).toBe(1)
  })

  test('several filters give each message once, and a leading wildcard no $ topic', async () => {
    const { persistence } = await bounded()
    await persistence.storeRetained({ topic: 'a', payload: 'a' })
    await persistence.storeRetained({ topic: '$SYS/x', payload: 's' })
    expect(await texts(persistence.createRetainedStreamCombi(['a', '#', '+']))).toEqual(['a'])
    expect(await retained(persistence, '$SYS/#')).toEqual(['s'])
  })
})

describe('copies for sessions that are away', () => {
  async function queues(limits = LIMITS) {
    const events: BrokerEvent[] = []
    const emit = (event: BrokerEvent): void => void events.push(event)
    return {
      events,
      persistence: await createPersistence(storeOn(emptyContents()), { limits, emit }),
    }
  }

  test('I6, I9: the queue at its limit is kept whole; one more drops the oldest, counted', async () => {
    const { events, persistence } = await queues()
    await away(persistence, 'd')
    for (const text of ['1', '2', '3']) await publish(persistence, packet(text))
    expect(persistence.stats).toMatchObject({ queuedMessages: 3, queuedDropped: 0 })
    await publish(persistence, packet('4'))
    expect(await texts(persistence.outgoingStream({ id: 'd' }))).toEqual(['2', '3', '4'])
    expect(persistence.stats).toMatchObject({ queuedMessages: 3, queuedDropped: 1 })
    expect(events).toEqual([
      {
        type: 'broker.queued-copies-dropped',
        clientId: 'd',
        reason: 'session-full',
        suppressed: 0,
      },
    ])
  })

  test('the oldest QoS 0 copy goes before older ones of QoS 1', async () => {
    const { persistence } = await queues()
    for (const [text, qos] of [
      ['1', 1],
      ['2', 0],
      ['3', 0],
      ['4', 1],
    ] as const) {
      await persistence.outgoingEnqueue({ clientId: 'd' }, packet(text, qos))
    }
    expect(await texts(persistence.outgoingStream({ id: 'd' }))).toEqual(['1', '3', '4'])
  })

  test('a QoS 2 exchange that has begun outlives copies that were not sent', async () => {
    const { persistence } = await queues()
    await away(persistence, 'd', 'plant/#', 2)
    const begun = packet('begun', 2)
    await publish(persistence, begun)
    await persistence.outgoingUpdate({ id: 'd' }, { ...begun, messageId: 7 })
    await persistence.outgoingUpdate({ id: 'd' }, { cmd: 'pubrel', messageId: 7 })
    for (const text of ['1', '2', '3']) await publish(persistence, packet(text))
    const left = await list<QueuedPacket>(persistence.outgoingStream({ id: 'd' }))
    expect(
      left.map(({ cmd, messageId, payload }) => [cmd, messageId, payload?.toString()]),
    ).toEqual([
      ['pubrel', 7, undefined],
      ['publish', undefined, '2'],
      ['publish', undefined, '3'],
    ])
  })

  test('I6: bytes are bounded per session, at the limit and one above', async () => {
    const { persistence } = await queues({ ...LIMITS, maxSubscriberMessages: 100 })
    await away(persistence, 'd')
    const overhead = 200 + 'plant/a'.length
    await publish(persistence, packet('x'.repeat(10_000 - overhead)))
    expect(persistence.stats).toMatchObject({ queuedMessages: 1, queuedBytes: 10_000 })
    await publish(persistence, packet('y'.repeat(10_000 - overhead + 1)))
    expect(persistence.stats).toMatchObject({ queuedMessages: 1, queuedDropped: 1 })
    await publish(persistence, packet('z'))
    expect(await texts(persistence.outgoingStream({ id: 'd' }))).toEqual(['z'])
  })

  test('I6: bytes are bounded in total: the queue that waited longest pays, and the new session gets its copy', async () => {
    const { events, persistence } = await queues({ ...LIMITS, maxSubscriberMessages: 100 })
    const large = 'x'.repeat(4_500)
    for (const id of ['first', 'second']) {
      await away(persistence, id, `${id}/#`)
      for (let i = 0; i < 2; i += 1) await publish(persistence, packet(large, 1, `${id}/a`))
    }
    await away(persistence, 'third', 'third/#')
    await publish(persistence, packet(large, 1, 'third/a'))
    expect(persistence.stats.queuedBytes).toBeLessThanOrEqual(LIMITS.maxSubscriberBytesTotal)
    expect(await list(persistence.outgoingStream({ id: 'first' }))).toHaveLength(1)
    expect(await list(persistence.outgoingStream({ id: 'second' }))).toHaveLength(2)
    expect(await list(persistence.outgoingStream({ id: 'third' }))).toHaveLength(1)
    expect(events).toMatchObject([{ clientId: 'first', reason: 'all-full' }])
  })

  test('[MQTT-3.3.5-1]: overlapping subscriptions queue one copy, at the highest QoS granted', async () => {
    const { persistence } = await queues()
    await away(persistence, 'd', 'plant/#', 1)
    await away(persistence, 'd', 'plant/+', 2)
    await publish(persistence, packet('once', 2))
    expect(await list(persistence.outgoingStream({ id: 'd' }))).toMatchObject([{ qos: 2 }])
  })

  test('a copy has no more than the QoS of the subscription', async () => {
    const { persistence } = await queues()
    await away(persistence, 'd', 'plant/#', 1)
    await publish(persistence, packet('x', 2))
    expect(await list(persistence.outgoingStream({ id: 'd' }))).toMatchObject([
      { qos: 1, dup: false },
    ])
  })

  test('[MQTT-3.3.1-1]: a copy that was sent before goes out again with DUP and its id', async () => {
    const { persistence } = await queues()
    await away(persistence, 'd')
    const [sent, waiting] = [packet('sent'), packet('waiting')]
    await publish(persistence, sent)
    await publish(persistence, waiting)
    await persistence.outgoingUpdate({ id: 'd' }, { ...sent, messageId: 65_535 })
    const conn = { isRestored: false, isReplayed: false }
    const replayed: QueuedPacket[] = []
    for await (const next of persistence.outgoingStream({ id: 'd', conn })) {
      replayed.push(next as QueuedPacket)
      expect(conn.isReplayed).toBe(false)
      await persistence.outgoingUpdate({ id: 'd' }, next as QueuedPacket)
    }
    expect(conn.isReplayed).toBe(true)
    expect(replayed).toMatchObject([
      { dup: true, messageId: 65_535 },
      { dup: false, messageId: undefined },
    ])
  })

  test('an acknowledgement removes its copy; an unknown one does no harm', async () => {
    const { persistence } = await queues()
    await away(persistence, 'd')
    const sent = packet('sent')
    await publish(persistence, sent)
    await persistence.outgoingUpdate({ id: 'd' }, { ...sent, messageId: 5 })
    expect(await persistence.outgoingClearMessageId({ id: 'd' }, { messageId: 6 })).toBeUndefined()
    expect(await persistence.outgoingClearMessageId({ id: 'd' }, { messageId: 5 })).toMatchObject({
      messageId: 5,
    })
    expect(persistence.stats).toMatchObject({ queuedMessages: 0, queuedBytes: 0, queuedDropped: 0 })
  })

  test('a copy that is not to be sent goes before it has a packet id, and no other in its place', async () => {
    const { persistence } = await queues()
    await away(persistence, 'd')
    const [first, withheld] = [packet('first'), packet('withheld')]
    await publish(persistence, first)
    await publish(persistence, withheld)
    await persistence.outgoingClearMessageId({ id: 'd' }, withheld)
    expect(await texts(persistence.outgoingStream({ id: 'd' }))).toEqual(['first'])
    expect(persistence.stats.queuedMessages).toBe(1)
    expect(await persistence.outgoingClearMessageId({ id: 'd' }, withheld)).toBeUndefined()
  })

  test('a PUBREC for a copy that is not queued (retained, or dropped) is answered, and its PUBREL kept', async () => {
    const { persistence } = await queues()
    await persistence.outgoingUpdate({ id: 'd' }, packet('not queued'))
    await persistence.outgoingUpdate({ id: 'd' }, { cmd: 'pubrel', messageId: 9 })
    expect(await list(persistence.outgoingStream({ id: 'd' }))).toMatchObject([
      { cmd: 'pubrel', messageId: 9 },
    ])
    await persistence.outgoingClearMessageId({ id: 'd' }, { messageId: 9 })
    expect(persistence.stats).toMatchObject({ queuedMessages: 0, queuedBytes: 0 })
  })

  test('a discarded session loses its queue', async () => {
    const { persistence } = await queues()
    await away(persistence, 'd')
    await publish(persistence, packet('x'))
    await persistence.cleanSubscriptions({ id: 'd' })
    expect(await list(persistence.outgoingStream({ id: 'd' }))).toEqual([])
    expect(persistence.stats).toMatchObject({
      queuedMessages: 0,
      queuedBytes: 0,
      storedSubscriptions: 0,
    })
  })
})

describe('subscriptions', () => {
  test('a filter that was refused is not stored, so nothing is ever queued for it', async () => {
    const options = { mayStore: (_id: string, filter: string) => !filter.startsWith('secret') }
    const persistence = await createPersistence(storeOn(emptyContents()), options)
    await persistence.addSubscriptions({ id: 'd' }, [
      { topic: 'plant/#', qos: 1 },
      { topic: 'secret/#', qos: 1 },
    ])
    expect(persistence.takes('secret/x')).toBe(false)
    expect(await persistence.subscriptionsByClient({ id: 'd' })).toEqual([
      { topic: 'plant/#', qos: 1 },
    ])
  })

  test('I6: a session at its limit of filters keeps them, one more is refused and changes nothing', async () => {
    const persistence = await createPersistence(storeOn(emptyContents()))
    const filters = Array.from(
      { length: DEFAULT_MAX_SUBSCRIPTIONS },
      (_, i) => ({ topic: `t/${i}`, qos: 1 }) as const,
    )
    await persistence.addSubscriptions({ id: 'd' }, filters)
    await expect(
      persistence.addSubscriptions({ id: 'd' }, [{ topic: 'more', qos: 1 }]),
    ).rejects.toThrow('more than')
    await persistence.addSubscriptions({ id: 'd' }, [{ topic: 't/0', qos: 2 }])
    expect(await persistence.subscriptionsByClient({ id: 'd' })).toHaveLength(
      DEFAULT_MAX_SUBSCRIPTIONS,
    )
    expect(persistence.takes('more')).toBe(false)
  })

  test('the version rises with each change and only then', async () => {
    const persistence = await createPersistence(storeOn(emptyContents()))
    const versions: number[] = [persistence.version]
    const step = async (change: Promise<void>): Promise<void> => {
      await change
      versions.push(persistence.version)
    }
    await step(persistence.addSubscriptions({ id: 'd' }, [{ topic: 'a', qos: 1 }]))
    await step(persistence.addSubscriptions({ id: 'd' }, [{ topic: 'a', qos: 1 }]))
    await step(persistence.addSubscriptions({ id: 'd' }, [{ topic: 'a', qos: 0 }]))
    await step(persistence.removeSubscriptions({ id: 'd' }, ['a', 'b']))
    await step(persistence.removeSubscriptions({ id: 'd' }, ['a']))
    expect(versions).toEqual([0, 1, 1, 2, 3, 3])
  })
})
