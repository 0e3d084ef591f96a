/** The configuration -> CONNECT. Pure. */
import type { IConnectPacket } from 'mqtt-packet'
import type { MqttSinkConfig } from './config.ts'

/** A session that never ends by itself [MQTT5, 3.1.2.11.2]. */
const NEVER_SECONDS = 0xff_ff_ff_ff

/** Of what a broker sends to a client that subscribes to nothing. */
const MAX_PACKET_BYTES = 64 * 1024

type ConnectKeys = Pick<MqttSinkConfig, 'version' | 'qos' | 'keepAlive' | 'sessionExpiry'>

export function connectPacket(
  { version, qos, keepAlive, sessionExpiry }: ConnectKeys,
  clientId: string,
  { username, password }: { readonly username: string | null; readonly password: string | null },
): IConnectPacket {
  const is5 = version === '5'
  const expirySeconds = Math.min(NEVER_SECONDS, Math.ceil(sessionExpiry / 1000))
  return {
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: is5 ? 5 : 4,
    clientId,
    // At QoS 1 nothing is in flight that a session would have to know.
    clean: qos === 1,
    keepalive: Math.ceil(keepAlive / 1000),
    ...(username === null ? {} : { username }),
    ...(password === null ? {} : { password: Buffer.from(password) }),
    ...(is5
      ? {
          properties: {
            maximumPacketSize: MAX_PACKET_BYTES,
            ...(qos === 2 ? { sessionExpiryInterval: expirySeconds } : {}),
          },
        }
      : {}),
  }
}
