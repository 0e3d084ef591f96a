/**
 * A value for every key of the configuration, and what has to stand beside it: for tests that go
 * through the table of keys. Paths are those of files that need not be there.
 */
import type { KeyDescription } from '../../gateway/config/keys/describe.ts'

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
  'mqtt.listeners.<n>.tls.requireClientCert': true,
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
  'proxy.url': { proxy: PROXY },
  'proxy.user': { proxy: { ...PROXY, user: 'them', password: 'p' } },
  'proxy.password': { proxy: { ...PROXY, user: 'me', password: 'p' } },
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
    'format.precision': { url: 'http://127.0.0.1:8086/write?precision=auto' },
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
  accessKeyId: { accessKeyId: 'x', secretAccessKey: 'x' },
  secretAccessKey: { accessKeyId: 'x', secretAccessKey: 'x' },
  sessionToken: { accessKeyId: 'x', secretAccessKey: 'x' },
}
/** What has to be there for a key to make sense. */
const BESIDE: Readonly<Record<string, unknown>> = {
  sinks: { other: {}, cloud: {}, hub: { type: 'nats' } },
}

/** The type of sink that alone has a key, or one with other values. */
export function typeOf({ only }: Pick<KeyDescription, 'only'>): string {
  let choice = only
  while (choice?.outer) choice = choice.outer
  return choice?.value ?? ''
}

function below(path: string): string {
  return path.replace('sinks.<name>.', '')
}

export function sampleOf(key: KeyDescription): unknown {
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
export function asYaml(type: string, value: unknown): unknown {
  return type === 'duration' ? `${String(value)}ms` : value
}

/** Of the names in a path. */
export function pathOf({ path }: KeyDescription, name: string): Array<string | number> {
  return path.split('.').map((part) => {
    if (part === '<n>') return 0
    if (part === '<status>') return '409'
    return part === '<name>' ? name : /^<\w+>$/.test(part) ? `x-${name}` : part
  })
}

/** All that a key needs around it, without itself; `name`: of its sink or stream. */
export function surroundingsOf(key: KeyDescription, name: string): Record<string, unknown> {
  return { ...structuredClone(BESIDE), ...required(key, name) }
}

/** The rest of a section that cannot stand with one key alone. */
function required(description: KeyDescription, name: string): Record<string, unknown> {
  const { path: pattern, only } = description
  const auth = { passwordFile: '/users' }
  const tls = { cert: '/cert', key: '/key', ca: '/ca' }
  const rest: Record<string, unknown> = {}
  if (pattern.startsWith('mqtt.auth.')) rest['mqtt'] = { auth }
  if (pattern.startsWith('mqtt.listeners.<n>.auth.')) rest['mqtt'] = { listeners: [{ auth }] }
  if (pattern.startsWith('mqtt.listeners.<n>.tls.')) rest['mqtt'] = { listeners: [{ tls }] }
  if (pattern.startsWith('mqtt.listeners.<n>.proxyProtocol.'))
    rest['mqtt'] = { allowAnonymous: true, listeners: [{ proxyProtocol: { from: ['::1'] } }] }
  if (pattern.startsWith('cluster.takeover.')) {
    rest['cluster'] = { takeover: { sink: 'first' } }
    rest['sinks'] = { other: {}, cloud: {}, hub: { type: 'nats' }, first: { type: 'nats' } }
  }
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

export function withValue(
  tree: unknown,
  path: ReadonlyArray<string | number>,
  value: unknown,
): unknown {
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

export function read(tree: unknown, path: ReadonlyArray<string | number>): unknown {
  return path.reduce<unknown>(
    (value, key) => (value as Record<string | number, unknown>)?.[key],
    tree,
  )
}
