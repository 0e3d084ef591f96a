/**
 * What went wrong between here and the sink, in words that a person can act on: which host and
 * port, which code, what to look at. All of it is a retry (contract: network error); nothing here
 * decides. Pure.
 */
import { printable } from '../answers/answer.ts'
import { DialError, ProxyRefusal } from './link-error.ts'

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
  DNS_TIMEOUT: 'the DNS server does not answer; is the link up?',
  CONNECT_TIMEOUT: 'the host does not answer; is the link up, does a firewall drop the packets?',
  PROXY_TIMEOUT: 'the proxy takes the connection and opens no way to the sink; is it up?',
  TLS_TIMEOUT: 'the host takes the connection and does not answer to TLS; is this port a TLS port?',
  ECONNRESET: 'the other side cut the connection',
  EPIPE: 'the other side closed the connection while the batch was sent',
  CLOSED: 'the other side closed the connection before it had answered',
  HEAD_TOO_LONG: 'the headers of the answer are too long; is this the sink?',
  CUT_SHORT: 'the answer was cut short',
  NOT_HTTP: 'what answers there does not speak HTTP; check host and port in url',
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
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    'the authority of the sink is not known here; name it in tls.ca',
}

const TLS_ALERT =
  'the sink ended the TLS handshake; does it want another client certificate (tls.cert, tls.key)?'

/**
 * Certificates that nobody here vouches for, or not now: the system's authorities may have changed
 * since.
 */
const UNTRUSTED: ReadonlySet<string> = new Set([
  'CERT_HAS_EXPIRED',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
])

/** How far a request had come when it failed. */
export interface Progress {
  readonly sentBytes: number
  readonly bodyBytes: number
}

/**
 * One sentence: what failed with `target` (host and port), the code, the hint. Never a header, so
 * never a secret.
 */
export function describeNetworkError(error: unknown, target: string, progress: Progress): string {
  const root = rootOf(error)
  const code = codeOf(root)
  if (root instanceof ProxyRefusal) return describeRefusal(root, target)
  // The addresses tried were the proxy's, and so is what they said.
  const isProxys = error instanceof DialError && error.proxy !== null && error.phase !== 'tls'
  const whom = isProxys ? `the proxy ${error.proxy}, on the way to ${target}` : target
  const far = `${progress.sentBytes} of ${progress.bodyBytes} bytes`
  if (code === 'TIMEOUT' || code === 'TOO_SLOW')
    return `no complete answer from ${target}: ${root.message} (${code}, ${far} taken)`
  const cut =
    progress.sentBytes > 0 && (code === 'ECONNRESET' || code === 'EPIPE' || code === 'CLOSED')
  const how = cut ? `, after ${far}` : ''
  const tried =
    error instanceof DialError && error.tried.length > 0 ? `, tried ${error.tried.join(', ')}` : ''
  return `no answer from ${whom}: ${hintFor(code, root)} (${code}${how}${tried})`
}

function describeRefusal({ status, mayPass }: ProxyRefusal, target: string): string {
  const hint = PROXY_HINTS[status] ?? (mayPass ? 'it may later' : 'check proxy.url')
  return `the proxy opened no way to ${target}: it answered ${status}; ${hint}`
}

/** What a proxy's word on CONNECT asks for. */
/** Of what somebody else says, characters. */
const MAX_WORDS = 200

const PROXY_HINTS: Readonly<Record<number, string>> = {
  400: 'is it an HTTP proxy?',
  403: 'its rules forbid this host or port (many allow CONNECT to port 443 alone)',
  404: 'is it an HTTP proxy?',
  405: 'it does not take CONNECT; is it an HTTP proxy?',
  407: 'it wants credentials; check proxy.user and proxy.password',
  502: 'it could not reach the sink',
  503: 'it could not reach the sink',
  504: 'the sink did not answer it in time',
}

/** What to look at, for other clients than that of HTTP; null: nothing is known of the code. */
export function networkHint(code: string | null): string | null {
  return code === null ? null : (HINTS[code] ?? null)
}

/** Was it the other side's certificate, in a way that other authorities could mend? */
export function isUntrusted(error: unknown): boolean {
  return UNTRUSTED.has(codeOf(rootOf(error)))
}

function hintFor(code: string, error: Error): string {
  const known = HINTS[code]
  const words = printable(error.message, MAX_WORDS)
  // What exactly was cut or is no HTTP is in the message; of a certificate, which names it is for.
  if (code === 'CUT_SHORT' || code === 'NOT_HTTP' || code === 'ERR_TLS_CERT_ALTNAME_INVALID')
    return `${known} (${words})`
  if (known !== undefined) return known
  if (code.startsWith('ERR_SSL_') && /ALERT/.test(code)) return TLS_ALERT
  return words
}

/** The error below the wrapper. */
function rootOf(error: unknown): Error & { readonly code?: unknown } {
  const root = error instanceof DialError ? error.cause : error
  return root instanceof Error ? root : new Error(String(root))
}

function codeOf(error: Error & { readonly code?: unknown }): string {
  return typeof error.code === 'string' ? error.code : error.name
}
