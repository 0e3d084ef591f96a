/** The object sink against a store by S3's documentation: what it keeps, and what it makes of answers. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Batch } from '../../../gateway/ports/sink.ts'
import { objectType } from '../../../gateway/sink/object/type.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { TestProxy } from '../../support/test-proxy.ts'
import { batchOf, expired, never, recordId } from '../http/batches.ts'
import { objectSinkConfig, SIGNED } from './configs.ts'
import { idsIn } from './harness.ts'
import { type Mishap, S3Model } from './s3-model.ts'

type Changes = Parameters<typeof objectSinkConfig>[0]

let model: S3Model
const sinks: ConfiguredSink[] = []
beforeEach(async () => {
  model = await S3Model.start()
})
afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close()
  await model.close()
})

function sinkTo(changes: Changes = {}): ConfiguredSink {
  const config = objectSinkConfig({ url: model.url, auth: SIGNED, layout: 'flat', ...changes })
  const sink = objectType.create({ name: 'archive', config, emit: () => undefined })
  sinks.push(sink)
  return sink
}

function batchFor(sink: ConfiguredSink, first: number, last: number, changes: Partial<Batch> = {}) {
  return batchOf(first, last, { fingerprint: sink.encoder.fingerprint, ...changes })
}

function puts(): number {
  return model.requests.filter(({ method }) => method === 'PUT').length
}

/** Of PUTs, from now on. */
function mishapOfPuts(mishap: Mishap): void {
  model.mishap = ({ method }) => (method === 'PUT' ? mishap : null)
}

describe('a repeat', () => {
  test('I4: is known by its name and bytes, whatever the store makes of conditions', async () => {
    for (const conditions of ['obeyed', 'ignored', 'not-implemented'] as const) {
      model.objects.clear()
      model.conditions = conditions
      const sink = sinkTo()
      for (const first of [1, 4, 4]) {
        const answer = await sink.send(batchFor(sink, first, first + 2), never())
        expect(answer, conditions).toMatchObject({ kind: 'verdicts', listed: [] })
      }
      expect(idsIn(model)).toEqual([1, 2, 3, 4, 5, 6].map(recordId))
      expect(model.overwritten).toEqual([])
    }
  })

  test('costs one request a batch once it is known that the store obeys conditions', async () => {
    const sink = sinkTo()
    await sink.send(batchFor(sink, 1, 3), never())
    const before = model.requests.length
    for (let first = 4; first < 40; first += 3)
      await sink.send(batchFor(sink, first, first + 2), never())
    expect(model.requests.length - before).toBe(12)
    expect(model.requests.at(-1)?.headers['if-none-match']).toBe('*')
  })

  test('I4: in another form after a change is found under the name that it had', async () => {
    const plain = sinkTo({ compression: 'none', layout: 'days' })
    await plain.send(batchFor(plain, 1, 3), never())
    const before = puts()
    const gzip = sinkTo()
    const formerFingerprints = [plain.encoder.fingerprint]
    const again = batchFor(gzip, 1, 3, { formerFingerprints })
    expect(await gzip.send(again, never())).toMatchObject({ kind: 'verdicts' })
    expect(puts()).toBe(before)
    const other = batchFor(gzip, 4, 6, { formerFingerprints })
    expect(await gzip.send(other, never())).toMatchObject({ kind: 'verdicts' })
    expect(idsIn(model)).toEqual([4, 5, 6].map(recordId))
  })
})

