/**
 * The connections of a sink: to where it sends, and to whom it has to ask besides (an authorization
 * server), all by the same TLS and through the same proxy. Opens nothing before the first request. Not here: what is sent.
 */
import type { EmitSinkEvent } from '../events.ts'
import type { Lookup } from './client/addresses.ts'
import { HttpClient } from './client/client.ts'
import { isUntrusted } from './client/network-error.ts'
import type { ClientTlsConfig } from './config.ts'
import type { ProxyConfig } from './proxy/config.ts'
import { ProxyRoute } from './proxy/proxy.ts'
import { targetOf } from './request.ts'
import { SinkTls } from './tls.ts'

/** What of a sink's configuration decides how connections are made. */
interface OutboundConfig {
  readonly tls: ClientTlsConfig | null
  readonly proxy: ProxyConfig
  readonly connectTimeout: number
  /** As many connections to each origin. */
  readonly maxInFlight: number
}

interface OutboundOptions {
  readonly sink: string
  readonly config: OutboundConfig
  readonly emit: EmitSinkEvent
  /** How names are looked up. @default the system's way */
  readonly lookup?: Lookup | undefined
}

export class Outbound {
  readonly #config: OutboundConfig
  readonly #tls: SinkTls
  readonly #proxy: ProxyRoute
  readonly #lookup: Lookup | undefined
  /** By origin. */
  readonly #clients = new Map<string, HttpClient>()
  /** Nobody here vouched for the certificate that was seen last. */
  #wasUntrusted = false
  #isClosed = false

  constructor({ sink, config, emit, lookup }: OutboundOptions) {
    this.#config = config
    this.#lookup = lookup
    this.#tls = new SinkTls(sink, config.tls, emit)
    this.#proxy = new ProxyRoute(sink, config.proxy, emit)
  }

  /** For requests to the origin of `url`, or why there can be none now. */
  clientFor(url: URL): HttpClient | { readonly why: string } {
    // The system's authorities may have been renewed since the far side was not among them.
    if (this.#wasUntrusted && this.#tls.forgetSystem()) this.#retire()
    const known = this.#clients.get(url.origin)
    if (known !== undefined) return known
    if (this.#isClosed) return { why: 'the sink is closed' }
    const { hostname, port, isTls } = targetOf(url)
    const tls = isTls ? this.#tls.resolve() : { context: null }
    if ('why' in tls) return tls
    const proxy = this.#proxy.hopTo({ hostname, port, isTls })
    if (proxy !== null && 'why' in proxy) return proxy
    const client = new HttpClient({
      hostname,
      port,
      context: tls.context,
      maxConnections: this.#config.maxInFlight,
      connectTimeoutMs: this.#config.connectTimeout,
      lookup: this.#lookup,
      proxy,
    })
    this.#clients.set(url.origin, client)
    return client
  }

  /** What became of a connection; null: it was answered. */
  learn(error: Error | null): void {
    this.#wasUntrusted = error !== null && isUntrusted(error)
  }

  /** A file cannot be read. */
  get failing(): boolean {
    return this.#tls.failing || this.#proxy.failing
  }

  /** Reads the files again. True: new connections are other ones. Never rejects. */
  async refresh(): Promise<boolean> {
    const tlsChanged = await this.#tls.refresh()
    const changed = (await this.#proxy.refresh()) || tlsChanged
    if (changed) this.#retire()
    return changed
  }

  /** Ends everything at once; requests in progress resolve with an error. */
  destroy(): void {
    this.#isClosed = true
    for (const client of this.#clients.values()) client.destroy()
    this.#clients.clear()
  }

  /** New requests open new connections; those in progress end where they are. */
  #retire(): void {
    for (const client of this.#clients.values()) client.retire()
    this.#clients.clear()
  }
}
