/**
 * The types of sink, a line each. What a type can do is known in its folder; here is only its name,
 * as `type` in the configuration of a sink says it.
 */
import { fileType } from './file/type.ts'
import { httpType } from './http/type.ts'
import { kafkaType } from './kafka/type.ts'
import { mqttType } from './mqtt/type.ts'
import { natsType } from './nats/type.ts'
import { objectType } from './object/type.ts'
import { postgresType } from './postgres/type.ts'
import type { SinkType } from './sink-type.ts'

export const SINK_TYPES = {
  http: httpType,
  file: fileType,
  kafka: kafkaType,
  object: objectType,
  mqtt: mqttType,
  nats: natsType,
  postgres: postgresType,
}

/** What people write as `type` who know the receiver: how it is reached. */
export const RECEIVERS: ReadonlyMap<string, string> = new Map([
  ...byFormat('influx', ['influx', 'influxdb', 'victoria-metrics', 'victoriametrics', 'questdb']),
  ...byFormat('es-bulk', ['elasticsearch', 'elastic', 'opensearch']),
  ...byFormat('json-each-row', ['clickhouse']),
  ...byFormat('otlp-logs', ['otlp', 'otlp-logs', 'opentelemetry', 'otel']),
  ...ofType('object', ['s3', 'minio']),
  ...ofType('object with store: dav', ['webdav', 'dav']),
  ...ofType('mqtt', ['mosquitto', 'emqx', 'hivemq']),
  ...['aws-iot-core', 'azure-iot-hub', 'thingsboard'].flatMap((profile) =>
    ofType(`mqtt with profile: ${profile}`, [profile]),
  ),
  ...ofType('kafka', ['redpanda']),
  ...ofType('nats', ['jetstream']),
  ...ofType('postgres', ['postgresql', 'timescale', 'timescaledb']),
])

function byFormat(kind: string, names: readonly string[]): Array<[string, string]> {
  return names.map((name) => [name, `write type: http with format: { kind: ${kind} }`])
}

function ofType(type: string, names: readonly string[]): Array<[string, string]> {
  return names.map((name) => [name, `write ${type}`])
}

type Types = typeof SINK_TYPES

/** What a sink's type adds to the configuration of its delivery. */
export type SinkTypeConfig = {
  [Name in keyof Types]: Parameters<Types[Name]['url']>[0]
}[keyof Types]

export function sinkTypeOf({ type }: SinkTypeConfig): SinkType<SinkTypeConfig> {
  return SINK_TYPES[type]
}
