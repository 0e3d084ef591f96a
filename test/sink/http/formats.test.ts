/** Bodies in other forms than the contract's: what they hold, byte for byte, and what they leave out. */
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../../../gateway/config/load.ts'
import { SCHEMA } from '../../../gateway/configuration.ts'
import type { Batch, SinkAnswer } from '../../../gateway/ports/sink.ts'
import { httpEncoder } from '../../../gateway/sink/http/encode.ts'
import type { FormatConfig } from '../../../gateway/sink/http/formats/registry.ts'
import { createHttpSink } from '../../../gateway/sink/http/http-sink.ts'
import { httpType } from '../../../gateway/sink/http/type.ts'
import { recordOfLine } from '../../../gateway/spool/codec/record.ts'
import { ConfigFolder } from '../../config/folder.ts'
import { httpSinkConfig } from '../../support/configs.ts'
import { ScriptedSink } from '../../support/scripted-sink.ts'
import { batchOf, never, recordLine } from './batches.ts'

const NOT_JSON = 'unmappable: the payload is not JSON'

let server: ScriptedSink
let folder: ConfigFolder
beforeEach(async () => {
  folder = new ConfigFolder()
  server = await ScriptedSink.start()
})
afterEach(async () => {
  folder.remove()
  await server.close()
})

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

test('json is one record a request, and the encoder says so', async () => {
  const format = { kind: 'json', content: 'payload', contentType: 'application/json' } as const
  const { request } = await sent(format, batchWith(['{"celsius":21.40}']), 'none')
  expect(request?.body?.toString()).toBe('{"celsius":21.40}\n')
  expect(httpEncoder({ format, compression: 'gzip' }).maxBatchRecords).toBe(1)
})

test('raw is the gzip file of the contract, under its own type and without a coding', async () => {
  const batch = batchOf(1, 3)
  const { request } = await sent({ kind: 'raw', contentType: 'application/gzip' }, batch)
  expect(request?.body).toEqual(batch.body)
  expect(request?.headers).toMatchObject({ 'content-type': 'application/gzip' })
  expect(request?.headers).not.toHaveProperty('content-encoding')
})

describe('template', () => {
  const FORMAT = {
    kind: 'template',
    text: '{"dev":"${device}","t":${/celsius},"note":"${/note}"}',
    prefix: '{"from":"${gateway}/${stream}","rows":[',
    separator: ',',
    suffix: ']}',
    escape: 'json',
    contentType: 'application/json',
  } as const
  const body = async (format: FormatConfig, payloads: readonly (string | null)[]) => {
    const { request } = await sent(format, batchWith(payloads), 'none')
    return request?.body?.toString()
  }

  test('fills in each record, and the text around them', async () => {
    const payload = '{"celsius":21.40,"note":"a \\"b\\"\\n"}'
    const rows = '{"dev":"press-7","t":21.40,"note":"a \\"b\\"\\n"}'
    expect(await body(FORMAT, [payload, payload])).toBe(
      `{"from":"edge-01/telemetry","rows":[${rows},${rows}]}`,
    )
  })

  test.each([
    ['json', '{"a\\"":1} x\\"<,\\u0001 7'],
    ['json-text', '{\\"a\\\\\\"\\":1} x\\"<,\\u0001 7'],
    ['csv', '"{""a\\"""":1}" "x""<,\u0001" 7'],
    ['xml', '{&quot;a\\&quot;&quot;:1} x&quot;&lt;,\ufffd 7'],
    ['url', '%7B%22a%5C%22%22%3A1%7D x%22%3C%2C%01 7'],
    ['none', '{"a\\"":1} x"<,\u0001 7'],
  ] as const)('escape %s', async (escape, filled) => {
    const text = '${/o} ${/s} ${/n}'
    const format = { ...FORMAT, text, escape, prefix: '', suffix: '' }
    const payload = '{"o":{"a\\"":1},"s":"x\\"<,\\u0001","n":7}'
    expect(await body(format, [payload])).toBe(filled)
  })

  test('a record without what it wants is refused by the pointer', async () => {
    const { answer } = await sent(FORMAT, batchWith(['{"celsius":1,"note":"x"}', '{"celsius":1}']))
    expect(seqsRefused(answer)).toEqual([[2, 'refused', 'unmappable: /note is missing']])
  })
})

