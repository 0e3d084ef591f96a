/** The configuration -> CONNECT. Pure. */
import type { IConnectPacket } from 'mqtt-packet'
import type { MqttSinkConfig } from './config.ts'

/** A session that never ends by itself [MQTT5, 3.1.2.11.2]. */
const NEVER_SECONDS = 0xff_ff_ff_ff

/** Of what a broker sends to a client that subscribes to nothing. */
const MAX_PACKET_BYTES = 64 * 1024

type ConnectKeys = Pick<MqttSinkConfig, 'version' | 'keepAlive' | 'sessionExpiry'>

/** @param session `kept`: it goes on; `none`: what there was is forgotten, and nothing is kept */
export function connectPacket(
  { version, keepAlive, sessionExpiry }: ConnectKeys,
  { clientId, session }: { readonly clientId: string; readonly session: 'kept' | 'none' },
  { username, password }: { readonly username: string | null; readonly password: string | null },
): IConnectPacket {
  const is5 = version === '5'
  const expirySeconds = Math.min(NEVER_SECONDS, Math.ceil(sessionExpiry / 1000))
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: is5 ? 5 : 4,
    clientId,
    clean: session === 'none',
    keepalive: Math.ceil(keepAlive / 1000),
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password: Buffer.from(password) }),
    ...(is5
      ? {
          properties: {
            maximumPacketSize: MAX_PACKET_BYTES,
            ...(session === 'kept' ? { sessionExpiryInterval: expirySeconds } : {}),
          },
        }
      : {}),
  }
}
