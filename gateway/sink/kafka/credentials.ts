/**
 * What a Kafka sink shows of itself: certificates and a password, as the configuration and its files
 * have them now. I8: without a usable one nothing is sent and nothing is dropped; the sink holds and
 * says which file. Not here: when a hold ends (the drain).
 */
import { isIP } from 'node:net'
import { KeptFile } from '../../shared/kept-file.ts'
import { secretText } from '../../shared/secret-file.ts'
import type { EmitSinkEvent } from '../events.ts'
import { SinkTls } from '../http/tls.ts'
import { brokerOf, type KafkaSinkConfig } from './config.ts'
import type { ProducerOptions, SaslMechanism } from './library.ts'

export type Shown = Pick<ProducerOptions, 'tls' | 'tlsServerName' | 'sasl'>

const MECHANISMS: Readonly<Record<string, SaslMechanism>> = {
  plain: 'PLAIN',
  'scram-sha-256': 'SCRAM-SHA-256',
  'scram-sha-512': 'SCRAM-SHA-512',
}

export class KafkaCredentials {
  readonly #sink: string
  readonly #config: KafkaSinkConfig
  readonly #emit: EmitSinkEvent
  readonly #tls: SinkTls | null
  readonly #password: KeptFile | null

  constructor(sink: string, config: KafkaSinkConfig, emit: EmitSinkEvent) {
    this.#sink = sink
    this.#config = config
    this.#emit = emit
    this.#tls = config.tls === null ? null : new SinkTls(sink, config.tls, emit)
    const password = config.sasl?.password ?? null
    this.#password = password !== null && 'file' in password ? new KeptFile(password.file) : null
    if (this.#password?.failure !== null) this.#tellUnusable()
  }

  /** For new connections, or why there can be none. */
  resolve(): Shown | { readonly why: string } {
    const tls = this.#tls?.resolve() ?? null
    if (tls !== null && 'why' in tls) return tls
    const sasl = this.#sasl()
    if (sasl !== null && 'why' in sasl) return sasl
    return {
      ...(tls === null ? {} : { tls: { secureContext: tls.context } }),
      ...(tls === null || !this.#hasNames ? {} : { tlsServerName: true }),
      ...(sasl === null ? {} : { sasl }),
    }
  }

  /** True: a file cannot be read. */
  get failing(): boolean {
    return (this.#tls?.failing ?? false) || (this.#password?.failure ?? null) !== null
  }

  /** Reads the files again. True: new connections show something new. Never rejects. */
  async refresh(): Promise<boolean> {
    const tlsChanged = (await this.#tls?.refresh()) ?? false
    const password = (await this.#password?.refresh()) ?? 'same'
    if (password === 'unreadable') this.#tellUnusable()
    if (password !== 'changed' || this.#password === null) return tlsChanged
    const file = this.#password.path
    this.#emit({ type: 'sink.file-changed', sink: this.#sink, what: 'sasl.password', file })
    return true
  }

  /** A server's name is told to it; an address is none (RFC 6066). */
  get #hasNames(): boolean {
    return this.#config.brokers.some((broker) => isIP(brokerOf(broker)?.host ?? '') === 0)
  }

  #sasl(): NonNullable<Shown['sasl']> | { readonly why: string } | null {
    const { sasl } = this.#config
    if (sasl === null) return null
    const { mechanism, username, password } = sasl
    const shown = { mechanism: MECHANISMS[mechanism] ?? 'PLAIN', username: username ?? '' }
    if (this.#password !== null) {
      const { path, content, failure } = this.#password
      if (content === null)
        return { why: `the file of sasl.password, ${path}, ${failure ?? 'cannot be read'}` }
      return { ...shown, password: secretText(content) }
    }
    return { ...shown, password: password !== null && 'value' in password ? password.value : '' }
  }

  #tellUnusable(): void {
    if (this.#password === null) return
    const { path: file, content, failure } = this.#password
    this.#emit({
      type: 'sink.file-unusable',
      sink: this.#sink,
      what: 'sasl.password',
      file,
      kept: content !== null,
      detail: failure ?? 'cannot be read',
    })
  }
}
