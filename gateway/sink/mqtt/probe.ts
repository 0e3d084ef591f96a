/**
 * Is the broker there, and would it take this client? A connection, TLS, CONNECT; told in words,
 * step by step up to the first that fails. Under a client id of its own: under the configured one it
 * would end the connection of a gateway that runs, and its session. Publishes nothing.
 */
import { hostAndPort } from '../../shared/hosts.ts'
import { Addresses } from '../http/client/addresses.ts'
import { SinkTls } from '../http/tls.ts'
import type { ProbeStep, SinkProbe, SinkProbeOptions } from '../sink-type.ts'
import { endedBy, type Parties, unreachable } from './answer.ts'
import { MqttConnection } from './client/connection.ts'
import { NotConnected } from './client/ending.ts'
import { openTransport, targetOf } from './client/transport.ts'
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
  const to = targetOf(url)
  const tls = new SinkTls(name, to.isTls ? config.tls : null, () => undefined)
  const secure = to.isTls ? tls.resolve() : { context: null }
  if ('why' in secure) return say('settings', 'problem', secure.why)
  const clientId = `${config.clientId ?? `sluice-${name}`}-try`
  const words = { target, clientId, version, profile: PROFILES[profile], isFoughtFor: false }
  const parties: Parties = words
  const { signal } = new AbortController()
  try {
    const stream = await openTransport({
      target: to,
      addresses: new Addresses(to.hostname),
      context: secure.context,
      alpn: config.tls?.alpn ?? null,
      timeoutMs,
      signal,
    })
    say('connection', 'ok', `${target} takes connections${to.isTls ? ', with TLS' : ''}`)
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
    if (!(error instanceof NotConnected))
      return say('connection', 'problem', unreachable(error, parties).detail)
    const { detail } = endedBy(error.ending, parties)
    say('mqtt', 'problem', `${detail} (tried with the client id ${clientId})`)
  }
}
