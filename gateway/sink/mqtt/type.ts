/** Records as messages to an MQTT broker: see README.md. */
import { hideUrl } from '../../shared/text/hide-url.ts'
import type { SinkType } from '../sink-type.ts'
import { type MqttSinkConfig, mqttFiles, mqttKeys } from './config.ts'
import { checkMqttSink } from './config-checks.ts'
import { previewOf } from './preview.ts'
import { probeBroker } from './probe.ts'
import { promiseOf } from './promise.ts'
import { createMqttSink } from './sink.ts'

export const mqttType = {
  keys: mqttKeys,
  check: checkMqttSink,
  files: mqttFiles,
  url: ({ url }) => hideUrl(url),
  promise: (config) => promiseOf(config),
  preview: previewOf,
  create: createMqttSink,
  probe: probeBroker,
} satisfies SinkType<MqttSinkConfig>
