/** Names of files: the whole identity of a batch, and an order that `ls` shows. */
import { describe, expect, test } from 'vitest'
import {
  leftoversOf,
  type NamedBatch,
  namesOf,
  temporaryName,
} from '../../../gateway/sink/batch-files/names.ts'

const BATCH: NamedBatch = {
  gateway: 'edge-01',
  spoolId: 'k3f9x2m7q4w8z',
  stream: 'telemetry',
  firstSeq: 9,
  lastSeq: 120,
  encoding: 'gzip',
  fingerprint: '5d41402a',
  receivedAtMs: Date.parse('2026-11-23T23:59:59.999Z'),
}

describe('names of a batch', () => {
  test('say its identity, and end as what they hold', () => {
    const base = 'edge-01.k3f9x2m7q4w8z.telemetry.0000000000000009-0000000000000120.5d41402a'
    expect(namesOf(BATCH, 'flat')).toEqual({
      folders: [],
      data: `${base}.ndjson.gz`,
      gaps: `${base}.gaps.json`,
    })
    expect(namesOf({ ...BATCH, encoding: 'identity' }, 'flat').data).toBe(`${base}.ndjson`)
  })

  test('of one queue sort by seq, up to the last one there can be', () => {
    const seqs = [1, 2, 10, 99, 100, 12_345, 2 ** 32, Number.MAX_SAFE_INTEGER]
    const names = seqs.map((firstSeq) => namesOf({ ...BATCH, firstSeq }, 'flat').data)
    expect(names.toSorted()).toEqual(names)
  })

  test('go into folders of streams, and of UTC days of the first record', () => {
    const { folders, data, gaps } = namesOf(BATCH, 'days')
    expect(folders).toEqual(['telemetry', 'telemetry/2026-11-23'])
    expect(data).toMatch(/^telemetry\/2026-11-23\/edge-01\./)
    expect(gaps).toMatch(/^telemetry\/2026-11-23\/edge-01\..*\.gaps\.json$/)
    expect(namesOf(BATCH, 'streams')).toMatchObject({
      folders: ['telemetry'],
      data: expect.stringMatching(/^telemetry\/edge-01\./) as string,
    })
  })

  test('stay within 255 bytes, and within the folder, whatever the parts are', () => {
    const long = { ...BATCH, gateway: 'g'.repeat(63), stream: 's'.repeat(63) }
    const { data } = namesOf({ ...long, spoolId: 'x'.repeat(16) }, 'flat')
    expect(temporaryName(data).length).toBeLessThanOrEqual(255)
    expect(namesOf({ ...BATCH, gateway: '../../etc', stream: 'a/b.c' }, 'flat').data).toMatch(
      /^______etc\.k3f9x2m7q4w8z\.a_b_c\.0/,
    )
  })

  test('differ wherever the bytes may', () => {
    const others: Partial<NamedBatch>[] = [
      { gateway: 'edge-02' },
      { spoolId: 'other' },
      { stream: 'events' },
      { firstSeq: 8 },
      { lastSeq: 121 },
      { encoding: 'identity' },
      { fingerprint: '5d41402b' },
    ]
    const names = others.map((one) => namesOf({ ...BATCH, ...one }, 'flat').data)
    expect(new Set([namesOf(BATCH, 'flat').data, ...names]).size).toBe(others.length + 1)
  })
})

test('a temporary name is hidden, and known again as a leftover of its own stream alone', () => {
  const temporary = temporaryName(namesOf(BATCH, 'flat').data)
  expect(temporary).toMatch(/^\.edge-01\..*\.ndjson\.gz\.tmp$/)
  expect(leftoversOf(BATCH).test(temporary)).toBe(true)
  expect(leftoversOf({ ...BATCH, spoolId: 'another' }).test(temporary)).toBe(true)
  expect(leftoversOf({ ...BATCH, stream: 'events' }).test(temporary)).toBe(false)
  expect(leftoversOf({ ...BATCH, gateway: 'edge-0' }).test(temporary)).toBe(false)
  expect(leftoversOf(BATCH).test(namesOf(BATCH, 'flat').data)).toBe(false)
})
