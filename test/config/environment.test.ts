import fc from 'fast-check'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { variableName } from '../../gateway/config/environment.ts'
import { describeKeys, type KeyDescription } from '../../gateway/config/keys/describe.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { SCHEMA } from '../../gateway/configuration.ts'
import { httpSinkOf } from '../support/configs.ts'
import { ConfigFolder } from './folder.ts'

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
  /** A value that is not the default and passes every check beside the defaults. */
  const SAMPLES: Readonly<Record<string, unknown>> = {
    'mqtt.listeners.<n>.tls': { cert: '/c', key: '/k', ca: null, requireClientCert: false },
    'mqtt.listeners.<n>.proxyProtocol': { from: ['10.0.0.0/8'], clientCert: 'require' },
    'mqtt.listeners.<n>.proxyProtocol.clientCert': 'require',
    'mqtt.listeners.<n>.proxyProtocol.from': ['10.0.0.0/8', 'fd00::7'],
    'mqtt.listeners.<n>.auth': { passwordFile: '/u', aclFile: null },
    'mqtt.serverReference': 'gateway-2.example:8883',
    'cluster.takeover.sink': 'hub',
    'cluster.takeover.subject': 'moved',
    'cluster.takeover': { sink: 'hub', subject: 'moved' },
    'mqtt.auth': { passwordFile: '/u', aclFile: null },
    'sinks.<name>.tls': { ca: '/ca', cert: null, key: null },
    'sinks.<name>.servers': ['nats://n1.example:4222'],
    'sinks.<name>.jetStream': 'OTHER',
    'sinks.<name>.domain': 'hub',
    'sinks.<name>.subject': 'plant.x',
    'sinks.<name>.minReplicas': 3,
    'sinks.<name>.user': 'me',
    'sinks.<name>.nkey': `SU${'A'.repeat(56)}`,
    'streams.<name>.device': 'topic:3',
    'streams.<name>.topics': ['a/+', 'b/#'],
    'streams.<name>.properties': ['contentType', 'userProperties'],
    'streams.<name>.maxRecordBytes': 2048,
    'sinks.<name>.ackStatus': [200, 202],
    'sinks.<name>.marker': '.here',
    'sinks.<name>.url': 'https://example.org/x',
    'mqtt.listeners.<n>.host': 'localhost',
    'mqtt.listeners.<n>.tls.requireClientCert': false,
    'admin.host': 'localhost',
    'gateway.id': 'box-1',
    'streams.<name>.sink': 'other',
    'sinks.<name>.format.separator': '.',
    'sinks.<name>.format.table': 'plant.readings',
  }
  /** The same of `auth` and `proxy`. */
  const HTTP_SAMPLES = {
    'auth.kind': 'bearer',
    'proxy.kind': 'environment',
    'proxy.url': 'http://proxy.example:3128',
    'proxy.user': 'me',
    'proxy.noProxy': ['.plant.example'],
    'auth.name': 'X-Api-Key',
    'auth.prefix': 'Token ',
    'auth.user': 'me',
    'auth.tokenUrl': 'https://login.example/token',
    'auth.clientId': 'edge-01',
    'auth.scope': 'ingest',
    'auth.parameters.<parameter>': 'x',
    'auth.service': 'kinesis',
    'auth.region': 'eu-central-1',
    'auth.profile': 'plant',
    'auth.keyName': 'send',
    'auth.resource': 'https://ns.servicebus.windows.net/hub',
  }
  /** The same, of a type of sink whose key of that name takes other values. */
  const OF_TYPE: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    kafka: {
      brokers: ['kafka-1.example:9092'],
      topic: 'plant',
      key: '${topic}',
      gapsTopic: 'gaps',
      clientId: 'edge-01',
      sasl: { mechanism: 'plain', username: 'edge', password: { file: '/password' } },
      'sasl.username': 'edge',
    },
    http: {
      ...HTTP_SAMPLES,
      'format.text': '{"sensor":"${device}"}',
      'format.prefix': '\n',
      'format.suffix': ' ',
      'format.escape': 'none',
    },
    object: HTTP_SAMPLES,
    mqtt: {
      ...HTTP_SAMPLES,
      url: 'mqtts://example.org:8884',
      version: '5',
      clientId: 'edge-01',
      username: 'edge',
      sharedAccessKey: 'c2VjcmV0',
      tls: { ca: '/ca', cert: null, key: null, alpn: null },
      'tls.alpn': 'mqtt',
      qos: 2,
      topic: 'a/b',
      'userProperties.<property>': 'a text',
      gaps: { topic: 'gaps' },
      'gaps.topic': 'gaps',
      window: 500,
    },
    postgres: {
      url: 'postgresql://db.example/plant',
      host: 'db.example',
      database: 'plant',
      user: 'edge',
      applicationName: 'edge-01',
      table: 'plant.readings',
      queueTable: 'plant.queues',
      gapTable: 'plant.gaps',
    },
  }
  /** A user, all of it. */
  const KNOWN = { username: 'a', password: 'b' }
  const PROXY = { kind: 'http', url: 'http://127.0.0.1:3128' }
  const OF_PROXY = {
    'proxy.url': { proxy: { kind: 'http' } },
    'proxy.user': { proxy: { ...PROXY, password: 'p' } },
    'proxy.password': { proxy: { ...PROXY, user: 'me' } },
    'proxy.noProxy': { proxy: PROXY },
  }
  /** What a key of such a type cannot stand without. */
  const BESIDE_OF_TYPE: Readonly<Record<string, Readonly<Record<string, object>>>> = {
    kafka: {
      'sasl.mechanism': { sasl: KNOWN },
      'sasl.username': { sasl: KNOWN },
      'sasl.password': { sasl: KNOWN },
    },
    nats: { password: { user: 'edge' }, body: { message: 'record' } },
    postgres: {
      'columns.<column>': { columns: { id: '${id}' } },
      tls: { sslMode: 'require' },
      'tls.ca': { sslMode: 'require' },
      'tls.cert': { sslMode: 'require' },
      'tls.key': { sslMode: 'require' },
    },
    http: {
      'format.separator': { maxBatchRecords: 1 },
      'format.precision': { url: 'http://127.0.0.1:8086/write?precision=s' },
      ...OF_PROXY,
    },
    object: {
      temporaryNames: { store: 'dav' },
      ...OF_PROXY,
    },
    mqtt: {
      ...OF_PROXY,
      password: { username: 'edge' },
      sharedAccessKey: { profile: 'azure-iot-hub', clientId: 'edge-01' },
      'userProperties.<property>': { version: '5' },
    },
  }
  /** Keys of `auth` that have no default, by its kind. */
  const AUTHS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    header: { value: 'x' },
    bearer: { token: 'x' },
    basic: { user: 'x', password: 'x' },
    oauth2: { tokenUrl: 'https://x.example/t', clientId: 'x', clientSecret: 'x' },
    'aws-sigv4': { service: 's3', region: 'eu-west-1' },
    'azure-sas': { key: 'x', keyName: 'x' },
  }
  /** Keys of `auth` that go with another one. */
  const AUTH_PAIRS: Readonly<Record<string, Readonly<Record<string, string>>>> = {
    accessKeyId: { secretAccessKey: 'x' },
    secretAccessKey: { accessKeyId: 'x' },
    sessionToken: { accessKeyId: 'x', secretAccessKey: 'x' },
  }
  /** What has to be there for a key to make sense. */
  const BESIDE: Readonly<Record<string, unknown>> = {
    sinks: { other: {}, cloud: {}, hub: { type: 'nats' } },
  }

  /** The type of sink that alone has a key, or one with other values. */
  function typeOf({ only }: Pick<KeyDescription, 'only'>): string {
    let choice = only
    while (choice?.outer) choice = choice.outer
    return choice?.value ?? ''
  }

  function below(path: string): string {
    return path.replace('sinks.<name>.', '')
  }

  function sample(key: KeyDescription): unknown {
    const ofType = OF_TYPE[typeOf(key)] ?? {}
    if (below(key.path) in ofType) return ofType[below(key.path)]
    if (key.path in SAMPLES) return SAMPLES[key.path]
    if (key.type === 'size') return 64 * 1024 * 1024
    if (key.type === 'duration') return 60_000
    if (key.type === 'integer')
      return /priority|maxInFlight/.test(key.path) ? 7 : key.path.endsWith('Levels') ? 64 : 20_001
    if (key.type === 'number') return 0.25
    if (key.type === 'boolean') return key.default !== 'true'
    if (key.path.endsWith('.contentType')) return 'text/x-own'
    if (key.type === 'path') return '/some/path'
    if (key.type === 'secret') return 'a-secret'
    if (key.type === 'choice') {
      const choices = /Wants (?:one of )?([^.]+)\./.exec(key.text)?.[1]?.split(', ') ?? []
      return choices.find((choice) => choice !== key.default) ?? key.default
    }
    if (key.type === 'text' && /pointer|placeholders|stand\.$/i.test(key.text)) return '/some/place'
    throw new Error(`no sample for ${key.path} (${key.type})`)
  }

  /** The value as YAML writes it: sizes and durations need units or at least may have them. */
  function asYaml(type: string, value: unknown): unknown {
    return type === 'duration' ? `${String(value)}ms` : value
  }

  test.each(describeKeys(SCHEMA.root).map((key) => [key.path, key] as const))(
    '%s set by its variable is what the same key in the file is',
    (_, key) => {
      fc.assert(
        fc.property(fc.stringMatching(/^[a-z0-9](-?[a-z0-9]){0,6}$/), (name) => {
          const path = key.path.split('.').map((part) => {
            if (part === '<n>') return 0
            if (part === '<status>') return '409'
            return part === '<name>' ? name : /^<\w+>$/.test(part) ? `x-${name}` : part
          })
          const value = sample(key)
          const written = asYaml(key.type, value)
          const surroundings = { ...structuredClone(BESIDE), ...required(key, name) }
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

  /** The rest of a section that cannot stand with one key alone. */
  function required(description: KeyDescription, name: string): Record<string, unknown> {
    const { path: pattern, only } = description
    const auth = { passwordFile: '/users' }
    const tls = { cert: '/cert', key: '/key' }
    const rest: Record<string, unknown> = {}
    if (pattern.startsWith('mqtt.auth.')) rest['mqtt'] = { auth }
    if (pattern.startsWith('mqtt.listeners.<n>.auth.')) rest['mqtt'] = { listeners: [{ auth }] }
    if (pattern.startsWith('mqtt.listeners.<n>.tls.')) rest['mqtt'] = { listeners: [{ tls }] }
    if (pattern.startsWith('mqtt.listeners.<n>.proxyProtocol.'))
      rest['mqtt'] = { allowAnonymous: true, listeners: [{ proxyProtocol: { from: ['::1'] } }] }
    if (pattern.startsWith('cluster.takeover.')) rest['cluster'] = { takeover: { sink: 'hub' } }
    if (pattern.startsWith('streams.')) rest['streams'] = { [name]: {} }
    if (pattern.startsWith('sinks.')) {
      const chosen: Record<string, unknown> = {}
      for (let choice = only; choice !== null; choice = choice.outer) {
        const [key = '', inner] = choice.at.split('.').slice(2)
        chosen[key] = inner === undefined ? choice.value : { [inner]: choice.value }
      }
      const isTls = pattern.startsWith('sinks.<name>.tls')
      const type = typeOf(description)
      const hasAuth = type === 'http' || type === 'object'
      const ofAuth = hasAuth ? /\.auth\.(\w+)/.exec(pattern)?.[1] : undefined
      if (ofAuth === 'kind') chosen['auth'] = { token: 'x' }
      else if (ofAuth !== undefined) {
        const { kind } = chosen['auth'] as { kind: string }
        const { service, ...keys } = { ...AUTHS[kind], ...AUTH_PAIRS[ofAuth] }
        // An object sink signs for S3, always.
        const own = type === 'http' && service !== undefined ? { service } : {}
        chosen['auth'] = { kind, ...own, ...keys }
      }
      const isHttp = [undefined, 'http', 'object'].some((type) => type === chosen['type'])
      const url = isTls && isHttp ? { url: 'https://example.org/' } : {}
      const pair = /\.tls\.(cert|key)$/.test(pattern) ? { tls: { cert: '/c', key: '/k' } } : {}
      const beside = BESIDE_OF_TYPE[typeOf(description)]?.[below(pattern)] ?? {}
      rest['sinks'] = {
        other: {},
        cloud: {},
        [name]: { ...chosen, ...url, ...pair, ...beside },
      }
    }
    if (pattern.endsWith('.maxUnackedBytes')) rest['mqtt'] = { maxUnackedBytesTotal: '64MiB' }
    if (/maxPacketBytes$|maxConnectPacketBytes$/.test(pattern))
      rest['mqtt'] = {
        maxPacketBytes: '64MiB',
        maxUnackedBytes: '64MiB',
        maxUnackedBytesTotal: '64MiB',
      }
    if (pattern.endsWith('.maxHoldBackBytes')) rest['mqtt'] = { maxHoldBackBytesTotal: '64MiB' }
    if (pattern.endsWith('.maxSubscriberBytes')) rest['mqtt'] = { maxSubscriberBytesTotal: '64MiB' }
    if (pattern.endsWith('.maxRetainedMessageBytes')) rest['mqtt'] = { maxRetainedBytes: '64MiB' }
    return rest
  }
})

function withValue(tree: unknown, path: ReadonlyArray<string | number>, value: unknown): unknown {
  const [key, ...rest] = path
  if (key === undefined) return value
  if (typeof key === 'number') {
    const items = Array.isArray(tree) ? [...(tree as unknown[])] : []
    items[key] = withValue(items[key], rest, value)
    return items
  }
  const map = (tree ?? {}) as Record<string, unknown>
  return { ...map, [key]: withValue(map[key], rest, value) }
}

function read(tree: unknown, path: ReadonlyArray<string | number>): unknown {
  return path.reduce<unknown>(
    (value, key) => (value as Record<string | number, unknown>)?.[key],
    tree,
  )
}
