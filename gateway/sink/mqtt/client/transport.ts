/**
 * URL -> a byte stream to the broker: TCP, TLS, or a WebSocket over either (MQTT 3.1.1, section 6),
 * through a proxy or not. Addresses of the name are raced as for every other sink. Knows nothing of MQTT.
 */

import type { Duplex } from 'node:stream'
import type { SecureContext } from 'node:tls'
import { createWebSocketStream, WebSocket } from 'ws'
import type { Addresses } from '../../http/client/addresses.ts'
import { dial } from '../../http/client/dial.ts'
import type { ProxyHop } from '../../http/client/tunnel.ts'

const PORTS: Readonly<Record<string, number>> = {
  'mqtt:': 1883,
  'mqtts:': 8883,
  'ws:': 80,
  'wss:': 443,
}

/** A broker sends us acknowledgments, the longest with a reason in words. */
const MAX_WEBSOCKET_MESSAGE_BYTES = 1024 * 1024

interface BrokerTarget {
  readonly hostname: string
  readonly port: number
  readonly isTls: boolean
  /** Path and query of a WebSocket; null: it is none. */
  readonly path: string | null
}

interface TransportOptions {
  readonly target: BrokerTarget
  /** Between here and the broker; null: none. */
  readonly proxy: ProxyHop | null
  /** Of the proxy, if there is one. */
  readonly addresses: Addresses
  /** null: no TLS. */
  readonly context: SecureContext | null
  /** For ALPN; null: none is named. */
  readonly alpn: string | null
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

export function targetOf(url: string): BrokerTarget {
  const { protocol, hostname, port, pathname, search } = new URL(url)
  return {
    hostname: hostname.replace(/^\[(.*)\]$/, '$1'),
    port: port === '' ? (PORTS[protocol] ?? 0) : Number(port),
    isTls: protocol === 'mqtts:' || protocol === 'wss:',
    path: protocol.startsWith('ws') ? `${pathname === '' ? '/' : pathname}${search}` : null,
  }
}

/** @throws DialError, or an error of the WebSocket's handshake */
export async function openTransport(options: TransportOptions): Promise<Duplex> {
  const { target, proxy, addresses, context, alpn, timeoutMs, signal } = options
  const protocols = alpn === null ? (target.path === null ? [] : ['http/1.1']) : [alpn]
  const { socket } = await dial({
    addresses,
    proxy,
    hostname: target.hostname,
    port: target.port,
    timeoutMs,
    signal,
    tls:
      context === null
        ? null
        : { context, session: null, onSession: () => undefined, verify: true, protocols },
  })
  return target.path === null ? socket : await upgrade(socket, target, timeoutMs, signal)
}

async function upgrade(
  socket: Duplex,
  { hostname, port, path }: BrokerTarget,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Duplex> {
  const host = hostname.includes(':') ? `[${hostname}]` : hostname
  // The socket is there already, with or without TLS.
  const webSocket = new WebSocket(`ws://${host}:${port}${path}`, ['mqtt'], {
    createConnection: () => socket as never,
    handshakeTimeout: timeoutMs,
    maxPayload: MAX_WEBSOCKET_MESSAGE_BYTES,
    perMessageDeflate: false,
  })
  const onAbort = (): void => webSocket.terminate()
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await new Promise<void>((resolve, reject) => {
      webSocket.once('open', resolve)
      webSocket.once('error', reject)
    })
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
  return createWebSocketStream(webSocket)
}
