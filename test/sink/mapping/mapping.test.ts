import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { leaf, section } from '../../../gateway/config/schema.ts'
import { mappedKey, pointerKey, templateKey, timeKey } from '../../../gateway/sink/mapping/keys.ts'
import { follow, parsePointer, pointerFix, rawAt } from '../../../gateway/sink/mapping/pointer.ts'
import { RecordView, Unmappable } from '../../../gateway/sink/mapping/record-view.ts'
import { compileMapped, compileTemplate } from '../../../gateway/sink/mapping/template.ts'
import {
  compileTime,
  inUnit,
  rfc3339Of,
  type TimeUnit,
} from '../../../gateway/sink/mapping/time.ts'
import { recordOfLine } from '../../../gateway/spool/codec/record.ts'
import { recordLine } from '../http/batches.ts'

const VIEW = new RecordView({ gateway: 'edge-01', stream: 'telemetry' })

function viewOf(payload: string, seq = 42): RecordView {
  return VIEW.at(recordOfLine(Buffer.from(recordLine(seq, payload))))
}

function viewOfBytes(base64: string): RecordView {
  const line = recordLine(42, '0').replace('"payload":0', `"payloadBase64":"${base64}"`)
  return VIEW.at(recordOfLine(Buffer.from(line)))
}

const filled = (template: string, payload = '{}'): string =>
  compileTemplate(template).render(viewOf(payload))

describe('templates', () => {
  test.each([
    ['plain $ text { }', 'plain $ text { }'],
    ['${device}', 'press-7'],
    ['${topic}', 'plant/press-7/temp'],
    ['a/${topic.0}/b/${topic.2}${topic.-1}', 'a/plant/b/temptemp'],
    ['${gateway}:${stream}:${seq}:${qos}', 'edge-01:telemetry:42:1'],
    ['${id}', 'edge-01:k3f9x2m7q4w8z:telemetry:42'],
    ['${receivedAt} ${receivedAtMs}', '2026-11-23T03:05:00.123Z 1795403100123'],
    ['$${device} ${device} $${', '${device} press-7 ${'],
  ])('%s is %s', (template, text) => {
    expect(filled(template)).toBe(text)
  })

  test('a pointer gives a text its content, a number every digit, others their JSON', () => {
    const payload =
      '{"s":"a\\"b","n":12345678901234567890.10,"b":true,"o":{"x": [1, 2.50]},"a/b":{"m~n":1e400}}'
    expect(filled('${/s} ${/n} ${/b} ${/o} ${/o/x/1} ${/a~1b/m~0n}', payload)).toBe(
      'a"b 12345678901234567890.10 true {"x": [1, 2.50]} 2.50 1e400',
    )
    expect(filled('${payload}', ' {"a": 1} ')).toContain('{"a": 1}')
    expect(filled('${record}', '7')).toBe(recordLine(42, '7').trimEnd())
  })

  test('each value goes through the escape of the type that asks', () => {
    const template = compileTemplate('<${device}|${/n}>')
    expect(template.render(viewOf('{"n":1}'), ({ type, text }) => `${type}:${text}`)).toBe(
      '<text:press-7|number:1>',
    )
  })

  test.each([
    ['${/a/b}', '{"a":1}', '/a/b is missing'],
    ['${/a}', '{"a":null}', '/a is null'],
    ['${/a}', '[]', '/a is missing'],
    ['${topic.3}', '{}', 'the topic plant/press-7/temp has no level 3'],
    ['${topic.-4}', '{}', 'the topic plant/press-7/temp has no level -4'],
  ])('%s of %s cannot be mapped: %s', (template, payload, why) => {
    expect(() => filled(template, payload)).toThrow(new Unmappable(why))
  })

  test('of a payload that is not JSON there is only what is around it, and its bytes', () => {
    const view = viewOfBytes('AP8=')
    expect(compileTemplate('${device} ${payloadBase64}').render(view)).toBe('press-7 AP8=')
    for (const template of ['${payload}', '${/a}'])
      expect(() => compileTemplate(template).render(view)).toThrow('the payload is not JSON')
  })
})

