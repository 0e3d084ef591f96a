/**
 * The types that the campaign knows. Each is loaded when its turn comes: the client library of one
 * may be missing where another is tested.
 */
import type { TestedType } from './receiver.ts'

export const TESTED_TYPES: Readonly<Record<string, () => Promise<TestedType>>> = {
  http: async () => (await import('./types/http.ts')).testedHttp,
  kafka: async () => (await import('./types/kafka.ts')).testedKafka,
  file: async () => (await import('./types/file.ts')).testedFile,
  influx: async () => (await import('./types/influx.ts')).testedInflux,
  'victoria-metrics': async () =>
    (await import('./types/victoria-metrics.ts')).testedVictoriaMetrics,
  'es-bulk': async () => (await import('./types/es-bulk.ts')).testedEsBulk,
  'otlp-logs': async () => (await import('./types/otlp-logs.ts')).testedOtlpLogs,
  clickhouse: async () => (await import('./types/clickhouse.ts')).testedClickHouse,
  object: async () => (await import('./types/object.ts')).testedS3,
  'object-dav': async () => (await import('./types/object.ts')).testedDav,
  nats: async () => (await import('./types/nats.ts')).testedNats,
  'nats-cluster': async () => (await import('./types/nats.ts')).testedNatsCluster,
  'nats-records': async () => (await import('./types/nats.ts')).testedNatsRecords,
  mqtt: async () => (await import('./types/mqtt.ts')).testedMqtt,
  'mqtt-qos2': async () => (await import('./types/mqtt.ts')).testedMqttQos2,
  'mqtt-to-gateway': async () => (await import('./types/mqtt.ts')).testedMqttToGateway,
  postgres: async () => (await import('./types/postgres.ts')).testedPostgres,
}
