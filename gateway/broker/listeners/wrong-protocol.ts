/**
 * A client speaks another protocol than the port: in words that say what to change, instead of a
 * parser's or OpenSSL's. Pure.
 */

/** First byte of a TLS record with a handshake (RFC 8446, section 5.1). */
export const TLS_HANDSHAKE = 0x16

/** First byte of CONNECT. */
const MQTT_CONNECT = 0x10

const HTTP_REQUEST = /^(GET|HEAD|POST|PUT|DELETE|OPTIONS|CONNECT|TRACE|PATCH|PRI) /

/** What a client that begins with these bytes speaks; null: nothing that is known here. */
export function spokenProtocol(bytes: Uint8Array): 'TLS' | 'MQTT' | 'HTTP' | null {
  if (bytes[0] === TLS_HANDSHAKE) return 'TLS'
  if (bytes[0] === MQTT_CONNECT) return 'MQTT'
  return HTTP_REQUEST.test(Buffer.from(bytes.subarray(0, 8)).toString('latin1')) ? 'HTTP' : null
}

/** On a port of plain MQTT, bytes that are no CONNECT. */
export function notMqtt(bytes: Uint8Array): string {
  switch (spokenProtocol(bytes)) {
    case 'TLS':
      return 'the client speaks TLS, and this port speaks plain MQTT: use mqtt://, or set tls for this listener'
    case 'HTTP':
      return 'the client speaks HTTP or WebSocket, and this port speaks MQTT over TCP: use mqtt://, or a listener with websocket: true'
    default:
      return 'the first packet is not CONNECT' // [MQTT-3.1.0-1]
  }
}

/**
 * On a WebSocket port, what the HTTP parser did not understand. `isTls`: the listener has TLS, and
 * it was done.
 */
export function notWebSocket(error: Error & { readonly rawPacket?: Uint8Array }): string {
  switch (spokenProtocol(error.rawPacket ?? new Uint8Array(0))) {
    case 'TLS':
      return 'the client speaks TLS, and this port speaks plain WebSocket: use ws://, or set tls for this listener'
    case 'MQTT':
      return 'the client speaks MQTT over TCP, and this port speaks MQTT over WebSocket: use ws://, or a listener without websocket'
    default:
      return error.message
  }
}

const TLS_FAILURES: Readonly<Record<string, string>> = {
  ERR_SSL_HTTP_REQUEST:
    'the client speaks HTTP without TLS, and this port speaks TLS: use wss:// or mqtts://',
  ERR_SSL_WRONG_VERSION_NUMBER:
    'the client does not speak TLS, and this port does: use mqtts:// or wss://, or a listener without tls',
  ERR_SSL_UNSUPPORTED_PROTOCOL: 'the client offers only TLS versions before 1.2',
  ERR_SSL_NO_SHARED_CIPHER: 'the client offers no cipher that this port has',
  ERR_SSL_TLSV1_ALERT_UNKNOWN_CA:
    "the client does not trust this listener's certificate: it needs the authority that signed it",
  ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE: "the client does not accept this listener's certificate",
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_UNKNOWN:
    "the client does not accept this listener's certificate: its authority or its name",
  ERR_SSL_SSLV3_ALERT_CERTIFICATE_EXPIRED:
    "this listener's certificate has expired, or the client's clock is not set",
  ECONNRESET: 'the client went away during the handshake; it may not accept the certificate',
}

/** Why a TLS handshake failed; what is not known here in the words of OpenSSL. */
export function tlsFailure(error: Error & { readonly code?: string }): string {
  return TLS_FAILURES[error.code ?? ''] ?? error.message
}