describe('cloudevents-batch', () => {
  const FORMAT = {
    kind: 'cloudevents-batch',
    source: '/${gateway}/${stream}',
    type: 'sluice.reading',
    subject: '${topic}',
    time: { at: null, unit: 'ms' },
    contentType: 'application/cloudevents-batch+json; charset=utf-8',
  } as const
  const events = async (format: FormatConfig, payloads: readonly (string | null)[]) => {
    const { request } = await sent(format, batchWith(payloads), 'none')
    return JSON.parse(request?.body?.toString() ?? '') as Array<Record<string, unknown>>
  }

  test('an event a record, JSON as data and bytes as data_base64', async () => {
    const common = {
      specversion: '1.0',
      source: '/edge-01/telemetry',
      type: 'sluice.reading',
      subject: 'plant/press-7/temp',
      time: '2026-11-23T03:05:00.123Z',
      device: 'press-7',
    }
    const id = (seq: number): string => `edge-01:k3f9x2m7q4w8z:telemetry:${seq}`
    expect(await events(FORMAT, ['{"a":1}', null])).toEqual([
      { ...common, id: id(1), datacontenttype: 'application/json', data: { a: 1 } },
      { ...common, id: id(2), datacontenttype: 'application/octet-stream', data_base64: 'AP8=' },
    ])
  })

  test('data is what the device wrote, with all of its digits', async () => {
    const { request } = await sent(FORMAT, batchWith(['{"a":1.10,"b":12345678901234567890}']))
    expect(request?.body?.toString()).toContain('"data":{"a":1.10,"b":12345678901234567890}}')
  })

  test('a time of the payload has its digits; one that cannot be read is marked', async () => {
    const format = { ...FORMAT, time: { at: '/ts', unit: 'us' } } as const
    const all = ['{"ts":1795403100123456}', '{"ts":1795403100000000}', '{"ts":"soon"}']
    const seen = await events(format, all)
    expect(seen.map(({ time, timefrom }) => [time, timefrom])).toEqual([
      ['2026-11-23T03:05:00.123456Z', undefined],
      ['2026-11-23T03:05:00Z', undefined],
      ['2026-11-23T03:05:00.123Z', 'arrival'],
    ])
  })

  test('source is a URI reference, and no attribute is empty', async () => {
    const format = { ...FORMAT, source: 'x:${/s}', type: '${/t}' }
    const { answer, request } = await sent(
      format,
      batchWith(['{"s":"a b/\\ud800","t":"x"}', '{"s":"","t":""}']),
      'none',
    )
    expect(request?.body?.toString()).toContain('"source":"x:a%20b/%EF%BF%BD"')
    expect(seqsRefused(answer)).toEqual([[2, 'refused', 'unmappable: type is empty']])
  })
})

describe('what the configuration says of formats', () => {
  const said = (format: string): string => {
    try {
      folder.write(`sinks: { cloud: { format: ${format} } }`)
      loadConfig(SCHEMA, { file: 'sluice.yaml', env: {}, cwd: folder.path })
      return 'taken'
    } catch (error) {
      return String(error)
    }
  }

  test.each([
    ['ndjson', 'taken'],
    ['{ kind: json-array }', 'taken'],
    ['json', 'taken'],
    ['template', 'taken'],
    ['raw', 'taken'],
    ['cloudevents-batch', 'taken'],
    ['jsonarray', 'write json-array'],
    ['{ kind: json, text: x }', 'a key that belongs to kind template'],
    ['{ kind: template, text: "${devise}" }', 'write ${device}'],
    ['{ kind: template, prefix: "${seq}" }', 'write ${gateway} or ${stream}'],
    ['{ kind: template, escape: html }', 'sinks.cloud.format.escape'],
    ['{ kind: template, text: \'{"d":${device}}\' }', 'sinks.cloud.format.text'],
    ['{ kind: template, text: \'{"d":${device}}\' }', 'would be "{\\"d\\":example}\\n"'],
    ['{ kind: template, text: \'{"d":"${device}"}\' }', 'taken'],
    ['{ kind: template, text: \'{"c":${/c},"n":"${/n}"}\' }', 'taken'],
    ['{ kind: template, text: \'{"l":"${topic.3}","s":${seq}}\' }', 'taken'],
    ['{ kind: template, text: \'{"p":${payload}}\' }', 'taken'],
    ['{ kind: template, text: \'{"p":"${payload}"}\' }', 'sinks.cloud.format.text'],
    ['{ kind: template, escape: json-text, text: \'{"p":"${payload}"}\' }', 'taken'],
    ["{ kind: template, prefix: '[', suffix: ']' }", 'a body of two records'],
    ["{ kind: template, prefix: '[', separator: ',', suffix: ']' }", 'taken'],
    [
      "{ kind: template, prefix: '{\"rows\":[', separator: ',', suffix: ']' }",
      'a body of one record',
    ],
    ["{ kind: template, prefix: '[', suffix: ']' }, maxBatchRecords: 1", 'taken'],
    ["{ kind: template, text: '${device}' }", 'set contentType to what it is'],
    ["{ kind: template, text: '${device}', contentType: text/csv }", 'taken'],
    ["{ kind: template, text: '${device}', contentType: application/x-ndjson }", 'format.text'],
    ["{ kind: template, text: '${device}', contentType: application/vnd.a+json }", 'format.text'],
    ['{ kind: json-array, contentType: json }', 'write application/json'],
    ['{ kind: cloudevents-batch, time: { at: ts } }', 'write /ts'],
    ['raw, compression: none', 'remove compression, or write format: ndjson'],
  ])('%s: %s', (format, words) => {
    expect(said(format)).toContain(words)
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

test('a preview says that what a record makes of a template is no JSON', async () => {
  const format = {
    kind: 'template',
    text: '{"unit":${/unit}}',
    prefix: '',
    separator: '\n',
    suffix: '\n',
    escape: 'json',
    contentType: 'application/json',
  } as const
  const shown = async (payload: string): Promise<string> =>
    await httpType.preview(httpSinkConfig({ format }), batchWith([payload]))
  expect(await shown('{"unit":"bar"}')).toMatch(/\n\{"unit":bar\}\nthis body is no JSON, as its/)
  expect(await shown('{"unit":7}')).toMatch(/\n\{"unit":7\}\n$/)
})
