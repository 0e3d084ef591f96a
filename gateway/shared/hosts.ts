/**
 * Names and addresses of machines as configuration, listeners and the admin server judge and write
 * them.
 */
import { BlockList, isIP } from 'node:net'

const LOOPBACK = new BlockList()
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4')
LOOPBACK.addAddress('::1', 'ipv6')

/**
 * Can only this machine reach it? An IP address (also in brackets, also IPv4 in IPv6), or one of
 * the names that are loopback wherever they are resolved (RFC 6761, section 6.3).
 */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[(.*)\]$/, '$1')
  if (name === 'localhost' || name.endsWith('.localhost')) return true
  const version = isIP(name)
  return version !== 0 && LOOPBACK.check(name, version === 6 ? 'ipv6' : 'ipv4')
}

/** `host:port` as URLs want it (RFC 3986, section 3.2.2). */
export function hostAndPort(host: string, port: number): string {
  return `${host.includes(':') ? `[${host}]` : host}:${port}`
}

/** The URL under which a listener is reached, `mqtts://127.0.0.1:8883`. */
export function listenerUrl(listener: {
  readonly host: string
  readonly port: number
  readonly tls: boolean
  readonly websocket: boolean
}): string {
  const scheme = listener.websocket ? 'ws' : 'mqtt'
  return `${scheme}${listener.tls ? 's' : ''}://${hostAndPort(listener.host, listener.port)}`
}
