import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { loadConfig } from '../../gateway/config/load.ts'
import { ConfigError, describeProblem } from '../../gateway/config/problems.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { ConfigFolder } from './folder.ts'
import { MISTAKES } from './mistakes.ts'

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

describe('a mistake is refused with its key, what it got, what it wants and the fix', () => {
  test.each(MISTAKES)('%s', (text, key, got, wanted, fix) => {
    const problem = folder.problems(text).find((one) => one.key === key)
    expect(problem, folder.problems(text).map(describeProblem).join('\n')).toBeDefined()
    expect(problem?.got).toContain(got)
    expect(problem?.wanted).toContain(wanted)
    expect(problem?.fix).toContain(fix)
  })

  test('all mistakes of a file are told at once, each with its line', () => {
    const text =
      'log:\n  level: loud\nstreams:\n  a:\n    maxBytes: 1GB\n    topics:\n      - a\n      - "#/b"\n'
    const places = folder
      .problems(text)
      .map(({ origin, key }) => [key, origin.kind === 'file' ? origin.line : null])
    expect(places).toEqual(
      expect.arrayContaining([
        ['log.level', 2],
        ['streams.a.maxBytes', 5],
        ['streams.a.topics[1]', 8],
      ]),
    )
  })

  test('the message has one line a problem: file, line, key, got, wanted, fix', () => {
    const [problem] = folder.problems('\nlog: { level: loud }\n')
    expect(problem && describeProblem(problem)).toBe(
      'sluice.yaml:2: log.level: got "loud", wants one of trace, debug, info, warn, error. Fix: write trace or debug or info or warn or error. [CONFIG_BAD_VALUE]',
    )
  })
})

test('a sink with a name that is none is refused once, not again for the stream that means it', () => {
  const url = '{ url: "http://127.0.0.1/in" }'
  const stream = 'streams: { telemetry: { sink: stick } }'
  expect(folder.problems(`${stream}\nsinks: { Stick: ${url} }`)).toMatchObject([
    { key: 'sinks.Stick', fix: 'write stick' },
  ])
  const both = folder.problems(`${stream}\nsinks: { Stik: ${url}, stack: ${url} }`)
  expect(both.map(({ key, fix }) => `${key}: ${fix}`)).toEqual([
    'sinks.Stik: write stik',
    'streams.telemetry.sink: write stack, or add sinks.stick',
  ])
})

describe('a file that cannot be read', () => {
  test.each([
    ['a: [1', 'not YAML'],
    ['a: 1\na: 2', 'a key twice'],
    ['a: 1\n---\nb: 2', 'not YAML'],
    ['\ta: 1', 'not YAML'],
    ['admin: { token: *s3cret }', 'not YAML'],
    ['admin: { token: !s3cret x }', 'not YAML'],
  ])('%j is refused as syntax', (text, got) => {
    const problems = folder.problems(text)
    expect(problems[0]).toMatchObject({ code: 'CONFIG_SYNTAX', got: expect.stringContaining(got) })
    expect(problems.map(describeProblem).join('\n')).not.toContain('s3cret')
  })

  test('is named, with the reason', () => {
    const load = (file: string) => () => loadConfig(SCHEMA, { file, env: {}, cwd: folder.path })
    expect(load('missing.yaml')).toThrow(/missing.yaml: got no file of this name.*--config/)
    mkdirSync(join(folder.path, 'folder'))
    expect(load('folder')).toThrow(/EISDIR/)
    folder.write(Buffer.from([0x61, 0xff, 0x3a]), 'bytes.yaml')
    expect(load('bytes.yaml')).toThrow(/not UTF-8/)
    folder.write(Buffer.alloc(1024 * 1024 + 1, 0x23), 'large.yaml')
    expect(load('large.yaml')).toThrow(/at most 1048576/)
    expect(load('missing.yaml')).toThrow(ConfigError)
  })

  test('an alias bomb is an error, not the end of memory', () => {
    const levels = Array.from(
      { length: 12 },
      (_, n) => `a${n}: &a${n} [${`*a${n - 1}, `.repeat(9)}x]`,
    )
    const bomb = levels.join('\n').replaceAll('*a-1, ', '')
    expect(folder.problems(bomb)[0]?.code).toBe('CONFIG_SYNTAX')
  })
})

test('no error and no printed configuration repeats a secret, whatever else is wrong', () => {
  const secret = 's3cr3t-v4lue'
  const places = [
    (bad: string) => `admin: { token: "${secret}\\n", port: ${bad} }`,
    (bad: string) => `sinks: { cloud: { bearerToken: "${secret} x", timeout: ${bad} } }`,
    (bad: string) => `sinks: { cloud: { headers: { A: "${secret}\\u00e9" }, url: ${bad} } }`,
    (bad: string) =>
      `sinks: { cloud: { url: "http://user:${secret}@example.org/?k=${secret}" } }\nlog: ${bad}`,
    (bad: string) => `sinks: { cloud: { headers: "A: ${secret}" } }\nspool: ${bad}`,
    (bad: string) => `admin: "${secret}"\nlog: ${bad}`,
  ]
  fc.assert(
    fc.property(
      fc.constantFrom(...places),
      fc.constantFrom('1', 'x', 'null', '[]', '{ a: 1 }'),
      (place, bad) => {
        expect(folder.problems(place(bad)).map(describeProblem).join('\n')).not.toContain(secret)
      },
    ),
  )
})

test('any YAML value at any place is taken or refused with problems, never with another error', () => {
  const keys = [
    'gateway',
    'mqtt',
    'listeners',
    'auth',
    'streams',
    'a',
    'topics',
    'sinks',
    'cloud',
    'headers',
    'tls',
    '__proto__',
  ]
  const tree = fc.letrec<{ value: unknown }>((tie) => ({
    value: fc.oneof(
      { maxDepth: 4 },
      fc.constantFrom<unknown>(null, true, 0, -1, 1.5, '', 'x', '1GiB', '5s', '#', '\u0000'),
      fc.array(tie('value'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys), tie('value'), { maxKeys: 4 }),
    ),
  })).value
  fc.assert(
    fc.property(tree, (value) => {
      try {
        folder.load(JSON.stringify(value))
      } catch (error) {
        expect(error).toBeInstanceOf(ConfigError)
        expect((error as ConfigError).problems.length).toBeGreaterThan(0)
      }
    }),
    { numRuns: 300 },
  )
})
