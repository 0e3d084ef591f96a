/**
 * Is the broker there, and would it take this client? A proxy, a connection, TLS, CONNECT; told in words,
 * step by step up to the first that fails. Under a client id of its own: under the configured one it
 * would end the connection of a gateway that runs, and its session. Publishes nothing.
 */

import type { ProbeStep, SinkProbe } from '../../ports/sink.ts'
import { hostAndPort } from '../../shared/hosts.ts'
import { DialError } from '../http/client/link-error.ts'
import type { SinkProbeOptions } from '../sink-type.ts'
import { endedBy, type Parties, unreachable } from './answer.ts'
import { MqttConnection } from './client/connection.ts'
import { NotConnected } from './client/ending.ts'
import { BrokerOutbound, Unready } from './client/outbound.ts'
import { targetOf } from './client/transport.ts'
import type { MqttSinkConfig } from './config.ts'
import { connectPacket } from './connect-packet.ts'
import { MqttCredentials } from './credentials.ts'
import { PROFILES } from './profiles.ts'

export async function probeBroker(options: SinkProbeOptions<MqttSinkConfig>): Promise<SinkProbe> {
  const { name, config } = options
  const { hostname, port } = targetOf(config.url)
  const target = hostAndPort(hostname, port)
  const steps: ProbeStep[] = []
  await probe(options, target, (step, verdict, detail) => steps.push({ step, verdict, detail }))
  return { sink: name, target, steps }
}

async function probe(
  { name, config }: SinkProbeOptions<MqttSinkConfig>,
  target: string,
  say: (step: string, verdict: ProbeStep['verdict'], detail: string) => void,
): Promise<void> {
  const { url, version, profile, qos, retain, connectTimeout: timeoutMs } = config
  const login = new MqttCredentials(name, config, () => undefined).resolve(Date.now())
  if ('why' in login) return say('settings', 'problem', login.why)
  const outbound = new BrokerOutbound(name, config, () => undefined)
  const clientId = `${config.clientId ?? `sluice-${name}`}-try`
  const words = { target, clientId, version, profile: PROFILES[profile], isFoughtFor: false }
  const parties: Parties = words
  const { signal } = new AbortController()
  try {
    const stream = await outbound.open(signal)
    const { proxy } = outbound
    const how = targetOf(url).isTls ? ', with TLS' : ''
    if (proxy !== null) say('proxy', 'ok', `${proxy} opens a way to ${target}`)
    say('connection', 'ok', `${target} takes connections${how}`)
    if (profile === 'azure-iot-hub') {
      stream.destroy()
      const detail =
        'not tried: the hub knows one client id, and would end the connection of a gateway'
      return say('mqtt', 'warning', detail)
    }
    const connect = connectPacket(config, { clientId, session: 'none' }, login)
    const needs = { qos, retain }
    const connection = await MqttConnection.open(stream, { connect, needs, timeoutMs }, signal)
    connection.close()
    say('mqtt', 'ok', `took the connection of ${clientId}, MQTT ${version}; nothing was published`)
  } catch (error) {
    if (error instanceof Unready) return say('settings', 'problem', error.message)
    if (!(error instanceof NotConnected)) {
      const isProxys = error instanceof DialError && error.phase === 'proxy'
      const { detail } = unreachable(error, parties)
      return say(isProxys ? 'proxy' : 'connection', 'problem', detail)
    }
    const { detail } = endedBy(error.ending, parties)
    say('mqtt', 'problem', `${detail} (tried with the client id ${clientId})`)
  }
}
