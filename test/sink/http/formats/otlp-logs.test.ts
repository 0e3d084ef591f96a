/** Log records of OTLP, read back by the JSON mapping of protobuf. */
import { describe, expect, test } from 'vitest'
import { Random } from '../../../../device-sim/random.ts'
import { compileLogRecord } from '../../../../gateway/sink/http/formats/otlp-logs.ts'
import { SEED } from '../../../support/seed.ts'
import { recordId } from '../batches.ts'
import { encoded, type MadeRecord, oddJson, oddText } from './records.ts'

type LogRecordConfig = Parameters<typeof compileLogRecord>[0]

const CONFIG: LogRecordConfig = {
  body: 'value',
  attributes: { 'sluice.device': '${device}' },
  time: { at: null, unit: 'ms' },
}

function logRecord(config: Partial<LogRecordConfig>, made: MadeRecord = {}) {
  return JSON.parse(encoded(compileLogRecord({ ...CONFIG, ...config }), made))
}

const ID = { key: 'sluice.id', value: { stringValue: recordId(42) } }
const DEVICE = { key: 'sluice.device', value: { stringValue: 'press-7' } }

describe('a log record', () => {
  test('has its times, its id, its attributes and its body', () => {
    expect(logRecord({ body: 'text' })).toEqual({
      timeUnixNano: '1795403100123000000',
      observedTimeUnixNano: '1795403100123000000',
      body: { stringValue: '{"celsius":21.4}' },
      attributes: [ID, DEVICE],
    })
  })

  test('of values has 64 bits as text, and a list and an object as such', () => {
    const payload = '{"i":9007199254740991,"d":0.5,"b":true,"n":null,"l":[1,"x"],"big":1e400}'
    expect(logRecord({}, { payload }).body).toEqual({
      kvlistValue: {
        values: [
          { key: 'i', value: { intValue: '9007199254740991' } },
          { key: 'd', value: { doubleValue: 0.5 } },
          { key: 'b', value: { boolValue: true } },
          { key: 'n', value: {} },
          {
            key: 'l',
            value: { arrayValue: { values: [{ intValue: '1' }, { stringValue: 'x' }] } },
          },
          { key: 'big', value: { doubleValue: 'Infinity' } },
        ],
      },
    })
  })

  test('of a text is that text, of bytes is bytes', () => {
    expect(logRecord({ body: 'text' }, { payload: '"a \\"b\\""' }).body).toEqual({
      stringValue: 'a "b"',
    })
    expect(logRecord({}, { payloadBase64: 'AP8=' }).body).toEqual({ bytesValue: 'AP8=' })
  })

  test('happened when the payload says, and says so where that cannot be read', () => {
    const time = { at: '/ts', unit: 'rfc3339' } as const
    const payload = '{"ts":"2026-11-23T03:05:00.000000001Z"}'
    expect(logRecord({ time }, { payload })).toMatchObject({
      timeUnixNano: '1795403100000000001',
      observedTimeUnixNano: '1795403100123000000',
      attributes: [ID, DEVICE],
    })
    expect(logRecord({ time })).toMatchObject({
      timeUnixNano: '1795403100123000000',
      attributes: [ID, { key: 'sluice.time_is_arrival', value: { boolValue: true } }, DEVICE],
    })
  })

  test('unmappable: nested deeper than anybody reads', () => {
    const payload = `${'['.repeat(500)}${']'.repeat(500)}`
    expect(encoded(compileLogRecord(CONFIG), { payload })).toBe(
      'unmappable: a member is nested deeper than 32',
    )
  })
})

interface AnyValue {
  readonly stringValue?: string
  readonly boolValue?: boolean
  readonly intValue?: string
  readonly doubleValue?: number | string
  readonly arrayValue?: { readonly values: readonly AnyValue[] }
  readonly kvlistValue?: { readonly values: ReadonlyArray<{ key: string; value: AnyValue }> }
}

/** What a receiver makes of it. */
function valueOf(any: AnyValue): unknown {
  if (any.kvlistValue !== undefined)
    return Object.fromEntries(any.kvlistValue.values.map(({ key, value }) => [key, valueOf(value)]))
  if (any.arrayValue !== undefined) return any.arrayValue.values.map(valueOf)
  if (any.intValue !== undefined) return Number(any.intValue)
  return any.stringValue ?? any.boolValue ?? any.doubleValue ?? null
}

test(`any payload is read back as it was (SLUICE_SEED=${SEED})`, () => {
  const random = new Random(SEED, 'otlp')
  for (let i = 0; i < 2000; i++) {
    const [device, payload] = [oddText(random), JSON.stringify(oddJson(random))]
    const { body, attributes } = logRecord({}, { device, payload })
    expect(valueOf(body)).toEqual(JSON.parse(payload))
    expect(attributes[1]).toEqual({ key: 'sluice.device', value: { stringValue: device } })
  }
})
