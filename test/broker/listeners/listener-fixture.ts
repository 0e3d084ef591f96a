/**
 * What the tests of the listeners share: a configuration, started listeners that are closed at the end,
 * waiting.
 */
import { once } from 'node:events'
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { onTestFinished } from 'vitest'
import type { ListenerConfig, MqttConfig, ServerTlsConfig } from '../../../gateway/broker/config.ts'
import type { BrokerEvent } from '../../../gateway/broker/events.ts'
import type { Inbound } from '../../../gateway/broker/listeners/inbound.ts'
import type { ListenerOptions } from '../../../gateway/broker/listeners/listener.ts'
import { Listeners } from '../../../gateway/broker/listeners/listeners.ts'
import { mqttConfig as defaultMqttConfig } from '../../support/configs.ts'

export const LOOPBACK: ListenerConfig = {
  host: '127.0.0.1',
  port: 0,
  tls: null,
  websocket: false,
  proxyProtocol: null,
}

export function mqttConfig(changes: Partial<MqttConfig> = {}): MqttConfig {
  return defaultMqttConfig({
    maxConnections: 100,
    maxPacketBytes: 256 * 1024,
    maxUnackedBytes: 1024 * 1024,
    connectTimeout: 5_000,
    authTimeout: 5_000,
    maxSessions: 1_000,
    sessionExpiry: 3_600_000,
    maxSubscriberBytesTotal: 64 * 1024 * 1024,
    ...changes,
  })
}

export function tlsFile(name: string): string {
  return new URL(`../../support/tls/${name}`, import.meta.url).pathname
}

export const SERVER_TLS: ServerTlsConfig = {
  cert: tlsFile('server.pem'),
  key: tlsFile('server.key'),
  ca: null,
  requireClientCert: false,
}

export interface ListenerRig {
  readonly listeners: Listeners
  readonly events: BrokerEvent[]
  readonly connections: Inbound[]
  readonly port: number
  /** The next connection that becomes a stream, in order. */
  next(): Promise<Inbound>
  /** Resolves once an event of this type was emitted, the ones before included. */
  event<T extends BrokerEvent['type']>(
    type: T,
    count?: number,
  ): Promise<Extract<BrokerEvent, { type: T }>>
}

export const FAST_POLL_MS = 20

/** Listeners on free ports; `onStream` gets every stream (default: echoes its bytes). */
export async function openListeners(
  config: MqttConfig,
  onStream: (stream: Duplex) => void = (stream) => void stream.pipe(stream),
  options: ListenerOptions = {},
): Promise<ListenerRig> {
  const events: BrokerEvent[] = []
  const connections: Inbound[] = []
  let wake: () => void = () => {}
  let handed = 0
  const listeners = await Listeners.start(
    config,
    (connection) => {
      connections.push(connection)
      onStream(connection.stream)
      wake()
    },
    (event) => {
      events.push(event)
      wake()
    },
    { filePollMs: FAST_POLL_MS, ...options },
  )
  onTestFinished(() => listeners.close())
  const until = async <T>(look: () => T | undefined): Promise<T> => {
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      await new Promise<void>((resolve) => {
        wake = resolve
      })
    }
  }
  return {
    listeners,
    events,
    connections,
    port: listeners.addresses[0]?.port ?? 0,
    next: async () => {
      const connection = await until(() => connections[handed])
      handed += 1
      return connection
    },
    event: async (type, count = 1) =>
      until(() => events.filter((event) => event.type === type)[count - 1] as never),
  }
}

export async function tcp(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => {})
  onTestFinished(() => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** Resolves when the other side ended or reset the connection. */
export async function ended(socket: Duplex): Promise<void> {
  socket.resume()
  if (!socket.destroyed) await new Promise((resolve) => socket.once('close', resolve))
}

/** The next bytes of a stream, at least `count`; the stream is paused afterwards. */
export async function bytes(stream: Duplex, count: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  await new Promise<void>((resolve) => {
    const take = (chunk: Buffer): void => {
      chunks.push(chunk)
      size += chunk.length
      if (size < count) return
      stream.pause()
      stream.off('data', take)
      resolve()
    }
    stream.on('data', take)
    stream.resume()
  })
  return Buffer.concat(chunks)
}

export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-listeners-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** Replaces a file in one step: nobody sees it half written. */
export async function replaceFile(path: string, content: string | Uint8Array): Promise<void> {
  await writeFile(`${path}.new`, content)
  await rename(`${path}.new`, path)
}
