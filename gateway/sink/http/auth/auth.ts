/** `auth` of a sink as what it does for each request. */
import type { Secret } from '../../../shared/secret-file.ts'
import { basicValue, isHeaderValue } from '../header-rules.ts'
import type { HttpAuthConfig } from './config.ts'
import { FixedAuth } from './fixed-auth.ts'
import { KeptSecret } from './kept-secret.ts'
import { OAuth2Auth } from './oauth2.ts'
import type { AuthOptions, RequestAuth } from './request-auth.ts'
import { AwsSigV4Auth, AzureSasAuth } from './signing-auth.ts'

export function createAuth(config: HttpAuthConfig, options: AuthOptions): RequestAuth {
  const { sink, emit } = options
  const kept = (key: string, secret: Secret) =>
    new KeptSecret({ sink, setting: `auth.${key}`, secret, emit, faultOf: faultOfValue })
  switch (config.kind) {
    case 'none':
      return new FixedAuth(null, () => ['', ''])
    case 'header': {
      const { name, prefix } = config
      return new FixedAuth(kept('value', config.value), (value) => [
        name,
        `${prefix ?? ''}${value}`,
      ])
    }
    case 'bearer':
      return new FixedAuth(kept('token', config.token), (value) => [
        'authorization',
        `Bearer ${value}`,
      ])
    case 'basic': {
      const { user } = config
      return new FixedAuth(kept('password', config.password), (password) => [
        'authorization',
        basicValue(user, password),
      ])
    }
    case 'oauth2':
      return new OAuth2Auth(config, options)
    case 'aws-sigv4':
      return new AwsSigV4Auth(config, options)
    default:
      return new AzureSasAuth(config, options)
  }
}

function faultOfValue(value: string): string | null {
  return isHeaderValue(value) ? null : 'holds characters that a header cannot carry'
}
