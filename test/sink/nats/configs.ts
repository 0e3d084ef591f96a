/** A NATS sink's configuration, by its own defaults. */
import { section } from '../../../gateway/config/schema.ts'
import { deliveryKeys } from '../../../gateway/drain/config.ts'
import { type NatsSinkConfig, natsKeys } from '../../../gateway/sink/nats/config.ts'

export function natsSinkConfig(changes: Partial<NatsSinkConfig>): NatsSinkConfig {
  const keys = section('A NATS sink.', { ...deliveryKeys, ...natsKeys })
  return { ...keys.parse({}), type: 'nats', ...changes }
}
