/**
 * What can go wrong on a connection besides what the system and TLS say, with a code for the words
 * (network-error.ts).
 */

type LinkErrorCode =
  | 'DNS_TIMEOUT'
  | 'CONNECT_TIMEOUT'
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
type LinkPhase = 'dns' | 'connect' | 'tls' | 'exchange'

export class LinkError extends Error {
  readonly code: LinkErrorCode
  constructor(code: LinkErrorCode, message: string) {
    super(message)
    this.name = 'LinkError'
    this.code = code
  }
}

/** A connection could not be made. `cause`: the error of the address that tells most. */
export class DialError extends Error {
  readonly phase: LinkPhase
  /** Those that were tried, when there were several. */
  readonly tried: readonly string[]
  constructor(phase: LinkPhase, cause: Error, tried: readonly string[]) {
    super(cause.message, { cause })
    this.name = 'DialError'
    this.phase = phase
    this.tried = tried
  }
}
