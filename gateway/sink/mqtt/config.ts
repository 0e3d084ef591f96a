/** Configuration of an MQTT sink: which broker, as whom, what is published where. */
import { choice, duration, flag, integer, path, secret, size, text } from '../../config/fields.ts'
import { leaf, map, nullable, section } from '../../config/schema.ts'
import type { Secret } from '../../shared/secret-file.ts'
import { type ProxyConfig, proxyFiles, proxyKey } from '../http/proxy/config.ts'
import { mappedKey, templateKey } from '../mapping/keys.ts'
import { type MessageForm, PROFILE_NAMES, type ProfileName } from './profiles.ts'

interface MqttTlsConfig {
  readonly ca: string | null
  readonly cert: string | null
  readonly key: string | null
  readonly alpn: string | null
}

export interface MqttSinkConfig {
  readonly type: 'mqtt'
  readonly url: string
  readonly version: '3.1.1' | '5'
  readonly profile: ProfileName
  readonly clientId: string | null
  readonly username: string | null
  readonly password: Secret | null
  readonly sharedAccessKey: Secret | null
  readonly proxy: ProxyConfig
  readonly tls: MqttTlsConfig | null
  readonly qos: 1 | 2
  readonly topic: string | null
  readonly message: MessageForm | null
  readonly retain: boolean
  readonly userProperties: Readonly<Record<string, string>>
  readonly gaps: { readonly topic: string } | null
  readonly window: number
  readonly maxMessageBytes: number | null
  readonly noSubscribers: 'accept' | 'hold'
  readonly sessionExpiry: number
  readonly keepAlive: number
  readonly connectTimeout: number
  readonly allowInsecure: boolean
  /** Of the delivery, which each type of sink has: the broker acknowledges nothing for so long. */
  readonly timeout: number
}

const ALPN_NAME = /^[\x21-\x7e]{1,255}$/

const tls = section('TLS towards the broker. Its files are read again when they change.', {
  ca: nullable(
    path(
      "Authorities to trust, PEM, instead of Node's and the system's (SSL_CERT_FILE and others).",
    ),
  ).prefault(null),
  cert: nullable(path('Client certificate, PEM.')).prefault(null),
  key: nullable(path('Its private key, PEM.')).prefault(null),
  alpn: nullable(
    text('Protocol name for ALPN: AWS IoT Core wants x-amzn-mqtt-ca on port 443. null: none.', {
      wanted: 'a protocol name of at most 255 characters',
      pattern: ALPN_NAME,
      check: (input) => (ALPN_NAME.test(input) ? null : 'write a name such as mqtt'),
    }),
  ).prefault(null),
})

const version = leaf<'3.1.1' | '5'>({
  kind: 'choice',
  wanted: '3.1.1 or 5',
  text: 'Version of MQTT: 3.1.1 or 5.',
  shape: { enum: ['3.1.1', '5', 5] },
  parse: (input) => {
    const word = String(input)
    if (word === '3.1.1' || word === '5') return { value: word }
    return { fix: word.startsWith('3') || word === '4' ? 'write 3.1.1' : 'write 3.1.1 or 5' }
  },
})

const qos = leaf<1 | 2>({
  kind: 'integer',
  wanted: '1 or 2',
  text: '1: at least once; 2: exactly once into the broker.',
  shape: { enum: [1, 2] },
  parse: (input) => {
    if (input === 1 || input === 2) return { value: input }
    if (input === 0 || input === '0')
      return {
        fix: 'write 1 or 2: at QoS 0 no broker ever says that it has a message, and none could be deleted here',
      }
    return { fix: 'write 1 or 2' }
  },
})

