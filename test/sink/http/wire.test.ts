/** What goes over the wire, byte for byte as version 0.2.0 sent it. See test/fixtures/http/. */
import { readdirSync, readFileSync } from 'node:fs'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import {
  type RecordedRequest,
  type Recording,
  record,
  SCENARIO_NAMES,
} from '../../fixtures/http/record.ts'

const FOLDER = new URL('../../fixtures/http/', import.meta.url)

function fixture(name: string): Recording {
  return JSON.parse(readFileSync(new URL(`${name}.json`, FOLDER), 'utf8')) as Recording
}

function headerOf(request: RecordedRequest | undefined, name: string): string | undefined {
  return request?.headers.find(([key]) => key === name)?.[1]
}

/** Another zlib may deflate to other bytes, and the length with them; what they hold is the same. */
function inflated({ requests }: Recording): unknown {
  return requests.map((request) => {
    const body = Buffer.from(request.body, 'base64')
    const isGzip = headerOf(request, 'content-encoding') === 'gzip'
    return {
      ...request,
      headers: request.headers.filter(([key]) => key !== 'content-length'),
      body: (isGzip ? gunzipSync(body) : body).toString(),
    }
  })
}

it('the fixtures are those of the scenarios', () => {
  const files = readdirSync(FOLDER).flatMap((name) => /^(.+)\.json$/.exec(name)?.[1] ?? [])
  expect(files.toSorted()).toEqual(SCENARIO_NAMES.toSorted())
})

it('they hold what they are for', () => {
  const gapsOf = (name: string): string[] =>
    fixture(name).requests.flatMap((request) => headerOf(request, 'sluice-gap') ?? [])
  expect(gapsOf('gzip-mixed-blocks')).toEqual([])
  expect(gapsOf('gaps-of-two-identities').join()).toMatch(/reason=dropped-oldest;spool=/)
  const many = gapsOf('many-gaps')
  expect(many.length).toBeGreaterThan(1)
  expect(Math.max(...many.map((text) => text.length))).toBeGreaterThan(2000)
  expect(many.join()).toContain('reason=dead-lettered')
  const bounds = (name: string): Set<string | undefined> =>
    new Set(fixture(name).requests.map((request) => headerOf(request, 'sluice-first-seq')))
  for (const name of ['acked-in-part', 'too-large', 'split-and-parked', 'gzip-sliced-blocks'])
    expect(bounds(name).size, name).toBeGreaterThan(2)
  expect(fixture('returned').requests.length).toBeGreaterThan(6)
})

describe.each(SCENARIO_NAMES)('the requests of %s', (name) => {
  it('I4: are the same bytes as ever', async () => {
    const expected = fixture(name)
    const now = await record(name)
    if (now.zlib === expected.zlib) expect(now.requests).toEqual(expected.requests)
    else expect(inflated(now)).toEqual(inflated(expected))
  })
})