test('a mapped value keeps its type', () => {
  const payload = '{"s":"x","n":1.0,"b":false,"z":null,"o":{}}'
  const typed = (source: string): string => {
    const { type, text } = compileMapped(source)(viewOf(payload))
    return `${type} ${text}`
  }
  expect(
    ['/s', '/n', '/b', '/z', '/o', '/x', '/', '${seq}', '${/n}', 'a ${/n}', 'x'].map(typed),
  ).toEqual([
    'text x',
    'number 1.0',
    'boolean false',
    'null null',
    'json {}',
    'missing ',
    `json ${payload}`,
    'number 42',
    'number 1.0',
    'text a 1.0',
    'text x',
  ])
})

describe('pointers', () => {
  test('the text found is that of the value, whatever is around it', () => {
    let followed = 0
    fc.assert(
      fc.property(fc.json({ maxDepth: 4 }), fc.integer({ min: 0, max: 3 }), (json, indent) => {
        const value: unknown = JSON.parse(json)
        const text = JSON.stringify(value, null, indent)
        for (const path of pathsOf(value)) {
          const pointer = parsePointer(path)
          const raw = rawAt(text, pointer)
          expect(raw).not.toBeNull()
          expect(JSON.parse(raw ?? '')).toEqual(follow(value, pointer))
          followed += 1
        }
      }),
      { numRuns: 500 },
    )
    expect(followed).toBeGreaterThan(1000)
  })

  test('of two members with one name the last counts; what is not there is null', () => {
    expect(rawAt('{"a":1,"a":{"b":2}}', parsePointer('/a/b'))).toBe('2')
    expect(rawAt('{"\\u0061":1}', parsePointer('/a'))).toBe('1')
    for (const path of ['/b', '/a/b', '/a/-', '/a/01', '/a/2'])
      expect(rawAt('{"a":[1, 2]}', parsePointer(path)), path).toBeNull()
    expect(rawAt('[]', parsePointer('/0'))).toBeNull()
    expect(follow({}, parsePointer('/toString'))).toBeUndefined()
  })

  test('one that is none says how to write it', () => {
    expect(pointerFix('a/b')).toBe('write /a/b')
    expect(pointerFix('/a~b')).toContain('~0')
    expect(pointerFix('')).toBeNull()
  })
})

/** Pointers to all there is in a value, but members with an empty name. */
function pathsOf(value: unknown): string[] {
  if (typeof value !== 'object' || value === null) return ['']
  const inner = Object.entries(value).filter(([key]) => key !== '')
  return [
    '',
    ...inner.flatMap(([key, child]) => {
      const token = key.replaceAll('~', '~0').replaceAll('/', '~1')
      return pathsOf(child).map((path) => `/${token}${path}`)
    }),
  ]
}

