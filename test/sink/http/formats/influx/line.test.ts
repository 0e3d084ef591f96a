/** Lines of line protocol, by rule and by an independent parser. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import { Random } from '../../../../../device-sim/random.ts'
import {
  compileLine,
  type LineConfig,
} from '../../../../../gateway/sink/http/formats/influx/line.ts'
import { SEED } from '../../../../support/seed.ts'
import { encoded, type MadeRecord, oddJson, oddText } from '../records.ts'
import { parseLines } from './line-parser.ts'

const AT = '1795403100123000042'

function lineConfig(changes: Partial<LineConfig> = {}): LineConfig {
  return {
    measurement: '${stream}',
    tags: { device: '${device}' },
    fields: '/',
    time: { at: null, unit: 'ms' },
    precision: 'ns',
    separator: '_',
    integers: 'float',
    strings: 'keep',
    lists: 'index',
    ...changes,
  }
}

const line = (config: Partial<LineConfig>, made: MadeRecord = {}): string =>
  encoded(compileLine(lineConfig(config)), made)

describe('fields', () => {
  test.each([
    [
      '{"celsius":21.4,"on":true,"note":"a \\"b\\" \\\\","off":null}',
      String.raw`celsius=21.4,on=true,note="a \"b\" \\"`,
    ],
    ['{"a":{"b":1,"c":{"d":2}},"l":[1,{"x":2}]}', 'a_b=1,a_c_d=2,l_0=1,l_1_x=2'],
    ['21.4', 'value=21.4'],
    ['"on"', 'value="on"'],
    ['[1,2]', '0=1,1=2'],
    ['{"a b":1,"c,d":2,"e=f":3}', String.raw`a\ b=1,c\,d=2,e\=f=3`],
    ['{"n":1e21,"m":-0.0,"k":1E-7,"z":0.1}', 'n=1e+21,m=0,k=1e-7,z=0.1'],
    ['{"s":"two\\nlines"}', 's="two\nlines"'],
  ])('%s', (payload, fields) => {
    expect(line({}, { payload })).toBe(`telemetry,device=press-7 ${fields} ${AT}`)
  })

  test('integers stay integers where they were written as such', () => {
    const payload = '{"a":21,"b":21.0,"c":9007199254740993,"d":1e3,"e":"n5","f":{"g":-7},"h":"s"}'
    expect(line({ integers: 'keep' }, { payload })).toBe(
      `telemetry,device=press-7 a=21i,b=21,c=9007199254740993i,d=1000,e="n5",f_g=-7i,h="s" ${AT}`,
    )
    expect(line({ integers: 'keep' }, { payload: '{"a":9223372036854775808}' })).toMatch(
      /^unmappable: a is 9223372036854775808, more than/,
    )
    expect(line({ integers: 'keep' }, { payload: '{"a":-9223372036854775808}' })).toContain(
      'a=-9223372036854775808i',
    )
  })

  test.each([
    ['21', '21i'],
    ['21.0', '21'],
    ['21.00', '21'],
    ['21.005', '21.005'],
    ['2e1', '20'],
    ['2E-1', '0.2'],
    ['0', '0i'],
    ['-0', '-0i'],
    ['-0.0', '0'],
    ['-0.5', '-0.5'],
    ['999999999999999', '999999999999999i'],
    ['9999999999999999', '9999999999999999i'],
    ['"1.0"', '"1.0"'],
    ['"n7"', '"n7"'],
  ])('integers: keep writes %s as %s, whatever stands beside it', (written, text) => {
    for (const [beside, besideText] of [
      ['7', '7i'],
      ['7.0', '7'],
      ['"7.0"', '"7.0"'],
    ]) {
      const payload = `{"a":${written},"b":${beside}}`
      expect(line({ integers: 'keep' }, { payload })).toBe(
        `telemetry,device=press-7 a=${text},b=${besideText} ${AT}`,
      )
    }
  })

  test('strings are left out, and lists refused, where the configuration says so', () => {
    expect(line({ strings: 'leave-out' }, { payload: '{"a":"x","b":1}' })).toContain(' b=1 ')
    expect(line({ lists: 'refuse' }, { payload: '{"a":[1]}' })).toBe('unmappable: a is a list')
    expect(line({ separator: '.' }, { payload: '{"a":{"b":1}}' })).toContain(' a.b=1 ')
  })

  test('what is the time or a tag is no field', () => {
    const payload = '{"ts":1795403100000,"at":{"line":"a","shift":2},"celsius":1}'
    const config = { tags: { line: '/at/line' }, time: { at: '/ts', unit: 'ms' } } as const
    expect(line(config, { payload })).toBe(
      'telemetry,line=a at_shift=2,celsius=1 1795403100000000000',
    )
    const below = { ...config, fields: '/at' }
    expect(line(below, { payload })).toBe('telemetry,line=a shift=2 1795403100000000000')
  })

  test.each([
    ['{}', 'the payload has nothing that could be a field'],
    ['{"a":null}', 'the payload has nothing that could be a field'],
    ['null', 'the payload has nothing that could be a field'],
    ['{"a":1e400}', 'a is larger than a float can be'],
    ['{"":1}', 'the field "" has no name'],
    [
      '{"time":1,"a":2}',
      'the field "time" is named time, which is reserved: map it by time.at, or give it another name',
    ],
    ['{"a\\nb":1}', 'the field "a\\nb" has a line break or an ambiguous backslash in its name'],
    ['{"a\\\\":1}', 'the field "a\\\\" has a line break or an ambiguous backslash in its name'],
    ['{"a":{"b":1},"a_b":2}', 'two members are the field a_b: choose another separator'],
    ['{"a_b":2,"a":{"b":1}}', 'two members are the field a_b: choose another separator'],
    [`${'['.repeat(9000)}1${']'.repeat(9000)}`, 'a member is nested deeper than 32'],
  ])('unmappable: %s', (payload, reason) => {
    expect(line({}, { payload })).toBe(`unmappable: ${reason}`)
  })

  test('unmappable: no JSON, or nothing where the fields are', () => {
    expect(line({}, { payloadBase64: '/w==' })).toBe('unmappable: the payload is not JSON')
    expect(line({ fields: '/values' })).toBe('unmappable: /values is missing')
  })
})

test.each([
  ['index', 'float'],
  ['refuse', 'keep'],
] as const)(
  'a line is the same whatever came before it: lists %s, integers %s',
  (lists, integers) => {
    const many = (from: number): string =>
      JSON.stringify(
        Object.fromEntries(Array.from({ length: 3000 }, (_, i) => [`m${from + i}`, i])),
      )
    const payloads = [
      '{"a":{"b":1},"c":2}',
      '{"a":{"b":1},"a_b":2}',
      '{"a_b":2,"a":{"b":null}}',
      '{"a":[1,{"b":2}],"a_0":"x"}',
      '{"a":[1,{"b":2}]}',
      '{"a":{"0":5,"1":{"b":7}}}',
      '{"a":3,"time":{"c":1e0}}',
      '{"b":1,"time":4}',
      '{"value":5}',
      '5',
      '{"":1}',
      '{"":[],"":{"x":1}}',
      many(0),
      many(3000),
      '{"__proto__":{"b":1},"l":[[1,2],[3]]}',
    ]
    const config = { lists, integers, tags: { t: '/c' } }
    const together = compileLine(lineConfig(config))
    for (const payload of [...payloads, ...payloads.toReversed(), ...payloads])
      expect(encoded(together, { payload })).toBe(line(config, { payload }))
  },
)

test('names that never come again cost no memory', () => {
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  const each = compileLine(lineConfig())
  const write = (round: number): void => {
    const names = Array.from({ length: 1000 }, (_, i) => [`m${round}x${i}`, { a: 1 }] as const)
    encoded(each, { payload: JSON.stringify(Object.fromEntries(names)) })
  }
  const usedAfter = (from: number, rounds: number): number => {
    for (let round = from; round < from + rounds; round += 1) write(round)
    gc()
    return process.memoryUsage().heapUsed
  }
  const before = usedAfter(0, 20)
  // A place and a field for each of 600,000 names is ten times that.
  expect(usedAfter(20, 300) - before).toBeLessThan(16 * 1024 * 1024)
})

describe('measurement and tags', () => {
  test('are escaped, sorted, and left out where they have no value', () => {
    const tags = { z: '${topic.0}', 'a b': '/kind', m: '/none', e: '/empty', n: '/zero' }
    const payload = '{"kind":"x=1, y","zero":0,"empty":"","v":1}'
    expect(line({ measurement: 'm ${topic.1},=', tags }, { payload })).toBe(
      String.raw`m\ press-7\,=,a\ b=x\=1\,\ y,n=0,z=plant v=1 ${AT}`,
    )
  })

  test.each([
    ['#a', 'the measurement begins with #: a comment'],
    ['', 'the measurement is empty'],
    ['a\nb', 'the measurement has a line break or a NUL, which line protocol cannot carry'],
  ])('unmappable: measurement %j', (device, reason) => {
    expect(line({ measurement: '${device}' }, { device })).toBe(`unmappable: ${reason}`)
  })

  test.each(['a\\', 'a\\,b', 'a\\\\b', 'a\\ b', 'a\\=b', 'a\\"b'])(
    'unmappable: tag %j',
    (device) => {
      expect(line({}, { device })).toMatch(/^unmappable: tag device has a backslash before/)
    },
  )

  test('a backslash that means one thing to all is carried', () => {
    expect(line({}, { device: 'c:\\dir' })).toMatch(/^telemetry,device=c:\\dir /)
    expect(line({ tags: { at: '/at' } }, { payload: '{"at":{}}' })).toBe(
      'unmappable: tag at is an object or a list',
    )
  })
})

describe('time', () => {
  test.each([
    ['ns', AT],
    ['us', '1795403100123042'],
    ['ms', '1795403100123'],
    ['s', '1795403100'],
  ] as const)('arrival in %s', (precision, at) => {
    expect(line({ precision })).toBe(`telemetry,device=press-7 celsius=21.4 ${at}`)
  })

  test('precise 8: readings of one millisecond have times of their own, the same for a repeat', () => {
    const times = [1, 2, 999_999, 1_000_000].map((seq) => line({}, { seq }).split(' ').at(-1))
    expect(times).toEqual([
      '1795403100123000001',
      '1795403100123000002',
      '1795403100123999999',
      '1795403100123000000',
    ])
  })

  test('of the payload, and marked where that cannot be read', () => {
    const time = { at: '/ts', unit: 's' } as const
    expect(line({ time, precision: 'ms' }, { payload: '{"ts":1795403100.5,"a":1}' })).toBe(
      'telemetry,device=press-7 a=1 1795403100500',
    )
    expect(line({ time }, { payload: '{"ts":"noon","a":1}' })).toBe(
      `telemetry,device=press-7 a=1,time_is_arrival=true ${AT}`,
    )
  })
})

test(`whatever a device sends, an independent parser reads it back (SLUICE_SEED=${SEED})`, () => {
  const random = new Random(SEED, 'influx lines')
  let lines = 0
  for (let i = 0; i < 5000; i++) {
    const integers = random.chance(0.5) ? 'keep' : 'float'
    const encode = compileLine(lineConfig({ integers, measurement: '${topic.0}' }))
    const value = oddJson(random)
    const device = oddText(random)
    const topic = `${oddText(random)}/x`
    const payload = JSON.stringify(value)
    const text = encoded(encode, { seq: i, device, topic, payload })
    if (text.startsWith('unmappable: ')) continue
    lines += 1
    const [point, ...more] = parseLines(`${text}\n`)
    expect(more).toEqual([])
    expect(point?.measurement).toBe(topic.slice(0, topic.indexOf('/')))
    expect(point?.tags).toEqual(device === '' ? {} : { device })
    expect(point?.fields, payload).toEqual(expectedFields(JSON.parse(payload), integers === 'keep'))
  }
  expect(lines).toBeGreaterThan(1000)
})

/** Written anew, in another way: paths first. */
function expectedFields(value: unknown, keep: boolean): Record<string, unknown> {
  const leaves: Array<[string[], unknown]> = []
  const walk = (path: string[], one: unknown): void => {
    if (typeof one === 'object' && one !== null)
      for (const [key, below] of Object.entries(one)) walk([...path, key], below)
    else if (one !== null) leaves.push([path, one])
  }
  walk([], value)
  return Object.fromEntries(
    leaves.map(([path, one]) => {
      const name = path.length === 0 ? 'value' : path.join('_')
      if (typeof one === 'string') return [name, { string: one }]
      if (typeof one === 'boolean') return [name, { boolean: one }]
      const isInteger = keep && /^-?\d+$/.test(JSON.stringify(one))
      return [name, isInteger ? { integer: JSON.stringify(one) } : { float: one }]
    }),
  )
}
