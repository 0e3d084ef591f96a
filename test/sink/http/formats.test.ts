/** Bodies in other forms than the contract's: what they hold, byte for byte, and what they leave out. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Batch, SinkAnswer } from '../../../gateway/ports/sink.ts'
import { httpEncoder } from '../../../gateway/sink/http/encode.ts'
import type { FormatConfig } from '../../../gateway/sink/http/formats/registry.ts'
import { createHttpSink } from '../../../gateway/sink/http/http-sink.ts'
import { httpType } from '../../../gateway/sink/http/type.ts'
import { recordOfLine } from '../../../gateway/spool/codec/record.ts'
import { httpSinkConfig } from '../../support/configs.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { batchOf, never, recordLine } from './batches.ts'

const NOT_JSON = 'unmappable: the payload is not JSON'

let server: ScriptedSink
beforeEach(async () => {
  server = await ScriptedSink.start()
})
afterEach(() => server.close())

/** The batch of records that have these payloads; null: bytes that are no JSON. */
function batchWith(payloads: readonly (string | null)[], changes: Partial<Batch> = {}): Batch {
  const lines = payloads.map((payload, i) =>
    payload === null
      ? recordLine(i + 1, '0').replace('"payload":0', '"payloadBase64":"AP8="')
      : recordLine(i + 1, payload),
  )
  return batchOf(1, payloads.length, {
    records: async function* () {
      for (const line of lines) yield recordOfLine(Buffer.from(line))
    },
    ...changes,
  })
}

async function sent(format: FormatConfig, batch: Batch, compression: 'gzip' | 'none' = 'gzip') {
  const config = httpSinkConfig({ url: server.url, format, compression })
  const sink = createHttpSink({ name: 'cloud', config, emit: () => undefined })
  const { fingerprint } = sink.encoder
  const answer = await sink.send({ ...batch, fingerprint }, never())
  await sink.close()
  return { answer, request: server.requests.at(-1) }
}

const acked = (listed: readonly unknown[] = []) => ({ kind: 'verdicts', listed })
const seqsRefused = (answer: SinkAnswer): unknown =>
  answer.kind === 'verdicts' &&
  answer.listed.map(({ seq, verdict, reason }) => [seq, verdict, reason])

describe('json-array', () => {
  const WHOLE = { kind: 'json-array', content: 'record', contentType: 'application/json' } as const
  const PAYLOADS = { ...WHOLE, content: 'payload' } as const

  test('is one array of the records, with all of their digits', async () => {
    const { answer, request } = await sent(WHOLE, batchWith(['1.10', '{"a":1}']), 'none')
    expect(answer).toMatchObject(acked())
    expect(request?.body?.toString()).toBe(
      `[${recordLine(1, '1.10').trimEnd()},\n${recordLine(2, '{"a":1}').trimEnd()}]\n`,
    )
    expect(request?.headers).toMatchObject({
      'content-type': 'application/json',
      'sluice-record-count': '2',
    })
    expect(request?.headers).not.toHaveProperty('content-encoding')
  })

  test('of payloads leaves out what is no JSON, and refuses it beside the acks of the rest', async () => {
    const { answer, request } = await sent(PAYLOADS, batchWith(['1', null, '3']))
    expect(request?.headers).toMatchObject({
      'content-encoding': 'gzip',
      'sluice-first-seq': '1',
      'sluice-last-seq': '3',
      'sluice-record-count': '2',
    })
    expect(request?.body?.toString()).toBe('[1,\n3]\n')
    expect(seqsRefused(answer)).toEqual([[2, 'refused', NOT_JSON]])
  })

  test('a batch of which nothing can be sent is no request, and all of it is refused', async () => {
    const { answer } = await sent(PAYLOADS, batchWith([null, null]))
    expect(server.requests).toHaveLength(0)
    expect(seqsRefused(answer)).toEqual([
      [1, 'refused', NOT_JSON],
      [2, 'refused', NOT_JSON],
    ])
  })

  test('what the receiver says of records stands beside what was left out, in order', async () => {
    server.script = [{ body: { rejected: [{ seq: 3, status: 422, reason: 'no' }] } }]
    const { answer } = await sent(PAYLOADS, batchWith(['1', null, '3', null]))
    expect(seqsRefused(answer)).toEqual([
      [2, 'refused', NOT_JSON],
      [3, 'refused', 'no'],
      [4, 'refused', NOT_JSON],
    ])
  })

  test('an answer that acks nothing says nothing of what was left out', async () => {
    server.script = [{ status: 503 }]
    const { answer } = await sent(PAYLOADS, batchWith(['1', null]))
    expect(answer.kind).toBe('retry')
  })
})

test('I4: the key names the form and the bytes before compression, and repeats', async () => {
  const format = { kind: 'json-array', content: 'record', contentType: 'application/json' } as const
  const keys: unknown[] = []
  for (const compression of ['none', 'none', 'gzip'] as const) {
    const { request } = await sent(format, batchWith(['1']), compression)
    keys.push(request?.headers['idempotency-key'])
  }
  expect(keys[1]).toBe(keys[0])
  expect(keys[0]).toMatch(/:1-1:[0-9a-f]{8}:http:json-array:[0-9a-f]{8}:identity"$/)
  expect(keys[2]).not.toBe(keys[0])
})

test('the fingerprint changes with what changes the bytes, and with nothing else', () => {
  const of = (format: FormatConfig): string =>
    httpEncoder({ format, compression: 'gzip' }).fingerprint
  const array = { kind: 'json-array', content: 'record', contentType: 'application/json' } as const
  expect(of({ kind: 'ndjson' })).toBe('http:ndjson:gzip')
  expect(of(array)).toBe(of({ ...array, contentType: 'text/json' }))
  expect(of(array)).not.toBe(of({ ...array, content: 'payload' }))
})

test('a preview shows the request as text, and what would be refused', async () => {
  const preview = async (format: FormatConfig, batch: Batch): Promise<string> =>
    await httpType.preview(httpSinkConfig({ format }), batch)
  const array = { kind: 'json-array', content: 'payload', contentType: 'application/json' } as const
  expect(await preview({ kind: 'ndjson' }, batchOf(1, 1))).toContain(`\n\n${recordLine(1)}`)
  const shown = await preview(array, batchWith(['1', null]))
  expect(shown).toContain('content-type: application/json\n')
  expect(shown).toMatch(/\n\n\[1\]\nrecord 2 is refused, unmappable: the payload is not JSON\n$/)
  expect(await preview(array, batchWith([null]))).toMatch(/^record 1 is refused/)
})
