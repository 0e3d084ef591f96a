/** Credentials that are the same for each request: none, a header, a bearer token, Basic. */
import type { HeaderPair } from '../header-rules.ts'
import type { KeptSecret } from './kept-secret.ts'
import { type AuthFailure, holdFor, type RequestAuth } from './request-auth.ts'

export class FixedAuth implements RequestAuth {
  readonly #secret: KeptSecret | null
  readonly #pairOf: (secret: string) => HeaderPair

  /** @param secret null: no credentials at all */
  constructor(secret: KeptSecret | null, pairOf: (secret: string) => HeaderPair) {
    this.#secret = secret
    this.#pairOf = pairOf
  }

  get failing(): boolean {
    return this.#secret?.failing === true
  }

  async headersFor(): Promise<{ readonly pairs: readonly HeaderPair[] } | AuthFailure> {
    if (this.#secret === null) return { pairs: [] }
    const { value, why } = this.#secret
    return value === null ? holdFor(why) : { pairs: [this.#pairOf(value)] }
  }

  learn(): null {
    return null
  }

  async refresh(): Promise<boolean> {
    return this.#secret !== null && (await this.#secret.refresh())
  }

  close(): void {}
}
