/** The MQTT sink against Mosquitto: versions, QoS, TLS, refusals, sessions that are kept and lost. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connectAsync } from 'mqtt'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Batch } from '../../../gateway/ports/sink.ts'
import type { MqttSinkConfig } from '../../../gateway/sink/mqtt/config.ts'
import { createMqttSink } from '../../../gateway/sink/mqtt/sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { reapProcesses } from '../../support/process.ts'
import { sourcePath } from '../../support/source-path.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { batchOf, expired, never, recordId } from '../http/batches.ts'
import { mqttSinkConfig } from './configs.ts'
import { Mosquitto, Subscriber } from './mosquitto.ts'

const TLS = sourcePath('test/support/tls')
const ids = (first: number, last: number): string[] =>
  Array.from({ length: last - first + 1 }, (_, i) => recordId(first + i))

let folder: string
const closing: Array<{ close(): Promise<void> }> = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-mosquitto-'))
})
afterEach(async () => {
  for (const one of closing.splice(0)) await one.close()
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

function sinkTo(url: string, changes: Partial<MqttSinkConfig> = {}): ConfiguredSink {
  const config = mqttSinkConfig({ url, message: 'record', ...changes })
  const sink = createMqttSink({ name: 'hub', config, emit: () => undefined, fileCheckMs: 20 })
  closing.push(sink)
  return sink
}

async function readerOf({ url }: Mosquitto): Promise<Subscriber> {
  const reader = await Subscriber.start(url)
  closing.push(reader)
  return reader
}

async function idsAt(reader: Subscriber): Promise<string[]> {
  const seen = await reader.readings()
  return seen.map(({ text }) => (JSON.parse(text) as { id: string }).id)
}

/** A pinned batch, whose note the next try gets. @param atNote happens before a note is durable */
function pinned(batch: Batch, atNote: () => Promise<void> = async () => undefined): Batch {
  let kept: string | null = null
  return {
    ...batch,
    get note() {
      return kept
    },
    keepNote: async (note) => {
      await atNote()
      kept = note
    },
  }
}

const ACKED = { kind: 'verdicts', ackedThrough: null, listed: [] }