describe('what is there under the name with other bytes', () => {
  test.each(['obeyed', 'ignored', 'not-implemented'] as const)(
    'I8: is never written over, and holds the stream (conditions %s)',
    async (conditions) => {
      model.conditions = conditions
      const sink = sinkTo()
      await sink.send(batchFor(sink, 1, 3), never())
      await sink.send(batchFor(sink, 4, 6), never())
      const name = [...model.objects.keys()].find((key) => key.includes('0004'))
      const theirs = gzipSync('{"id":"of another gateway"}\n')
      model.objects.set(name ?? '', theirs)
      for (const one of [sink, sinkTo()]) {
        const answer = await one.send(batchFor(one, 4, 6), never())
        expect(answer).toMatchObject({ kind: 'hold', scope: 'stream', cloned: true })
      }
      expect(model.objects.get(name ?? '')).toEqual(theirs)
      expect(model.overwritten).toEqual([])
    },
  )

  test('what is longer is other bytes, too', async () => {
    const sink = sinkTo()
    const batch = batchFor(sink, 1, 3)
    await sink.send(batch, never())
    const [name = ''] = model.objects.keys()
    model.objects.set(name, Buffer.concat([batch.body, Buffer.alloc(100_000)]))
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'hold', cloned: true })
  })

  test('what may not be looked at holds the sink, and says which right is missing', async () => {
    const sink = sinkTo()
    await sink.send(batchFor(sink, 1, 3), never())
    model.mishap = ({ method }) => (method === 'GET' ? { status: 403, code: 'AccessDenied' } : null)
    const answer = await sinkTo().send(batchFor(sink, 1, 3), never())
    expect(answer).toMatchObject({ kind: 'hold', scope: 'sink' })
    expect(answer).toMatchObject({ detail: expect.stringContaining('s3:GetObject') })
  })

  test('who may not list is not held up by what is missing', async () => {
    model.mishap = ({ method }) => (method === 'GET' ? { status: 403, code: 'AccessDenied' } : null)
    const sink = sinkTo()
    expect(await sink.send(batchFor(sink, 1, 3), never())).toMatchObject({ kind: 'verdicts' })
  })
})

test('I9: gaps are there before the data is, under a name beside it', async () => {
  const sink = sinkTo({ layout: 'days' })
  await sink.send(batchFor(sink, 5, 6, { gaps: [expired(1, 4)] }), never())
  const [gaps = '', data = ''] = [...model.objects.keys()]
  expect(gaps).toMatch(/^plant\/telemetry\/2026-11-23\/edge-01\..*\.gaps\.json$/)
  expect(data).toBe(gaps.replace('.gaps.json', '.ndjson.gz'))
  const types = model.requests.map(({ headers }) => headers['content-type']).filter(Boolean)
  expect(new Set(types)).toEqual(new Set(['application/json', 'application/gzip']))
})