describe('the time of a record', () => {
  const timeOf = (payload: string, unit: TimeUnit): string => {
    const time = compileTime({ at: '/ts', unit })(viewOf(payload))
    return time.fellBack ? 'fell back' : time.nanoseconds
  }

  test.each<[string, TimeUnit, string]>([
    ['1795403100', 's', '1795403100000000000'],
    ['1795403100.1234567891', 's', '1795403100123456789'],
    ['1795403100123', 'ms', '1795403100123000000'],
    ['1.795403100123e12', 'ms', '1795403100123000000'],
    ['1795403100123456', 'us', '1795403100123456000'],
    ['1795403100123456789', 'ns', '1795403100123456789'],
    ['"1795403100123456789"', 'ns', '1795403100123456789'],
    ['-1.5', 's', '-1500000000'],
    ['"2026-11-23T03:05:00Z"', 'rfc3339', '1795403100000000000'],
    ['"2026-11-23T04:05:00.123456789123+01:00"', 'rfc3339', '1795403100123456789'],
    ['"1969-12-31T23:59:59.5Z"', 'rfc3339', '-500000000'],
    ['"2026-11-31T03:05:00Z"', 'rfc3339', '1796094300000000000'],
  ])('%s in %s', (ts, unit, nanoseconds) => {
    expect(timeOf(`{"ts":${ts}}`, unit)).toBe(nanoseconds)
  })

  test.each<[string, TimeUnit]>([
    ['{}', 'ms'],
    ['{"ts":null}', 'ms'],
    ['{"ts":true}', 'ms'],
    ['{"ts":"soon"}', 'ms'],
    ['{"ts":""}', 'ms'],
    ['{"ts":1e99}', 'ns'],
    ['{"ts":9223372036854775808}', 'ns'],
    ['{"ts":1795403100}', 'rfc3339'],
    ['{"ts":"2026-11-23"}', 'rfc3339'],
    ['{"ts":"2026-13-23T03:05:00Z"}', 'rfc3339'],
  ])('%s in %s cannot be read: the arrival stands in, and is marked', (payload, unit) => {
    const time = compileTime({ at: '/ts', unit })(viewOf(payload))
    expect(time).toEqual({ nanoseconds: '1795403100123000042', fellBack: true })
  })

  test('so of a payload that is not JSON; without a pointer the arrival is what was wanted', () => {
    const wanted = { nanoseconds: '1795403100123000042' }
    const bytes = viewOfBytes('AA==')
    expect(compileTime({ at: '/ts', unit: 'ms' })(bytes)).toEqual({ ...wanted, fellBack: true })
    expect(compileTime({ at: null, unit: 'ms' })(bytes)).toEqual({ ...wanted, fellBack: false })
  })

  test('of a million records of one millisecond no two have the same', () => {
    const time = compileTime({ at: null, unit: 'ms' })
    const of = (seq: number): string => time(viewOf('{}', seq)).nanoseconds
    expect([of(999_999), of(1_000_000), of(1_000_001)]).toEqual([
      '1795403100123999999',
      '1795403100123000000',
      '1795403100123000001',
    ])
  })

  test.each([
    ['1795403100123456789', '2026-11-23T03:05:00.123456789Z'],
    ['1795403100123000000', '2026-11-23T03:05:00.123Z'],
    ['1795403100000000000', '2026-11-23T03:05:00Z'],
    ['1795403101000000001', '2026-11-23T03:05:01.000000001Z'],
    ['1000000000', '1970-01-01T00:00:01Z'],
    ['100000000', '1970-01-01T00:00:00.1Z'],
    ['0', '1970-01-01T00:00:00Z'],
    ['-1', '1969-12-31T23:59:59.999999999Z'],
    ['-1500000000', '1969-12-31T23:59:58.5Z'],
    ['9223372036854775807', '2262-04-11T23:47:16.854775807Z'],
  ])('%s is %s in RFC 3339', (nanoseconds, text) => {
    expect(rfc3339Of(nanoseconds)).toBe(text)
  })

  test('in a coarser unit it is cut towards the past', () => {
    expect(inUnit('1795403100123456789', 'ns')).toBe('1795403100123456789')
    expect(inUnit('1795403100123456789', 'us')).toBe('1795403100123456')
    expect(inUnit('1795403100123456789', 'ms')).toBe('1795403100123')
    expect(inUnit('-1', 's')).toBe('-1')
  })
})

describe('keys', () => {
  const keys = section('All.', {
    template: leaf(templateKey('T.')).prefault('x'),
    pointer: leaf(pointerKey('P.')).prefault('/x'),
    mapped: leaf(mappedKey('M.')).prefault('/x'),
    time: timeKey,
  })
  const fixOf = (given: unknown): string => {
    const parsed = keys.safeParse(given)
    const [issue] = parsed.error?.issues ?? []
    return issue?.code === 'custom' ? String(issue.params?.['fix']) : 'taken'
  }

  test.each([
    [{ template: '${devise}' }, 'write ${device}'],
    [{ template: '${}' }, 'write one of ${device}, '],
    [{ template: '${device' }, 'end ${device with }'],
    [{ template: '${/a~}' }, 'write ~0 for ~'],
    [{ template: '${topic[0]}' }, 'write ${topic.0} for the first level of the topic'],
    [{ pointer: 'celsius' }, 'write /celsius'],
    [{ mapped: '/a~' }, 'write ~0 for ~'],
    [{ mapped: '${sec}' }, 'write ${seq}'],
    [{ time: { unit: 'msec' } }, 'write ms'],
  ])('%j is refused with what to do', (given, fix) => {
    expect(fixOf(given)).toContain(fix)
  })

  test('what is good is kept as it is written', () => {
    const good = { template: '${device}', pointer: '/a', mapped: '${seq}', time: { at: '/ts' } }
    expect(keys.parse(good)).toEqual({ ...good, time: { at: '/ts', unit: 'ms' } })
    expect(keys.parse({}).time).toEqual({ at: null, unit: 'ms' })
  })

  test('what was not checked does not pass unseen', () => {
    expect(() => compileTemplate('${x}')).toThrow('${x}')
    expect(() => compileMapped('/~')).toThrow('/~')
    expect(() => parsePointer('a')).toThrow('/a')
    expect(() => new RecordView({ gateway: 'a', stream: 'b' }).record).toThrow('not pointed')
  })
})
