/**
 * Keys of `auth`: how a sink that speaks HTTP says who it is. The signature or token is made for
 * each try and is no part of what a repeat repeats.
 */
import { choice, duration, path, secret, text } from '../../../config/fields.ts'
import { leaf, map, nullable } from '../../../config/schema.ts'
import { variant } from '../../../config/variant.ts'
import type { Secret } from '../../../shared/secret-file.ts'
import { headerValueFix } from '../header-rules.ts'
import type { SasReceiver } from './azure-sas.ts'

export interface OAuth2Config {
  readonly kind: 'oauth2'
  readonly tokenUrl: string
  readonly clientId: string
  readonly clientSecret: Secret
  readonly clientAuth: 'basic' | 'post'
  readonly scope: string | null
  readonly parameters: Readonly<Record<string, string>>
  readonly renewAt: number
}

export interface AwsAuthConfig {
  readonly kind: 'aws-sigv4'
  readonly service: string
  readonly region: string
  readonly accessKeyId: Secret | null
  readonly secretAccessKey: Secret | null
  readonly sessionToken: Secret | null
  readonly credentialsFile: string | null
  readonly profile: string
}

export interface AzureSasConfig {
  readonly kind: 'azure-sas'
  readonly receiver: SasReceiver
  readonly keyName: string | null
  readonly key: Secret
  readonly resource: string | null
  readonly lifetime: number
}

export type HttpAuthConfig =
  | { readonly kind: 'none' }
  | {
      readonly kind: 'header'
      readonly name: string
      readonly prefix: string | null
      readonly value: Secret
    }
  | { readonly kind: 'bearer'; readonly token: Secret }
  | { readonly kind: 'basic'; readonly user: string; readonly password: Secret }
  | OAuth2Config
  | AwsAuthConfig
  | AzureSasConfig

const PRINTABLE = /^[\x20-\x7e]+$/
const TOKEN_CHARS = /^[\x21-\x7e]+$/

const HTTP_URL = /^[Hh][Tt][Tt][Pp][Ss]?:/

function token(description: string) {
  return secret(description, (value) =>
    TOKEN_CHARS.test(value) ? null : 'use visible ASCII characters without spaces',
  )
}

function word(description: string, wanted: string, pattern = TOKEN_CHARS) {
  return text(description, {
    wanted,
    pattern,
    check: (input) => (pattern.test(input) ? null : `write ${wanted}`),
  })
}

const header = {
  name: leaf(
    word('Name of the header.', 'a header name', /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$/),
  ).prefault('Authorization'),
  prefix: nullable(
    text('What stands before the value, such as "Token "; null: nothing.', {
      wanted: 'printable ASCII',
      pattern: PRINTABLE,
      check: (input) => (PRINTABLE.test(input) ? null : 'write printable ASCII'),
    }),
  ).prefault(null),
  value: leaf(secret('Its value.', headerValueFix)),
}

