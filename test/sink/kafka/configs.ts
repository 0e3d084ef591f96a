/** A Kafka sink's configuration, by its own defaults. */
import { section } from '../../../gateway/config/schema.ts'
import { deliveryKeys } from '../../../gateway/drain/config.ts'
import { type KafkaSinkConfig, kafkaKeys } from '../../../gateway/sink/kafka/config.ts'

export function kafkaSinkConfig(changes: Partial<KafkaSinkConfig>): KafkaSinkConfig {
  const keys = section('A Kafka sink.', { ...deliveryKeys, ...kafkaKeys })
  return { ...keys.parse({}), type: 'kafka', topic: 'plant', ...changes }
}
