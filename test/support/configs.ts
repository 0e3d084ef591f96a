/**
 * Whole configurations for tests, made of the real schema: a test names the keys that it is about,
 * and knows no others.
 */
import assert from 'node:assert/strict'
import type { MqttConfig } from '../../gateway/broker/config.ts'
import { loadConfig } from '../../gateway/config/load.ts'
import { type Config, SCHEMA, type SinkConfig } from '../../gateway/configuration.ts'
import type { SpoolConfig, StreamConfig } from '../../gateway/spool/config.ts'

/** The configuration of a gateway that was told nothing, in a folder. */
export function defaultConfig(cwd: string): Config {
  return loadConfig(SCHEMA, { file: null, env: {}, cwd }).config
}

const DEFAULTS = defaultConfig('/')

/** The defaults, on a free port of this machine. */
export function mqttConfig(changes: Partial<MqttConfig> = {}): MqttConfig {
  const [listener] = DEFAULTS.mqtt.listeners
  assert(listener !== undefined)
  return { ...DEFAULTS.mqtt, listeners: [{ ...listener, port: 0 }], sysInterval: null, ...changes }
}

/** The default stream: every topic, to the sink `cloud`. */
export function streamConfig(changes: Partial<StreamConfig> = {}): StreamConfig {
  const stream = DEFAULTS.streams['telemetry']
  assert(stream !== undefined)
  return { ...stream, ...changes }
}

/** The defaults, for a disk of any size. */
export function spoolConfig(changes: Partial<SpoolConfig> = {}): SpoolConfig {
  return { ...DEFAULTS.spool, minFreeBytes: 0, ...changes }
}

export type HttpSink = Extract<SinkConfig, { readonly type: 'http' }>

/** A sink that is known to be of type http. */
export function httpSinkOf({ sinks }: Pick<Config, 'sinks'>, name = 'cloud'): HttpSink {
  const sink = sinks[name]
  assert(sink?.type === 'http', `${name} is no sink of type http`)
  return sink
}

/** The defaults, to a port where nobody answers. */
export function httpSinkConfig(changes: Partial<HttpSink> = {}): HttpSink {
  return { ...httpSinkOf(DEFAULTS), url: 'http://127.0.0.1:9/ingest', ...changes }
}
