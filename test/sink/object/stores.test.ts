/** The object sink and real stores: s3rver, and nginx with its DAV module. */
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { objectType } from '../../../gateway/sink/object/type.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { reapProcesses } from '../../support/process.ts'
import { describeWithTool } from '../../support/tool-tests.ts'
import { batchOf, expired, type MadeBatch, never, recordId } from '../http/batches.ts'
import { objectSinkConfig } from './configs.ts'
import { BUCKET, DAV_USER, NginxDav, S3RVER_KEYS, S3rver, type StoreServer } from './servers.ts'

type Changes = Parameters<typeof objectSinkConfig>[0]

let folder: string
const sinks: ConfiguredSink[] = []
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice-stores-'))
})
afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close()
})
afterAll(async () => {
  await reapProcesses()
  rmSync(folder, { recursive: true, force: true })
})

function sinkWith(config: Changes): ConfiguredSink {
  const options = { name: 'archive', config: objectSinkConfig(config), emit: () => undefined }
  const sink = objectType.create(options)
  sinks.push(sink)
  return sink
}

async function probeWith(config: Changes) {
  const options = { name: 'archive', config: objectSinkConfig(config), dataDir: folder }
  return await objectType.probe(options)
}

async function probeOf(config: Changes): Promise<string[]> {
  const { steps } = await probeWith(config)
  return steps.map(({ step, verdict }) => `${step} ${verdict}`)
}

function batchFor({ encoder }: ConfiguredSink, first: number, last: number): MadeBatch {
  return batchOf(first, last, { fingerprint: encoder.fingerprint })
}

function idsIn(store: StoreServer): string[] {
  const all = store.texts(/\.ndjson(\.gz)?$/).join('')
  return [...all.matchAll(/"id":"([^"]+)"/g)].map(([, id]) => id ?? '')
}

async function expectOnce(store: StoreServer, sinkOf: () => ConfiguredSink): Promise<void> {
  const one = sinkOf()
  for (const [sink, first] of [
    [one, 1],
    [one, 4],
    [one, 4],
    [sinkOf(), 4],
    [one, 7],
  ] as const)
    expect(await sink.send(batchFor(sink, first, first + 2), never())).toMatchObject({
      kind: 'verdicts',
      listed: [],
    })
  expect(idsIn(store)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9].map(recordId))
}

describe('s3rver', () => {
  let store: S3rver
  const auth = {
    kind: 'aws-sigv4',
    region: 'us-east-1',
    accessKeyId: { value: S3RVER_KEYS.accessKeyId },
    secretAccessKey: { value: S3RVER_KEYS.secretAccessKey },
    sessionToken: null,
    credentialsFile: null,
    profile: 'default',
  } as const
  const sinkOf = (changes: Changes = {}) =>
    sinkWith({ url: `${store.origin}/${BUCKET}/plant`, auth, ...changes })
  beforeEach(async () => {
    store = await S3rver.start(mkdtempSync(join(folder, 's3-')))
  })
  afterEach(() => store.close())

  test('I4: each record is there once, over repeats and restarts', async () => {
    await expectOnce(store, sinkOf)
  })

  test('as in S3, what is there stays when a PUT of the same name is cut, or is not its MD5', async () => {
    const sink = sinkOf({ layout: 'flat', compression: 'none' })
    await sink.send(batchFor(sink, 1, 3), never())
    const whole = store.texts(/\.ndjson$/)
    const [path = ''] = readdirSync(store.folder, { recursive: true, encoding: 'utf8' }).filter(
      (name) => name.endsWith('._S3rver_object'),
    )
    const name = `/${path.slice(0, -'._S3rver_object'.length)}`
    const put = (...headers: string[]) => putStart(store.port, name, headers, '{"id":')
    const cut = await put('Content-Length: 100')
    cut.end()
    expect(await text(cut)).not.toMatch(/^HTTP.1.1 2/)
    expect(store.texts(/\.ndjson$/)).toEqual(whole)
    const digest = createHash('md5').update('another').digest('base64')
    const wrong = await put('Content-Length: 6', `Content-MD5: ${digest}`)
    expect(await text(wrong)).toContain('BadDigest')
    expect(store.texts(/\.ndjson$/)).toEqual(whole)
  })

  test('I8: an outage is retried; a bucket that is missing and a key that is wrong are held', async () => {
    const sink = sinkOf()
    const batch = batchFor(sink, 1, 3)
    await store.end('SIGTERM')
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'retry', answered: false })
    await store.start()
    const bucket = join(store.folder, BUCKET)
    renameSync(bucket, `${bucket}-away`)
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'hold', code: 'NoSuchBucket' })
    const tried = await probeOf({ url: `${store.origin}/${BUCKET}/plant`, auth })
    expect(tried).toEqual(['answer problem'])
    renameSync(`${bucket}-away`, bucket)
    const stranger = sinkOf({ auth: { ...auth, accessKeyId: { value: 'SOMEBODY' } } })
    const held = await stranger.send(batchFor(stranger, 1, 3), never())
    expect(held).toMatchObject({ kind: 'hold', code: 'InvalidAccessKeyId' })
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
    expect(idsIn(store)).toEqual([1, 2, 3].map(recordId))
  })
})

