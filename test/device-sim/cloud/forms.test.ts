/** What the reference cloud takes for a body of a form, and what it does not. */
import { expect, test } from 'vitest'
import { BrokenForm } from '../../../device-sim/cloud/forms/form.ts'
import { FORMS, type FormName } from '../../../device-sim/cloud/forms/registry.ts'
import { line } from './client.ts'

const ID = 'edge-01:k3f9x2m7q4w8z:telemetry:7'

function linesOf(form: FormName, body: string, path = '/'): string {
  return FORMS[form].lines(Buffer.from(body), new URL(path, 'http://cloud')).toString()
}

const EVENT = `{"specversion":"1.0","id":"${ID}","source":"/a","type":"t","subject":"s","time":"2026-11-23T03:05:00Z","device":"d","data":1.50}`
const LOG = `{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"1795403100123000007","body":{"stringValue":"1.50"},"attributes":[{"key":"sluice.id","value":{"stringValue":"${ID}"}},{"key":"sluice.device","value":{"stringValue":"d"}}]}]}]}]}`

test.each<[FormName, string, string, string?]>([
  ['json-array', `[${line(7)},\n${line(8)}]`, `${line(7)}\n${line(8)}\n`],
  ['json', `${line(7)}\n`, `${line(7)}\n`],
  [
    'template',
    `{"id":"${ID}","device":"d","data":1.50}\n`,
    `{"id":"${ID}","seq":7,"device":"d","payload":1.50}\n`,
  ],
  [
    'cloudevents-batch',
    `[${EVENT}]`,
    `{"id":"${ID}","seq":7,"device":"d","topic":"s","receivedAt":"2026-11-23T03:05:00Z","payload":1.50}\n`,
  ],
  ['otlp-logs', LOG, `{"id":"${ID}","seq":7,"device":"d","topic":"","payload":1.50}\n`],
])('%s: the records of a body, with all of their digits', (form, body, lines) => {
  expect(linesOf(form, body)).toBe(lines)
})

test('es-bulk and json-each-row are rows of records', () => {
  const document = `{"@timestamp":"2026-11-23T03:05:00.123Z",${line(7).slice(1)}`
  const body = `{"create":{"_index":"i","_id":"${ID}"}}\n${document}\n`
  expect(JSON.parse(linesOf('es-bulk', body, '/_bulk'))).toMatchObject({
    seq: 7,
    device: 'press-7',
  })
  const path = '/?query=INSERT+INTO+readings+FORMAT+JSONEachRow'
  expect(JSON.parse(linesOf('json-each-row', `${line(7)}\n`, path))).toMatchObject({ seq: 7 })
})

test('influx: a point whose fields are those of its payload', () => {
  const plain = `m,id=${ID},device=a\\ b,payload=json:{"c":1.50\\,"s":"x\\ y"} c=1.5,s="x y" 1795403100123000007\n`
  expect(JSON.parse(linesOf('influx', plain))).toMatchObject({
    device: 'a b',
    payload: { c: 1.5, s: 'x y' },
  })
  for (const wrong of [
    plain.replace('c=1.5,', 'c=1.6,'),
    plain.replace('c=1.5,', ''),
    plain.replace('c=1.5,', 'c=1.5,d=1,'),
    plain.replace(' 1795403100123000007', ''),
    plain.replace(`id=${ID}`, 'id=7'),
    plain.trimEnd(),
  ])
    expect(() => linesOf('influx', wrong), wrong).toThrow(BrokenForm)
})

test.each<[FormName, string, string?]>([
  ['json-array', line(7)],
  ['json-array', `[${line(7)},]`],
  ['json', `${line(7)}\n${line(8)}\n`],
  ['template', `{"id":"${ID}","device":"d"}\n`],
  ['template', `{"id":"${ID}","device":"d","data":1}`],
  ['template', `{"id":"7","device":"d","data":1}\n`],
  ['cloudevents-batch', `[${EVENT.replace('1.0', '0.3')}]`],
  ['cloudevents-batch', `[${EVENT.replace('"subject":"s",', '')}]`],
  ['cloudevents-batch', `[${EVENT.replace('"device"', '"Device"')}]`],
  ['cloudevents-batch', `[${EVENT.replace(',"data":1.50', '')}]`],
  ['cloudevents-batch', `[${EVENT.replace('T03:05', ' 03:05')}]`],
  ['otlp-logs', LOG.replace('"1795403100123000007"', '1795403100123')],
  ['es-bulk', `${line(7)}\n`, '/_bulk'],
  ['es-bulk', `{"create":{"_index":"i","_id":"x"}}\n${line(7)}\n`, '/_bulk'],
  ['es-bulk', `{"create":{"_index":"i","_id":"${ID}"}}\n${line(7)}\n`, '/_bulk'],
  ['es-bulk', '', '/ingest'],
  ['json-each-row', `${line(7)}\n`, '/?query=DROP+TABLE+readings'],
])('%s is not taken as %s', (form, body, path) => {
  expect(() => linesOf(form, body, path)).toThrow(BrokenForm)
})

test('es-bulk is answered item by item', () => {
  const taken = {
    repeats: 1,
    stored: 1,
    fromByte: 0,
    toByte: 0,
    firstStored: 8,
    lastStored: 8,
    missing: [],
    ackedThrough: 8,
    overlap: null,
    stop: { seq: 9, refused: true },
  }
  const answer = FORMS['es-bulk'].answer?.(taken, [7, 8, 9, 10])
  const created = (status: number) => ({ create: expect.objectContaining({ status }) as unknown })
  expect(answer?.body).toEqual({ errors: true, items: [409, 201, 400, 429].map(created) })
})
