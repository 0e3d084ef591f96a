/**
 * From an HTTP request to a WebSocket that speaks MQTT: the upgrade, its rules and its refusals.
 * Everything else that HTTP can do is answered 426. Any path is accepted; clients use /, /mqtt or
 * /ws.
 */
import type { IncomingMessage, Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer } from 'ws'
import type { MqttLimits } from '../config.ts'
import { WEBSOCKET_CLOSE_TIMEOUT_MS, WebSocketDuplex } from './websocket-duplex.ts'
import { notWebSocket } from './wrong-protocol.ts'

/**
 * [MQTT-6.0.0-3], [MQTT-6.0.0-4]: the name of the subprotocol; and the one that clients of MQTT 3.1
 * had before it.
 */
const SUBPROTOCOLS = ['mqtt', 'mqttv3.1'] as const

/**
 * A message may carry packets in front of or behind the largest one; also the least allowed before
 * CONNACK.
 */
export const WEBSOCKET_MESSAGE_SLACK_BYTES = 64 * 1024

const REASONS = { 400: 'Bad Request', 403: 'Forbidden', 426: 'Upgrade Required' } as const

interface UpgradeOptions {
  readonly limits: Pick<MqttLimits, 'maxPacketBytes' | 'maxConnectPacketBytes'>
  /**
   * Clients come without credentials: then a web page of another origin must not reach the
   * listener.
   */
  readonly anonymous: () => boolean
  /** `socket`: the TCP or TLS socket below. */
  readonly onStream: (stream: WebSocketDuplex, socket: Duplex) => void
  readonly onRefused: (socket: Duplex, message: string) => void
}

/**
 * Makes the HTTP server (never listening itself; sockets are handed to it) hand out MQTT streams.
 */
export function upgradeToWebSockets(http: Server, options: UpgradeOptions): void {
  const { limits, onRefused, onStream } = options
  // Limits may be others by the next upgrade.
  const maxMessageBytes = (): number => limits.maxPacketBytes + WEBSOCKET_MESSAGE_SLACK_BYTES
  const maxPayload = (): number =>
    Math.min(maxMessageBytes(), limits.maxConnectPacketBytes + WEBSOCKET_MESSAGE_SLACK_BYTES)
  // `closeTimeout` is known to ws, not yet to its types.
  const serverOptions = {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxPayload(),
    closeTimeout: WEBSOCKET_CLOSE_TIMEOUT_MS,
    handleProtocols: (offered: ReadonlySet<string>) =>
      SUBPROTOCOLS.find((name) => offered.has(name)) ?? false,
  }
  const upgrades = new WebSocketServer(serverOptions)
  const refuse = (socket: Duplex, status: 400 | 403, message: string): void => {
    onRefused(socket, message)
    abort(socket, status, message)
  }
  upgrades.on('wsClientError', (error, socket) => refuse(socket, 400, error.message))
  http.on('request', (_request, response) => {
    response.writeHead(426, {
      connection: 'close',
      upgrade: 'websocket',
      'content-type': 'text/plain',
    })
    response.end('This port speaks MQTT over WebSocket.\n')
  })
  http.on('clientError', (error, socket) => refuse(socket, 400, notWebSocket(error)))
  http.on('upgrade', (request, socket, head) => {
    const fault = faultOf(request, options.anonymous())
    if (fault !== null) {
      refuse(socket, fault.status, fault.message)
      return
    }
    upgrades.options.maxPayload = maxPayload()
    upgrades.handleUpgrade(request, socket, head, (webSocket) => {
      onStream(new WebSocketDuplex(webSocket, maxMessageBytes()), socket)
    })
  })
}

function faultOf(
  request: IncomingMessage,
  anonymous: boolean,
): { readonly status: 400 | 403; readonly message: string } | null {
  const offered = (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((name) => name.trim())
  if (!SUBPROTOCOLS.some((name) => offered.includes(name))) {
    return { status: 400, message: 'the WebSocket subprotocol "mqtt" is required [MQTT-6.0.0-3]' }
  }
  const { origin, host } = request.headers
  if (!anonymous || origin === undefined || hostOf(origin) === host) return null
  return {
    status: 403,
    message: `a page of ${origin.slice(0, 100)} may not connect without credentials`,
  }
}

function hostOf(origin: string): string | null {
  return URL.canParse(origin) ? new URL(origin).host : null
}

function abort(socket: Duplex, status: keyof typeof REASONS, message: string): void {
  if (socket.destroyed || !socket.writable) {
    socket.destroy()
    return
  }
  const body = `${message}\n`
  socket.once('finish', () => socket.destroy())
  socket.end(
    `HTTP/1.1 ${status} ${REASONS[status]}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\n` +
      `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}