describe('answers', () => {
  test.each([
    [
      { status: 503, code: 'SlowDown', headers: { 'retry-after': '7' } },
      { kind: 'retry', throttled: true, retryAfterMs: 7_000 },
    ],
    [
      { status: 500, code: 'InternalError' },
      { kind: 'retry', answered: true },
    ],
    [{ status: 502 }, { kind: 'retry' }],
    [{ status: 429 }, { kind: 'retry', throttled: true }],
    [{ status: 400, code: 'RequestTimeout' }, { kind: 'retry' }],
    [{ status: 400, code: 'BadDigest' }, { kind: 'retry' }],
    [{ status: 409, code: 'ConditionalRequestConflict' }, { kind: 'retry' }],
    [
      { status: 403, code: 'AccessDenied' },
      { kind: 'hold', detail: /s3:PutObject/ },
    ],
    [
      { status: 403, code: 'SignatureDoesNotMatch' },
      { kind: 'hold', detail: /secretAccessKey/ },
    ],
    [
      { status: 403, code: 'RequestTimeTooSkewed' },
      { kind: 'hold', detail: /clock/ },
    ],
    [
      { status: 400, code: 'ExpiredToken' },
      { kind: 'hold', detail: /sessionToken/ },
    ],
    [
      { status: 301, code: 'PermanentRedirect' },
      { kind: 'hold', detail: /endpoint/ },
    ],
    [
      { status: 307, headers: { location: 'https://elsewhere.example/' } },
      { kind: 'hold', detail: /not followed/ },
    ],
    [{ status: 507 }, { kind: 'hold', detail: /make room/ }],
    [
      { status: 400, code: 'SomethingNew' },
      { kind: 'hold', detail: /SomethingNew \(so it says\)/ },
    ],
    [{ status: 413, code: 'EntityTooLarge' }, { kind: 'too-large' }],
    [{ status: 200 }, { kind: 'hold', detail: /portal/ }],
    [{ page: '<html>Welcome to our hotel' }, { kind: 'hold', detail: /portal/ }],
  ] as const)('I8: %j', async (mishap, expected) => {
    mishapOfPuts(mishap)
    const sink = sinkTo()
    const answer = await sink.send(batchFor(sink, 1, 3), never())
    const { detail, ...rest } = { detail: /./, ...expected }
    expect(answer).toMatchObject(rest)
    expect('detail' in answer && answer.detail).toMatch(detail)
    expect(model.objects.size).toBe(0)
  })

  test('I4: 413 for a batch that an earlier try has left there is an ack, not a smaller batch', async () => {
    const sink = sinkTo()
    await sink.send(batchFor(sink, 1, 3), never())
    mishapOfPuts({ status: 413, code: 'EntityTooLarge' })
    expect(await sink.send(batchFor(sink, 1, 3), never())).toMatchObject({ kind: 'verdicts' })
    model.mishap = ({ method }) =>
      method === 'PUT' ? { status: 413 } : { status: 403, code: 'AccessDenied' }
    expect(await sink.send(batchFor(sink, 4, 6), never())).toMatchObject({ kind: 'hold' })
  })

  test('I4: a lost answer, an object that went in between, a cut: each is tried again', async () => {
    const sink = sinkTo()
    await sink.send(batchFor(sink, 1, 3), never())
    for (const cut of ['before', 'after'] as const) {
      mishapOfPuts({ cut })
      const answer = await sink.send(batchFor(sink, 4, 6), never())
      expect(answer).toMatchObject({ kind: 'retry', answered: false, unsent: false })
    }
    model.mishap = ({ method }) => (method === 'GET' ? { status: 404, code: 'NoSuchKey' } : null)
    expect(await sink.send(batchFor(sink, 4, 6), never())).toMatchObject({ kind: 'retry' })
    model.mishap = null
    expect(await sink.send(batchFor(sink, 4, 6), never())).toMatchObject({ kind: 'verdicts' })
    expect(idsIn(model)).toEqual([1, 2, 3, 4, 5, 6].map(recordId))
  })
})

