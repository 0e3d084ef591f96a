/** Configuration of an object sink: which store, where in it, under which names, by whose rights. */
import { choice, duration, flag, secret, text } from '../../config/fields.ts'
import { leaf, nullable } from '../../config/schema.ts'
import { variant } from '../../config/variant.ts'
import type { Secret } from '../../shared/secret-file.ts'
import type { BatchFileForm } from '../batch-files/batch-files.ts'
import { type ClientTlsConfig, httpKeys } from '../http/config.ts'

export type ObjectAuthConfig =
  | { readonly kind: 'none' }
  | { readonly kind: 'basic'; readonly user: string; readonly password: Secret }
  | { readonly kind: 'bearer'; readonly token: Secret }
  | {
      readonly kind: 'aws-sigv4'
      readonly region: string
      readonly accessKeyId: string
      readonly secretAccessKey: Secret
      readonly sessionToken: Secret | null
    }

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
  readonly connectTimeout: number
  readonly minBytesPerSecond: number
  readonly allowInsecure: boolean
}

const secretKey = leaf<Secret>(secret('The secret key.', visibleFix))
const word = (what: string, example: string) =>
  leaf(
    text(what, {
      wanted: 'a word of visible ASCII characters',
      check: (input) => (/^[\x21-\x7e]+$/.test(input) ? null : `write one such as ${example}`),
    }),
  )

const auth = variant('Whose rights the store is asked with.', {
  key: 'kind',
  keyText:
    'aws-sigv4: signed as S3 wants it; basic: user and password; bearer: a token; none: everybody may.',
  usual: 'none',
  types: {
    none: { keys: {} },
    basic: {
      keys: {
        user: word('Its user.', 'sluice'),
        password: leaf<Secret>(secret('Its password.', visibleFix)),
      },
    },
    bearer: { keys: { token: leaf<Secret>(secret('Sent as Authorization: Bearer.', visibleFix)) } },
    'aws-sigv4': {
      keys: {
        region: word(
          'Region of the bucket; of other stores often us-east-1.',
          'eu-central-1',
        ).prefault('us-east-1'),
        accessKeyId: word('Identifier of the access key.', 'AKIAIOSFODNN7EXAMPLE'),
        secretAccessKey: secretKey,
        sessionToken: nullable(secret('Of temporary keys.', visibleFix)).prefault(null),
      },
    },
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
export function objectFiles(
  config: ObjectSinkConfig,
): ReadonlyArray<readonly [key: string, path: string]> {
  const secrets: Array<readonly [string, Secret]> = [
    ...Object.entries(config.auth).flatMap(([key, value]) =>
      isSecret(value) ? [[`auth.${key}`, value] as const] : [],
    ),
    ...Object.entries(config.headers).map(([name, value]) => [`headers.${name}`, value] as const),
  ]
  const named = secrets.flatMap(([key, one]) => ('file' in one ? [[key, one.file] as const] : []))
  const pem = Object.entries(config.tls ?? {}).flatMap(([key, path]) =>
    typeof path === 'string' ? [[`tls.${key}`, path] as const] : [],
  )
  return [...named, ...pem]
}

function isSecret(value: unknown): value is Secret {
  return typeof value === 'object' && value !== null
}

function visibleFix(value: string): string | null {
  return /^[\x21-\x7e]+$/.test(value) ? null : 'use visible ASCII characters without spaces'
}

function urlFix(input: string): string | null {
  const parsed = URL.canParse(input) ? new URL(input) : null
  const example = 'https://s3.eu-central-1.amazonaws.com/bucket/prefix'
  if (parsed === null || !/^https?:\/\/[^/?#\\]/i.test(input))
    return `write a URL that begins with http:// or https://, for example ${example}`
  if (parsed.username !== '' || parsed.password !== '')
    return 'take user and password out of the URL; use auth with kind basic'
  return parsed.search === '' && parsed.hash === '' ? null : 'remove what stands from ? or # on'
}