const oauth2 = {
  tokenUrl: leaf(
    text('Token endpoint of the authorization server. Over TLS, by the tls of the sink.', {
      kind: 'url',
      wanted: 'an http or https URL',
      pattern: HTTP_URL,
      check: (input) =>
        /^https?:\/\/[^/?#\\@]+(?:[/?][^#]*)?$/i.test(input) && URL.canParse(input)
          ? null
          : 'write a URL such as https://login.example/oauth2/token',
    }),
  ),
  clientId: leaf(word('Client id.', 'printable ASCII', /^[\x20-\x7e]+$/)),
  clientSecret: leaf(
    secret('Client secret.', (value) =>
      /^[\x20-\x7e]+$/.test(value) ? null : 'use printable ASCII characters',
    ),
  ),
  clientAuth: leaf(
    choice('basic: id and secret in an Authorization header; post: in the body.', [
      'basic',
      'post',
    ]),
  ).prefault('basic'),
  scope: nullable(
    word('Scopes to ask for, space separated; null: none.', 'scopes', /^[\x20-\x7e]+$/),
  ).prefault(null),
  parameters: map(
    'Parameters of the token request that this server wants besides, such as audience.',
    'parameter',
    leaf(text('Value of the parameter. Not for secrets.', { wanted: 'a text' })),
  ).prefault({}),
  renewAt: leaf<number>({
    kind: 'number',
    wanted: 'a share from 0.1 to 0.95',
    text: 'From this share of its lifetime on a token is renewed while it still works.',
    shape: { type: 'number', minimum: 0.1, maximum: 0.95 },
    parse: (input) =>
      typeof input === 'number' && input >= 0.1 && input <= 0.95
        ? { value: input }
        : { fix: 'write a share such as 0.75' },
  }).prefault(0.75),
}

const aws = {
  service: leaf(
    word('Service, as signatures name it.', 'a name such as kinesis', /^[a-z0-9-]{1,64}$/),
  ),
  region: leaf(word('Region.', 'a region such as eu-central-1', /^[a-z0-9-]{1,64}$/)),
  accessKeyId: nullable(
    token('Access key id. null: of credentialsFile, else AWS_ACCESS_KEY_ID of the environment.'),
  ).prefault(null),
  secretAccessKey: nullable(
    token('Its secret. null: of credentialsFile, else AWS_SECRET_ACCESS_KEY of the environment.'),
  ).prefault(null),
  sessionToken: nullable(
    token('Of temporary credentials, where accessKeyId is written here; null: none.'),
  ).prefault(null),
  credentialsFile: nullable(
    path('Shared credentials file, as ~/.aws/credentials. Read again when it changes.'),
  ).prefault(null),
  profile: leaf(
    word('Profile in credentialsFile.', 'a name such as default', /^[\w .@-]{1,64}$/),
  ).prefault('default'),
}

const azureSas = {
  receiver: leaf(
    choice('What the token is for: it decides how key and resource are read.', [
      'event-hubs',
      'service-bus',
      'iot-hub',
    ]),
  ).prefault('event-hubs'),
  keyName: nullable(
    word(
      'Name of the shared access policy. null: none, for the key of a device of IoT Hub.',
      'a name such as send',
    ),
  ).prefault(null),
  key: leaf(token('Its primary or secondary key.')),
  resource: nullable(
    word('What the token is for. null: taken from the url.', 'a resource URI'),
  ).prefault(null),
  lifetime: leaf(
    duration('How long a token is valid. A new one is made after 3/4 of it.', {
      min: 60_000,
      max: 7 * 86_400_000,
    }),
  ).prefault('1h'),
}

/** Its kinds, for types of sinks that know some of them. */
export const authKinds = {
  none: { keys: {} },
  header: { keys: header },
  bearer: { keys: { token: leaf(token('Sent as Authorization: Bearer.')) } },
  basic: {
    keys: {
      user: leaf(
        text('User name.', {
          wanted: 'a name without a colon',
          check: (input) => (/[:\p{Cc}]/u.test(input) ? 'write it without a colon' : null),
        }),
      ),
      password: leaf(
        secret('Password.', (value) =>
          /\p{Cc}/u.test(value) ? 'use no control characters' : null,
        ),
      ),
    },
  },
  oauth2: { keys: oauth2 },
  'aws-sigv4': { keys: aws },
  'azure-sas': { keys: azureSas },
} as const

/** `auth` of every sink that speaks HTTP. */
export const authKey = variant('How the sink is told who sends.', {
  key: 'kind',
  keyText: 'How the sink is told who sends, besides headers.',
  usual: 'none',
  types: authKinds,
  common: {},
}).prefault({ kind: 'none' })

/** The secrets of it, by their keys. */
function authSecrets(auth: HttpAuthConfig): ReadonlyArray<readonly [string, Secret]> {
  return Object.entries(auth).flatMap(([key, value]: [string, unknown]) =>
    typeof value === 'object' && value !== null && ('file' in value || 'value' in value)
      ? [[`auth.${key}`, value as Secret] as const]
      : [],
  )
}

/** The files that it reads, by the key that names them. */
export function authFiles(
  auth: HttpAuthConfig,
): ReadonlyArray<readonly [key: string, path: string]> {
  const named = authSecrets(auth).flatMap(([key, one]) =>
    'file' in one ? [[key, one.file] as const] : [],
  )
  const shared = auth.kind === 'aws-sigv4' ? auth.credentialsFile : null
  return shared === null ? named : [...named, ['auth.credentialsFile', shared]]
}
