/** An MQTT sink's configuration, by its own defaults. */
import { section } from '../../../gateway/config/schema.ts'
import { deliveryKeys } from '../../../gateway/drain/config.ts'
import { type MqttSinkConfig, mqttKeys } from '../../../gateway/sink/mqtt/config.ts'

export function mqttSinkConfig(changes: Partial<MqttSinkConfig>): MqttSinkConfig {
  const keys = section('An MQTT sink.', { ...deliveryKeys, ...mqttKeys })
  return {
    ...keys.parse({}),
    type: 'mqtt',
    timeout: 5_000,
    connectTimeout: 5_000,
    ...changes,
  }
}
