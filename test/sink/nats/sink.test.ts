/** What the NATS sink does with a real server, its streams and its troubles. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { headers } from '@nats-io/transport-node'
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Batch, SinkAnswer } from '../../../gateway/ports/sink.ts'
import type { SinkEvent } from '../../../gateway/sink/events.ts'
import type { NatsSinkConfig } from '../../../gateway/sink/nats/config.ts'
import { natsEncoder } from '../../../gateway/sink/nats/encode.ts'
import { probeStream } from '../../../gateway/sink/nats/probe.ts'
import { createNatsSink } from '../../../gateway/sink/nats/sink.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { recordOfLine } from '../../../gateway/spool/codec/record.ts'
import { reapProcesses } from '../../support/process.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { batchOf, never, recordId, recordLine } from '../http/batches.ts'
import { natsSinkConfig } from './configs.ts'
import { idsOf, NATS_TOOLS, NatsAdmin, type NatsServer, STREAM, startServer } from './server.ts'

const PASSWORD = 'right'
const ADMIN = '{ user: admin, password: admin }'
const SUBJECT = 'sluice.edge-01.telemetry'

function users(password: string, rights = ''): string {
  return `authorization { users: [ ${ADMIN}, { user: box, password: ${password} ${rights} } ] }`
}

describeWithTool(NATS_TOOLS, 'a NATS sink', () => {
  let folder: string
  let server: NatsServer
  let admin: NatsAdmin
  let events: SinkEvent[] = []
  const sinks: ConfiguredSink[] = []

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-nats-sink-'))
    server = await startServer(folder, users(PASSWORD))
    admin = await NatsAdmin.to([server.port], { user: 'admin', pass: 'admin' })
  })
  afterAll(async () => {
    await admin.close()
    await reapProcesses()
    rmSync(folder, { recursive: true, force: true })
  })
  beforeEach(async () => {
    events = []
    await admin.makeStream()
  })
  afterEach(async () => {
    for (const sink of sinks.splice(0)) await sink.close()
    await admin.deleteStream().catch(() => undefined)
  })

  function sinkOf(changes: Partial<NatsSinkConfig> = {}): ConfiguredSink {
    const config = configOf(changes)
    const emit = (event: SinkEvent): void => void events.push(event)
    const sink = createNatsSink({ name: 'nats', config, emit, fileCheckMs: 10 })
    sinks.push(sink)
    return sink
  }
  function configOf(changes: Partial<NatsSinkConfig>): NatsSinkConfig {
    const servers = [`127.0.0.1:${server.port}`]
    const login = { user: 'box', password: { value: PASSWORD } }
    return natsSinkConfig({ servers, ...login, timeout: 2000, ...changes })
  }
  async function send(sink: ConfiguredSink, batch: Batch): Promise<SinkAnswer> {
    return await sink.send(batch, never())
  }
  async function ids(): Promise<string[]> {
    return idsOf(await admin.read())
  }
  const through = (last: number) => Array.from({ length: last }, (_, i) => recordId(i + 1))
  const acked = { kind: 'verdicts', ackedThrough: null, listed: [] }

  test('a batch is a message with the headers of the contract', async () => {
    await send(sinkOf(), batchOf(1, 3))
    const [message] = await admin.read()
    expect(message?.subject).toBe(SUBJECT)
    expect(message?.text).toBe([1, 2, 3].map((seq) => recordLine(seq)).join(''))
    expect(Object.fromEntries(message?.headers ?? [])).toMatchObject({
      'Content-Encoding': 'gzip',
      'Content-Type': 'application/x-ndjson',
      'Nats-Expected-Stream': STREAM,
      'Sluice-First-Seq': '1',
      'Sluice-Last-Seq': '3',
      'Sluice-Record-Count': '3',
    })
  })

  test('I4: a try that arrives late, behind newer batches, is refused by the server', async () => {
    const sink = sinkOf({ compression: 'none' })
    await send(sink, batchOf(1, 3))
    const [first] = await admin.read()
    await send(sink, batchOf(4, 6))
    const late = headers()
    for (const [name, value] of first?.headers ?? [])
      if (name !== 'Nats-Msg-Id') late.set(name, value)
    const answer = await admin.connection.request(SUBJECT, first?.text, {
      timeout: 2000,
      headers: late,
    })
    expect(answer.string()).toMatch(/wrong last sequence: 2/)
    expect(await ids()).toEqual(through(6))
  })

  test('I4: a batch that arrived is found by its pieces, and in another form or place', async () => {
    const before = { compression: 'none', subject: 'sluice.before.${stream}' } as const
    await send(sinkOf(before), batchOf(1, 6))
    const former = natsEncoder(configOf(before)).fingerprint
    const moved = { formerFingerprints: [former] }
    expect(await send(sinkOf(), batchOf(1, 6, moved))).toMatchObject(acked)
    for (const [first, last] of [[1, 3] as const, [4, 6] as const])
      expect(await send(sinkOf(before), batchOf(first, last))).toMatchObject(acked)
    const more = await send(sinkOf(before), batchOf(4, 9))
    expect(more).toMatchObject({ kind: 'verdicts', ackedThrough: 6 })
    expect(await send(sinkOf(before), batchOf(7, 9))).toMatchObject(acked)
    expect(await ids()).toEqual(through(9))
  })

  test('I4: a message that tries the sink stands behind a queue, and tells nothing of it', async () => {
    const sink = sinkOf()
    const tries = async (spoolId: string): Promise<void> => {
      const trial = sinkOf()
      expect(await send(trial, batchOf(1, 1, { spoolId }))).toMatchObject(acked)
    }
    await tries('testa')
    expect(await send(sink, batchOf(1, 3))).toMatchObject(acked)
    await tries('testb')
    await tries('testc')
    expect(await send(sink, batchOf(4, 6))).toMatchObject(acked)
    await tries('testd')
    // As after a kill: it is there, behind the trial.
    expect(await send(sinkOf(), batchOf(4, 6))).toMatchObject(acked)
    expect(await send(sinkOf(), batchOf(7, 9))).toMatchObject(acked)
    const own = (await admin.read()).filter(
      ({ headers: of }) => of.get('Sluice-Spool')?.startsWith('test') === false,
    )
    expect(idsOf(own)).toEqual(through(9))
  })

  test('I4: other records under the same numbers, or a queue that is further, are a clone', async () => {
    await send(sinkOf(), batchOf(1, 6))
    const line = Buffer.from(recordLine(2, '{"celsius":0}'))
    const other = batchOf(2, 2, {
      records: async function* () {
        yield recordOfLine(line)
      },
    })
    const answer = await send(sinkOf(), other)
    expect(answer).toMatchObject({ kind: 'hold', scope: 'stream', cloned: true })
    await send(sinkOf(), batchOf(7, 9))
    expect(await send(sinkOf(), batchOf(1, 3))).toMatchObject({ kind: 'hold', cloned: true })
    expect(await ids()).toEqual(through(9))
  })

  test('what somebody else publishes under its subject holds the stream', async () => {
    await admin.connection.request(SUBJECT, 'hello', { timeout: 2000 })
    const answer = await send(sinkOf(), batchOf(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'stream', cloned: false })
    expect((answer as { detail: string }).detail).toMatch(/subject of their own/)
  })

  test('without the message that tells: new ones go on, others by whenLastMessageIsGone', async () => {
    const sink = sinkOf()
    await send(sink, batchOf(1, 3))
    await admin.purge(SUBJECT)
    expect(await send(sink, batchOf(4, 6))).toMatchObject(acked)
    expect(events).toEqual([])
    await admin.purge(SUBJECT)
    const held = await send(sinkOf({ whenLastMessageIsGone: 'hold' }), batchOf(7, 9))
    expect(held).toMatchObject({ kind: 'hold', scope: 'stream' })
    expect(await ids()).toEqual([])
    const notes: string[] = []
    const keepNote = async (note: string): Promise<void> => void notes.push(note)
    const doubtful = sinkOf()
    expect(await send(doubtful, batchOf(7, 9, { keepNote }))).toMatchObject(acked)
    expect(doubtful.stats.mayRepeat).toMatchObject({ 'session-lost': 0, 'message-gone': 1 })
    expect(notes).toEqual([expect.stringMatching(/^alone \d+ \d+$/)])
    expect(events).toContainEqual(
      expect.objectContaining({ type: 'sink.may-repeat', firstSeq: 7, lastSeq: 9 }),
    )
  })

  test('a note that the spool cannot keep: nothing is sent', async () => {
    const keepNote = async (): Promise<void> => {
      throw new Error('disk full')
    }
    const answer = await send(sinkOf(), batchOf(1, 3, { keepNote }))
    expect(answer).toMatchObject({ kind: 'retry', unsent: true })
    expect(await ids()).toEqual([])
  })

  test('a stream that is not there is held, and used once it is', async () => {
    await admin.deleteStream()
    const sink = sinkOf()
    const answer = await send(sink, batchOf(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true, code: '10059' })
    await admin.makeStream()
    expect(await send(sink, batchOf(1, 3))).toMatchObject(acked)
    await admin.deleteStream()
    expect(await send(sink, batchOf(4, 6))).toMatchObject({ kind: 'hold', code: '10059' })
  })

  test('a full stream that discards new messages is asked again', async () => {
    await admin.changeStream({ discard: 'new', max_msgs: 1 })
    const sink = sinkOf()
    await send(sink, batchOf(1, 3))
    const full = await send(sink, batchOf(4, 6))
    expect(full).toMatchObject({ kind: 'retry', scope: 'stream', code: '10077', answered: true })
    await admin.changeStream({ max_msgs: -1 })
    expect(await send(sink, batchOf(4, 6))).toMatchObject(acked)
    expect(await ids()).toEqual(through(6))
  })

  test('too few replicas and a sealed stream are held, a large batch is too large', async () => {
    const few = await send(sinkOf({ minReplicas: 3 }), batchOf(1, 3))
    expect(few).toMatchObject({ kind: 'hold' })
    expect((few as { detail: string }).detail).toMatch(/has 1 replicas, minReplicas is 3/)
    await admin.changeStream({ max_msg_size: 1000 })
    const config = { compression: 'none' } as const
    expect(await send(sinkOf(config), batchOf(1, 50))).toMatchObject({ kind: 'too-large' })
    await admin.changeStream({ sealed: true })
    const sealed = await send(sinkOf(), batchOf(1, 3))
    expect((sealed as { detail: string }).detail).toMatch(/is sealed/)
  })

  test('it promises what the stream can keep', async () => {
    const sink = sinkOf()
    expect(sink.promise).toMatchObject({ delivery: 'exactly once', ack: 'received' })
    expect(sinkOf({ syncAlways: true }).promise.ack).toBe('durable')
    await admin.deleteStream()
    await admin.makeStream({ storage: 'memory', retention: 'workqueue' })
    await send(sink, batchOf(1, 3))
    expect(sink.promise).toMatchObject({ delivery: 'at least once', ack: 'in memory' })
  })

  test('wrong credentials are held, and a new secret file ends that', async () => {
    const file = join(folder, 'password')
    writeFileSync(file, 'wrong\n')
    const sink = sinkOf({ password: { file } })
    const changed = new Promise<void>((resolve) => sink.onChange(resolve))
    const answer = await send(sink, batchOf(1, 3))
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink', unsent: true })
    expect((answer as { detail: string }).detail).toMatch(/refuses the login/)
    expect(JSON.stringify(answer)).not.toContain('wrong')
    writeFileSync(file, `${PASSWORD}\n`)
    await changed
    expect(await send(sink, batchOf(1, 3))).toMatchObject(acked)
    expect(sink.health).toEqual({ connected: true, detail: null })
  })

  test('a secret file that is missing, and a server without TLS, are held; nothing is sent', async () => {
    const missing = await send(sinkOf({ password: { file: join(folder, 'none') } }), batchOf(1, 3))
    expect(missing).toMatchObject({ kind: 'hold', unsent: true })
    expect((missing as { detail: string }).detail).toMatch(/password: .*ENOENT/)
    const tls = { ca: null, cert: null, key: null }
    const open = await send(sinkOf({ tls }), batchOf(1, 3))
    expect(open).toMatchObject({ kind: 'hold', unsent: true })
    expect((open as { detail: string }).detail).toMatch(/offers no TLS/)
  })

  test.each(['batch', 'record'] as const)(
    'a permission that is missing holds a %s',
    async (message) => {
      const rights = 'permissions: { publish: ["$JS.API.>"], subscribe: "_INBOX.>" }'
      await server.reload(users(PASSWORD, `, ${rights}`))
      try {
        const answer = await send(sinkOf({ message }), batchOf(1, 3))
        expect(answer).toMatchObject({ kind: 'hold', scope: 'sink' })
        expect((answer as { detail: string }).detail).toMatch(/Permissions Violation/)
      } finally {
        await server.reload(users(PASSWORD))
      }
    },
  )

  test.each(['batch', 'record'] as const)(
    'a server that stands still is given up, and the %s comes once',
    async (message) => {
      const sink = sinkOf({ message, timeout: 1000 })
      expect(await send(sink, batchOf(1, 3))).toMatchObject(acked)
      await server.stand()
      try {
        const silent = await send(sink, batchOf(4, 6))
        expect(silent).toMatchObject({ kind: 'retry', answered: false })
        expect(sink.health.connected).toBe(false)
      } finally {
        server.signal('SIGCONT')
      }
      expect(await send(sink, batchOf(4, 6))).toMatchObject(acked)
      expect(await ids()).toEqual(through(6))
    },
  )

  test('records: a subject by template, the payload as it came, the rest in headers', async () => {
    const sink = sinkOf({ message: 'record', subject: 'sluice.${topic}.${/celsius}' })
    expect(await send(sink, batchOf(1, 2))).toMatchObject(acked)
    const [message] = await admin.read()
    expect(message).toMatchObject({ subject: 'sluice.plant.press-7.temp.21_4' })
    expect(message?.text).toBe('{"celsius":21.4}')
    expect(Object.fromEntries(message?.headers ?? [])).toMatchObject({
      'Nats-Msg-Id': recordId(1),
      'Sluice-Device': 'press-7',
      'Sluice-Topic': 'plant/press-7/temp',
    })
  })

  test('I8: a record without its subject, or too large, is refused beside the others', async () => {
    await admin.changeStream({ max_msg_size: 1000 })
    const lines = [
      recordLine(1, '{"at":"a"}'),
      recordLine(2, '{}'),
      recordLine(3, `{"at":"${'x'.repeat(900)}"}`),
      recordLine(4, '{"at":"a"}'),
    ]
    const records: Batch['records'] = async function* () {
      for (const line of lines) yield recordOfLine(Buffer.from(line))
    }
    const sink = sinkOf({ message: 'record', subject: 'sluice.${/at}' })
    expect(await send(sink, batchOf(1, 4, { records }))).toMatchObject({
      kind: 'verdicts',
      listed: [
        { seq: 2, verdict: 'refused', reason: 'unmappable: /at is missing' },
        { seq: 3, verdict: 'refused', reason: expect.stringMatching(/^too large: /) as string },
      ],
    })
    expect(await ids()).toEqual([recordId(1), recordId(4)])
  })

  test('records: a failure in the window acks those before it, and all come in the end', async () => {
    await admin.changeStream({ discard: 'new', max_msgs: 5 })
    const sink = sinkOf({ message: 'record', window: 3 })
    const part = await send(sink, batchOf(1, 20))
    expect(part).toMatchObject({ kind: 'verdicts', ackedThrough: 5, listed: [] })
    expect(await send(sink, batchOf(6, 20))).toMatchObject({ kind: 'retry', code: '10077' })
    await admin.changeStream({ max_msgs: -1 })
    expect(await send(sink, batchOf(6, 20))).toMatchObject(acked)
    expect(await ids()).toEqual(through(20))
  })

  test('check --try tells how the stream is', async () => {
    const probed = async (changes: Partial<NatsSinkConfig>) => {
      const config = configOf(changes)
      const { steps } = await probeStream({ name: 'nats', config, dataDir: folder })
      return steps.map(({ step, verdict }) => `${step} ${verdict}`)
    }
    expect(await probed({})).toEqual(['connect ok', 'stream ok'])
    expect(await probed({ minReplicas: 3 })).toContain('stream problem')
    expect(await probed({ subject: 'else.${stream}' })).toContain('stream problem')
    expect(await probed({ jetStream: 'NONE' })).toEqual(['connect ok', 'stream problem'])
    expect(await probed({ password: { value: 'x' } })).toEqual(['connect problem'])
  })
})
