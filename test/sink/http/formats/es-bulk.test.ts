/** Bulk requests: actions, documents, times, and what cannot be one. */
import { describe, expect, test } from 'vitest'
import { Random } from '../../../../device-sim/random.ts'
import { compileDocument } from '../../../../gateway/sink/http/formats/es-bulk.ts'
import { SEED } from '../../../support/seed.ts'
import { recordId } from '../batches.ts'
import { encoded, type MadeRecord, oddJson, oddText } from './records.ts'

type DocumentConfig = Parameters<typeof compileDocument>[0]

const CONFIG: DocumentConfig = {
  index: null,
  content: 'record',
  add: {},
  time: { at: null, unit: 'ms' },
}

function lines(config: Partial<DocumentConfig>, made: MadeRecord = {}): string[] {
  const text = encoded(compileDocument({ ...CONFIG, ...config }), made)
  if (text.startsWith('unmappable: ')) return [text]
  expect(text.endsWith('\n')).toBe(true)
  return text.slice(0, -1).split('\n')
}

describe('an action and a document', () => {
  test('of a record, with its id and its arrival', () => {
    expect(lines({})).toEqual([
      `{"create":{"_id":"${recordId(42)}"}}`,
      `{"@timestamp":"2026-11-23T03:05:00.123Z","id":"${recordId(42)}","seq":42,"device":"press-7","topic":"plant/press-7/temp","qos":1,"receivedAt":"2026-11-23T03:05:00.123Z","payload":{"celsius":21.4}}`,
    ])
  })

  test('of a payload, with what is added, all digits and a time of its own', () => {
    const config = {
      index: 'plant-${topic.0}',
      content: 'payload',
      add: { device: '${device}', where: '/none' },
      time: { at: '/ts', unit: 'us' },
    } as const
    const payload = ' { "ts": 1795403100000001, "v": 1.10, "t": [1] } '
    expect(lines(config, { payload })).toEqual([
      `{"create":{"_index":"plant-plant","_id":"${recordId(42)}"}}`,
      '{"@timestamp":"2026-11-23T03:05:00.000001Z","device":"press-7","ts": 1795403100000001, "v": 1.10, "t": [1]}',
    ])
    expect(lines({ content: 'payload' }, { payload: '{}' })[1]).toBe(
      '{"@timestamp":"2026-11-23T03:05:00.123Z"}',
    )
  })

  test('a payload with @timestamp keeps it; one with a member that is added is refused', () => {
    const payload = '{"@timestamp":"2026-01-01T00:00:00Z","device":"mine"}'
    expect(lines({ content: 'payload' }, { payload })[1]).toBe(payload)
    expect(lines({ content: 'payload', add: { device: '${device}' } }, { payload })).toEqual([
      'unmappable: it has a member device of its own: add it by another name',
    ])
  })

  test.each([
    [{ content: 'payload' }, { payload: '[1]' }, 'the payload is not a JSON object'],
    [{ content: 'payload' }, { payloadBase64: 'AA==' }, 'the payload is not JSON'],
    [{ index: '${device}' }, { device: 'Press' }, '"Press" cannot be the name of an index'],
    [{ index: '${device}' }, { device: '..' }, '".." cannot be the name of an index'],
    [{ index: 'a-${device}' }, { device: 'x"}' }, '"a-x\\"}" cannot be the name of an index'],
  ] as const)('unmappable: %j %j', (config, made, reason) => {
    expect(lines(config, made)).toEqual([`unmappable: ${reason}`])
  })

  test('bytes are a document with payloadBase64', () => {
    expect(JSON.parse(lines({}, { payloadBase64: 'AP8=' })[1] ?? '')).toMatchObject({
      payloadBase64: 'AP8=',
    })
  })
})

test(`any record is two lines of valid JSON that say the same (SLUICE_SEED=${SEED})`, () => {
  const random = new Random(SEED, 'es-bulk')
  for (let i = 1; i < 2000; i++) {
    const value = oddJson(random)
    const made = { seq: i, device: oddText(random), payload: JSON.stringify(value) }
    const [action = '', document = '', ...more] = lines({ add: { x: '/a', y: '${device}' } }, made)
    expect(more).toEqual([])
    expect(JSON.parse(action)).toEqual({ create: { _id: recordId(i) } })
    const { payload, device, y, x } = JSON.parse(document)
    expect({ payload, device, y }).toEqual({
      payload: JSON.parse(made.payload),
      device: made.device,
      y: made.device,
    })
    if (typeof value === 'object' && value !== null && 'a' in value)
      expect(x).toEqual(JSON.parse(JSON.stringify(value.a)))
  }
})

test('the index is that of each record, whatever the one before has', () => {
  const each = compileDocument({ ...CONFIG, index: '${topic.1}' })
  const indexes = ['a', 'a', 'b', 'B', 'b', 'a', 'B', 'a'].map((level) => {
    const [action = ''] = encoded(each, { topic: `plant/${level}` }).split('\n')
    return action.startsWith('{') ? (JSON.parse(action) as Action).create._index : 'unmappable'
  })
  expect(indexes).toEqual(['a', 'a', 'b', 'unmappable', 'b', 'a', 'unmappable', 'a'])
})

interface Action {
  readonly create: { readonly _index: string }
}
