/** Through which proxy a host is reached, with the credentials of it as they are now. */
import { isLoopback } from '../../../shared/hosts.ts'
import type { EmitSinkEvent } from '../../events.ts'
import { KeptSecret } from '../auth/kept-secret.ts'
import type { ProxyHop } from '../client/tunnel.ts'
import { basicValue } from '../header-rules.ts'
import { hostOf, portOf } from '../request.ts'
import type { ProxyConfig } from './config.ts'
import { entriesOf, isDirect } from './no-proxy.ts'

/** Where a connection is wanted to. TLS goes by what the environment says of https. */
interface ProxyTarget {
  /** Without brackets. */
  readonly hostname: string
  readonly port: number
  readonly isTls: boolean
}

type Environment = Readonly<Record<string, string | undefined>>

export class ProxyRoute {
  readonly #config: ProxyConfig
  readonly #password: KeptSecret | null
  readonly #environment: Environment

  constructor(
    sink: string,
    config: ProxyConfig,
    emit: EmitSinkEvent,
    environment: Environment = process.env,
  ) {
    this.#config = config
    this.#environment = environment
    const secret = config.kind === 'http' ? config.password : null
    const faultOf = (): null => null
    this.#password =
      secret === null
        ? null
        : new KeptSecret({
            sink,
            setting: 'proxy.password',
            secret,
            emit,
            faultOf,
          })
  }

  /** null: straight; or why nobody can say. */
  hopTo(target: ProxyTarget): ProxyHop | null | { readonly why: string } {
    if (this.#config.kind === 'none') return null
    if (this.#config.kind === 'environment') return this.#ofEnvironment(target)
    const { url: proxy, user, noProxy } = this.#config
    if (isDirect(noProxy, target.hostname, target.port)) return null
    if (user === null || this.#password === null) return hopOf(new URL(proxy), null)
    const { value, why } = this.#password
    return value === null ? { why } : hopOf(new URL(proxy), basicValue(user, value))
  }

  get failing(): boolean {
    return this.#password?.failing === true
  }

  /** Reads its files again. True: the next connection is another one. Never rejects. */
  async refresh(): Promise<boolean> {
    return this.#password !== null && (await this.#password.refresh())
  }

  /** As curl reads it: lower case first; what is this box's own needs no proxy. */
  #ofEnvironment({
    hostname: host,
    port,
    isTls,
  }: ProxyTarget): ProxyHop | null | { readonly why: string } {
    const read = (name: string): string =>
      this.#environment[name] || (this.#environment[name.toUpperCase()] ?? '')
    if (isLoopback(host) || isDirect(entriesOf(read('no_proxy')), host, port)) return null
    const name = isTls ? 'https_proxy' : 'http_proxy'
    const value = read(name) || read('all_proxy')
    if (value === '') return null
    const written = /^[a-z][a-z0-9+.-]*:\/\//i.test(value) ? value : `http://${value}`
    const proxy = URL.canParse(written) ? new URL(written) : null
    if (proxy === null || proxy.protocol !== 'http:')
      return {
        why: `${name.toUpperCase()} of the environment is no http URL of a proxy`,
      }
    const { username, password } = proxy
    const isNamed = username !== '' || password !== ''
    const credentials = isNamed ? basicValue(plain(username), plain(password)) : null
    return hopOf(proxy, credentials)
  }
}

function hopOf(proxy: URL, authorization: string | null): ProxyHop {
  return { hostname: hostOf(proxy), port: portOf(proxy), authorization }
}

function plain(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