describeWithTool('nginx', 'nginx with its DAV module', () => {
  let store: NginxDav
  const auth = {
    kind: 'basic',
    user: DAV_USER.user,
    password: { value: DAV_USER.password },
  } as const
  const sinkOf = (changes: Changes = {}) =>
    sinkWith({ store: 'dav', url: store.url, auth, ...changes })
  beforeEach(async () => {
    store = await NginxDav.start(mkdtempSync(join(folder, 'dav-')))
  })
  afterEach(() => store.close())

  test.each([false, true])(
    'I4: each record is there once, over repeats and restarts (temporary names: %s)',
    async (temporaryNames) => {
      await expectOnce(store, () => sinkOf({ temporaryNames }))
      const sink = sinkOf({ temporaryNames, layout: 'flat' })
      const gapped = batchOf(20, 21, {
        fingerprint: sink.encoder.fingerprint,
        gaps: [expired(10, 19)],
      })
      expect(await sink.send(gapped, never())).toMatchObject({ kind: 'verdicts' })
      expect(store.texts(/\.gaps\.json$/)).toHaveLength(1)
      expect(store.texts(/\.tmp$/)).toEqual([])
    },
  )

  test.each([false, true])(
    'I8: a file of the same name with other bytes is not written over (temporary names: %s)',
    async (temporaryNames) => {
      const first = sinkOf({ temporaryNames, layout: 'flat', compression: 'none' })
      await first.send(batchFor(first, 1, 3), never())
      const [name = ''] = readdirSync(store.root)
      writeFileSync(join(store.root, name), 'theirs\n')
      for (const sink of [first, sinkOf({ temporaryNames, layout: 'flat', compression: 'none' })])
        expect(await sink.send(batchFor(sink, 1, 3), never())).toMatchObject({
          kind: 'hold',
          scope: 'stream',
          cloned: true,
        })
      expect(store.texts(/\.ndjson$/)).toEqual(['theirs\n'])
    },
  )

  test('check --try: a folder that is missing is told, with what to do; nothing is written', async () => {
    const place = { store: 'dav', url: store.url, auth } as const
    expect(await probeOf(place)).toEqual(['answer ok', 'folder ok'])
    expect(await probeOf({ ...place, url: `${store.url}/none` })).toEqual([
      'answer ok',
      'folder problem',
    ])
    renameSync(store.root, `${store.root}-away`)
    const { steps } = await probeWith(place)
    expect(steps.at(-1)?.detail).toMatch(/^\/edge\/ is not there \(404\): make the folder/)
    expect(existsSync(store.root)).toBe(false)
  })

  test('I8: a folder that is missing, a wrong password and a limit of the server', async () => {
    const sink = sinkOf()
    const batch = batchFor(sink, 1, 3)
    renameSync(store.root, `${store.root}-away`)
    const missing = await sink.send(batch, never())
    expect(missing).toMatchObject({ kind: 'hold', code: '409' })
    expect(missing).toMatchObject({ detail: expect.stringContaining('make the folder') })
    const flat = sinkOf({ layout: 'flat' })
    expect(await flat.send(batchFor(flat, 1, 3), never())).toMatchObject({
      kind: 'hold',
      detail: expect.stringContaining('/edge/ is not there'),
    })
    renameSync(`${store.root}-away`, store.root)
    const stranger = sinkOf({ auth: { ...auth, password: { value: 'not-the-password' } } })
    const held = await stranger.send(batchFor(stranger, 1, 3), never())
    expect(held).toMatchObject({ kind: 'hold', code: '401' })
    const large = { ...batch, stitched: async () => oneChunk(2 * 1024 * 1024) }
    expect(await sink.send(large, never())).toMatchObject({ kind: 'too-large' })
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
    expect(idsIn(store)).toEqual([1, 2, 3].map(recordId))
  })
})

function oneChunk(byteLength: number) {
  return { chunks: [Buffer.alloc(byteLength, 7)], byteLength }
}

/** With a head, and as much of the body. */
async function putStart(
  port: number,
  name: string,
  headers: readonly string[],
  body: string,
): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  const head = [`PUT ${name} HTTP/1.1`, 'Host: 127.0.0.1', 'Connection: close', ...headers]
  socket.write(`${head.join('\r\n')}\r\n\r\n${body}`)
  return socket
}
