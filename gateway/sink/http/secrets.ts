/**
 * The configured headers of a sink with their secrets resolved: literals, and files that are read
 * again when they change (trailing newline cut). I8: without a usable secret nothing is sent and
 * nothing is dropped; the sink holds and says which file. Not here: which headers may be configured
 * (header-rules.ts), when a hold ends (the drain).
 */

import { KeptFile } from '../../shared/kept-file.ts'
import { type Secret, secretText } from '../../shared/secret-file.ts'
import type { EmitSinkEvent } from '../events.ts'
import type { HttpSinkConfig } from './config.ts'
import { headerFault, isHeaderValue } from './header-rules.ts'

/** Name and value of a header. */
export type HeaderPair = readonly [name: string, value: string]

/** One header whose value is, or ends with, a secret. */
interface SecretHeader {
  readonly header: string
  /** `headers.<name>` or `bearerToken`: as the configuration calls it. */
  readonly setting: string
  readonly prefix: string
  readonly file: KeptFile | null
  value: string | null
  /** Why there is no value, or why a newer one was not taken. */
  failure: string | null
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
    for (const one of this.#headers) {
      if (one.value === null) return { why: `${describe(one)} ${one.failure ?? 'has no value'}` }
      pairs.push([one.header, one.prefix + one.value])
    }
    return { pairs }
  }

  /** True: a file cannot be read. */
  get failing(): boolean {
    return this.#headers.some(({ file }) => file !== null && file.failure !== null)
  }

  /** Reads the files again. True: at least one value is new. Never rejects. */
  async refresh(): Promise<boolean> {
    let changed = false
    for (const one of this.#headers) {
      if (one.file === null) continue
      const result = await one.file.refresh()
      if (result === 'same') continue
      if (this.#take(one) && result === 'changed') {
        changed = true
        this.#emit({
          type: 'sink.file-changed',
          sink: this.#sink,
          what: one.setting,
          file: one.file.path,
        })
      }
    }
    return changed
  }

  #add(header: string, setting: string, prefix: string, secret: Secret): void {
    const file = 'file' in secret ? new KeptFile(secret.file) : null
    const one: SecretHeader = { header, setting, prefix, file, value: null, failure: null }
    if ('value' in secret) {
      if (isHeaderValue(secret.value)) one.value = secret.value
      else one.failure = 'holds characters that a header cannot carry'
    } else {
      this.#take(one)
    }
    this.#headers.push(one)
  }

  /** Takes the file's content as the value if it can be one. */
  #take(one: SecretHeader): boolean {
    if (one.file === null) return false
    one.failure = one.file.failure
    if (one.failure === null && one.file.content !== null) {
      const text = secretText(one.file.content)
      if (text !== '' && isHeaderValue(text)) {
        one.value = text
        return true
      }
      one.failure = text === '' ? 'is empty' : 'holds characters that a header cannot carry'
    }
    this.#emit({
      type: 'sink.file-unusable',
      sink: this.#sink,
      what: one.setting,
      file: one.file.path,
      kept: one.value !== null,
      detail: one.failure ?? 'cannot be read',
    })
    return false
  }
}

function describe(one: SecretHeader): string {
  return one.file === null ? one.setting : `the file of ${one.setting}, ${one.file.path},`
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