describe('credentials', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-object-'))
  })
  afterEach(() => rmSync(folder, { recursive: true, force: true }))

  test('a wrong secret is held, a new one in its file is used at once, and neither is shown', async () => {
    const file = join(folder, 'secret')
    writeFileSync(file, 'not-the-secret-of-it\n')
    const sink = sinkTo({ auth: { ...SIGNED, secretAccessKey: { file } } as typeof SIGNED })
    const changed = new Promise<void>((resolve) => {
      sink.onChange(resolve)
    })
    const held = await sink.send(batchFor(sink, 1, 3), never())
    expect(held).toMatchObject({ kind: 'hold', code: 'SignatureDoesNotMatch' })
    expect(JSON.stringify(held)).not.toContain('not-the-secret-of-it')
    writeFileSync(file, `${model.secret}\n`)
    await sink.reread()
    await changed
    expect(await sink.send(batchFor(sink, 1, 3), never())).toMatchObject({ kind: 'verdicts' })
  })

  test('a secret that cannot be read is held, and nothing is sent', async () => {
    const secretAccessKey = { file: join(folder, 'missing') }
    const sink = sinkTo({ auth: { ...SIGNED, secretAccessKey } as typeof SIGNED })
    const answer = await sink.send(batchFor(sink, 1, 3), never())
    expect(answer).toMatchObject({ kind: 'hold', unsent: true })
    expect(answer).toMatchObject({ detail: expect.stringContaining('auth.secretAccessKey') })
    expect(model.requests).toEqual([])
  })

  test('headers of the configuration are sent, and signed', async () => {
    const sink = sinkTo({ headers: { 'X-Amz-Storage-Class': { value: 'STANDARD_IA' } } })
    expect(await sink.send(batchFor(sink, 1, 3), never())).toMatchObject({ kind: 'verdicts' })
    expect(model.requests.at(-1)?.headers['x-amz-storage-class']).toBe('STANDARD_IA')
  })

  test('a clock that is off by a day is told so, and signatures follow the clock of the store', async () => {
    model.nowMs = () => Date.now() + 86_400_000
    const sink = sinkTo()
    const batch = batchFor(sink, 1, 3)
    expect(await sink.send(batch, never())).toMatchObject({
      kind: 'retry',
      detail: expect.stringContaining('the clock of this box is'),
    })
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts' })
  })

  test('through a proxy that is asked who comes; what it refuses is held', async () => {
    const proxy = await TestProxy.start()
    const way = { kind: 'http', url: proxy.url, noProxy: [] } as const
    const password = { value: 'a-proxy-password' }
    const sink = sinkTo({ proxy: { ...way, user: 'edge', password } })
    try {
      expect(await sink.send(batchFor(sink, 1, 3), never())).toMatchObject({ kind: 'verdicts' })
      const pair = Buffer.from('edge:a-proxy-password').toString('base64')
      expect(proxy.heads[0]).toContain(`Basic ${pair}`)
      expect(JSON.stringify(model.requests)).not.toContain(pair)
      proxy.answer = () => 'HTTP/1.1 407 Proxy Authentication Required\r\n\r\n'
      const stranger = sinkTo({ proxy: { ...way, user: null, password: null } })
      const held = await stranger.send(batchFor(stranger, 4, 6), never())
      expect(held).toMatchObject({ kind: 'hold', unsent: true })
    } finally {
      await proxy.close()
    }
  })
})

describe('check --try', () => {
  const tried = async (changes: Changes = {}) =>
    (
      await objectType.probe({
        name: 'archive',
        config: objectSinkConfig({ url: model.url, auth: SIGNED, ...changes }),
        dataDir: '/',
      })
    ).steps[0]

  test('writes nothing, and tells what it saw', async () => {
    expect(await tried()).toMatchObject({ step: 'answer', verdict: 'ok' })
    const wrong = { ...SIGNED, secretAccessKey: { value: 'another' } } as typeof SIGNED
    expect(await tried({ auth: wrong })).toMatchObject({ verdict: 'problem' })
    model.buckets.clear()
    expect(await tried()).toMatchObject({
      verdict: 'problem',
      detail: expect.stringContaining('NoSuchBucket'),
    })
    model.mishap = () => ({ status: 403, code: 'AccessDenied' })
    expect(await tried()).toMatchObject({ verdict: 'warning' })
    expect(await tried({ url: 'http://127.0.0.1:9/x' })).toMatchObject({ step: 'connection' })
    expect(puts()).toBe(0)
  })

  test.each([
    [403, null, 'ok'],
    [200, null, 'ok'],
    // A server that gives no folders by GET, asked in WebDAV.
    [405, 207, 'ok'],
    [404, 207, 'ok'],
    [501, 404, 'problem'],
    [404, 405, 'problem'],
    [405, 405, 'warning'],
  ])('a folder of which GET says %i and PROPFIND %j is a %s', async (got, found, verdict) => {
    model.mishap = ({ method, path }) => {
      if (!path.endsWith('/plant/')) return { status: 404 }
      return { status: method === 'GET' ? got : (found ?? 500) }
    }
    const config = objectSinkConfig({ store: 'dav', url: model.url })
    const { steps } = await objectType.probe({ name: 'archive', config, dataDir: '/' })
    expect(steps.map(({ step }) => step)).toEqual(['answer', 'folder'])
    expect(steps[1]).toMatchObject({ verdict })
    expect(model.requests.map(({ method }) => method).slice(1)).toEqual(
      found === null ? ['GET'] : ['GET', 'PROPFIND'],
    )
  })
})
