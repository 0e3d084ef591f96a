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

type Types = typeof SINK_TYPES

/** What a sink's type adds to the configuration of its delivery. */
export type SinkTypeConfig = {
  [Name in keyof Types]: Parameters<Types[Name]['url']>[0]
}[keyof Types]

export function sinkTypeOf({ type }: SinkTypeConfig): SinkType<SinkTypeConfig> {
  return SINK_TYPES[type]
}