describeWithTool('mosquitto', 'Mosquitto', () => {
  describe.each(['3.1.1', '5'] as const)('by MQTT %s', (version) => {
    test.each([1, 2] as const)('at QoS %i takes batches in order, each once', async (qos) => {
      const broker = await Mosquitto.start(folder)
      const reader = await readerOf(broker)
      const gaps = { topic: 'site/gaps' }
      const sink = sinkTo(broker.url, { version, qos, topic: 'site/${topic}', gaps })
      expect(sink.health.connected).toBe(null)
      const gapped = batchOf(3, 60, { gaps: [expired(1, 2)] })
      expect(await sink.send(gapped, never())).toMatchObject(ACKED)
      expect(await sink.send(batchOf(61, 300), never())).toMatchObject(ACKED)
      expect(sink.health).toEqual({ connected: true, detail: null })
      const [gap, ...seen] = await reader.readings()
      expect(JSON.parse(gap?.text ?? '')).toMatchObject({ firstSeq: 3, gaps: [{ lastSeq: 2 }] })
      expect(seen.map(({ text }) => (JSON.parse(text) as { id: string }).id)).toEqual(ids(3, 300))
      expect(new Set(seen.map(({ topic }) => topic))).toEqual(new Set(['site/plant/press-7/temp']))
      expect(sink.stats.sentBytes).toBeGreaterThan(50_000)
    })

    test('a wrong password is held, and a right one ends it', async () => {
      const passwords = join(folder, 'passwords')
      execFileSync('mosquitto_passwd', ['-b', '-c', passwords, 'edge', 'right'])
      const broker = await Mosquitto.start(folder, [`password_file ${passwords}`])
      const file = join(folder, 'password')
      writeFileSync(file, 'wrong\n')
      const sink = sinkTo(broker.url, { version, username: 'edge', password: { file } })
      const answer = await sink.send(batchOf(1, 2), never())
      expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
      expect(JSON.stringify(answer)).toMatch(/not authorized; check username and password/)
      expect(sink.health).toMatchObject({ connected: false })
      const changed = new Promise<void>((resolve) => {
        sink.onChange(resolve)
      })
      writeFileSync(file, 'right\n')
      await changed
      expect(await sink.send(batchOf(1, 2), never())).toMatchObject(ACKED)
    })

    test('a second client of the same id is noticed', async () => {
      const broker = await Mosquitto.start(folder)
      const sink = sinkTo(broker.url, { version, clientId: 'box' })
      expect(await sink.send(batchOf(1, 1), never())).toMatchObject(ACKED)
      let answer = await sink.send(batchOf(1, 1), never())
      for (let n = 0; n < 20 && answer.kind !== 'hold'; n++) {
        const answering = sink.send(batchOf(2, 4000), never())
        const other = await connectAsync(broker.url, { clientId: 'box', reconnectPeriod: 0 })
        answer = await answering
        await other.endAsync(true)
      }
      expect(answer).toMatchObject({ kind: 'hold', scope: 'sink' })
      expect(JSON.stringify(answer)).toMatch(/client id.* box|\(box\)/)
      // The next try, a minute later, takes the id back.
      expect(await sink.send(batchOf(1, 1), never())).toMatchObject(ACKED)
    })
  })

  test('user properties and retained messages are as configured', async () => {
    const broker = await Mosquitto.start(folder)
    const userProperties = { id: '${id}', at: '${receivedAt}', celsius: '/celsius' }
    const sink = sinkTo(broker.url, { version: '5', message: null, retain: true, userProperties })
    expect(await sink.send(batchOf(1, 1), never())).toMatchObject(ACKED)
    const [seen] = await (await readerOf(broker)).readings()
    expect(seen).toEqual({
      topic: 'plant/press-7/temp',
      text: '{"celsius":21.4}',
      retain: true,
      userProperties: { id: recordId(1), at: '2026-11-23T03:05:00.123Z', celsius: '21.4' },
      expirySeconds: null,
    })
  })

  test('MQTT 5: what is left of a Message Expiry Interval goes on [MQTT-3.3.2-6]', async () => {
    const broker = await Mosquitto.start(folder)
    const reader = await Subscriber.start(broker.url)
    const batch = batchOf(1, 1)
    const expiring = async function* () {
      for await (const record of batch.records()) yield { ...record, expirySeconds: 3_000 }
    }
    for (const version of ['5', '3.1.1'] as const) {
      const sink = sinkTo(broker.url, { version, message: null })
      expect(await sink.send({ ...batch, records: expiring }, never())).toMatchObject(ACKED)
    }
    const left = (await reader.readings()).map(({ expirySeconds }) => expirySeconds)
    // The broker may have kept it for a second.
    expect([3_000, 2_999]).toContain(left[0])
    expect(left[1]).toBeNull()
  })

  test('TLS with a client certificate, which the broker wants', async () => {
    const broker = await Mosquitto.start(folder, [
      `cafile ${TLS}/authority.pem`,
      `certfile ${TLS}/server.pem`,
      `keyfile ${TLS}/server.key`,
      'require_certificate true',
      'use_identity_as_username true',
    ])
    const url = `mqtts://localhost:${broker.port}`
    const ca = `${TLS}/authority.pem`
    const own = { ca, cert: `${TLS}/client.pem`, key: `${TLS}/client.key`, alpn: 'mqtt' }
    expect(await sinkTo(url, { tls: own }).send(batchOf(1, 2), never())).toMatchObject(ACKED)
    const none = await sinkTo(url, { tls: { ca, cert: null, key: null, alpn: null } }).send(
      batchOf(1, 2),
      never(),
    )
    expect(none).toMatchObject({ kind: 'retry', answered: false })
    const stranger = { ...own, ca: `${TLS}/stranger-authority.pem` }
    const untrusted = await sinkTo(url, { tls: stranger }).send(batchOf(1, 2), never())
    expect(JSON.stringify(untrusted)).toMatch(/tls\.ca/)
  })

  test('a topic that may not be published on is held, and delivered once it may', async () => {
    const acl = join(folder, 'acl')
    writeFileSync(acl, 'topic readwrite other/#\n')
    const broker = await Mosquitto.start(folder, [`acl_file ${acl}`])
    for (const qos of [1, 2] as const) {
      const sink = sinkTo(broker.url, { version: '5', qos })
      const batch = pinned(batchOf(1, 50))
      const answer = await sink.send(batch, never())
      expect(answer).toMatchObject({ kind: 'hold', scope: 'stream', code: '0x87' })
    }
    writeFileSync(acl, 'topic readwrite #\n')
    broker.signal('SIGHUP')
    await broker.says(/Reloading config/)
    const sink = sinkTo(broker.url, { version: '5', qos: 2 })
    expect(await sink.send(pinned(batchOf(1, 50)), never())).toMatchObject(ACKED)
  })

  test('without a subscriber a message is taken, or held as configured', async () => {
    const broker = await Mosquitto.start(folder)
    const taken = sinkTo(broker.url, { version: '5' })
    expect(await taken.send(batchOf(1, 2), never())).toMatchObject(ACKED)
    const held = sinkTo(broker.url, { version: '5', noSubscribers: 'hold', clientId: 'other' })
    const answer = await held.send(batchOf(1, 2), never())
    expect(answer).toMatchObject({ kind: 'hold', scope: 'stream', code: '0x10' })
  })

  test('what the broker allows is kept: messages in flight, and their size', async () => {
    const limits = ['max_inflight_messages 5', 'max_packet_size 400']
    const broker = await Mosquitto.start(folder, limits)
    const reader = await readerOf(broker)
    const sink = sinkTo(broker.url, { version: '5', qos: 2, message: null })
    const small = batchOf(1, 40)
    const records = async function* () {
      for await (const record of small.records())
        yield record.seq === 7 ? { ...record, payload: Buffer.alloc(500, 'x') } : record
    }
    expect(await sink.send(pinned({ ...small, records }), never())).toMatchObject({
      kind: 'verdicts',
      listed: [{ seq: 7, verdict: 'refused', reason: expect.stringMatching(/takes 400$/) }],
    })
    expect(await reader.readings()).toHaveLength(39)
  })

  test('a broker that stands still is given up, and gets it again', async () => {
    const broker = await Mosquitto.start(folder, [
      'persistence true',
      `persistence_location ${folder}/`,
    ])
    const reader = await readerOf(broker)
    const sink = sinkTo(broker.url, { qos: 2, timeout: 1000 })
    const batch = pinned(batchOf(1, 90), async () => {
      if (batch.note === null) broker.signal('SIGSTOP')
    })
    expect(await sink.send(batch, never())).toMatchObject({
      kind: 'retry',
      answered: false,
      detail: expect.stringMatching(/acknowledged nothing for 1000 ms/),
    })
    broker.signal('SIGCONT')
    expect(await sink.send(batch, never())).toMatchObject(ACKED)
    expect(await idsAt(reader)).toEqual(ids(1, 90))
    expect(sink.promise.delivery).toBe('exactly once')
  })

  test('over a restart with its sessions each message is there once', async () => {
    const broker = await Mosquitto.start(folder, [
      'persistence true',
      `persistence_location ${folder}/`,
    ])
    const reader = await readerOf(broker)
    const sink = sinkTo(broker.url, { qos: 2 })
    let notes = 0
    const batch = pinned(batchOf(1, 200), async () => {
      notes += 1
      if (notes !== 1 && notes !== 4) return
      await broker.end()
      await broker.begin()
    })
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'retry' })
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'retry' })
    expect(await sink.send(batch, never())).toMatchObject(ACKED)
    expect(await idsAt(reader)).toEqual(ids(1, 200))
    expect(sink.promise.delivery).toBe('exactly once')
  })

  test('a session that the broker lost is counted and said, and nothing is missing', async () => {
    const broker = await Mosquitto.start(folder)
    const config = mqttSinkConfig({ url: broker.url, message: 'record', qos: 2 })
    const events: unknown[] = []
    const sink = createMqttSink({ name: 'hub', config, emit: (event) => events.push(event) })
    closing.push(sink)
    const batch = pinned(batchOf(1, 90), async () => {
      if (batch.note !== null) return
      await broker.end()
      await broker.begin()
    })
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'retry' })
    const reader = await readerOf(broker)
    expect(await sink.send(batch, never())).toMatchObject(ACKED)
    expect([...new Set(await idsAt(reader))]).toEqual(ids(1, 90))
    expect(sink.promise).toMatchObject({ delivery: 'at least once' })
    expect(sink.promise.by).toMatch(/lost a session/)
    expect(sink.stats.mayRepeat).toMatchObject({ 'session-lost': 1, 'message-gone': 0 })
    expect(events).toContainEqual({
      type: 'sink.session-lost',
      sink: 'hub',
      stream: 'telemetry',
      times: 1,
    })
  })

  test('a client id whose session has subscriptions is held, with words', async () => {
    const broker = await Mosquitto.start(folder)
    const other = await connectAsync(broker.url, { clientId: 'box-telemetry', clean: false })
    await other.subscribeAsync('other/#', { qos: 1 })
    await other.endAsync()
    // It waits for that client id.
    const neighbor = await connectAsync(broker.url)
    await neighbor.publishAsync('other/news', 'x', { qos: 1 })
    await neighbor.endAsync()
    const sink = sinkTo(broker.url, { qos: 2, clientId: 'box' })
    const answer = await sink.send(batchOf(1, 5), never())
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink' })
    expect(JSON.stringify(answer)).toMatch(/choose a clientId that nothing else used/)
  })
})
