/**
 * Keys of `proxy`: the HTTP proxy through which a sink is reached. The environment counts only where
 * the configuration says so: what a shell happens to hold must not move a plant's data.
 */
import { secret, text } from '../../../config/fields.ts'
import type { Report } from '../../../config/problems.ts'
import { leaf, list, nullable } from '../../../config/schema.ts'
import { variant } from '../../../config/variant.ts'
import type { Path } from '../../../config/walk.ts'
import type { Secret } from '../../../shared/secret-file.ts'
import { entryFault } from './no-proxy.ts'

interface HttpProxyConfig {
  readonly kind: 'http'
  readonly url: string
  readonly user: string | null
  readonly password: Secret | null
  readonly noProxy: readonly string[]
}

export type ProxyConfig =
  | { readonly kind: 'none' }
  | { readonly kind: 'environment' }
  | HttpProxyConfig

const http = {
  url: leaf(
    text('The proxy. It is asked by CONNECT, whatever is spoken through it.', {
      kind: 'url',
      wanted: 'an http URL of host and port',
      check: (input) => {
        const url = URL.canParse(input) ? new URL(input) : null
        if (url === null || url.protocol !== 'http:' || url.hostname === '')
          return 'write a URL such as http://proxy.example:3128'
        if (url.username !== '' || url.password !== '')
          return 'take user and password out of the URL; use user and password'
        return url.pathname === '/' && url.search === '' && url.hash === ''
          ? null
          : 'write host and port alone, such as http://proxy.example:3128'
      },
    }),
  ),
  user: nullable(
    text('User at the proxy (Basic); null: it wants none.', {
      wanted: 'a name without a colon',
      check: (input) => (/[:\p{Cc}]/u.test(input) ? 'write it without a colon' : null),
    }),
  ).prefault(null),
  password: nullable(
    secret('Password at the proxy.', (value) =>
      /\p{Cc}/u.test(value) ? 'use no control characters' : null,
    ),
  ).prefault(null),
  noProxy: list(
    'Hosts that are reached without it: a host and all below it, .suffix for those below alone, an address, a network (10.0.0.0/8), each also with :port, or *. Names are not looked up.',
    leaf(
      text('A host.', {
        wanted: 'a host, .suffix, address, network or *',
        check: entryFault,
      }),
    ),
    { max: 100 },
  ).prefault([]),
}

export const proxyKey = variant('Through which proxy the sink is reached.', {
  key: 'kind',
  keyText:
    'none: through none, whatever the environment says; http: through this one; environment: as HTTPS_PROXY (with TLS), HTTP_PROXY (without), ALL_PROXY and NO_PROXY say at the start.',
  usual: 'http',
  types: {
    none: { keys: {} },
    http: { keys: http },
    environment: { keys: {} },
  },
  common: {},
  word: true,
}).prefault({ kind: 'none' })

export function checkProxy(path: Path, proxy: ProxyConfig, report: Report): void {
  if (proxy.kind !== 'http' || (proxy.user === null) === (proxy.password === null)) return
  const missing = proxy.user === null ? 'user' : 'password'
  const wanted = 'user and password, or neither'
  report.complain([...path, 'proxy', missing], {
    got: `no ${missing}`,
    wanted,
    fix: `add ${missing}`,
  })
}

/** The files that it reads, by the key that names them. */
export function proxyFiles(
  proxy: ProxyConfig,
): ReadonlyArray<readonly [key: string, path: string]> {
  const password = proxy.kind === 'http' ? proxy.password : null
  return password !== null && 'file' in password ? [['proxy.password', password.file]] : []
}
