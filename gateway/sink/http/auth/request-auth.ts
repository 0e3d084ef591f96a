/**
 * How a request says who sends it: what each kind of `auth` does for one try. I8: what cannot be
 * made (a secret that is not there, a token that the authorization server refuses) holds; what may
 * come by itself is tried again. Nothing of a secret is ever in the words of it.
 */
import type { EmitSinkEvent } from '../../events.ts'
import type { HeaderPair } from '../header-rules.ts'
import type { Outbound } from '../outbound.ts'

export interface AuthOptions {
  readonly sink: string
  readonly emit: EmitSinkEvent
  /** Wall clock, ms since the epoch. */
  readonly nowMs: () => number
  /** Connections to an authorization server. */
  readonly outbound: Outbound
  /** Of a request to the authorization server: without progress for so long it is given up. ms */
  readonly timeoutMs: number
  readonly minBytesPerSecond: number
  /** A wait that it asks for is cut here, ms. */
  readonly maxRetryAfter: number
}

/** One try, before it is signed. */
export interface AuthRequest {
  readonly method: string
  readonly url: URL
  /** Those that go out and may be signed; names lower case. */
  readonly headers: readonly HeaderPair[]
  /** As it goes out. */
  readonly body: readonly Uint8Array[]
}

export interface AuthFailure {
  readonly kind: 'hold' | 'retry'
  readonly why: string
  /** Status of an authorization server; null: none was asked, or it did not answer. */
  readonly code: string | null
  readonly retryAfterMs: number | null
}

/** What the sink said to a request that carried `pairs`. */
export interface AuthVerdict {
  readonly status: number
  readonly dateMs: number | null
  readonly pairs: readonly HeaderPair[]
}

export interface RequestAuth {
  /** Headers for one try. Never rejects; ends when `signal` aborts. */
  headersFor(
    request: AuthRequest,
    signal: AbortSignal,
  ): Promise<{ readonly pairs: readonly HeaderPair[] } | AuthFailure>
  /**
   * Told of every answer. Words: what the sink refused is replaced, and the same request may pass
   * now; null: nothing follows from it.
   */
  learn(verdict: AuthVerdict): string | null
  /** A file cannot be read. */
  readonly failing: boolean
  /** Reads its files again. True: new requests say something else. Never rejects. */
  refresh(): Promise<boolean>
  /** Gives up what is in progress. */
  close(): void
}

export function holdFor(why: string): AuthFailure {
  return { kind: 'hold', why, code: null, retryAfterMs: null }
}
