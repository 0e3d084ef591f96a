/**
 * Configuration changed across a restart with a backlog (fault 11): every key of streams and sinks.
 * What waits stays, and goes where the new configuration says, under its old ids. A stream that was
 * removed keeps its data, and can be drained through a named sink, or exported.
 */
import { readFileSync } from 'node:fs'
import { cp, link, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { runCli } from '../../../gateway/cli/program.ts'
import { describeKeys } from '../../../gateway/config/keys/describe.ts'
import { loadConfig } from '../../../gateway/config/load.ts'
import { SCHEMA } from '../../../gateway/configuration.ts'
import { type Gateway, startGateway } from '../../../gateway/gateway.ts'
import type { Status } from '../../../gateway/ports/status.ts'
import { Ballast } from '../../../gateway/spool/disk/ballast.ts'
import { BALLAST_BYTES } from '../../../gateway/spool/opening/folder-opening.ts'
import { FakeContext } from '../../cli/fake-context.ts'
import { ScriptedSink, type Step } from '../../support/scripted-sink.ts'
import {
  durable,
  lanes,
  linesOf,
  message,
  openSpool,
  pinNext,
  queueOf,
  temporaryFolder,
} from '../../support/spool-fixture.ts'

const RECORDS = 60
const PINNED = 10
const BLOCK = 10

let folder: Awaited<ReturnType<typeof temporaryFolder>>
let template: string
let ids: string[]
beforeAll(async () => {
  folder = await temporaryFolder()
  template = join(folder.path, 'template')
  const { spool } = await openSpool(template, { ballastBytes: 4096 })
  const to = lanes(spool, 'press-7', 'plant/press-7/temp')
  for (let n = 0; n < RECORDS; ) {
    let ticket = 0
    for (let i = 0; i < BLOCK; i++)
      ticket = spool.appender.append(to, message(`{"n":${++n},"text":"${'x'.repeat(200)}"}`))
    await durable(spool, ticket)
  }
  const queue = queueOf(spool)
  // A batch in flight: pinned, its answer never heard.
  const pinned = await pinNext(queue, PINNED)
  const first = (await linesOf(pinned as NonNullable<typeof pinned>))[0]?.id ?? ''
  ids = Array.from({ length: RECORDS }, (_, i) => first.replace(/\d+$/, String(i + 1)))
  await spool.stop()
  await rm(join(template, 'ballast'))
  await (await Ballast.open(join(folder.path, 'ballast'), BALLAST_BYTES)).ensure()
})
afterAll(() => folder.remove())

let gateway: Gateway | null = null
let sink: ScriptedSink
beforeEach(async () => {
  sink = await ScriptedSink.start()
})
afterEach(async () => {
  await gateway?.stop(1_000)
  gateway = null
  await sink.close()
})

type Sections = Readonly<Record<string, unknown>>

/**
 * A copy of the backlog under a configuration; returns its file. `streams` and `sinks` are merged
 * into what it had.
 */
async function configured(
  name: string,
  change: { streams?: Sections; sinks?: Sections },
): Promise<string> {
  const home = join(folder.path, name)
  await rm(home, { recursive: true, force: true })
  await mkdir(home)
  await cp(template, join(home, 'data'), { recursive: true })
  // Of full size, and only looked at: one for all.
  await link(join(folder.path, 'ballast'), join(home, 'data', 'ballast'))
  const config = {
    gateway: { id: 'edge-01', dataDir: './data' },
    mqtt: { listeners: [{ host: '127.0.0.1', port: 0 }] },
    streams: change.streams ?? { telemetry: {} },
    sinks: change.sinks ?? { cloud: { url: sink.url, linger: '0ms' } },
    spool: { minFreeBytes: '1MiB' },
    admin: { host: '127.0.0.1', port: 0 },
    log: { level: 'error' },
  }
  const file = join(home, 'sluice.yaml')
  await writeFile(file, JSON.stringify(config))
  return file
}

async function start(file: string): Promise<void> {
  gateway = await startGateway(loadConfig(SCHEMA, { file, env: {}, cwd: folder.path }).config)
}

async function status(): Promise<Status> {
  const response = await fetch(`${gateway?.adminUrl}/api/status`)
  return (await response.json()) as Status
}

async function until(isWanted: (status: Status) => boolean): Promise<Status> {
  const endMs = performance.now() + 8_000
  for (;;) {
    const now = await status()
    if (isWanted(now)) return now
    if (performance.now() > endMs)
      throw new Error(`not in time: ${JSON.stringify([now.streams, now.sinks])}`)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

function streamOf({ streams }: Status, name = 'telemetry'): Status['streams'][number] {
  const found = streams.find((stream) => stream.name === name)
  if (!found) throw new Error(`no stream ${name}`)
  return found
}

const isDrained = (now: Status): boolean => streamOf(now).counters.pending === 0

/** Ids in the order of their first coming. */
function storedIds(): string[] {
  const all = sink.stored.flatMap(({ lines }) =>
    lines.map((line) => (JSON.parse(line) as { id: string }).id),
  )
  return [...new Set(all)]
}

interface Change {
  /** Of the stream `telemetry`. */
  readonly stream?: Sections
  /** Of the sink `cloud`. */
  readonly sink?: Sections
  readonly answer?: Step
  /** What must hold beside the delivery of everything, once. */
  readonly check?: () => void
}

const requests = (): ScriptedSink['requests'] => sink.requests
/** Behind the batch in flight, which goes as it was pinned. */
const later = (): ScriptedSink['requests'] =>
  requests().filter(({ lines }) => !lines[0]?.includes('"seq":1,'))

/** Each key of the configuration, changed so that it could matter to what waits. */
const CHANGES: Readonly<Record<string, Change>> = {
  'streams.<name>.topics': { stream: { topics: ['elsewhere/#'] } },
  'streams.<name>.device': { stream: { device: 'topic:1' } },
  'streams.<name>.payload': { stream: { payload: 'json' } },
  'streams.<name>.properties': { stream: { properties: ['contentType', 'userProperties'] } },
  'streams.<name>.ack': { stream: { ack: 'delivered' } },
  'streams.<name>.messageExpiry': { stream: { messageExpiry: 'honor' } },
  'streams.<name>.priority': { stream: { priority: 9 } },
  'streams.<name>.maxRecordBytes': { stream: { maxRecordBytes: '256' } },
  'streams.<name>.maxBytes': { stream: { maxRecordBytes: '256', maxBytes: '1KiB' } },
  'streams.<name>.whenFull': {
    stream: { whenFull: 'drop-newest', maxRecordBytes: '256', maxBytes: '1KiB' },
  },
  'streams.<name>.silentAfter': { stream: { silentAfter: '1h' } },
  'streams.<name>.deadLetters.maxBytes': {
    stream: { maxRecordBytes: '256', deadLetters: { maxBytes: '1KiB' } },
  },
  'streams.<name>.deadLetters.maxAge': { stream: { deadLetters: { maxAge: '1s' } } },
  'streams.<name>.deadLetters.whenFull': { stream: { deadLetters: { whenFull: 'drop-oldest' } } },
  'sinks.<name>.url': { check: () => expect(requests()[0]?.path).toBe('/ingest') },
  'sinks.<name>.headers.<header>': {
    sink: { headers: { 'X-Site': 'north' } },
    check: () =>
      expect(requests().every(({ headers }) => headers['x-site'] === 'north')).toBe(true),
  },
  'sinks.<name>.bearerToken': {
    sink: { bearerToken: 'fresh' },
    check: () => expect(requests()[0]?.headers.authorization).toBe('Bearer fresh'),
  },
  'sinks.<name>.auth.kind': {
    sink: { auth: { kind: 'basic', user: 'edge-01', password: 'fresh' } },
    check: () =>
      expect(requests()[0]?.headers.authorization).toBe(`Basic ${btoa('edge-01:fresh')}`),
  },
  'sinks.<name>.format.kind': { sink: { format: 'ndjson' } },
  'sinks.<name>.compression': {
    sink: { compression: 'none' },
    check: () =>
      expect(later().every(({ headers }) => headers['content-encoding'] === undefined)).toBe(true),
  },
  'sinks.<name>.ack': {
    sink: { ack: 'body' },
    answer: { body: { ackedThrough: Number.MAX_SAFE_INTEGER } },
  },
  'sinks.<name>.ackStatus': { sink: { ackStatus: [203] }, answer: { status: 203 } },
  'sinks.<name>.maxInFlight': { sink: { maxInFlight: 4 } },
  'sinks.<name>.maxBatchRecords': {
    sink: { maxBatchRecords: 3 },
    check: () => expect(later().every(({ lines }) => lines.length <= 3)).toBe(true),
  },
  'sinks.<name>.maxBatchBytes': {
    sink: { maxBatchBytes: '1KiB' },
    check: () => expect(later().every(({ body }) => (body?.length ?? 0) <= 1024)).toBe(true),
  },
  'sinks.<name>.linger': { sink: { linger: '20ms' } },
  'sinks.<name>.timeout': { sink: { timeout: '5s' } },
  'sinks.<name>.connectTimeout': { sink: { connectTimeout: '3s' } },
  'sinks.<name>.minBytesPerSecond': { sink: { minBytesPerSecond: '1KiB' } },
  'sinks.<name>.maxRetryAfter': { sink: { maxRetryAfter: '1s' } },
  'sinks.<name>.recoveryJitter': { sink: { recoveryJitter: '50ms' } },
  'sinks.<name>.maxBytesPerSecond': { sink: { maxBytesPerSecond: '64KiB' } },
  'sinks.<name>.maxRefusedShare': { sink: { maxRefusedShare: 0.1 } },
  'sinks.<name>.allowInsecure': { sink: { allowInsecure: true } },
}

/**
 * Have tests of their own: the next ones here; those with certificates in test/sink and
 * test/faults/sink, `proxy` and `answers` in test/sink, since this sink stores what it answers 2xx to.
 */
const ELSEWHERE = [
  /^streams\.<name>\.(sink|maxAge|topics\.<n>)$/,
  /^sinks\.<name>\.type$/,
  /^sinks\.<name>\.(tls|proxy)/,
  /^sinks\.<name>\.(ackStatus\.<n>|answers\.<status>)$/,
]

describe('I8: a backlog under another configuration', () => {
  it('every key of streams and of an HTTP sink is changed by a test', () => {
    const keys = describeKeys(SCHEMA.root)
      .filter(({ only }) => only === null || only.value === 'http')
      .map(({ path }) => path)
      .filter((path) => /^(streams|sinks)\.<name>\./.test(path))
    const missing = keys.filter(
      (key) => CHANGES[key] === undefined && !ELSEWHERE.some((one) => one.test(key)),
    )
    expect(missing).toEqual([])
    expect(Object.keys(CHANGES).filter((key) => !keys.includes(key))).toEqual([])
  })

  it.each(Object.entries(CHANGES))(
    '%s: everything is delivered once, in order, under its ids',
    async (_, change) => {
      sink.script = [change.answer ?? {}]
      // A receiver by the contract: through the last seq of the batch.
      const { answer } = change
      if (answer?.body !== undefined) {
        sink.script = ({ headers }) => ({
          body: { ackedThrough: Number(headers['sluice-last-seq']) },
        })
      }
      const file = await configured('changed', {
        streams: { telemetry: change.stream ?? {} },
        sinks: { cloud: { url: sink.url, linger: '0ms', ...change.sink } },
      })
      await start(file)
      const { counters } = streamOf(await until(isDrained))
      expect(storedIds()).toEqual(ids)
      expect(sink.stored.flatMap(({ lines }) => lines)).toHaveLength(RECORDS)
      expect(counters).toMatchObject({ received: RECORDS, delivered: RECORDS, deadLettered: 0 })
      expect(requests()[0]?.lines).toHaveLength(PINNED)
      change.check?.()
    },
  )

  it('streams.<name>.sink: what waits goes to the new sink, and nothing to the old one', async () => {
    const old = await ScriptedSink.start()
    const sinks = {
      cloud: { url: old.url, linger: '0ms' },
      other: { url: sink.url, linger: '0ms' },
    }
    await start(await configured('sink', { streams: { telemetry: { sink: 'other' } }, sinks }))
    await until(isDrained)
    expect(storedIds()).toEqual(ids)
    expect(old.requests).toEqual([])
    await old.close()
  })

  it('sinks.<name>.type: what waits goes to a folder, once, in order, under its ids', async () => {
    const outbox = join(folder.path, 'outbox')
    await mkdir(outbox)
    const cloud = { type: 'file', folder: outbox, linger: '0ms', minFreeBytes: 0 }
    await start(await configured('type', { sinks: { cloud } }))
    await until(isDrained)
    const names = (await readdir(outbox)).filter((name) => name.endsWith('.ndjson.gz'))
    const files = names.sort().map((name) => readFileSync(join(outbox, name)))
    const lines = files.flatMap((file) => gunzipSync(file).toString().trimEnd().split('\n'))
    expect(lines.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(ids)
    expect(sink.requests).toEqual([])
  })

  it('I9: streams.<name>.maxAge: what is older goes, counted and reported, but for the batch in flight', async () => {
    sink.script = [{ status: 503 }]
    await start(await configured('age', { streams: { telemetry: { maxAge: '1s' } } }))
    await until((now) => (streamOf(now).counters.dropped['expired'] ?? 0) > 0)
    sink.script = [{}]
    const { counters } = streamOf(await until(isDrained))
    expect(counters.delivered).toBe(PINNED)
    expect(counters.dropped['expired']).toBe(RECORDS - PINNED)
    expect(storedIds()).toEqual(ids.slice(0, PINNED))
  })

  it('I9: whenFull drop-oldest with less room: the oldest go, but for the batch in flight', async () => {
    sink.script = [{ status: 503 }]
    const streams = {
      telemetry: { whenFull: 'drop-oldest', maxRecordBytes: '256', maxBytes: '1KiB' },
    }
    await start(await configured('room', { streams }))
    const full = streamOf(
      await until((now) => (streamOf(now).counters.dropped['dropped-oldest'] ?? 0) > 0),
    )
    sink.script = [{}]
    const { counters } = streamOf(await until(isDrained))
    expect(counters.dropped['dropped-oldest']).toBe(full.counters.dropped['dropped-oldest'])
    expect(counters.delivered + (counters.dropped['dropped-oldest'] ?? 0)).toBe(RECORDS)
    expect(storedIds().slice(0, PINNED)).toEqual(ids.slice(0, PINNED))
  }, 20_000)
})

describe('I8: a stream that was removed from the configuration', () => {
  const OTHER = { alarms: { topics: ['alarms/#'] } }

  async function command(file: string, ...args: string[]): Promise<FakeContext> {
    const context = new FakeContext(folder.path)
    context.offline = async (config) => {
      const { openOffline } = await import('../../../gateway/offline.ts')
      return await openOffline(config)
    }
    const at = gateway ? ['--url', gateway.adminUrl] : []
    const code = await runCli([...args, '--config', file, ...at], context)
    expect(code, context.err).toBe(0)
    return context
  }

  it('keeps its data, is reported, and nothing of it is sent', async () => {
    const file = await configured('orphan', { streams: OTHER })
    await start(file)
    const orphan = streamOf(await status())
    expect(orphan).toMatchObject({ orphaned: true, sink: null, backlogRecords: RECORDS })
    expect((await command(file, 'streams', 'orphans')).out).toContain('none (orphaned)')
    expect(sink.requests).toEqual([])
  })

  it('I4, I5: is drained to a named sink, also across a restart, under its ids, and counts as delivered', async () => {
    sink.script = [{ status: 503 }]
    const file = await configured('drained', { streams: OTHER })
    await start(file)
    expect((await command(file, 'streams', 'drain', 'telemetry', '--sink', 'cloud')).out).toContain(
      'is being drained',
    )
    await until(() => sink.requests.length > 0)
    await gateway?.stop(1_000)
    sink.script = [{}]
    await start(file)
    // An orphaned stream that is empty is not shown any more.
    await until(({ streams }) => streams.every(({ name }) => name !== 'telemetry'))
    expect(storedIds()).toEqual(ids)
    await gateway?.stop(1_000)
    gateway = null
    const { spool } = await openSpool(join(folder.path, 'drained', 'data'))
    expect(queueOf(spool).spool.view.counters).toMatchObject({
      received: RECORDS,
      delivered: RECORDS,
    })
    expect(spool.notes.get('streams/drain-to/telemetry')).toBeNull()
    await spool.stop()
  })

  it('is drained from the next start on when the gateway is stopped', async () => {
    const file = await configured('later', { streams: OTHER })
    const said = await command(file, 'streams', 'drain', 'telemetry', '--sink', 'cloud')
    expect(said.out).toContain('from the next start on')
    await start(file)
    await until(({ streams }) => streams.every(({ name }) => name !== 'telemetry'))
    expect(storedIds()).toEqual(ids)
  })

  it.each(['running', 'stopped'])(
    'is exported as NDJSON from a %s gateway, and stays',
    async (how) => {
      sink.script = [{ status: 503 }]
      const file = await configured(`export-${how}`, { streams: OTHER })
      if (how === 'running') await start(file)
      const out = join(folder.path, `${how}.ndjson`)
      expect((await command(file, 'streams', 'export', 'telemetry', '--out', out)).err).toContain(
        'exported 60 records',
      )
      const lines = (await readFile(out, 'utf8')).trimEnd().split('\n')
      expect(lines.map((line) => (JSON.parse(line) as { id: string }).id)).toEqual(ids)
      expect((await command(file, 'streams', 'export', 'telemetry')).out).toBe(
        `${lines.join('\n')}\n`,
      )
      const again = new FakeContext(folder.path)
      const at = gateway ? ['--url', gateway.adminUrl] : []
      if (gateway) {
        expect(
          await runCli(
            ['streams', 'export', 'telemetry', '--out', out, '--config', file, ...at],
            again,
          ),
        ).toBe(1)
        expect(again.err).toContain('exists already')
        expect(streamOf(await status()).backlogRecords).toBe(RECORDS)
      }
    },
  )

  it('a stream that is configured, or a sink that is not, is refused with the reason', async () => {
    sink.script = [{ status: 503 }]
    const file = await configured('refused', {})
    await start(file)
    for (const [stream, to, why] of [
      ['telemetry', 'cloud', 'is in the configuration'],
      ['nowhere', 'cloud', 'no such stream'],
    ]) {
      const context = new FakeContext(folder.path)
      const args = ['streams', 'drain', stream ?? '', '--sink', to ?? '', '--config', file]
      expect(await runCli([...args, '--url', gateway?.adminUrl ?? ''], context)).toBe(1)
      expect(context.err).toContain(why)
    }
  })
})
