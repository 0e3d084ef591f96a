/** A PostgreSQL sink's configuration, by its own defaults, to a server of the tests. */
import { section } from '../../../gateway/config/schema.ts'
import { deliveryKeys } from '../../../gateway/drain/config.ts'
import { type PostgresSinkConfig, postgresKeys } from '../../../gateway/sink/postgres/config.ts'

export function postgresSinkConfig(changes: Partial<PostgresSinkConfig> = {}): PostgresSinkConfig {
  const keys = section('A PostgreSQL sink.', { ...deliveryKeys, ...postgresKeys })
  return { ...keys.parse({}), timeout: 5_000, connectTimeout: 5_000, type: 'postgres', ...changes }
}
