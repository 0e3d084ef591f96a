/** Records as messages of Kafka: see README.md. */
import type { SinkType } from '../sink-type.ts'
import { type KafkaSinkConfig, kafkaKeys } from './config.ts'
import { checkKafkaSink, kafkaFiles } from './config-checks.ts'
import { kafkaLibrary } from './library.ts'
import { previewMessages } from './preview.ts'
import { probeCluster } from './probe.ts'
import { createKafkaSink, KAFKA_PROMISE } from './sink.ts'

export const kafkaType = {
  keys: kafkaKeys,
  packages: [kafkaLibrary],
  check: checkKafkaSink,
  files: kafkaFiles,
  url: ({ brokers, topic }) => `kafka://${brokers.join(',')}/${topic}`,
  promise: () => KAFKA_PROMISE,
  preview: previewMessages,
  create: createKafkaSink,
  probe: probeCluster,
} satisfies SinkType<KafkaSinkConfig>
