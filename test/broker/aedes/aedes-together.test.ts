/**
 * aedes 1.2 with our persistence and our mq, real clients on real sockets, no gate: what aedes does
 * with them, and that the differences from its own in-memory persistence are the ones that clients
 * need.
 */
import { once } from 'node:events'
import { createServer, type Server } from 'node:net'
import { Aedes } from 'aedes'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { describe, expect, onTestFinished, test } from 'vitest'
import { LocalMq } from '../../../gateway/broker/aedes/local-mq.ts'
import {
  type AedesPersistence,
  createPersistence,
} from '../../../gateway/broker/aedes/persistence.ts'
import { type Contents, emptyContents, storeOn } from '../sessions/keyed-store.ts'

interface Broker {
  readonly aedes: Aedes
  readonly server: Server
  readonly mq: LocalMq
  readonly persistence: AedesPersistence
  readonly problems: string[]
  readonly connect: (clientId: string, options?: IClientOptions) => Promise<MqttClient>
  readonly stop: () => Promise<void>
}

async function start(contents: Contents): Promise<Broker> {
  const persistence = await createPersistence(storeOn(contents))
  const mq = new LocalMq(persistence)
  const aedes = await Aedes.createBroker({ mq, persistence })
  const problems: string[] = []
  aedes.on('clientError', (client, error) => problems.push(`${client.id}: ${error.message}`))
  const server = createServer((socket) => void aedes.handle(socket)).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  let stopped = false
  const stop = async (): Promise<void> => {
    if (stopped) return
    stopped = true
    await new Promise<void>((resolve) => aedes.close(resolve))
    server.close()
  }
  onTestFinished(stop)
  const connect = async (clientId: string, options: IClientOptions = {}): Promise<MqttClient> => {
    const client = await mqtt.connectAsync(`mqtt://127.0.0.1:${port}`, {
      clientId,
      reconnectPeriod: 0,
      ...options,
    })
    onTestFinished(() => client.endAsync(true))
    return client
  }
  return { aedes, server, mq, persistence, problems, connect, stop }
}

/** The next messages of a client, as text. Listens from the call on. */
async function messages(client: MqttClient, count: number): Promise<string[]> {
  const got: string[] = []
  return new Promise((resolve) => {
    client.on('message', (_topic, payload) => {
      got.push(payload.toString())
      if (got.length === count) resolve(got)
    })
  })
}

const PERSISTENT: IClientOptions = { clean: false }

/** Connects with listeners in place before the first message can come. */
async function comeBack(broker: Broker, clientId: string, count: number) {
  const { port } = broker.server.address() as { port: number }
  const client = mqtt.connect(`mqtt://127.0.0.1:${port}`, {
    clientId,
    reconnectPeriod: 0,
    ...PERSISTENT,
  })
  onTestFinished(() => client.endAsync(true))
  return { client, got: await messages(client, count) }
}

describe('aedes on our persistence', () => {
  test('a persistent session gets what it missed, in order and once, though two of its filters match', async () => {
    const broker = await start(emptyContents())
    const dashboard = await broker.connect('dashboard', PERSISTENT)
    await dashboard.subscribeAsync(['plant/#', 'plant/+'], { qos: 1 })
    await dashboard.endAsync()
    expect(broker.mq.matches('plant/a')).toBe(true)
    const press = await broker.connect('press')
    for (const text of ['1', '2', '3']) await press.publishAsync('plant/a', text, { qos: 1 })
    const { got } = await comeBack(broker, 'dashboard', 3)
    expect(got).toEqual(['1', '2', '3'])
    expect(broker.problems).toEqual([])
  })

  test('a session keeps its subscriptions across a restart, and mq knows them before it connects', async () => {
    const contents = emptyContents()
    const first = await start(contents)
    const dashboard = await first.connect('dashboard', PERSISTENT)
    await dashboard.subscribeAsync('plant/#', { qos: 1 })
    await dashboard.endAsync()
    await first.stop()

    const second = await start(contents)
    expect(second.mq.matches('plant/a')).toBe(true)
    expect(second.mq.matches('office/a')).toBe(false)
    const press = await second.connect('press')
    await press.publishAsync('plant/a', 'while away', { qos: 1 })
    const { client, got } = await comeBack(second, 'dashboard', 1)
    expect(got).toEqual(['while away'])
    const live = messages(client, 1)
    await press.publishAsync('plant/a', 'live', { qos: 1 })
    expect(await live).toEqual(['live'])
  })

  test('a retained message at QoS 2 does not end the connection of a persistent session', async () => {
    const broker = await start(emptyContents())
    const press = await broker.connect('press')
    await press.publishAsync('plant/a', 'kept', { qos: 2, retain: true })
    const dashboard = await broker.connect('dashboard', PERSISTENT)
    const got = messages(dashboard, 1)
    await dashboard.subscribeAsync('plant/#', { qos: 2 })
    expect(await got).toEqual(['kept'])
    const next = messages(dashboard, 1)
    await press.publishAsync('plant/b', 'next', { qos: 2 })
    expect(await next).toEqual(['next'])
    expect(broker.problems).toEqual([])
  })

  test('a clean session discards what waited for it', async () => {
    const broker = await start(emptyContents())
    const dashboard = await broker.connect('dashboard', PERSISTENT)
    await dashboard.subscribeAsync('plant/#', { qos: 1 })
    await dashboard.endAsync()
    const press = await broker.connect('press')
    await press.publishAsync('plant/a', 'missed', { qos: 1 })
    await expect.poll(() => broker.persistence.stats.queuedMessages).toBe(1)
    await broker.connect('dashboard', { clean: true })
    expect(broker.persistence.stats).toMatchObject({ queuedMessages: 0, storedSubscriptions: 0 })
    expect(broker.mq.matches('plant/a')).toBe(false)
  })

  test('a will is stored while its client is connected, and recovered if the broker dies first', async () => {
    const contents = emptyContents()
    const broker = await start(contents)
    const will = {
      topic: 'wills/press',
      payload: Buffer.from('gone'),
      qos: 1,
      retain: false,
    } as const
    const polite = await broker.connect('polite', { will })
    await broker.connect('press', { will })
    expect([...contents.wills.keys()].sort()).toEqual(['polite', 'press'])
    await polite.endAsync()
    await expect.poll(() => [...contents.wills.keys()]).toEqual(['press'])
    const { recoveredWills } = await createPersistence(storeOn(contents))
    expect(recoveredWills).toEqual([{ clientId: 'press', ...will }])
  })
})
