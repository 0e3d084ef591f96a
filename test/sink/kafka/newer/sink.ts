/** The Kafka sink against librdkafka's mock cluster: what it sends, and what it makes of answers. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Batch, SinkAnswer } from '../../../../gateway/ports/sink.ts'
import type { KafkaSinkConfig } from '../../../../gateway/sink/kafka/config.ts'
import { probeCluster } from '../../../../gateway/sink/kafka/probe.ts'
import { createKafkaSink } from '../../../../gateway/sink/kafka/sink.ts'
import type { ConfiguredSink } from '../../../../gateway/sink/sink-type.ts'
import { recordOfLine } from '../../../../gateway/spool/codec/record.ts'
import { sourcePath } from '../../../support/source-path.ts'
import { batchOf, expired, never, recordId } from '../../http/batches.ts'
import { BrokerFront, type FrontOptions } from '../broker-front.ts'
import { kafkaSinkConfig } from '../configs.ts'
import { API, CODE, MockCluster } from '../mock-cluster.ts'

let cluster: MockCluster
const cleanups: Array<() => Promise<unknown> | void> = []
beforeEach(async () => {
  cluster = await MockCluster.start(2)
})
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  await cluster.close()
})

function sinkTo(changes: Partial<KafkaSinkConfig> = {}): ConfiguredSink {
  const config = kafkaSinkConfig({ brokers: cluster.brokers, timeout: 5000, ...changes })
  const sink = createKafkaSink({ name: 'cluster', config, emit: () => undefined, fileCheckMs: 5 })
  cleanups.push(() => sink.close())
  return sink
}

const send = async (sink: ConfiguredSink, batch: Batch): Promise<SinkAnswer> =>
  await sink.send(batch, never())

/** Records of several devices: seq n is of device n mod 3, and says so in its payload. */
function mixed(first: number, last: number): Batch {
  const lines: string[] = []
  for (let seq = first; seq <= last; seq++) {
    const device = `press-${seq % 3}`
    const at = new Date(Date.UTC(2026, 10, 23) + seq).toISOString()
    lines.push(
      `{"id":"${recordId(seq)}","seq":${seq},"device":"${device}","topic":"plant/${device}/temp","qos":1,"receivedAt":"${at}","payload":{"n":${seq}}}\n`,
    )
  }
  return batchOf(first, last, {
    records: async function* () {
      for (const line of lines) yield recordOfLine(Buffer.from(line))
    },
  })
}

describe('what arrives', () => {
  test('key, value, headers and time of a record; records of a device in one partition, in order', async () => {
    await cluster.tell('topic', 'plant', 4)
    const sink = sinkTo()
    for (const [first, last] of [
      [1, 30],
      [31, 31],
      [32, 60],
    ] as const)
      expect(await send(sink, mixed(first, last))).toMatchObject({ kind: 'verdicts', listed: [] })
    const records = await cluster.sync()
    expect(records).toHaveLength(60)
    expect(records.find(({ value }) => value === '{"n":4}')).toMatchObject({
      key: 'press-1',
      timestamp: Date.UTC(2026, 10, 23) + 4,
      headers: {
        id: recordId(4),
        receivedAt: '2026-11-23T00:00:00.004Z',
        topic: 'plant/press-1/temp',
      },
    })
    for (const key of ['press-0', 'press-1', 'press-2']) {
      const own = records.filter((record) => record.key === key)
      expect(new Set(own.map(({ partition }) => partition)).size).toBe(1)
      const numbers = own.map(({ value }) => Number(/\d+/.exec(value)?.[0]))
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b))
    }
  })

  test.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'] as const)(
    'compressed by %s',
    async (kind) => {
      await cluster.tell('topic', 'plant', 2)
      await send(sinkTo({ compression: kind }), mixed(1, 500))
      expect(await cluster.sync()).toHaveLength(500)
    },
  )

  test('a topic and a key by template; a slash becomes a dot', async () => {
    for (const n of [0, 1, 2]) await cluster.tell('topic', `plant.press-${n}.temp`, 1)
    const sink = sinkTo({ topic: '${topic}', key: '${/n}', value: 'record' })
    expect(await send(sink, mixed(1, 9))).toMatchObject({ kind: 'verdicts', listed: [] })
    const records = await cluster.sync()
    const five = records.find(({ key }) => key === '5')
    expect(five?.topic).toBe('plant.press-2.temp')
    expect(JSON.parse(five?.value ?? '')).toMatchObject({ seq: 5, payload: { n: 5 } })
    expect(records).toHaveLength(9)
  })

  test('a record that the mapping cannot place is refused beside the ack of the rest', async () => {
    await cluster.tell('topic', 'plant', 1)
    const odd = mixed(1, 3)
    const sink = sinkTo({ key: '${topic.1}-${/celsius}' })
    const all = await send(sink, odd)
    expect(all).toMatchObject({ kind: 'verdicts', ackedThrough: null })
    expect(all.kind === 'verdicts' && all.listed).toEqual(
      [1, 2, 3].map((seq) => ({
        seq,
        verdict: 'refused',
        code: null,
        reason: expect.stringMatching(/^unmappable: .*\/celsius/) as string,
      })),
    )
    expect(await cluster.sync()).toEqual([])
    const topic = await send(sinkTo({ topic: '${/n} b' }), mixed(1, 1))
    expect(topic).toMatchObject({ listed: [{ verdict: 'refused' }] })
  })

  test('gaps go to their topic, keyed by the queue', async () => {
    await cluster.tell('topic', 'plant', 1)
    await cluster.tell('topic', 'gaps', 1)
    await send(sinkTo({ gapsTopic: 'gaps' }), batchOf(5, 6, { gaps: [expired(1, 4)] }))
    const [gap] = (await cluster.sync()).filter(({ topic }) => topic === 'gaps')
    expect(gap?.key).toBe('edge-01:k3f9x2m7q4w8z:telemetry')
    expect(JSON.parse(gap?.value ?? '')).toMatchObject({ firstSeq: 1, lastSeq: 4 })
  })
})

