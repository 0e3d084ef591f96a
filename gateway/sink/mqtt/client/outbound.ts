/**
 * The way of a sink to its broker: TLS and the proxy, with their files as they are now. Opens byte
 * streams; knows nothing of MQTT.
 */
import type { Duplex } from 'node:stream'
import { hostAndPort } from '../../../shared/hosts.ts'
import type { EmitSinkEvent } from '../../events.ts'
import { Addresses } from '../../http/client/addresses.ts'
import { isUntrusted } from '../../http/client/network-error.ts'
import { ProxyRoute } from '../../http/proxy/proxy.ts'
import { SinkTls } from '../../http/tls.ts'
import type { MqttSinkConfig } from '../config.ts'
import { openTransport, targetOf } from './transport.ts'

type OutboundKeys = Pick<MqttSinkConfig, 'url' | 'tls' | 'proxy' | 'connectTimeout'>

/** Settings that cannot be used: without them no connection can be made now. */
export class Unready extends Error {}

export class BrokerOutbound {
  readonly #config: OutboundKeys
  readonly #tls: SinkTls
  readonly #proxy: ProxyRoute
  /** By host: of the broker, or of the proxy before it. They remember which addresses fail. */
  readonly #addresses = new Map<string, Addresses>()

  /** Nobody here vouched for the certificate that was seen last. */
  #wasUntrusted = false

  constructor(sink: string, config: OutboundKeys, emit: EmitSinkEvent) {
    this.#config = config
    this.#tls = new SinkTls(sink, targetOf(config.url).isTls ? config.tls : null, emit)
    this.#proxy = new ProxyRoute(sink, config.proxy, emit)
  }

  /** Connected, TLS and WebSocket included. @throws Unready, DialError, an error of the handshake */
  async open(signal: AbortSignal): Promise<Duplex> {
    // The system's authorities may have been renewed since the broker was not among theirs.
    if (this.#wasUntrusted) this.#tls.forgetSystem()
    const target = targetOf(this.#config.url)
    const secure = target.isTls ? this.#tls.resolve() : { context: null }
    if ('why' in secure) throw new Unready(secure.why)
    const proxy = this.#proxy.hopTo(target)
    if (proxy !== null && 'why' in proxy) throw new Unready(proxy.why)
    this.#wasUntrusted = false
    try {
      return await openTransport({
        target,
        proxy,
        addresses: this.#addressesOf(proxy?.hostname ?? target.hostname),
        context: secure.context,
        alpn: this.#config.tls?.alpn ?? null,
        timeoutMs: this.#config.connectTimeout,
        signal,
      })
    } catch (error) {
      this.#wasUntrusted = isUntrusted(error)
      throw error
    }
  }

  /** Host and port of the proxy on the way; null: none. */
  get proxy(): string | null {
    const hop = this.#proxy.hopTo(targetOf(this.#config.url))
    return hop === null || 'why' in hop ? null : hostAndPort(hop.hostname, hop.port)
  }

  /** A file cannot be read. */
  get failing(): boolean {
    return this.#tls.failing || this.#proxy.failing
  }

  /** Reads the files again. True: new connections are other ones. Never rejects. */
  async refresh(): Promise<boolean> {
    const tlsChanged = await this.#tls.refresh()
    return (await this.#proxy.refresh()) || tlsChanged
  }

  #addressesOf(hostname: string): Addresses {
    const known = this.#addresses.get(hostname) ?? new Addresses(hostname)
    this.#addresses.set(hostname, known)
    return known
  }
}
