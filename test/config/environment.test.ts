import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { variableName } from '../../gateway/config/environment.ts'
import { describeKeys } from '../../gateway/config/keys/describe.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { httpSinkOf } from '../support/configs.ts'
import { ConfigFolder } from './folder.ts'
import { asYaml, pathOf, read, sampleOf, surroundingsOf, withValue } from './key-samples.ts'

let folder: ConfigFolder
beforeEach(() => {
  folder = new ConfigFolder()
})
afterEach(() => folder.remove())

function fromEnvironment(env: Record<string, string>) {
  return loadConfig(SCHEMA, { file: null, env, cwd: '/box' }).config
}

describe('names', () => {
  test.each([
    [['streams', 'telemetry', 'maxBytes'], 'SLUICE__STREAMS__TELEMETRY__MAX_BYTES'],
    [
      ['streams', 'a-b2', 'deadLetters', 'whenFull'],
      'SLUICE__STREAMS__A_B2__DEAD_LETTERS__WHEN_FULL',
    ],
    [
      ['mqtt', 'listeners', 0, 'tls', 'requireClientCert'],
      'SLUICE__MQTT__LISTENERS__0__TLS__REQUIRE_CLIENT_CERT',
    ],
    [['sinks', 'cloud', 'headers', 'X-Api-Key'], 'SLUICE__SINKS__CLOUD__HEADERS__X_API_KEY'],
  ])('%j is %s', (path, name) => {
    expect(variableName(path)).toBe(name)
  })

  test('a variable wins over the file', () => {
    const text = 'streams: { telemetry: { maxBytes: 3GiB, priority: 2 } }'
    const { config } = folder.load(text, { SLUICE__STREAMS__TELEMETRY__MAX_BYTES: '2GiB' })
    expect(config.streams['telemetry']).toMatchObject({ maxBytes: 2 * 1024 ** 3, priority: 2 })
  })

  test('a header of the file is met whatever its case', () => {
    const { config } = folder.load('sinks: { cloud: { headers: { X-Api-Key: a } } }', {
      SLUICE__SINKS__CLOUD__HEADERS__X_API_KEY: 'b',
    })
    expect(httpSinkOf(config).headers).toEqual({ 'X-Api-Key': { value: 'b' } })
  })

  test('a stream with two dashes in its name is met, too', () => {
    const { config } = folder.load('streams: { a--b: {} }', {
      SLUICE__STREAMS__A__B__PRIORITY: '4',
    })
    expect(config.streams['a--b']?.priority).toBe(4)
  })

  test.each([
    ['SLUICE__STREAMS__TELEMETRY__MAXBYTES', 'SLUICE__STREAMS__TELEMETRY__MAX_BYTES'],
    ['SLUICE__LOG__LEVL', 'SLUICE__LOG__LEVEL'],
    ['SLUICE__log__level', 'SLUICE__LOG__LEVEL'],
    ['SLUICE__', 'remove it'],
    ['SLUICE__NOTHING_LIKE_IT', 'remove it'],
    ['SLUICE__MQTT__LISTENERS__00__PORT', 'SLUICE__MQTT__LISTENERS__0__PORT'],
    ['SLUICE__MQTT__LISTENERS__X__PORT', 'SLUICE__MQTT__LISTENERS__0__PORT'],
    ['SLUICE__ADMIN__TOKEN__FIEL', 'SLUICE__ADMIN__TOKEN__FILE'],
  ])('%s means no key and is refused', (name, fix) => {
    const problems = folder.problems('', { [name]: '1' })
    expect(problems).toHaveLength(1)
    expect(problems[0]).toMatchObject({
      code: 'CONFIG_ENVIRONMENT',
      origin: { kind: 'environment', name },
    })
    expect(problems[0]?.fix).toContain(fix)
  })

  test('two keys that give one name are refused, with or without a variable', () => {
    const text = 'sinks: { cloud: { headers: { X-Site: a, x_site: b } } }'
    for (const env of [{}, { SLUICE__SINKS__CLOUD__HEADERS__X_SITE: 'c' }]) {
      const [problem] = folder
        .problems(text, env)
        .filter(({ key }) => key === 'sinks.cloud.headers.x_site')
      expect(problem).toMatchObject({
        code: 'CONFIG_CONFLICT',
        got: 'a key that SLUICE__SINKS__CLOUD__HEADERS__X_SITE means, as it means sinks.cloud.headers.X-Site',
      })
    }
    const ambiguous = folder.problems(text, { SLUICE__SINKS__CLOUD__HEADERS__X_SITE: 'c' })
    expect(ambiguous[0]?.got).toContain('sinks.cloud.headers.X-Site and sinks.cloud.headers.x_site')
  })

  test('streams whose names give one name are refused: a-b and a_b, a--x and the key x of a', () => {
    expect(folder.problems('streams: { a-b: {}, a_b: {} }').map(({ code }) => code)).toContain(
      'CONFIG_CONFLICT',
    )
    const clash = folder.problems('streams: { a: {}, a--topics: {} }')
    expect(clash.map(({ got }) => got).join()).toContain('SLUICE__STREAMS__A__TOPICS')
    const byFile = 'sinks: { cloud: { url: "https://h/", headers: { x: a, x--file: b } } }'
    expect(folder.problems(byFile)).toMatchObject([
      {
        code: 'CONFIG_CONFLICT',
        got: expect.stringContaining('SLUICE__SINKS__CLOUD__HEADERS__X__FILE'),
      },
    ])
  })

  test('a name with one underscore too few is not ours to refuse, but gets a warning', () => {
    const { warnings } = folder.load('', {
      SLUICE_LOG__LEVEL: 'debug',
      SLUICE_SERVICE_HOST: '10.0.0.1',
    })
    expect(warnings).toEqual([
      'SLUICE_LOG__LEVEL: is not read; names begin with SLUICE__ (two underscores)',
    ])
  })
})

