/** Configuration of an object sink: which store, where in it, under which names, by whose rights. */
import { choice, duration, flag, text } from '../../config/fields.ts'
import { leaf } from '../../config/schema.ts'
import { variant } from '../../config/variant.ts'
import type { Secret } from '../../shared/secret-file.ts'
import type { BatchFileForm } from '../batch-files/batch-files.ts'
import {
  type AwsAuthConfig,
  authFiles,
  authKinds,
  type HttpAuthConfig,
} from '../http/auth/config.ts'
import { type ClientTlsConfig, httpKeys } from '../http/config.ts'
import { type ProxyConfig, proxyFiles } from '../http/proxy/config.ts'

/** As of a sink that speaks HTTP; the service of a signature is always S3. */
type ObjectAuthConfig =
  | Exclude<HttpAuthConfig, { readonly kind: 'aws-sigv4' | 'azure-sas' }>
  | Omit<AwsAuthConfig, 'service'>

/** Keys of the delivery, which each type of sink has, that the client obeys as well. */
interface ObeyedDelivery {
  readonly maxInFlight: number
  readonly timeout: number
  readonly maxRetryAfter: number
}

export interface ObjectSinkConfig extends ObeyedDelivery, BatchFileForm {
  readonly type: 'object'
  readonly store: 's3' | 'dav'
  readonly url: string
  readonly auth: ObjectAuthConfig
  readonly headers: Readonly<Record<string, Secret>>
  readonly temporaryNames: boolean
  readonly tls: ClientTlsConfig | null
  readonly proxy: ProxyConfig
  readonly connectTimeout: number
  readonly minBytesPerSecond: number
  readonly allowInsecure: boolean
}

const { none, header, bearer, basic, oauth2, 'aws-sigv4': aws } = authKinds
const { service: _service, ...signed } = aws.keys

const auth = variant('Whose rights the store is asked with.', {
  key: 'kind',
  keyText: 'How the store is told who asks: aws-sigv4 as S3 wants it, the others for WebDAV.',
  usual: 'none',
  types: {
    none,
    header,
    bearer,
    basic,
    oauth2,
    'aws-sigv4': { keys: { ...signed, region: signed.region.prefault('us-east-1') } },
  },
  common: {},
})

/** What this type adds to the keys that each sink has. */
export const objectKeys = {
  store: leaf(
    choice('s3: Amazon S3 and what is compatible with it; dav: a folder of a WebDAV server.', [
      's3',
      'dav',
    ]),
  ).prefault('s3'),
  url: leaf(
    text(
      'Where the objects go: the bucket, in its host or in the path, or the folder; and a prefix.',
      {
        kind: 'url',
        wanted: 'an http or https URL without a query',
        pattern: /^[Hh][Tt][Tt][Pp][Ss]?:/,
        check: urlFix,
      },
    ),
  ).prefault('http://127.0.0.1:9001/sluice'),
  layout: leaf(
    choice(
      'flat: all below url; streams: a folder a stream; days: below that, a folder a UTC day.',
      ['flat', 'streams', 'days'],
    ),
  ).prefault('days'),
  compression: leaf(choice('Of the objects.', ['gzip', 'none'])).prefault('gzip'),
  auth: auth.prefault({ kind: 'none' }),
  headers: httpKeys.headers,
  proxy: httpKeys.proxy,
  temporaryNames: leaf(
    flag('dav: written under another name, then moved, for servers that show a file in part.'),
  ).prefault(false),
  tls: httpKeys.tls,
  connectTimeout: httpKeys.connectTimeout,
  minBytesPerSecond: httpKeys.minBytesPerSecond,
  allowInsecure: httpKeys.allowInsecure,
  // Of the delivery, but each batch is an object here.
  linger: leaf(
    duration('How long a batch waits to be filled: an object each.', { min: 0, max: 3_600_000 }),
  ).prefault('1m'),
}

/** The files that a sink reads, by the key that names them. */
export function objectFiles({
  auth,
  headers,
  proxy,
  tls,
}: ObjectSinkConfig): ReadonlyArray<readonly [key: string, path: string]> {
  const named = Object.entries(headers).flatMap(([name, one]) =>
    'file' in one ? [[`headers.${name}`, one.file] as const] : [],
  )
  const pem = Object.entries(tls ?? {}).flatMap(([key, path]) =>
    typeof path === 'string' ? [[`tls.${key}`, path] as const] : [],
  )
  return [...authFiles(httpAuthOf(auth)), ...named, ...proxyFiles(proxy), ...pem]
}

/** The same in the words of the sinks that speak HTTP. */
export function httpAuthOf(auth: ObjectAuthConfig): HttpAuthConfig {
  return auth.kind === 'aws-sigv4' ? { ...auth, service: 's3' } : auth
}

function urlFix(input: string): string | null {
  const parsed = URL.canParse(input) ? new URL(input) : null
  const example = 'https://s3.eu-central-1.amazonaws.com/bucket/prefix'
  if (parsed === null || !/^https?:\/\/[^/?#\\]/i.test(input))
    return `write a URL that begins with http:// or https://, for example ${example}`
  if (parsed.username !== '' || parsed.password !== '')
    return 'take user and password out of the URL; use auth of kind basic'
  return parsed.search === '' && parsed.hash === '' ? null : 'remove what stands from ? or # on'
}
