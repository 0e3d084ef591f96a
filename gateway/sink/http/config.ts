/** Configuration of an HTTP sink: where batches are posted, and how its answers are read. */
import { choice, duration, flag, path, secret, size, text } from '../../config/fields.ts'
import { leaf, map, nullable, section } from '../../config/schema.ts'
import type { Secret } from '../../shared/secret-file.ts'
import { type AnswerConfig, answerKeys } from './answers/config.ts'
import { authFiles, authKey, type HttpAuthConfig } from './auth/config.ts'
import type { Compression } from './formats/format.ts'
import { type FormatConfig, formatKey } from './formats/registry.ts'
import { headerValueFix } from './header-rules.ts'
import { type ProxyConfig, proxyFiles, proxyKey } from './proxy/config.ts'

export interface ClientTlsConfig {
  readonly ca: string | null
  readonly cert: string | null
  readonly key: string | null
}

/** Keys of the delivery, which each type of sink has, that the client obeys as well. */
interface ObeyedDelivery {
  /** As many connections. */
  readonly maxInFlight: number
  readonly maxBatchRecords: number
  readonly timeout: number
  readonly maxRetryAfter: number
}

export interface HttpSinkConfig extends ObeyedDelivery, AnswerConfig {
  readonly type: 'http'
  readonly url: string
  readonly headers: Readonly<Record<string, Secret>>
  readonly bearerToken: Secret | null
  readonly auth: HttpAuthConfig
  readonly proxy: ProxyConfig
  readonly tls: ClientTlsConfig | null
  readonly format: FormatConfig
  readonly compression: Compression
  readonly connectTimeout: number
  readonly minBytesPerSecond: number
  readonly allowInsecure: boolean
}

const tls = section('TLS towards the sink. Its files are read again when they change.', {
  ca: nullable(
    path(
      "Authorities to trust, PEM, instead of Node's and the system's (SSL_CERT_FILE, SSL_CERT_DIR, its bundle).",
    ),
  ).prefault(null),
  cert: nullable(path('Client certificate, PEM.')).prefault(null),
  key: nullable(path('Its private key, PEM.')).prefault(null),
})

const url = leaf(
  text(
    'Where batches are posted. Shown without its query, and without what looks like a token in its path.',
    {
      kind: 'url',
      wanted: 'an http or https URL',
      pattern: /^[Hh][Tt][Tt][Pp][Ss]?:/,
      check: urlFix,
    },
  ),
)

const headers = map(
  'Headers added to each request; values are secrets.',
  'header',
  leaf<Secret>(secret('Value of the header.', headerValueFix)),
)

/** What this type adds to the keys that each sink has. */
export const httpKeys = {
  url: url.prefault('http://127.0.0.1:9000/ingest'),
  headers: headers.prefault({}),
  bearerToken: nullable(
    secret('Sent as Authorization: Bearer.', (value) =>
      /^[\x21-\x7e]+$/.test(value) ? null : 'use visible ASCII characters without spaces',
    ),
  ).prefault(null),
  auth: authKey,
  proxy: proxyKey,
  tls: tls.nullable().prefault(null),
  format: formatKey,
  compression: leaf(choice('Compression of the body.', ['gzip', 'none'])).prefault('gzip'),
  ...answerKeys,
  connectTimeout: leaf(
    duration(
      'How long a connection may take: name, address, TLS. Several addresses are raced, so a dead one holds nothing up.',
      {
        min: 100,
      },
    ),
  ).prefault('20s'),
  minBytesPerSecond: leaf(
    size(
      'A request that takes longer than at this rate, plus twice timeout, is given up, however steadily it moves.',
      {
        min: 1,
      },
    ),
  ).prefault(256),
  allowInsecure: leaf(flag('Secrets may go over plain http to another host.')).prefault(false),
}

/** The files that a sink reads, by the key that names them. */
export function httpFiles({
  bearerToken,
  headers,
  auth,
  proxy,
  tls: files,
}: HttpSinkConfig): ReadonlyArray<readonly [key: string, path: string]> {
  const secrets: Array<readonly [key: string, secret: Secret | null]> = [
    ['bearerToken', bearerToken],
    ...Object.entries(headers).map(([name, secret]) => [`headers.${name}`, secret] as const),
  ]
  const named = secrets.flatMap(([key, secret]) =>
    secret !== null && 'file' in secret ? [[key, secret.file] as const] : [],
  )
  const pem = Object.entries(files ?? {}).flatMap(([key, path]) =>
    typeof path === 'string' ? [[`tls.${key}`, path] as const] : [],
  )
  return [...named, ...authFiles(auth), ...proxyFiles(proxy), ...pem]
}

function urlFix(input: string): string | null {
  const parsed = URL.canParse(input) ? new URL(input) : null
  if (parsed === null || (parsed.protocol !== 'http:' && parsed.protocol !== 'https:'))
    return 'write a URL that begins with http:// or https://, for example https://cloud.example/ingest'
  // Between the slashes and the path stands the host; the parser would take the first word of the
  // path for it.
  if (!/^https?:\/\/[^/?#\\]/i.test(input))
    return 'write the host behind the two slashes, for example https://cloud.example/ingest'
  if (parsed.username !== '' || parsed.password !== '')
    return 'take user and password out of the URL; use auth of kind basic'
  return parsed.hash === '' ? null : 'remove the part from #: it is never sent'
}
