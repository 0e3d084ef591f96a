/** Configuration of a Kafka sink: which brokers, what goes where in which form, and who asks. */
import { choice, duration, flag, path, secret, size, text } from '../../config/fields.ts'
import { leaf, list, nullable, section } from '../../config/schema.ts'
import type { Secret } from '../../shared/secret-file.ts'
import { templateKey } from '../mapping/keys.ts'

interface KafkaSaslConfig {
  readonly mechanism: 'plain' | 'scram-sha-256' | 'scram-sha-512'
  readonly username: string | null
  readonly password: Secret | null
}

interface KafkaTlsConfig {
  readonly ca: string | null
  readonly cert: string | null
  readonly key: string | null
}

export interface KafkaSinkConfig {
  readonly type: 'kafka'
  readonly brokers: readonly string[]
  readonly topic: string
  readonly key: string
  readonly value: 'payload' | 'record'
  readonly gapsTopic: string | null
  readonly compression: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
  readonly clientId: string
  readonly tls: KafkaTlsConfig | null
  readonly sasl: KafkaSaslConfig | null
  readonly connectTimeout: number
  readonly allowInsecure: boolean
  /** Of the delivery, which each type of sink has: a batch is answered within it. */
  readonly timeout: number
}

const brokers = list(
  'Where to ask for the cluster; one that answers is enough, it names the others.',
  leaf(
    text('A broker.', {
      wanted: 'host:port, such as kafka-1.example:9092',
      check: (input) =>
        brokerOf(input) === null ? 'write host:port, without a scheme: kafka-1.example:9092' : null,
    }),
  ),
  { min: 1, max: 100 },
)

const tls = section('TLS towards the brokers. Its files are read again when they change.', {
  ca: nullable(
    path("Authorities to trust, PEM, instead of Node's and the system's (SSL_CERT_FILE)."),
  ).prefault(null),
  cert: nullable(path('Client certificate, PEM.')).prefault(null),
  key: nullable(path('Its private key, PEM.')).prefault(null),
})

const sasl = section('Who asks. null in place of it: nobody is named.', {
  mechanism: leaf(
    choice('How the password is shown. plain sends it as it is.', [
      'scram-sha-512',
      'scram-sha-256',
      'plain',
    ]),
  ).prefault('scram-sha-512'),
  username: nullable(text('Name of the user.', { wanted: 'a name' })).prefault(null),
  password: nullable(secret('Its password.', () => null)).prefault(null),
})

/** What this type adds to the keys that each sink has. */
export const kafkaKeys = {
  brokers: brokers.prefault(['127.0.0.1:9092']),
  topic: leaf(
    templateKey('Topic of a record. A / in it becomes a dot; the gateway creates no topic.'),
  ).prefault('${stream}'),
  key: leaf(
    templateKey('Key of a record: those of one key go to one partition, in their order.'),
  ).prefault('${device}'),
  value: leaf(
    choice('payload: as the device sent it; record: all of it, as the ingest contract has it.', [
      'payload',
      'record',
    ]),
  ).prefault('payload'),
  gapsTopic: nullable(
    text('Topic that is told of records that will never come. null: nobody is told.', {
      wanted: 'the name of a topic',
      check: topicFault,
    }),
  ).prefault(null),
  compression: leaf(
    choice('Of what a partition gets of a batch.', ['gzip', 'zstd', 'lz4', 'snappy', 'none']),
  ).prefault('gzip'),
  clientId: leaf(
    text('Name of this client in the logs and quotas of the brokers.', {
      wanted: 'a name of letters, digits, ., _ and -',
      check: (input) =>
        /^[\w.-]{1,249}$/.test(input) ? null : 'use letters, digits, ., _ and - alone',
    }),
  ).prefault('sluice'),
  tls: tls.nullable().prefault(null),
  sasl: sasl.nullable().prefault(null),
  connectTimeout: leaf(
    duration('How long a connection to a broker may take, TLS included.', { min: 100 }),
  ).prefault('10s'),
  allowInsecure: leaf(flag('The password of plain may go to another host without TLS.')).prefault(
    false,
  ),
  // Of the delivery, but brokers take 1 MiB of a partition at once, headers included.
  maxBatchBytes: leaf(
    size('Uncompressed bytes of a batch; one record alone may be larger.', {
      min: 1024,
      max: 256 * 1024 * 1024,
    }),
  ).prefault('896KiB'),
}

/** Host and port of a broker; null: it is none. */
export function brokerOf(input: string): { readonly host: string; readonly port: number } | null {
  const [, inBrackets, name, digits] = /^(?:\[([^\]]+)\]|([^\s:/@]+)):(\d{1,5})$/.exec(input) ?? []
  const host = inBrackets ?? name
  const port = Number(digits)
  return host === undefined || port < 1 || port > 65_535 ? null : { host, port }
}

const MAX_TOPIC_CHARS = 249

/** What is wrong with the name of a topic, and what to do; null: nothing. */
export function topicFault(name: string): string | null {
  if (name === '.' || name === '..') return 'write a name that is more than dots'
  if (name.length > MAX_TOPIC_CHARS) return `use at most ${MAX_TOPIC_CHARS} characters`
  return /^[\w.-]+$/.test(name) ? null : 'use letters, digits, ., _ and - alone'
}
