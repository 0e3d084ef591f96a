/**
 * What one key's schema cannot see of an MQTT sink: what its profile does not take, secrets without
 * TLS, keys of the other version. Pure.
 */
import type { Report } from '../../config/problems.ts'
import type { Path } from '../../config/walk.ts'
import { isLoopback } from '../../shared/hosts.ts'
import { checkProxy } from '../http/proxy/config.ts'
import { targetOf } from './client/transport.ts'
import { type MqttSinkConfig, topicFix } from './config.ts'
import { type BrokerProfile, PROFILES } from './profiles.ts'

/** Of a device, or of a module of one; properties may be behind it. */
const AZURE_TOPIC = /^devices\/.+\/messages\/events\//

/** What the keys of one sink say of each other. */
export function checkMqttSink(path: Path, sink: MqttSinkConfig, report: Report): void {
  const profile = PROFILES[sink.profile]
  checkProfile(path, sink, profile, report)
  checkTls(path, sink, profile, report)
  checkProxy(path, sink.proxy, report)
  if (sink.topic !== null && topicFix(sink.topic) !== null)
    report.complain([...path, 'topic'], {
      got: JSON.stringify(sink.topic),
      wanted: 'a topic that can be published on',
      fix: topicFix(sink.topic) ?? '',
    })
  if (sink.password !== null && sink.username === null && sink.version === '3.1.1')
    if (sink.profile !== 'azure-iot-hub')
      report.complain([...path, 'password'], {
        got: 'a password without a user name',
        wanted: 'both, or neither: MQTT 3.1.1 has no password alone',
        fix: 'add username',
      })
  if (sink.version === '3.1.1') {
    if (Object.keys(sink.userProperties).length > 0)
      report.complain([...path, 'userProperties'], {
        got: 'user properties with version 3.1.1',
        wanted: 'version 5, which has them',
        fix: 'set version to 5, or message to record, which has id and receivedAt in it',
      })
  } else if (sink.qos === 2 && sink.noSubscribers === 'hold') {
    report.warn(
      [...path, 'noSubscribers'],
      'a message that nobody subscribed to holds the stream: each has to be seen to',
    )
  }
}

function checkProfile(
  path: Path,
  sink: MqttSinkConfig,
  profile: BrokerProfile,
  report: Report,
): void {
  const name = sink.profile
  const complain = (key: string, got: string, wanted: string, fix: string): void =>
    report.complain([...path, key], { got, wanted, fix })
  if (sink.qos > profile.maxQos)
    complain('qos', `qos 2 with profile ${name}`, `qos 1: ${name} has no QoS 2`, 'set qos to 1')
  if (!profile.versions.includes(sink.version))
    complain(
      'version',
      `version ${sink.version} with profile ${name}`,
      `version ${profile.versions.join(' or ')}`,
      `set version to ${profile.versions[0]}`,
    )
  if (sink.retain && !profile.retain)
    complain('retain', `retain with profile ${name}`, `false: ${name} keeps none`, 'remove it')
  if (sink.window > profile.maxWindow)
    complain(
      'window',
      String(sink.window),
      `at most ${profile.maxWindow} with profile ${name}`,
      `write ${profile.maxWindow} or less`,
    )
  if (sink.keepAlive > profile.maxKeepAliveSeconds * 1000)
    complain(
      'keepAlive',
      `${sink.keepAlive / 1000} s`,
      `at most ${profile.maxKeepAliveSeconds} s with profile ${name}`,
      `write ${profile.maxKeepAliveSeconds}s or less`,
    )
  const idBytes = Buffer.byteLength(sink.clientId ?? '')
  if (profile.maxClientIdBytes !== null && idBytes > profile.maxClientIdBytes)
    complain(
      'clientId',
      `${idBytes} bytes`,
      `at most ${profile.maxClientIdBytes} bytes with profile ${name}`,
      'write a shorter one',
    )
  if (name === 'azure-iot-hub' && sink.topic !== null && !AZURE_TOPIC.test(sink.topic))
    complain(
      'topic',
      JSON.stringify(sink.topic),
      'a topic of the device: the hub closes the connection at any other',
      'remove it, or write devices/CLIENT-ID/messages/events/ with properties behind it',
    )
  if (name === 'azure-iot-hub' && sink.clientId === null)
    complain('clientId', 'none', 'the id of the device at the hub', 'write it')
  if (sink.sharedAccessKey !== null && name !== 'azure-iot-hub')
    complain(
      'sharedAccessKey',
      `a key with profile ${name}`,
      'profile azure-iot-hub, which makes tokens of it',
      'set profile to azure-iot-hub, or use password',
    )
  if (sink.sharedAccessKey !== null && sink.password !== null)
    complain(
      'password',
      'a password beside sharedAccessKey',
      'one of the two: the token is the password',
      'remove one of them',
    )
}

function checkTls(path: Path, sink: MqttSinkConfig, profile: BrokerProfile, report: Report): void {
  const { hostname, isTls } = targetOf(sink.url)
  const { cert = null, key = null } = sink.tls ?? {}
  if ((cert === null) !== (key === null)) {
    const missing = cert === null ? 'cert' : 'key'
    report.complain([...path, 'tls'], {
      got: `no ${missing}`,
      wanted: 'cert and key, or neither',
      fix: `add ${missing}`,
    })
  }
  if (isTls) return
  if (sink.tls !== null)
    report.complain([...path, 'tls'], {
      got: 'TLS files for a URL without TLS',
      wanted: 'an mqtts or wss URL',
      fix: 'write mqtts:// or wss:// in url, or remove tls',
    })
  if (isLoopback(hostname)) return
  if (profile.tlsOnly)
    report.complain([...path, 'url'], {
      got: `a URL without TLS with profile ${sink.profile}`,
      wanted: 'mqtts or wss, which it asks for',
      fix: 'write mqtts:// or wss:// in url',
    })
  else if (sink.password !== null && !sink.allowInsecure)
    report.complain([...path, 'url'], {
      got: 'MQTT without TLS to another host, with a password',
      wanted: 'mqtts or wss, so that nobody on the way can read the secret',
      fix: 'write mqtts:// or wss:// in url, or set allowInsecure to true',
    })
}
