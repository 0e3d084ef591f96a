/** The body of a large batch: its text becomes bytes piece by piece, and reads as one. */
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { bodyOf, encodedBody } from '../../../../gateway/sink/http/formats/body.ts'
import { formatKey, formatOf } from '../../../../gateway/sink/http/formats/registry.ts'
import { batchOf } from '../batches.ts'
import { madeRecord } from './records.ts'

const RECORDS = 3000
/** Characters of two and of four bytes, at the border of a piece as well. */
const NOTE = 'Preß 7 \u{1f3ed}'
/** Every hundredth payload is a list, which has no place among documents of payloads. */
const BATCH = batchOf(1, RECORDS, {
  records: async function* () {
    for (let seq = 1; seq <= RECORDS; seq += 1) {
      const note = NOTE.repeat(1 + (seq % 7))
      const payload = seq % 100 === 0 ? '[]' : JSON.stringify({ n: seq, note })
      yield madeRecord({ seq, payload })
    }
  },
})

const written = (seq: number) => ({ n: seq, note: NOTE.repeat(1 + (seq % 7)) })

test('a list of 3,000 records is valid, each in its place, compressed or not', async () => {
  for (const compression of ['gzip', 'none'] as const) {
    const format = formatOf(formatKey.parse('json-array'), compression)
    const { chunks, byteLength, seqs, crc32 } = await bodyOf(BATCH, format)
    const bytes = Buffer.concat(chunks)
    expect(bytes).toHaveLength(byteLength)
    const text = (compression === 'gzip' ? gunzipSync(bytes) : bytes).toString()
    const records = JSON.parse(text) as Array<{ readonly seq: number; readonly payload: unknown }>
    expect(records.map(({ seq }) => seq)).toEqual(seqs)
    expect(records).toHaveLength(RECORDS)
    for (const { seq, payload } of records)
      expect(payload).toEqual(seq % 100 === 0 ? [] : written(seq))
    const again = await encodedBody(BATCH, format)
    expect(again.crc32).toBe(crc32)
  }
})

test('records that have no place are left out, wherever a piece ends', async () => {
  const format = formatOf(formatKey.parse('es-bulk'), 'none')
  const ofPayload = formatOf(formatKey.parse({ kind: 'es-bulk', content: 'payload' }), 'none')
  expect((await encodedBody(BATCH, format)).refused).toEqual([])
  const { chunks, refused, recordCount } = await encodedBody(BATCH, ofPayload)
  expect(refused.map(({ seq }) => seq)).toEqual(
    Array.from({ length: RECORDS / 100 }, (_, i) => 100 * (i + 1)),
  )
  const lines = Buffer.concat(chunks).toString().trimEnd().split('\n')
  expect(lines).toHaveLength(2 * recordCount)
  const documents = lines.filter((_, i) => i % 2 === 1).map((line) => JSON.parse(line) as object)
  expect(documents.map((document) => 'n' in document && document.n)).toEqual(
    Array.from({ length: RECORDS }, (_, i) => i + 1).filter((seq) => seq % 100 !== 0),
  )
})

test('a body that is longer than its lines is whole, and the same', async () => {
  const format = formatOf(formatKey.parse('es-bulk'), 'none')
  const { chunks } = await encodedBody(BATCH, format)
  const grown = await encodedBody({ ...BATCH, rawBytes: 1 }, format)
  expect(Buffer.concat(grown.chunks).equals(Buffer.concat(chunks))).toBe(true)
})