/** What this type adds to the keys that each sink has. */
export const mqttKeys = {
  url: leaf(
    text('The broker. mqtts and wss are TLS; ws and wss are WebSocket, with a path.', {
      kind: 'url',
      wanted: 'an mqtt, mqtts, ws or wss URL',
      pattern: /^\s*([Mm][Qq][Tt][Tt]|[Ww][Ss])[Ss]?:/,
      check: urlFix,
    }),
  ).prefault('mqtts://broker.example'),
  version: version.prefault('3.1.1'),
  profile: leaf(
    choice('What the broker is: sets its limits, topic and message form.', PROFILE_NAMES),
  ).prefault('generic'),
  clientId: nullable(
    text(
      'Client id; at QoS 2 -STREAM is appended, a session for each stream. null: sluice-GATEWAY-SINK.',
      {
        wanted: 'a client id',
        check: (input) => (Buffer.byteLength(input) <= 1024 ? null : 'write at most 1,024 bytes'),
      },
    ),
  ).prefault(null),
  username: nullable(
    text('User name. null: none; azure-iot-hub makes it of host and client id.', {
      wanted: 'a user name',
    }),
  ).prefault(null),
  password: nullable(
    secret('Password.', (value) =>
      Buffer.byteLength(value) <= 65_535 ? null : 'use at most 65,535 bytes',
    ),
  ).prefault(null),
  sharedAccessKey: nullable(
    secret(
      'Key of the device at Azure IoT Hub, base64: a token of an hour is made of it for each connection.',
      (value) =>
        /^[A-Za-z0-9+/]+={0,2}$/.test(value) ? null : 'copy the key as it is shown, base64',
    ),
  ).prefault(null),
  proxy: proxyKey,
  tls: tls.nullable().prefault(null),
  qos: qos.prefault(1),
  topic: nullable(
    templateKey(
      'Topic that a record is published on, with placeholders. null: that of the profile.',
    ),
  ).prefault(null),
  message: nullable(
    choice(
      'payload: the reading as it came; record: its line of the ingest contract; thingsboard: what its gateway API takes. null: that of the profile.',
      ['payload', 'record', 'thingsboard'],
    ),
  ).prefault(null),
  retain: leaf(flag('Publish retained messages.')).prefault(false),
  userProperties: map(
    'User properties of each message (MQTT 5), such as id: "${id}".',
    'property',
    leaf(mappedKey('Value of the property.')),
  ).prefault({}),
  gaps: section('Where it is published that records will never come.', {
    topic: leaf(
      text('Topic of those messages, JSON.', { wanted: 'a topic', check: topicFix }),
    ).prefault('sluice/gaps'),
  })
    .nullable()
    .prefault(null),
  window: leaf(
    integer(
      'Most messages without an acknowledgment; MQTT 5 takes less if the broker allows less.',
      { min: 1, max: 1000 },
    ),
  ).prefault(20),
  maxMessageBytes: nullable(
    size(
      'A larger message is refused here: many brokers close the connection instead of saying so. null: that of the profile.',
      { min: 1, max: 256 * 1024 * 1024 },
    ),
  ).prefault(null),
  noSubscribers: leaf(
    choice('A message that the broker had no subscriber for (MQTT 5, 0x10).', ['accept', 'hold']),
  ).prefault('accept'),
  sessionExpiry: leaf(
    duration('How long the broker keeps the session of QoS 2 without a connection (MQTT 5).', {
      min: 60_000,
    }),
  ).prefault('7d'),
  keepAlive: leaf(
    duration('A quiet connection is tried so often.', { min: 1000, max: 65_535_000 }),
  ).prefault('60s'),
  connectTimeout: leaf(
    duration('How long a connection may take: name, address, TLS, WebSocket, CONNACK.', {
      min: 100,
    }),
  ).prefault('20s'),
  allowInsecure: leaf(flag('Secrets may go without TLS to another host.')).prefault(false),
  // Of the delivery, but at QoS 1 a kill brings a whole batch again.
  maxBatchRecords: leaf(integer('Records of a batch.', { min: 1, max: 1_000_000 })).prefault(1000),
}

function urlFix(input: string): string | null {
  const parsed = URL.canParse(input) ? new URL(input) : null
  const example = 'for example mqtts://broker.example:8883'
  if (parsed === null || !['mqtt:', 'mqtts:', 'ws:', 'wss:'].includes(parsed.protocol))
    return `write a URL that begins with mqtt://, mqtts://, ws:// or wss://, ${example}`
  if (parsed.hostname === '') return `write the host behind the two slashes, ${example}`
  if (parsed.username !== '' || parsed.password !== '')
    return 'take user and password out of the URL; use username and password'
  const isWebSocket = parsed.protocol.startsWith('ws')
  if (!isWebSocket && !['', '/'].includes(parsed.pathname))
    return 'take the path out of the URL: only ws and wss have one; topics have a key of their own'
  if (!isWebSocket && parsed.search !== '') return 'take the query out of the URL'
  return parsed.hash === '' ? null : 'remove the part from #: it is never sent'
}

/** What to do about a topic that cannot be published on, or null. */
export function topicFix(topic: string): string | null {
  if (/[+#]/.test(topic)) return 'write a topic without + and #: these are for filters'
  if (topic.startsWith('$SYS')) return 'write a topic outside of $SYS'
  return Buffer.byteLength(topic) <= 65_535 ? null : 'write at most 65,535 bytes'
}

/** The files that a sink reads, by the key that names them. */
export function mqttFiles({
  password,
  sharedAccessKey,
  proxy,
  tls: files,
}: MqttSinkConfig): ReadonlyArray<readonly [key: string, path: string]> {
  const secrets = Object.entries({ password, sharedAccessKey }).flatMap(([key, secret]) =>
    secret !== null && 'file' in secret ? [[key, secret.file] as const] : [],
  )
  const { ca = null, cert = null, key = null } = files ?? {}
  const pem = Object.entries({ ca, cert, key }).flatMap(([name, file]) =>
    file === null ? [] : [[`tls.${name}`, file] as const],
  )
  return [...secrets, ...proxyFiles(proxy), ...pem]
}