describe('values', () => {
  test('are YAML: lists, maps, numbers, null', () => {
    const config = fromEnvironment({
      SLUICE__STREAMS__TELEMETRY__TOPICS: '["a/#", b]',
      SLUICE__STREAMS__TELEMETRY__DEAD_LETTERS: '{ maxBytes: 1MiB }',
      SLUICE__STREAMS__TELEMETRY__MAX_AGE: '7d',
      SLUICE__SINKS__CLOUD__MAX_BYTES_PER_SECOND: '',
      SLUICE__SINKS__CLOUD__MAX_IN_FLIGHT: '4',
    })
    expect(config.streams['telemetry']).toMatchObject({
      topics: ['a/#', 'b'],
      maxAge: 604_800_000,
      deadLetters: { maxBytes: 1024 ** 2, whenFull: 'hold' },
    })
    expect(config.sinks['cloud']).toMatchObject({ maxInFlight: 4, maxBytesPerSecond: null })
  })

  test('a deeper name refines the section that a shorter one gave', () => {
    const config = fromEnvironment({
      SLUICE__STREAMS__TELEMETRY__PRIORITY: '2',
      SLUICE__STREAMS: '{ telemetry: { priority: 1, payload: json } }',
    })
    expect(config.streams['telemetry']).toMatchObject({ priority: 2, payload: 'json' })
  })

  test('change the defaults of a list, and append to it in the order of their indexes', () => {
    const config = fromEnvironment({
      SLUICE__MQTT__LISTENERS__0__PORT: '0',
      SLUICE__SINKS__CLOUD__ACK_STATUS__3: '205',
      ...Object.fromEntries(
        Array.from({ length: 11 }, (_, n) => [`SLUICE__STREAMS__TELEMETRY__TOPICS__${n}`, `t${n}`]),
      ),
    })
    expect(config.mqtt.listeners).toEqual([
      { host: '127.0.0.1', port: 0, tls: null, websocket: false, proxyProtocol: null },
    ])
    expect(httpSinkOf(config).ackStatus).toEqual([200, 201, 204, 205])
    expect(config.streams['telemetry']?.topics).toEqual(
      Array.from({ length: 11 }, (_, n) => `t${n}`),
    )
  })

  test('an index that leaves a hole is refused', () => {
    const [problem] = folder.problems('', { SLUICE__MQTT__LISTENERS__2__PORT: '1' })
    expect(problem?.wanted).toContain('at most 1')
  })

  test('create a stream and a sink from the environment alone', () => {
    const config = fromEnvironment({
      SLUICE__STREAMS__PRESS_ALARMS__TOPICS: '["alarm/#"]',
      SLUICE__STREAMS__PRESS_ALARMS__SINK: 'pager',
      SLUICE__SINKS__PAGER__URL: 'https://pager.example/in',
      SLUICE__SINKS__PAGER__HEADERS__X_SITE: 'berlin',
    })
    expect(Object.keys(config.streams)).toEqual(['telemetry', 'press-alarms'])
    expect(config.streams['press-alarms']).toMatchObject({ sink: 'pager', maxBytes: 1024 ** 3 })
    expect(httpSinkOf(config, 'pager').headers).toEqual({ 'x-site': { value: 'berlin' } })
  })

  test('give a secret as text or by file; a file replaces the text', () => {
    const file = { SLUICE__SINKS__CLOUD__BEARER_TOKEN__FILE: '/run/secrets/token' }
    expect(httpSinkOf(fromEnvironment(file)).bearerToken).toEqual({
      file: '/run/secrets/token',
    })
    const { config } = folder.load('sinks: { cloud: { bearerToken: x } }', file)
    expect(httpSinkOf(config).bearerToken).toEqual({ file: '/run/secrets/token' })
    expect(fromEnvironment({ SLUICE__ADMIN__TOKEN: 'abc' }).admin.token).toEqual({ value: 'abc' })
  })

  test.each([
    ['abc #def', 'cuts at its #'],
    ['*abc', 'as an alias'],
    ['"abc', 'not YAML'],
    ['a: b: c', 'not YAML'],
  ])('%j would be read as something else and is refused without being repeated', (value, got) => {
    const [problem] = folder.problems('', { SLUICE__ADMIN__TOKEN: value })
    expect(problem?.got).toContain(got)
    expect(problem?.fix).toContain(`SLUICE__ADMIN__TOKEN='"…"'`)
    expect(JSON.stringify(problem)).not.toContain('abc')
  })

  test('a wrong value names the variable, not the file', () => {
    const [problem] = folder.problems('log: { level: info }', { SLUICE__LOG__LEVEL: 'loud' })
    expect(problem).toMatchObject({
      origin: { kind: 'environment', name: 'SLUICE__LOG__LEVEL' },
      key: 'log.level',
    })
  })

  test('the file is not changed by a map where it has none', () => {
    const problems = folder.problems('streams: 5', { SLUICE__STREAMS__A__PRIORITY: '1' })
    expect(problems.map(({ key }) => key)).toContain('streams')
  })
})

describe('every key of the table', () => {
  test.each(describeKeys(SCHEMA.root).map((key) => [key.path, key] as const))(
    '%s set by its variable is what the same key in the file is',
    (_, key) => {
      fc.assert(
        fc.property(fc.stringMatching(/^[a-z0-9](-?[a-z0-9]){0,6}$/), (name) => {
          const path = pathOf(key, name)
          const value = sampleOf(key)
          const written = asYaml(key.type, value)
          const surroundings = surroundingsOf(key, name)
          const base = stringify(surroundings)
          const byFile = folder.load(stringify(withValue(surroundings, path, written))).config
          const byVariable = folder.load(base, {
            [variableName(path)]: stringify(written, {
              collectionStyle: 'flow',
              lineWidth: 0,
            }).trim(),
          }).config
          expect(byVariable).toEqual(byFile)
          const loaded = read(byVariable, path)
          expect(loaded).toEqual(key.type === 'secret' ? { value } : value)
        }),
        { numRuns: 5 },
      )
    },
  )
})
