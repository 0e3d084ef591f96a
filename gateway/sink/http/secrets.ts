/**
 * The configured headers of a sink with their secrets resolved. I8: without a usable secret nothing
 * is sent and nothing is dropped; the sink holds and says which file. Not here: which headers may be
 * configured (header-rules.ts), credentials that are made for each request (auth/), when a hold ends
 * (the drain).
 */
import type { Secret } from '../../shared/secret-file.ts'
import type { EmitSinkEvent } from '../events.ts'
import { KeptSecret } from './auth/kept-secret.ts'
import type { HttpSinkConfig } from './config.ts'
import { type HeaderPair, headerFault, isHeaderValue } from './header-rules.ts'

/** One header whose value is, or ends with, a secret. */
interface SecretHeader {
  readonly header: string
  readonly prefix: string
  readonly secret: KeptSecret
}

/** All headers that a sink's configuration adds to its requests. */
export class SecretHeaders {
  readonly #sink: string
  readonly #emit: EmitSinkEvent
  readonly #headers: SecretHeader[] = []

  constructor(
    sink: string,
    config: Pick<HttpSinkConfig, 'headers' | 'bearerToken' | 'url'>,
    emit: EmitSinkEvent,
  ) {
    this.#sink = sink
    this.#emit = emit
    const basic = basicCredentials(config.url)
    if (basic !== null) this.#add('authorization', 'url', '', { value: basic })
    for (const [name, secret] of Object.entries(config.headers)) {
      if (headerFault(name) === null) this.#add(name, `headers.${name}`, '', secret)
      else emit({ type: 'sink.header-ignored', sink, header: name })
    }
    if (config.bearerToken !== null)
      this.#add('authorization', 'bearerToken', 'Bearer ', config.bearerToken)
  }

  /**
   * Headers for the next request, or why there can be none. The more specific setting wins:
   * `bearerToken` is last.
   */
  resolve(): { readonly pairs: readonly HeaderPair[] } | { readonly why: string } {
    const pairs: HeaderPair[] = []
    for (const { header, prefix, secret } of this.#headers) {
      if (secret.value === null) return { why: secret.why }
      pairs.push([header, prefix + secret.value])
    }
    return { pairs }
  }

  /** True: a file cannot be read. */
  get failing(): boolean {
    return this.#headers.some(({ secret }) => secret.failing)
  }

  /** Reads the files again. True: at least one value is new. Never rejects. */
  async refresh(): Promise<boolean> {
    let changed = false
    for (const { secret } of this.#headers) if (await secret.refresh()) changed = true
    return changed
  }

  #add(header: string, setting: string, prefix: string, secret: Secret): void {
    const kept = new KeptSecret({
      sink: this.#sink,
      setting,
      secret,
      emit: this.#emit,
      faultOf: headerFaultOf,
    })
    this.#headers.push({ header, prefix, secret: kept })
  }
}

/** What is wrong with a secret that goes into a header; null: nothing. */
function headerFaultOf(value: string): string | null {
  return isHeaderValue(value) ? null : 'holds characters that a header cannot carry'
}

/**
 * `http://user:password@host/` is what other programs take for Basic authentication (RFC 7617), so this one does.
 */
function basicCredentials(url: string): string | null {
  const { username, password } = new URL(url)
  if (username === '' && password === '') return null
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
  return `Basic ${Buffer.from(pair).toString('base64')}`
}
