import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isJson, MAX_JSON_DEPTH } from '../../../gateway/spool/codec/json-scan.ts'

/** The rule itself: strict decoding (a byte order mark stays and is not JSON), then JSON.parse. */
function parses(bytes: Uint8Array): boolean {
  try {
    JSON.parse(new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes))
    return true
  } catch {
    return false
  }
}

function scan(bytes: Uint8Array): boolean {
  return isJson(bytes, 0, bytes.length)
}

function expectSameVerdict(bytes: Uint8Array): void {
  const verdict = scan(bytes)
  if (verdict !== parses(bytes)) {
    throw new Error(`isJson says ${verdict}: ${Buffer.from(bytes).toString('hex')}`)
  }
  // Bytes around the range must not matter: as it stands in the middle of a read buffer.
  for (const around of ['"', '1', '}', ' ', 'e']) {
    const framed = Buffer.concat([Buffer.from(around), bytes, Buffer.from(around)])
    if (isJson(framed, 1, 1 + bytes.length) !== verdict) {
      throw new Error(`bytes outside the range change the verdict: ${framed.toString('hex')}`)
    }
  }
}

const ACCEPTED = [
  '0',
  '-0',
  '-0.0e-0',
  '12.5E+10',
  '1e400',
  '""',
  '"\\u0000\\ud800\\/\\b\\f\\n\\r\\t\\"\\\\"',
  '"\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\u{10000}\u{10ffff}"',
  'true',
  'false',
  'null',
  '[]',
  '{}',
  ' [ ] ',
  '\t{\r\n"a" : [ 1 , {"b":null} , [] , {} ] , "a" : "\u2028" }\n',
  '{"":0}',
  '{"__proto__":1,"a":2}',
]

const REFUSED = [
  '',
  ' ',
  '\ufeff1',
  '01',
  '-',
  '+1',
  '.5',
  '1.',
  '1e',
  '1e+',
  '0x1',
  'NaN',
  'Infinity',
  'nul',
  'nulll',
  'truefalse',
  'True',
  '"',
  '"\\"',
  '"\\x"',
  '"\\u12g4"',
  '"\\u123"',
  '"\t"',
  '"\n"',
  '"\u0000"',
  "'a'",
  '[',
  ']',
  '[1',
  '[1,',
  '[1,]',
  '[,1]',
  '[1 2]',
  '[1}',
  '{',
  '}',
  '{"a"',
  '{"a":',
  '{"a":1',
  '{"a":1,',
  '{"a":1,}',
  '{"a" 1}',
  '{a:1}',
  '{1:1}',
  '{"a":1]',
  '{,}',
  '1 1',
  '{}{}',
  '\u00a01',
  '\u000b1',
  '// c\n1',
]

/** Well-formed and ill-formed sequences at the edges of Unicode's table 3-7. */
const SEQUENCES = [
  '7f',
  '80',
  'bf',
  'c080',
  'c1bf',
  'c280',
  'c27f',
  'c2c0',
  'dfbf',
  'e09f80',
  'e0a080',
  'e0a07f',
  'ecbfbf',
  'ed9fbf',
  'eda080',
  'edbfbf',
  'ee8080',
  'efbfbf',
  'efbbbf',
  'f08f8080',
  'f0908080',
  'f090807f',
  'f48fbfbf',
  'f4908080',
  'f5808080',
  'f8888080',
  'fe',
  'ff',
  'e2',
  'e282',
  'f09f98',
]

describe('isJson', () => {
  it.each(ACCEPTED)('accepts %j', (text) => {
    expect(parses(Buffer.from(text))).toBe(true)
    expectSameVerdict(Buffer.from(text))
  })

  it.each(REFUSED)('refuses %j', (text) => {
    expect(parses(Buffer.from(text))).toBe(false)
    expectSameVerdict(Buffer.from(text))
  })

  it.each(SEQUENCES)('judges the bytes %s in a string as a strict decoder does', (hex) => {
    expectSameVerdict(Buffer.from(`22${hex}22`, 'hex'))
    expectSameVerdict(Buffer.from(`22${hex}`, 'hex'))
    expectSameVerdict(Buffer.from(hex, 'hex'))
  })

  it('judges every prefix of a text with everything in it like JSON.parse', () => {
    const whole = Buffer.from(
      ' {"k\\u00e9y":[-1.5e-7,true,false,null,"\\"é€😀\\\\",{}],"n":{"m":[[]]}} ',
    )
    for (let end = 0; end <= whole.length; end += 1) expectSameVerdict(whole.subarray(0, end))
  })

  it('accepts nesting of 256 levels and refuses 257', () => {
    expect(MAX_JSON_DEPTH).toBe(256)
    for (const [open, inner, close] of [
      ['[', '', ']'],
      ['[', '1', ']'],
      ['{"a":', '{}', '}'],
    ] as const) {
      const levels = inner === '{}' ? MAX_JSON_DEPTH - 1 : MAX_JSON_DEPTH
      const nest = (n: number): Buffer => Buffer.from(open.repeat(n) + inner + close.repeat(n))
      expect(scan(nest(levels))).toBe(true)
      expect(parses(nest(levels + 1))).toBe(true)
      expect(scan(nest(levels + 1))).toBe(false)
    }
  })

  it('counts open levels, not all levels that ever were', () => {
    expect(scan(Buffer.from(`[${'[[]],'.repeat(1000)}[]]`))).toBe(true)
  })

  it('has the verdict of JSON.parse on random bytes', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 12 }), expectSameVerdict), { numRuns: 3000 })
  })

  it('has the verdict of JSON.parse on random runs of JSON tokens', () => {
    const token = fc.constantFrom(
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '"a"',
      '1',
      '-',
      '.',
      'e',
      '0',
      'null',
      'true',
      ' ',
      '\n',
      '\\',
      'é',
    )
    fc.assert(
      fc.property(fc.array(token, { maxLength: 10 }), (tokens) =>
        expectSameVerdict(Buffer.from(tokens.join(''))),
      ),
      { numRuns: 5000 },
    )
  })

  it('accepts what JSON.stringify writes, indented or not', () => {
    fc.assert(
      fc.property(fc.json({ maxDepth: 6 }), fc.boolean(), (text, indented) => {
        const bytes = Buffer.from(
          indented ? JSON.stringify(JSON.parse(text), null, '\t\r\n ') : text,
        )
        expect(parses(bytes)).toBe(true)
        expectSameVerdict(bytes)
      }),
      { numRuns: 1000 },
    )
  })

  it('has the verdict of JSON.parse on JSON with a few bytes changed, removed or put in', () => {
    const edit = fc.tuple(
      fc.nat(),
      fc.constantFrom('set', 'cut', 'put'),
      fc.integer({ min: 0, max: 255 }),
    )
    fc.assert(
      fc.property(fc.json(), fc.array(edit, { minLength: 1, maxLength: 3 }), (text, edits) => {
        let bytes = Buffer.from(text)
        for (const [where, how, byte] of edits) {
          const at = where % (bytes.length + 1)
          const rest = bytes.subarray(how === 'put' ? at : at + 1)
          const middle = how === 'cut' ? [] : [Buffer.from([byte])]
          bytes = Buffer.concat([bytes.subarray(0, at), ...middle, rest])
        }
        expectSameVerdict(bytes)
      }),
      { numRuns: 5000 },
    )
  })
})
