/** Configuration of a NATS sink: which servers and stream, and what becomes of a batch there. */
import { choice, duration, flag, integer, path, secret, text } from '../../config/fields.ts'
import { leaf, list, nullable, section } from '../../config/schema.ts'
import type { Secret } from '../../shared/secret-file.ts'
import { templateKey } from '../mapping/keys.ts'

interface NatsTlsConfig {
  readonly ca: string | null
  readonly cert: string | null
  readonly key: string | null
}

export interface NatsSinkConfig {
  readonly type: 'nats'
  readonly servers: readonly string[]
  readonly jetStream: string
  readonly domain: string | null
  readonly message: 'batch' | 'record'
  readonly subject: string | null
  readonly body: 'payload' | 'record' | null
  readonly compression: 'gzip' | 'none'
  readonly window: number
  readonly minReplicas: number
  readonly syncAlways: boolean
  readonly whenLastMessageIsGone: 'send' | 'hold'
  readonly user: string | null
  readonly password: Secret | null
  readonly token: Secret | null
  readonly nkey: Secret | null
  readonly credentials: string | null
  readonly tls: NatsTlsConfig | null
  readonly tlsFirst: boolean
  readonly connectTimeout: number
  readonly allowInsecure: boolean
  /** Of the delivery, which each type of sink has. */
  readonly timeout: number
}

const SERVER = /^(?:(?:nats|tls):\/\/)?(?:\[[0-9A-Fa-f:.]+\]|[0-9A-Za-z._-]+)(?::\d{1,5})?$/

const servers = list(
  'Servers of one cluster; one that answers is used. tls:// wants TLS of all of them.',
  leaf(
    text('A server.', {
      wanted: 'a server such as nats://broker.example:4222',
      check: (input) => {
        if (SERVER.test(input)) return null
        return input.includes('@')
          ? 'take user and password out of it; use the keys user and password'
          : 'write a server such as nats://broker.example:4222, or tls://broker.example:4222'
      },
    }),
  ),
  { min: 1, max: 32 },
)

const tls = section('TLS towards the servers. Its files are read again with each connection.', {
  ca: nullable(path("Authorities to trust, PEM, instead of Node's.")).prefault(null),
  cert: nullable(path('Client certificate, PEM.')).prefault(null),
  key: nullable(path('Its private key, PEM.')).prefault(null),
})

const visible = (value: string): string | null => (/[\r\n]/.test(value) ? 'use one line' : null)

/** What this type adds to the keys that each sink has. */
export const natsKeys = {
  servers: servers.prefault(['nats://127.0.0.1:4222']),
  jetStream: leaf(
    text('The JetStream stream that takes the messages. It must be there: it is never made.', {
      wanted: 'the name of a JetStream stream',
      check: (input) =>
        /^[^\s.*>/\\]{1,255}$/.test(input) ? null : 'leave out blanks and the characters .*>/\\',
    }),
  ).prefault('SLUICE'),
  domain: nullable(
    text('Its JetStream domain, for a stream behind a leaf node.', {
      wanted: 'the name of a domain',
      check: (input) => (/^[^\s.*>]+$/.test(input) ? null : 'leave out blanks and .*>'),
    }),
  ).prefault(null),
  message: leaf(
    choice('What is one message: a batch, which is exactly once, or a record.', [
      'batch',
      'record',
    ]),
  ).prefault('batch'),
  subject: nullable(
    templateKey(
      'Subject of a message. null: sluice.${gateway}.${stream}; of a record: sluice.${gateway}.${topic}.',
    ),
  ).prefault(null),
  body: nullable(
    choice(
      'Of message: record. payload: alone, the rest in headers; record: all of it as JSON. null: payload.',
      ['payload', 'record'],
    ),
  ).prefault(null),
  compression: leaf(choice('Of a batch.', ['gzip', 'none'])).prefault('gzip'),
  window: leaf(
    integer('Records that may wait for their acks. 1 keeps the order whatever fails.', {
      min: 1,
      max: 100_000,
    }),
  ).prefault(1000),
  minReplicas: leaf(
    integer('With fewer replicas of the stream the sink is held.', { min: 1, max: 5 }),
  ).prefault(1),
  syncAlways: leaf(
    flag(
      'The servers have sync_interval: always, which nobody can ask them: then an ack is durable.',
    ),
  ).prefault(false),
  whenLastMessageIsGone: leaf(
    choice(
      'If limits of the stream took the message that would tell whether a batch arrived: send it, perhaps twice, or hold.',
      ['send', 'hold'],
    ),
  ).prefault('send'),
  user: nullable(text('User name.', { wanted: 'a user name', check: visible })).prefault(null),
  password: nullable(secret('Its password.', visible)).prefault(null),
  token: nullable(secret('A token instead of a user.', visible)).prefault(null),
  nkey: nullable(
    secret('Seed of an NKey; it signs and is never sent.', (value) =>
      /^S[A-Z2-7]{57,}$/.test(value.trim()) ? null : 'write a seed, which begins with SU',
    ),
  ).prefault(null),
  credentials: nullable(path('A .creds file, of a JWT and its NKey.')).prefault(null),
  tls: tls.nullable().prefault(null),
  tlsFirst: leaf(
    flag('TLS before the first word of the servers, which have handshake_first.'),
  ).prefault(false),
  connectTimeout: leaf(
    duration('How long connecting to one server may take.', { min: 100 }),
  ).prefault('10s'),
  allowInsecure: leaf(flag('A password or token may go without TLS to another host.')).prefault(
    false,
  ),
}

/** The files that a sink reads, by the key that names them. */
export function natsFiles(
  config: NatsSinkConfig,
): ReadonlyArray<readonly [key: string, path: string]> {
  const secrets = (['password', 'token', 'nkey'] as const).flatMap((key) => {
    const one = config[key]
    return one !== null && 'file' in one ? [[key, one.file] as const] : []
  })
  const creds = config.credentials === null ? [] : [['credentials', config.credentials] as const]
  const pem = (['ca', 'cert', 'key'] as const).flatMap((key) => {
    const file = config.tls?.[key] ?? null
    return file === null ? [] : [[`tls.${key}`, file] as const]
  })
  return [...secrets, ...creds, ...pem]
}

/** Is TLS wanted of every server? */
export function wantsTls({ servers: all, tls: files, tlsFirst }: NatsSinkConfig): boolean {
  return files !== null || tlsFirst || all.some((server) => server.startsWith('tls://'))
}

/** Where it sends, for people: the servers and the stream. */
export function natsUrl({ servers: all, jetStream }: NatsSinkConfig): string {
  const [first = '', ...more] = all.map((server) =>
    server.includes('://') ? server : `nats://${server}`,
  )
  return `${[first, ...more.map((one) => one.replace(/^[a-z]+:\/\//, ''))].join(',')}/${jetStream}`
}
