/**
 * What went wrong between here and the sink, in words that a person can act on: which host and port, which code, what
 * to look at. All of it is a retry (contract: network error); nothing here decides. Pure.
 */

/** What to look at, by code. Node's, OpenSSL's and the HTTP parser's codes do not collide. */
const HINTS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nothing listens there; is the sink running, is the port right?',
  ENOTFOUND: 'the name is not known; check the host in url and the DNS of this box',
  EAI_AGAIN: 'the DNS server does not answer; is the link up?',
  EHOSTUNREACH: 'no route to the host; is the link up?',
  ENETUNREACH: 'no route to the network; is the link up?',
  ENETDOWN: 'the network interface is down',
  EADDRNOTAVAIL: 'no local address or port is free for the connection',
  ETIMEDOUT: 'the host does not answer; is the link up, does a firewall drop the packets?',
  UND_ERR_CONNECT_TIMEOUT: 'the host does not answer; is the link up, does a firewall drop the packets?',
  ECONNRESET: 'the other side cut the connection',
  EPIPE: 'the other side closed the connection while the batch was sent',
  UND_ERR_SOCKET: 'the other side closed the connection before it had answered',
  UND_ERR_HEADERS_OVERFLOW: 'the headers of the answer are too long; is this the sink?',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'the answer was cut short',
  EPROTO: 'TLS could not be agreed on; is this port a TLS port?',
  ERR_SSL_WRONG_VERSION_NUMBER: 'the other side does not speak TLS; http:// instead of https://?',
  ERR_SSL_PACKET_LENGTH_TOO_LONG: 'the other side does not speak TLS; http:// instead of https://?',
  ERR_TLS_CERT_ALTNAME_INVALID: "the sink's certificate is for another host name; check url",
  CERT_HAS_EXPIRED: "the sink's certificate has expired, or the clock of this box is wrong",
  CERT_NOT_YET_VALID: "the sink's certificate is not valid yet, or the clock of this box is wrong",
  CERT_REVOKED: "the sink's certificate was revoked",
  DEPTH_ZERO_SELF_SIGNED_CERT: "the sink's certificate is self-signed; name it in tls.ca",
  SELF_SIGNED_CERT_IN_CHAIN:
    'the authority of the sink is not known here; name it in tls.ca (or something intercepts TLS)',
  UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    'the authority of the sink is not known here; name it in tls.ca, or let the sink send its whole chain',
  UNABLE_TO_GET_ISSUER_CERT: 'the authority of the sink is not known here; name it in tls.ca',
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: 'the authority of the sink is not known here; name it in tls.ca',
}

const TLS_ALERT =
  'the sink ended the TLS handshake; does it want another client certificate (tls.cert, tls.key)?'
const NOT_HTTP = 'what answers there does not speak HTTP; check host and port in url'

/** How far a request had come when it failed. */
export interface Progress {
  readonly sentBytes: number
  readonly bodyBytes: number
}

/** One sentence: what failed with `target` (host and port), the code, the hint. Never a header, so never a secret. */
export function describeNetworkError(error: unknown, target: string, progress: Progress): string {
  const root = rootOf(error)
  const code = typeof root.code === 'string' ? root.code : root.name
  const hint = hintFor(code, root.message)
  const cut =
    progress.sentBytes > 0 && (code === 'ECONNRESET' || code === 'EPIPE' || code === 'UND_ERR_SOCKET')
  const how = cut ? `, after ${progress.sentBytes} of ${progress.bodyBytes} bytes` : ''
  return `no answer from ${target}: ${hint} (${code}${how})`
}

function hintFor(code: string, message: string): string {
  const known = HINTS[code]
  if (known !== undefined) return known
  if (code.startsWith('HPE_')) return NOT_HTTP
  if (code.startsWith('ERR_SSL_') && /ALERT/.test(code)) return TLS_ALERT
  return message.replaceAll(/[\p{C}\s]+/gu, ' ').slice(0, 200)
}

/** The error below the wrappers: undici's `cause`, and the first of those that trying several addresses gave. */
function rootOf(error: unknown): Error & { readonly code?: unknown } {
  let current = error
  for (let depth = 0; depth < 5; depth += 1) {
    if (current instanceof AggregateError && current.errors.length > 0) current = current.errors[0]
    else if (current instanceof Error && current.cause instanceof Error && !hasCode(current))
      current = current.cause
    else break
  }
  return current instanceof Error ? current : new Error(String(current))
}

function hasCode(error: Error): boolean {
  const code = (error as NodeJS.ErrnoException).code
  return code !== undefined && code in HINTS
}
