/**
 * What can go wrong on a connection besides what the system and TLS say, with a code for the words
 * (network-error.ts).
 */

type LinkErrorCode =
  | 'DNS_TIMEOUT'
  | 'CONNECT_TIMEOUT'
  | 'PROXY_TIMEOUT'
  | 'TLS_TIMEOUT'
  | 'TIMEOUT'
  | 'TOO_SLOW'
  | 'CLOSED'
  | 'CUT_SHORT'
  | 'NOT_HTTP'
  | 'HEAD_TOO_LONG'
  | 'UNASKED'
  | 'ABORTED'

/** Which part of the way failed. */
type LinkPhase = 'dns' | 'connect' | 'proxy' | 'tls' | 'exchange'

export class LinkError extends Error {
  readonly code: LinkErrorCode
  constructor(code: LinkErrorCode, message: string) {
    super(message)
    this.name = 'LinkError'
    this.code = code
  }
}

/** A proxy answered, and opened no way to the sink. */
export class ProxyRefusal extends Error {
  readonly code = 'PROXY'
  readonly status: number
  constructor(status: number) {
    super(`the proxy answered ${status}`)
    this.name = 'ProxyRefusal'
    this.status = status
  }

  /** It may open one later. Otherwise a person has to do something. */
  get mayPass(): boolean {
    return this.status === 408 || this.status === 429 || this.status >= 500
  }
}

/** The refusal of a proxy that an error of a connection stands for; null: another one. */
export function proxyRefusalOf(error: unknown): ProxyRefusal | null {
  const root = error instanceof DialError ? error.cause : error
  return root instanceof ProxyRefusal ? root : null
}

/** A connection could not be made. `cause`: the error of the address that tells most. */
export class DialError extends Error {
  readonly phase: LinkPhase
  /** Those that were tried, when there were several. */
  readonly tried: readonly string[]
  /** Host and port of the proxy on the way; null: none. */
  readonly proxy: string | null
  constructor(
    phase: LinkPhase,
    cause: Error,
    tried: readonly string[],
    proxy: string | null = null,
  ) {
    super(cause.message, { cause })
    this.name = 'DialError'
    this.phase = phase
    this.tried = tried
    this.proxy = proxy
  }
}