describe('answers', () => {
  beforeEach(() => cluster.tell('topic', 'plant', 1))

  test.each([
    ['tooLarge', { kind: 'too-large', code: 'MESSAGE_TOO_LARGE' }],
    ['invalidRecord', { kind: 'refused', code: 'INVALID_RECORD' }],
    ['notEnoughReplicas', { kind: 'retry', scope: 'stream', answered: true }],
    ['quota', { kind: 'retry', scope: 'sink', throttled: true }],
    ['topicForbidden', { kind: 'hold', scope: 'stream', code: 'TOPIC_AUTHORIZATION_FAILED' }],
    ['policyViolation', { kind: 'hold', scope: 'stream', code: 'POLICY_VIOLATION' }],
  ] as const)('%s', async (name, wanted) => {
    await cluster.tell('errors', API.produce, CODE[name], 3)
    const sink = sinkTo()
    const answer = await send(sink, mixed(1, 3))
    expect(answer).toMatchObject(wanted)
    expect('detail' in answer && answer.detail).toMatch(/answered [A-Z_]+ for topic plant/)
    await cluster.tell('clear', API.produce)
    expect(await send(sink, mixed(1, 3))).toMatchObject({ kind: 'verdicts', listed: [] })
    expect(await cluster.sync()).toHaveLength(3)
  })

  test('a leader that moved, and a sequence that was lost, are repeated by the client itself', async () => {
    for (const code of [CODE.notLeader, CODE.outOfOrder, CODE.cut]) {
      await cluster.tell('errors', API.produce, code, 1)
      expect(await send(sinkTo(), mixed(1, 3))).toMatchObject({ kind: 'verdicts', listed: [] })
    }
  })

  test('a user who may not produce with numbers is held for the whole sink, before anything left', async () => {
    await cluster.tell('errors', API.initProducerId, CODE.clusterForbidden, 1)
    const answer = await send(sinkTo(), mixed(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
    expect('detail' in answer && answer.detail).toContain('IdempotentWrite')
  })

  test('a topic that is missing is held until it is there', async () => {
    await cluster.tell('topic-error', 'plant', CODE.unknownTopic)
    const sink = sinkTo()
    const answer = await send(sink, mixed(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'stream', unsent: true })
    expect('detail' in answer && answer.detail).toMatch(/topic plant; create the topic/)
    await cluster.tell('topic-error', 'plant', 0)
    expect(await send(sink, mixed(1, 3))).toMatchObject({ kind: 'verdicts' })
  })

  test('nobody there: tried again, and said so', async () => {
    await cluster.tell('down')
    const sink = sinkTo()
    const answer = await send(sink, mixed(1, 3))
    expect(answer).toMatchObject({ kind: 'retry', scope: 'sink', answered: false, unsent: true })
    expect(sink.health.connected).toBe(false)
    expect(sink.health.detail).toContain('ECONNREFUSED')
    await cluster.tell('up')
    expect(await send(sink, mixed(1, 3))).toMatchObject({ kind: 'verdicts' })
    expect(sink.health).toEqual({ connected: true, detail: null })
  })
})

describe('a front with TLS and users', () => {
  const tls = {
    cert: readFileSync(sourcePath('test/support/tls-sink/server.pem')),
    key: readFileSync(sourcePath('test/support/tls-sink/server.key')),
  }
  const ca = sourcePath('test/support/tls-sink/ca.pem')
  let single: MockCluster
  let folder: string
  beforeEach(async () => {
    single = await MockCluster.start(1)
    await single.tell('topic', 'plant', 1)
    folder = mkdtempSync(join(tmpdir(), 'sluice-kafka-'))
    cleanups.push(
      () => single.close(),
      () => rmSync(folder, { recursive: true }),
    )
  })

  const frontOf = async (options: Omit<FrontOptions, 'brokerPort'>): Promise<BrokerFront> => {
    const brokerPort = Number(single.bootstraps.split(':')[1])
    const front = await BrokerFront.start({ brokerPort, ...options })
    cleanups.push(() => front.close())
    return front
  }
  const to = ({ port }: BrokerFront): Partial<KafkaSinkConfig> => ({
    brokers: [`127.0.0.1:${port}`],
  })

  test('a wrong password is held; the right one in its file ends the hold', async () => {
    const front = await frontOf({ tls, credentials: 'edge:right' })
    const file = join(folder, 'password')
    writeFileSync(file, 'wrong-and-quoted\n')
    const keys: Partial<KafkaSinkConfig> = {
      ...to(front),
      tls: { ca, cert: null, key: null },
      sasl: { mechanism: 'plain', username: 'edge', password: { file } },
    }
    const sink = sinkTo(keys)
    const answer = await send(sink, mixed(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
    expect(answer).toMatchObject({ code: 'SASL_AUTHENTICATION_FAILED' })
    expect(front.shown).toContain('edge:wrong-and-quoted')
    const config = kafkaSinkConfig(keys)
    const probe = await probeCluster({ name: 'cluster', config, dataDir: folder })
    expect(JSON.stringify([answer, sink.health, probe])).not.toContain('wrong-and-quoted')
    const changed = new Promise<void>((resolve) => {
      sink.onChange(resolve)
    })
    writeFileSync(file, 'right\n')
    await changed
    expect(await send(sink, mixed(1, 3))).toMatchObject({ kind: 'verdicts', listed: [] })
    expect(await single.sync()).toHaveLength(3)
  })

  test('a certificate that nobody vouches for is no ack, and nothing left', async () => {
    const front = await frontOf({ tls })
    const sink = sinkTo({ ...to(front), tls: { ca: null, cert: null, key: null } })
    const answer = await send(sink, mixed(1, 3))
    expect(answer).toMatchObject({ kind: 'retry', unsent: true })
    expect('detail' in answer && answer.detail).toMatch(/certificate/)
  })

  test('a port that wants TLS is held', async () => {
    const front = await frontOf({ tls })
    const answer = await send(sinkTo({ ...to(front), timeout: 1000 }), mixed(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
    expect('detail' in answer && answer.detail).toMatch(/wants TLS: write tls: \{\}/)
  })

  test('a port that wants TLS and closes without a word is tried again, and nothing left', async () => {
    const front = await frontOf({ tls, closesWithoutAlert: true })
    const answer = await send(sinkTo({ ...to(front), timeout: 1000 }), mixed(1, 3))
    expect(answer).toMatchObject({ kind: 'retry', scope: 'sink', unsent: true })
  })

  test('a lost answer is repeated with the same sequence, so that the broker knows the repeat', async () => {
    const front = await frontOf({})
    front.loseAnswerTo = API.produce
    expect(await send(sinkTo(to(front)), mixed(1, 3))).toMatchObject({ kind: 'verdicts' })
    expect(await single.sync()).toHaveLength(3)
  })

  test('a link that is half open ends with the time-out, and the next try takes another', async () => {
    const front = await frontOf({})
    const sink = sinkTo({ ...to(front), timeout: 2000 })
    expect(await send(sink, mixed(1, 3))).toMatchObject({ kind: 'verdicts' })
    front.isFrozen = true
    const answer = await send(sink, mixed(4, 6))
    expect(answer).toMatchObject({ kind: 'retry', answered: false, transfer: { timedOut: true } })
    front.isFrozen = false
    expect(await send(sink, mixed(4, 6))).toMatchObject({ kind: 'verdicts' })
  })

  test('one replica keeps less than was promised', async () => {
    const two = sinkTo()
    await cluster.tell('topic', 'plant', 1)
    const one = sinkTo({ brokers: single.brokers })
    for (const sink of [one, two]) {
      expect(sink.promise.ack).toBe('durable')
      expect(await send(sink, mixed(1, 3))).toMatchObject({ kind: 'verdicts' })
    }
    expect(two.promise.ack).toBe('durable')
    expect(one.promise).toMatchObject({ delivery: 'at least once', ack: 'received' })
  })

  test('`check --try` tells of the cluster and its topics, and creates none', async () => {
    const config = kafkaSinkConfig({ brokers: single.brokers, gapsTopic: 'gaps' })
    await single.tell('topic-error', 'gaps', CODE.unknownTopic)
    const { steps } = await probeCluster({ name: 'cluster', config, dataDir: '/' })
    expect(steps.map(({ step, verdict }) => [step, verdict])).toEqual([
      ['connection', 'ok'],
      ['topic', 'warning'],
      ['topic', 'problem'],
    ])
    await single.tell('down')
    const { steps: down } = await probeCluster({ name: 'cluster', config, dataDir: '/' })
    expect(down).toMatchObject([{ step: 'connection', verdict: 'problem' }])
  })
})
