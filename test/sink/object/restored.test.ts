/**
 * A spool that was put back to an older state over a store that has what came after it: batches are
 * cut another way, under other names. The records are there twice; the sink sees it, and says so.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SinkEvent } from '../../../gateway/sink/events.ts'
import { objectType } from '../../../gateway/sink/object/type.ts'
import type { ConfiguredSink } from '../../../gateway/sink/sink-type.ts'
import { reapProcesses } from '../../support/process.ts'
import { batchOf, never } from '../http/batches.ts'
import { objectSinkConfig, SIGNED } from './configs.ts'
import { idsIn } from './harness.ts'
import { S3Model } from './s3-model.ts'
import { BUCKET, S3RVER_KEYS, S3rver } from './servers.ts'

type Changes = Parameters<typeof objectSinkConfig>[0]
type Range = readonly [first: number, last: number]

const DELIVERED: readonly Range[] = [
  [1, 60],
  [61, 100],
]
/** As the older spool sends them, with another `maxBatchRecords`. */
const AGAIN: readonly Range[] = [
  [1, 60],
  [61, 90],
  [91, 120],
  [121, 130],
]
const TOLD = [
  { type: 'sink.may-repeat', firstSeq: 61, lastSeq: 90 },
  { type: 'sink.may-repeat', firstSeq: 91, lastSeq: 120 },
]

const sinks: ConfiguredSink[] = []
afterEach(async () => {
  for (const sink of sinks.splice(0)) await sink.close()
})

/** One run of a gateway. */
async function run(changes: Changes, ranges: readonly Range[]) {
  const told: SinkEvent[] = []
  const config = objectSinkConfig({ layout: 'flat', ...changes })
  const sink = objectType.create({ name: 'archive', config, emit: (event) => told.push(event) })
  sinks.push(sink)
  for (const [first, last] of ranges) {
    const batch = batchOf(first, last, { fingerprint: sink.encoder.fingerprint })
    expect(await sink.send(batch, never())).toMatchObject({ kind: 'verdicts', listed: [] })
  }
  return { told, times: sink.stats.mayRepeat['other-names'] }
}

describe('a store by the documentation of S3', () => {
  let model: S3Model
  beforeEach(async () => {
    model = await S3Model.start()
  })
  afterEach(() => model.close())

  const lists = (): number =>
    model.requests.filter(({ method, path }) => method === 'GET' && path.includes('?')).length
  const place = (): Changes => ({ url: model.url, auth: SIGNED })

  test.each(['flat', 'streams', 'days'] as const)(
    'layout %s: told and counted, with one list a run; ids tell',
    async (layout) => {
      expect(await run({ ...place(), layout }, DELIVERED)).toEqual({ told: [], times: 0 })
      expect(lists()).toBe(1)
      const again = await run({ ...place(), layout }, AGAIN)
      expect(again).toMatchObject({ told: TOLD, times: 2 })
      expect(lists()).toBe(2)
      expect(idsIn(model)).toHaveLength(130 + 40)
      expect(new Set(idsIn(model)).size).toBe(130)
    },
  )

  test('page by page, as far as it is needed', async () => {
    model.pageKeys = 2
    const delivered = Array.from({ length: 10 }, (_, i): Range => [10 * i + 1, 10 * i + 10])
    await run(place(), delivered)
    const before = lists()
    expect(await run(place(), [[1, 4], ...AGAIN.slice(1)])).toMatchObject({ times: 3 })
    expect(lists() - before).toBe(3)
  })

  test('where the bucket is in the host', async () => {
    model.bucketInHost = 'archive'
    const url = `${model.origin}/plant`
    await run({ ...place(), url }, DELIVERED)
    expect(await run({ ...place(), url }, AGAIN)).toMatchObject({ told: TOLD, times: 2 })
  })

  test('without the right to list nothing is noticed, asked once, and all is kept', async () => {
    model.mayList = false
    await run(place(), DELIVERED)
    const before = lists()
    expect(await run(place(), AGAIN)).toEqual({ told: [], times: 0 })
    expect(lists() - before).toBe(2)
    expect(new Set(idsIn(model)).size).toBe(130)
  })

  test('a list that fails keeps no object from its place, and is asked for again', async () => {
    await run(place(), DELIVERED)
    let fails = 1
    model.mishap = ({ method, path }) =>
      method === 'GET' && path.includes('?') && fails-- > 0 ? { status: 503 } : null
    expect(await run(place(), AGAIN)).toMatchObject({ told: TOLD.slice(1), times: 1 })
  })
})

describe('a WebDAV server that knows PROPFIND', () => {
  let model: S3Model
  beforeEach(async () => {
    model = await S3Model.start()
    model.secret = null
  })
  afterEach(() => model.close())

  /** RFC 4918, section 9.1: the folder itself, and what is in it. */
  function folderList(): string {
    const paths = [
      '/archive/plant/',
      ...[...model.objects.keys()].map((name) => `/archive/${name}`),
    ]
    const found = paths.map((path) => `<D:response><D:href>${path}</D:href></D:response>`)
    return `<?xml version="1.0"?><D:multistatus xmlns:D="DAV:">${found.join('')}</D:multistatus>`
  }

  test.each([207, 405])('its list is read; one that knows none (%i) keeps all', async (status) => {
    model.mishap = ({ method, headers, body }) => {
      if (method === 'PUT') return null
      if (method !== 'PROPFIND') return null
      expect(headers['depth']).toBe('1')
      expect(body.toString()).toContain('propfind')
      return { status, body: Buffer.from(status === 207 ? folderList() : '') }
    }
    const place = { store: 'dav', url: model.url } as const
    model.putStatus = 201
    await run(place, DELIVERED)
    const again = await run(place, AGAIN)
    expect(again.times).toBe(status === 207 ? 2 : 0)
    const asked = model.requests.filter(({ method }) => method === 'PROPFIND').length
    expect(asked).toBe(2)
  })
})

describe('s3rver', () => {
  let folder: string
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sluice-restored-'))
  })
  afterEach(async () => {
    await reapProcesses()
    rmSync(folder, { recursive: true, force: true })
  })

  test('told and counted', async () => {
    const store = await S3rver.start(folder)
    const auth = {
      ...SIGNED,
      region: 'us-east-1',
      accessKeyId: { value: S3RVER_KEYS.accessKeyId },
      secretAccessKey: { value: S3RVER_KEYS.secretAccessKey },
    }
    const place = { url: `${store.origin}/${BUCKET}/plant`, auth }
    expect(await run(place, DELIVERED)).toEqual({ told: [], times: 0 })
    expect(await run(place, AGAIN)).toMatchObject({ told: TOLD, times: 2 })
  })
})
