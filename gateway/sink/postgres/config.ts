/** Configuration of a PostgreSQL sink: which database, which table, what fills its columns. */
import { choice, duration, flag, integer, path, secret, text } from '../../config/fields.ts'
import { leaf, map, nullable, section } from '../../config/schema.ts'
import type { Secret } from '../../shared/secret-file.ts'
import { timeKey } from '../mapping/keys.ts'
import { sourceFix, type TimeSource } from './sql/columns.ts'
import { tableFix } from './sql/identifiers.ts'
import { type AddressParts, databaseUrlFix, SSL_MODES } from './wire/address.ts'

interface PostgresTlsConfig {
  readonly ca: string | null
  readonly cert: string | null
  readonly key: string | null
}

/** Keys of the delivery, which each type of sink has, that this one obeys as well. */
interface ObeyedDelivery {
  readonly timeout: number
}

export interface PostgresSinkConfig extends AddressParts, ObeyedDelivery {
  readonly type: 'postgres'
  readonly password: Secret | null
  readonly tls: PostgresTlsConfig | null
  readonly applicationName: string
  readonly connectTimeout: number
  readonly statementTimeout: number | null
  readonly allowInsecure: boolean
  readonly table: string
  readonly columns: Readonly<Record<string, string>>
  readonly time: TimeSource
  readonly onConflict: 'refuse' | 'skip'
  readonly queueTable: string
  readonly gapTable: string | null
}

/** What a table of readings has if nothing else is said. */
const USUAL_COLUMNS = {
  id: '${id}',
  device: '${device}',
  topic: '${topic}',
  received_at: '${receivedAt}',
  payload: '${payload}',
}

const tls = section('TLS towards the database. Its files are read again when they change.', {
  ca: nullable(path("Authorities to trust, PEM, instead of Node's and the system's.")).prefault(
    null,
  ),
  cert: nullable(path('Client certificate, PEM.')).prefault(null),
  key: nullable(path('Its private key, PEM.')).prefault(null),
})

function tableKey(description: string) {
  return text(description, {
    wanted: 'the name of a table, schema.table or table',
    check: tableFix,
  })
}

/** What this type adds to the keys that each sink has. */
export const postgresKeys = {
  url: leaf(
    text('The database, without a password. Several hosts, for a failover: db1:5432,db2:5432.', {
      kind: 'url',
      wanted: 'a postgresql:// URL',
      check: databaseUrlFix,
    }),
  ).prefault('postgresql://sluice@127.0.0.1:5432/sluice'),
  host: nullable(
    text("Instead of the URL's: a name, an address, or the folder of a Unix socket.", {
      wanted: 'a host name, an IP address, or a folder',
      check: (input) =>
        /^(?:\/.*|[0-9A-Za-z._:%-]+)$/.test(input) ? null : 'write the host alone, without a port',
    }),
  ).prefault(null),
  port: nullable(integer("Instead of the URL's.", { min: 1, max: 65_535 })).prefault(null),
  database: nullable(text("Instead of the URL's.", { wanted: 'the name of a database' })).prefault(
    null,
  ),
  user: nullable(text("Instead of the URL's.", { wanted: 'the name of a role' })).prefault(null),
  password: nullable(secret('Of the user.', () => null)).prefault(null),
  sslMode: nullable(
    choice(
      "Instead of the URL's sslmode. disable: no TLS; require: encrypted, whoever it is; verify-ca, verify-full: checked. null: verify-full, disable on this host.",
      SSL_MODES,
    ),
  ).prefault(null),
  tls: tls.nullable().prefault(null),
  allowInsecure: leaf(
    flag('A password may go to another host without TLS, or with one that is not checked.'),
  ).prefault(false),
  applicationName: leaf(
    text('How pg_stat_activity names the connections.', { wanted: 'a text' }),
  ).prefault('sluice'),
  connectTimeout: leaf(
    duration('How long a connection may take, with TLS and login.', { min: 100 }),
  ).prefault('20s'),
  statementTimeout: nullable(
    duration(
      "statement_timeout of the connections. null: the database's; also behind PgBouncer, which does not take it.",
      { min: 100 },
    ),
  ).prefault(null),
  table: leaf(tableKey('Where records go. It must be there: the gateway never makes it.')).prefault(
    'readings',
  ),
  columns: map(
    'What fills each column: a JSON Pointer into the payload, or a text with placeholders.',
    'column',
    leaf(
      text('A mapping; ${time} and ${timeIsArrival} besides.', {
        wanted: 'a JSON Pointer such as /celsius, or a text with placeholders such as ${device}',
        check: sourceFix,
      }),
    ),
  ).prefault(USUAL_COLUMNS),
  time: timeKey,
  onConflict: leaf(
    choice(
      'A record that a unique constraint does not allow: refused, or taken for stored already.',
      ['refuse', 'skip'],
    ),
  ).prefault('refuse'),
  queueTable: leaf(
    tableKey('Where the one number of each queue is kept, in the same transaction.'),
  ).prefault('sluice_queue'),
  gapTable: nullable(
    tableKey('Where it is told which records will never come. null: nowhere.'),
  ).prefault('sluice_gap'),
}

/** The files that a sink reads, by the key that names them. */
export function postgresFiles({
  password,
  tls: files,
}: PostgresSinkConfig): ReadonlyArray<readonly [string, string]> {
  const secrets =
    password !== null && 'file' in password ? [['password', password.file] as const] : []
  const pem = Object.entries(files ?? {}).flatMap(([key, file]) =>
    typeof file === 'string' ? [[`tls.${key}`, file] as const] : [],
  )
  return [...secrets, ...pem]
}
